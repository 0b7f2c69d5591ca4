"""Which extended attributes travel in a layer, in both directions."""

import errno
import os
from collections.abc import Mapping

_EXACT = frozenset((b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"))
_UNSUPPORTED = (errno.ENOTSUP, errno.ENODATA)


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


def collect(fd: int) -> dict[bytes, bytes]:
    """Those of an open file that travel, in the order of their names."""
    try:
        names = sorted(map(os.fsencode, os.listxattr(fd)))
        return {name: os.getxattr(fd, name) for name in names if travels(name)}
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # none here, or one that was taken away between the two calls
            raise
        return {}
