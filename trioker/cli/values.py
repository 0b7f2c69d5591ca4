"""Reading single command line values. Each raises ArgumentTypeError with a text that says what was wrong."""

import re
from argparse import ArgumentTypeError
from pathlib import Path

from trioker.http.addresses import BadAddress, parse_address

DEFAULT_SOCKET = "/run/trioker.sock"

_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_SIZE = re.compile(r"(\d+)([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_REMAP = re.compile(r"[^:\s]+(:[^:\s]+)?")
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE | re.ASCII)


def size(text: str) -> int:
    """Bytes of ``512k``, ``10m``, ``1g``, ``1t`` or a plain number; units are powers of 1024. Zero is refused."""
    match = _SIZE.fullmatch(text)
    if match is None or not int(match[1]):
        raise ArgumentTypeError(f"{text!r} is not a size (a number with k, m, g or t behind it, for example 10m)")
    return int(match[1]) << _UNITS[match[2].lower()]


def size_or_none(text: str) -> int:
    """The same, and ``0`` for nothing at all."""
    return 0 if text == "0" else size(text)


def count(text: str) -> int:
    """A whole number from 1 up."""
    if not (text.isascii() and text.isdigit()) or not int(text):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def path(text: str) -> Path:
    """An absolute path; a relative one is taken from the working directory, now."""
    if not text:
        raise ArgumentTypeError("the path is empty")
    return Path(text).absolute()


def pair(text: str) -> tuple[str, str]:
    """``key=value``."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"{text!r} is not of the form key=value")
    return key, value


def host_name(text: str) -> str:
    """A DNS name, in lower case."""
    if not _HOST_NAME.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not a host name")
    return text.lower()


def remap(text: str) -> str:
    """``default``, a user or ``user:group``, by name or number."""
    if text and not _REMAP.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not 'default', USER[:GROUP] or UID[:GID]")
    return text


def listener(text: str) -> str:
    """An address to serve on, checked and with its defaults written out (``http.addresses``); ``unix://`` alone is the usual socket."""
    try:
        return str(parse_address(f"unix://{DEFAULT_SOCKET}" if text == "unix://" else text))
    except BadAddress as error:
        raise ArgumentTypeError(str(error)) from None
