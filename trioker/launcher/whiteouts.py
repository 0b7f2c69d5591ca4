"""What a layer takes away: the ``.wh.`` entries, carried out on a full tree or written down in overlayfs's own marks.

The rules are those of the OCI image specification, "Layer: Whiteouts": ``.wh.name`` hides ``name`` of the layers below, ``.wh..wh..opq`` all
they have in its directory, and neither touches what this layer brings itself, before or after. Everything works in the current
directory, ``base`` being a name in it and ``path`` the same from the root; no symbolic link is followed.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from trioker.linux.trees import remove_tree

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
META = b".wh..wh."
"""aufs's own book-keeping, where it is not OPAQUE."""
LINKED = b".wh..wh.plnk"
"""Of that, the directory of files that have several names: in an archive made from an aufs layer the others are links to one in here."""

MARK = os.makedev(0, 0)
"""The device overlayfs takes for "nothing here" (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories")."""

_OPAQUE_XATTR = "trusted.overlay.opaque"


class Whiteouts(Protocol):
    """How a target wants its whiteouts."""

    def made(self, base: bytes, path: bytes, *, directory: bool) -> None:
        """This layer has brought ``base``."""

    def hide(self, base: bytes, path: bytes) -> None:
        """What lower layers have as ``base`` is gone."""

    def hide_all(self, path: bytes) -> None:
        """What lower layers have in the current directory, ``path``, is gone."""

    def hides(self, path: bytes) -> bool:
        """Whether this layer has taken away what lower layers have as ``path``."""

    def forges(self, device: int) -> bool:
        """Whether an entry with this character device would pass for a whiteout."""


def remove(base: bytes) -> None:
    """Delete a name of the current directory, with all below it. Raises FileNotFoundError."""
    try:
        os.unlink(base)
    except IsADirectoryError:
        remove_tree(os.fsdecode(base))


class RemovingWhiteouts:
    """For a target that holds the lower layers' tree: what is hidden is deleted from it."""

    def __init__(self) -> None:
        self._own: set[bytes] = set()

    def made(self, base: bytes, path: bytes, *, directory: bool) -> None:  # noqa: ARG002  one Protocol
        """Remember it, and the directories it stands in."""
        while path and path not in self._own:
            self._own.add(path)
            path = path.rpartition(b"/")[0]

    def hide(self, base: bytes, path: bytes) -> None:
        """Delete it, or of our own directory what is not ours."""
        if path not in self._own:
            with suppress(FileNotFoundError):
                remove(base)
        elif stat.S_ISDIR(os.lstat(base).st_mode):
            self._clear(base, path)

    def hide_all(self, path: bytes) -> None:
        """Delete what is not ours."""
        self._clear(b".", path)

    def hides(self, path: bytes) -> bool:  # noqa: ARG002
        """Never: what is taken away is not there."""
        return False

    def forges(self, device: int) -> bool:  # noqa: ARG002
        """Never: a device means nothing here."""
        return False

    def _clear(self, directory: bytes, path: bytes) -> None:
        pending = [(directory, path)]
        while pending:
            directory, path = pending.pop()
            with os.scandir(directory) as found:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
            for name, is_directory in entries:
                below = path + b"/" + name if path else name
                if below not in self._own:
                    remove(directory + b"/" + name)
                elif is_directory:
                    pending.append((directory + b"/" + name, below))


class OverlayWhiteouts:
    """For a target that is one layer of an overlay and holds nothing of the others: what is hidden is marked."""

    def __init__(self, set_trusted: Callable[[bytes, str, bytes], None]) -> None:
        """``set_trusted`` sets an attribute of the class that takes SYS_ADMIN."""
        self._set_trusted = set_trusted
        self._hidden: set[bytes] = set()
        self._opaque: set[bytes] = set()

    def made(self, base: bytes, path: bytes, *, directory: bool) -> None:
        """A directory made where a mark was lost the mark, and must not let the lower one shine through."""
        if directory and path in self._hidden:
            self._make_opaque(base)

    def hide(self, base: bytes, path: bytes) -> None:
        """Put the mark; what is there already is ours and hides by itself, but a directory merges unless told."""
        self._hidden.add(path)
        try:
            os.mknod(base, stat.S_IFCHR, MARK)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(base).st_mode):
                self._make_opaque(base)

    def hide_all(self, path: bytes) -> None:
        """Mark the directory."""
        self._opaque.add(path)
        self._make_opaque(b".")

    def hides(self, path: bytes) -> bool:
        """It, or a directory on the way to it, was hidden."""
        while path not in self._hidden:
            if not path:
                return False
            path = path.rpartition(b"/")[0]
            if path in self._opaque:
                return True
        return True

    def forges(self, device: int) -> bool:
        """The mark itself."""
        return device == MARK

    def _make_opaque(self, base: bytes) -> None:
        self._set_trusted(base, _OPAQUE_XATTR, b"y")
