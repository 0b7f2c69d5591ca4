"""Keeps one launcher zygote running: starts it, starts it again when it dies, hands it orders."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from trioker.launcher.network import Port
from trioker.launcher.userns import Remap
from trioker.runtime.channel import send

log = logging.getLogger("trioker.runtime")

_START_AGAIN_AFTER = 0.2  # seconds; a zygote that dies at once must not become a busy loop
_END_WITHIN = 2.0  # seconds for a zygote to notice that its socket is gone; it has nothing else to wait for


def launcher_command(fd: int, port: Port | None = None, remap: Remap | None = None) -> list[str]:
    """How to start the launcher: isolated from the environment and from site-packages, out of the file we run from."""
    package = Path(__file__).parent.parent
    python = [sys.executable, "-I", "-S"]
    arguments = ["--fd", str(fd)]
    for flag, value in (("--port", port), ("--remap", remap)):
        arguments += [flag, json.dumps(value._asdict())] if value else []
    if package.parent.is_file():  # inside the .pyz
        return [*python, str(package.parent), "launcher", *arguments]
    start = f"import sys; sys.path.insert(0, {str(package.parent)!r}); from trioker.launcher.zygote import main; main(sys.argv[1:])"
    return [*python, "-c", start, *arguments]


def spec_descriptor(spec: Mapping[str, Any]) -> int:
    """A memory file with the spec: an order may be larger than a packet."""
    fd = os.memfd_create("trioker-spec")
    try:
        os.write(fd, json.dumps(spec).encode())
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


class Zygote:
    """The running zygote. ``generation`` grows with each new one, so that a caller can tell whether its order may be lost."""

    def __init__(self, port: Port | None = None, remap: Remap | None = None) -> None:
        """``port`` is how containers are put on the bridge, if there is one; ``remap`` their ids, if they have a user namespace."""
        self.generation = 0
        self._port = port
        self._remap = remap
        self._socket: trio.socket.SocketType | None = None
        self._up = trio.Event()

    async def supervise(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run zygotes, one after the other, until cancelled. Each dies with its socket; what it started lives on."""
        await self._run_one(task_status.started)
        while True:
            log.error("the launcher ended; starting another (running containers are not touched)")
            await trio.sleep(_START_AGAIN_AFTER)
            await self._run_one(lambda: None)

    async def _run_one(self, started: Callable[[], None]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with trio.socket.from_stdlib_socket(ours) as self._socket:
            with theirs:
                process = await trio.lowlevel.open_process(
                    launcher_command(theirs.fileno(), self._port, self._remap),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    cwd="/",
                    env={},
                )
            try:
                self.generation += 1
                self._up.set()
                started()
                await process.wait()
            finally:
                self._up = trio.Event()
                self._socket.close()
                with trio.move_on_after(_END_WITHIN, shield=True) as scope:
                    await process.wait()
                if scope.cancelled_caught:
                    process.kill()

    @property
    def is_up(self) -> bool:
        """Whether one runs now."""
        return self._up.is_set()

    async def wait_up(self) -> int:
        """Until a zygote runs; returns its generation."""
        await self._up.wait()
        return self.generation

    async def order(self, kind: str, spec: Mapping[str, Any], fds: Mapping[str, int]) -> None:
        """Ask for a process; its answers come on the ``report`` descriptor.

        The descriptors stay the caller's. Raises OSError when this zygote is gone.
        """
        await self.wait_up()
        spec_fd = spec_descriptor(spec)
        try:
            assert self._socket is not None  # noqa: S101 - ``_up`` is set only with a socket
            await send(self._socket, {"kind": kind}, {**fds, "spec": spec_fd})
        finally:
            os.close(spec_fd)
