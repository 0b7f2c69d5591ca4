"""What the unpacking of a layer and the writing into a tree make files with."""

import os
import stat

from trioker.launcher.tar_header import BLOCK_DEVICE, CHARACTER_DEVICE, FIFO, shown

NODE_TYPES = {CHARACTER_DEVICE: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
DIRECTORY_ITSELF = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def components(path: bytes) -> list[bytes]:
    """The names a path goes through, from the root. Raises ValueError for ``..``: there is no harmless use of it in an archive."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise ValueError(f'".." in the path {shown(path)}')
    return parts
