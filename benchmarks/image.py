"""The images that are imported: a static busybox, a text to print, and for the import's measure some more."""

import io
import random
import shutil
import tarfile
from collections.abc import Mapping

APPLETS = ("sh", "true", "cat", "sleep")
TEXT = "/text"
TEXT_SIZE = 4 << 20
"""Bytes in ``TEXT``: lines of 64, so that engines which log by line and those which escape are treated alike."""


class NoBusybox(Exception):
    """There is no static busybox on this host."""


def base_files() -> dict[str, bytes]:
    """Name to content of the image all containers run."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise NoBusybox("no busybox in PATH (Debian: apt install busybox-static)")
    with open(busybox, "rb") as file:
        content = file.read()
    return {
        "bin/busybox": content,
        TEXT.lstrip("/"): (b"0123456789abcdef" * 4)[:63].ljust(64, b"\n") * (TEXT_SIZE // 64),
    }


def base_tar() -> bytes:
    """The tar of the image all containers run."""
    return pack(base_files(), {f"bin/{name}": "busybox" for name in APPLETS})


def import_tar(nonce: int, *, files: int = 2000, blob: int = 32 << 20) -> bytes:
    """A root to measure imports with: the base, ``files`` small files, one of ``blob`` bytes. No two nonces give one content."""
    source = random.Random(nonce)
    content = base_files() | {f"usr/share/{n // 100}/{n}": source.randbytes(1 + n * 4 % 8192) for n in range(files)}
    content["usr/lib/blob"] = source.randbytes(blob)
    return pack(content, {f"bin/{name}": "busybox" for name in APPLETS})


def pack(files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    """A tar with parent directories, every file executable."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for directory in sorted(
            {"/".join(name.split("/")[:n]) for name in files for n in range(1, name.count("/") + 1)}
        ):
            _add(tar, directory, tarfile.DIRTYPE)
        for name, content in files.items():
            _add(tar, name, tarfile.REGTYPE, content=content)
        for name, target in links.items():
            _add(tar, name, tarfile.SYMTYPE, target=target)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, kind: bytes, *, content: bytes = b"", target: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname, entry.mode = kind, len(content), target, 0o755
    tar.addfile(entry, io.BytesIO(content))
