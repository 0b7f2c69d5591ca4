"""Mount recipes and the mount syscalls."""

from typing import NamedTuple


class Mount(NamedTuple):
    """One mount to make in a container's own mount namespace: the arguments of mount(2) but the target.

    ``directory`` is the working directory the mount is made from, so that ``data`` may hold short relative names
    (the kernel takes one page of options); empty for none. A ``bind`` mount has ``fstype`` "none" and MS_BIND in ``flags``.
    """

    source: str
    fstype: str
    flags: int = 0
    data: str = ""
    directory: str = ""
