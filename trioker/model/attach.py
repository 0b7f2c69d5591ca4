"""What a client wants of a container's streams."""

from collections.abc import Awaitable, Callable

import attrs


@attrs.frozen
class AttachRequest:
    """Which streams, and whether from the log, live, or both (page, "Attach to a container")."""

    logs: bool = False
    stream: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


@attrs.frozen
class LogText:
    """Logged output of known length, to be sent in one go."""

    length: int
    """Bytes in all."""
    write: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]
    """Sends them; called once."""
