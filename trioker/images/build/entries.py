"""What a build copies, as values."""

from collections.abc import Sequence

import attrs

from trioker.launcher.tar_header import FILE


@attrs.frozen
class ContextEntry:
    """A file, directory, link or node of a context, of another stage's tree, or of the build's own making."""

    path: str
    """Relative, as os.fsdecode gives it; "" for the top directory."""
    kind: bytes = FILE
    """``launcher.tar_header.FILE``, ``DIRECTORY``, ``SYMLINK``, ``FIFO`` or one of the devices."""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    """Bytes of a file, holes included."""
    link: str = ""
    """A symbolic link's target."""
    device: int = 0
    xattrs: Sequence[tuple[bytes, bytes]] = ()
    """Those that travel with a file: its capabilities, ACLs and user attributes."""
    digest: str = ""
    """``sha256:`` of a file's bytes, holes as zeros; "" for all else."""
    offset: int = 0
    """Where a file's stored bytes begin in the uncompressed tar it came in."""
    stored: int = 0
    """How many there are."""
    pieces: Sequence[tuple[int, int]] | None = None
    """Where a sparse file is not a hole: (offset, length), rising."""


@attrs.frozen
class Placed:
    """One entry and where COPY or ADD puts it."""

    name: str
    """Relative to the destination; "." is the destination itself."""
    entry: ContextEntry
    named: bool = False
    """Whether it is itself what a source names, not a part of it: ADD unpacks those that are archives."""


@attrs.frozen
class Selection:
    """What the sources of one COPY or ADD come to."""

    placed: tuple[Placed, ...]
    """Directories before what is in them."""
