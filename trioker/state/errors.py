"""What can be wrong with the store. Every text names the file."""

from trioker.model.errors import TriokerError


class StateError(TriokerError):
    """The store cannot be opened, read or written: a full disk, a file in use, no permission."""


class StoreTooNew(StateError):
    """A newer trioker wrote the store in a format this one does not know. Nothing was touched."""


class StoreDamaged(StateError):
    """The file is no store, or no longer a whole one."""
