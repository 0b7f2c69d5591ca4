"""The kinds of failure the engine can report. Which HTTP status a kind becomes is the dialect's business."""


class TriokerError(Exception):
    """Base of every failure whose text is meant for the user."""


class NotFound(TriokerError):
    """The named container, image, tag or volume does not exist (or the name is ambiguous)."""


class InvalidParameter(TriokerError):
    """The caller's input cannot be read or is out of range; the text says which input and why."""


class Conflict(TriokerError):
    """The request contradicts what exists: a name taken, an image still in use."""


class Impossible(TriokerError):
    """The request makes no sense in the object's present state (removing a running container)."""


class NoRoom(TriokerError):
    """A filesystem is full, or a quota is used up."""


class Unauthorized(TriokerError):
    """A registry wants to know who asks, or does not believe it: no credentials, or wrong ones."""


class Forbidden(TriokerError):
    """A registry knows who asks and refuses: not this repository, or an account that is not activated yet."""


class LaunchFailed(TriokerError):
    """A container's process could not be started.

    ``stage`` names the step that failed (``rootfs``, ``user``, ``exec`` ...), ``exit_code`` is what the container
    reports from then on: 127 command not found, 126 found but not executable, 1 unknown user, 137 killed, 128 anything else.
    """

    def __init__(self, stage: str, message: str, exit_code: int = 128, *, oom_killed: bool = False) -> None:
        super().__init__(message)
        self.oom_killed = oom_killed
        self.stage = stage
        self.exit_code = exit_code
