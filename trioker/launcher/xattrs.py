"""Which extended attributes travel in a layer, in both directions; POSIX ACLs, which are two of them."""

import errno
import os
import re
import struct
from collections.abc import Mapping

ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"

_EXACT = frozenset((b"security.capability", ACCESS, DEFAULT))
_UNSUPPORTED = (errno.ENOTSUP, errno.ENODATA)

# include/uapi/linux/posix_acl_xattr.h, posix_acl.h
_ACL_HEADER = struct.pack("<I", 2)
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_TAGS = {b"user": (0x01, 0x02), b"group": (0x04, 0x08), b"mask": (0x10, 0x10), b"other": (0x20, 0x20)}
_ACL_NOBODY = 2**32 - 1
_ACL_TEXT = re.compile(rb"(user|group|mask|other|u|g|m|o):([^:]*):([r-])([w-])([x-])(?::([0-9]{1,10}))?")


def travels(name: bytes) -> bool:
    """Whether this attribute is a file's own property.

    Others belong to the host (security.selinux, security.ima) or are orders to the kernel: trusted.overlay.* and user.overlay.* let a layer
    point anywhere (overlayfs.rst, "redirect_dir"), so they must neither come from an archive nor leave in one.
    """
    return name in _EXACT or (name.startswith(b"user.") and not name.startswith(b"user.overlay."))


def restore(target: int | bytes, attributes: Mapping[bytes, bytes]) -> None:
    """Set those that travel, the others are left out. A filesystem that keeps none of a kind is no error: it has less to grant."""
    for name, value in attributes.items():
        if not travels(name):
            continue
        try:
            os.setxattr(target, name, value)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise


def disinherit(target: int | bytes, mode: int) -> None:
    """Take away what a new file has got from the default ACL of its directory."""
    for name in (ACCESS, DEFAULT):
        try:
            os.removexattr(target, name)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    os.chmod(target, mode)


def has_default_acl(directory: bytes) -> bool:
    """Whether what is made in it gets an ACL of its own."""
    try:
        return bool(os.getxattr(directory, DEFAULT))
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False


def parse_acl(text: bytes) -> bytes:
    """The attribute for an ACL as acl(5) writes it, as star and GNU tar store it: users and groups by number, or with it as a fourth field.

    Raises ValueError for a user or group told by name alone: it would have to be one of the host's.
    """
    entries = []
    for each in text.replace(b"\n", b",").split(b","):
        bare = each.partition(b"#")[0].strip()
        if not bare:
            continue
        found = _ACL_TEXT.fullmatch(bare)
        if not found:
            raise ValueError(f"bad ACL entry {bare[:80]!r}")
        kind, name, *bits, number = found.groups()
        tags = next(tags for word, tags in _ACL_TAGS.items() if word.startswith(kind))
        identity = number or name
        if identity and not (identity.isdigit() and int(identity) < _ACL_NOBODY):
            raise ValueError(f"an ACL entry without a number, {bare[:80]!r}")
        permissions = sum(bit for bit, letter in zip((4, 2, 1), bits, strict=True) if letter != b"-")
        entries.append((tags[bool(identity)], permissions, int(identity or _ACL_NOBODY)))
    return _ACL_HEADER + b"".join(
        _ACL_ENTRY.pack(*each) for each in sorted(entries, key=lambda each: (each[0], each[2]))
    )


def collect(fd: int) -> dict[bytes, bytes]:
    """Those of an open file that travel, in the order of their names."""
    try:
        names = sorted(map(os.fsencode, os.listxattr(fd)))
        return {name: os.getxattr(fd, name) for name in names if travels(name)}
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # none here, or one that was taken away between the two calls
            raise
        return {}
