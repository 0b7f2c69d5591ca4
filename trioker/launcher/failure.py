"""A launch that cannot go on: which step failed, why, and the exit code that stands for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from trioker.launcher.wire import MAX_TEXT, Message

NOT_STARTED = 128
"""Exit code of a container that failed before its command could be looked at (Docker's code for the same)."""


class Failed(Exception):
    """``stage`` is the protocol's word for the step."""

    def __init__(self, stage: str, message: str, exit_code: int = NOT_STARTED) -> None:
        super().__init__(message)
        self.stage = stage
        self.message = message[:MAX_TEXT]
        self.exit_code = exit_code

    def to_message(self) -> Message:
        """The ``failed`` event."""
        return {"event": "failed", "stage": self.stage, "message": self.message, "exit_code": self.exit_code}

    @classmethod
    def from_message(cls, message: Message) -> "Failed":
        """The failure another process of the launch told."""
        return cls(str(message["stage"]), str(message["message"]), int(message["exit_code"]))


@contextmanager
def stage(name: str) -> Iterator[None]:
    """What goes wrong inside becomes a Failed of this stage; one that is Failed already passes.

    An error of the kernel that names no file would tell a user nothing alone: it gets the name of the stage.
    """
    try:
        yield
    except Failed:
        raise
    except Exception as error:
        bare = isinstance(error, OSError) and not error.filename
        raise Failed(name, f"{name}: {describe(error)}" if bare else describe(error)) from error


def describe(error: Exception) -> str:
    """An error in words for a user: without Python's own decoration."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error) or type(error).__name__
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
