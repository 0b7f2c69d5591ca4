"""Tars of images, honest and hostile: members are made one by one and may be anything."""

import io
import tarfile
from typing import NamedTuple

from busybox import BUSYBOX


class Member(NamedTuple):
    """One entry of a tar."""

    name: str
    kind: bytes
    content: bytes = b""
    target: str = ""
    mode: int = 0o755
    device: tuple[int, int] = (0, 0)


def directory(name: str) -> Member:
    return Member(name, tarfile.DIRTYPE)


def file(name: str, content: bytes = b"") -> Member:
    return Member(name, tarfile.REGTYPE, content)


def symlink(name: str, target: str) -> Member:
    return Member(name, tarfile.SYMTYPE, target=target)


def hard_link(name: str, target: str) -> Member:
    return Member(name, tarfile.LNKTYPE, target=target)


def fifo(name: str) -> Member:
    return Member(name, tarfile.FIFOTYPE)


def character_device(name: str, major: int, minor: int) -> Member:
    return Member(name, tarfile.CHRTYPE, device=(major, minor), mode=0o666)


def tar_of(*members: Member) -> bytes:
    """The members in their order, names as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.mode, info.linkname, info.size = (
                member.kind,
                member.mode,
                member.target,
                len(member.content),
            )
            info.devmajor, info.devminor = member.device
            tar.addfile(info, io.BytesIO(member.content))
    return buffer.getvalue()


def shell_and(*members: Member) -> bytes:
    """A tree with nothing but busybox as ``/bin/sh`` (it finds its other commands itself), and these members."""
    with open(BUSYBOX, "rb") as program:
        return tar_of(directory("bin"), file("bin/sh", program.read()), *members)
