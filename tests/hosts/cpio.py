"""Archives as the kernel reads them at boot (Documentation/driver-api/early-userspace/buffer-format.rst)."""

import stat
from collections.abc import Iterable
from typing import NamedTuple

_END = "TRAILER!!!"


class Member(NamedTuple):
    """A file, or where it has no content a directory, which comes before what is in it."""

    name: str
    mode: int
    content: bytes | None = None


def archive(members: Iterable[Member]) -> bytes:
    """The format is "newc", without compression."""
    entries = [_entry(number, *_kind(member)) for number, member in enumerate(members, 1)]
    return b"".join([*entries, _entry(0, _END, 0, b"")])


def _kind(member: Member) -> tuple[str, int, bytes]:
    if member.content is None:
        return member.name, stat.S_IFDIR | member.mode, b""
    return member.name, stat.S_IFREG | member.mode, member.content


def _entry(inode: int, name: str, mode: int, content: bytes) -> bytes:
    size = len(name) + 1
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, size, 0)  # the 12 of a stat, and a sum nobody checks
    head = b"070701" + b"".join(b"%08x" % each for each in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
