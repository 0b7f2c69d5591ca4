"""Deeds on order: a line of JSON in, lines of JSON out."""

import importlib
import json
import os
import traceback
from pathlib import Path
from typing import Any, BinaryIO

PORT = next(Path("/dev").glob("vport*"))


def obey() -> None:
    """Until the tester hangs up."""
    with open(PORT, "r+b", buffering=0) as port, os.fdopen(os.dup(port.fileno()), "rb") as lines:
        say(port, {"up": True})
        for line in lines:
            order = json.loads(line)
            say(port, outcome(port, order["deed"], order["arguments"]))


def outcome(port: BinaryIO, deed: str, arguments: list[Any]) -> dict[str, Any]:
    """Do what ``module.function`` says, and how that went."""
    module, _, name = deed.partition(".")
    try:
        function = getattr(importlib.import_module(module), name)
        return {"done": function(*arguments, say=lambda said: say(port, {"said": said}))}
    except Exception:  # noqa: BLE001  the tester reads it
        return {"failed": traceback.format_exc()}


def say(port: BinaryIO, message: dict[str, Any]) -> None:
    """All of one line."""
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[port.write(data) :]
