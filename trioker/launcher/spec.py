"""What the daemon asks of the launcher, as the JSON behind the ``spec`` descriptor."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from trioker.linux.mounts import Mount


class Bind(NamedTuple):
    """A host file or directory shown at ``path``, resolved inside the container's root and made there where missing."""

    source: str
    path: str
    readonly: bool


class LinkSpec(NamedTuple):
    """What one container's link is to be."""

    name: str
    """A further name for the host's end, by which the daemon finds it."""
    mac: str
    address: str
    """With the length of its prefix: ``10.213.0.2/16``."""
    gateway: str
    address6: str = ""
    """"" for no IPv6 at all, as the next."""
    gateway6: str = ""


class LaunchSpec(NamedTuple):
    """One run of one container."""

    id: str
    run_dir: str
    hostname: str
    argv: list[str]
    env: list[str]
    """``KEY=value`` in order. Without a HOME, that of the user is added."""
    cwd: str
    user: str
    """"" (root), name, uid, ``user:group``; names are looked up in the container's own files."""
    tty: bool
    open_stdin: bool
    mounts: list[Mount]
    """The root, made in order on one directory (``storage.driver``)."""
    mount_point: str
    """An existing empty directory of the host; what is mounted on it is seen only in the container's own mount namespace."""
    binds: list[Bind]
    log_dir: str
    log_size: int
    log_files: int
    attached: bool
    capabilities: list[str]
    """Names without ``CAP_``; what the daemon itself lacks is left out."""
    seccomp: bool
    masked_paths: list[str]
    readonly_paths: list[str]
    rlimits: dict[str, list[int]]
    """``{"nofile": [soft, hard]}``, names as in resource.RLIMIT_* in lower case."""
    cgroup_parent: str
    """Path below every hierarchy's root, for example ``trioker``."""
    memory: int
    memory_swap: int
    """Memory plus swap in bytes, -1 unlimited, 0 unset."""
    cpu_shares: int
    pids_limit: int
    network: LinkSpec | None = None
    """Its place on the bridge; None for its loopback alone."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Decode; unknown keys raise TypeError (both sides are of one file)."""
        value = dict(value)
        value["mounts"] = [Mount(*each) for each in value["mounts"]]
        value["binds"] = [Bind(*each) for each in value["binds"]]
        value["network"] = LinkSpec(*value["network"]) if value.get("network") else None
        return cls(**value)


class UnpackSpec(NamedTuple):
    """One layer to unpack."""

    path: str
    whiteouts: str
    """``remove`` or ``overlay``."""
    room: int
    """Bytes the archive may fill of the disk."""
    max_bytes: int
    """Of its files as they look, holes included."""
    max_entries: int
    below: Sequence[Mount] = ()
    """For ``overlay``: what shows the tree below, made in a mount namespace of the helper's own."""
    mount_point: str = ""
    """An existing empty directory to make them on."""


class WriteSpec(NamedTuple):
    """One archive to write into a tree, as COPY and ADD do."""

    mounts: list[Mount]
    """What shows the tree, made in a mount namespace of the helper's own."""
    mount_point: str
    """An existing empty directory to make them on."""
    directory: str
    """Absolute path in the tree that the archive's names are below. Symbolic links are followed inside the tree, what is missing is made."""
    single: str
    """Where the archive is one file: ``directory`` is what it becomes itself; or, when that is a directory or ends in a slash, a file of this
    name in it. "" for any archive."""
    owner: str
    """``user``, ``user:group`` or numbers, looked up in the tree's own files: owner of all that is made. "" leaves what the archive says."""
    max_bytes: int
    max_entries: int


class PackSpec(NamedTuple):
    """One tree to pack, or a part of it: at most one of ``only`` (with ``deleted``), ``sources`` and ``directory`` says which."""

    mounts: list[Mount]
    """What shows the tree, made in a mount namespace of the helper's own."""
    mount_point: str
    """An existing empty directory to make them on."""
    only: list[str] | None = None
    """A layer: these absolute paths, without what is below them, and the directories they are in."""
    deleted: Sequence[str] = ()
    """Absolute paths the layer takes away."""
    sources: Sequence[str] = ()
    """These absolute paths with all below them, each under the name it has here; ``*``, ``?`` and ``[]`` as Go's path.Match has them."""
    directory: str = ""
    """This directory as the root; an empty archive where there is none."""


class MirrorSpec(NamedTuple):
    """One tree to make equal to another."""

    old: list[Mount]
    """What shows the model, made in a mount namespace of the helper's own."""
    new: list[Mount]
    """What shows the tree that is changed."""
    mount_point: str
    """An existing empty directory to make them below."""
    touched: list[str]
    """Absolute paths of what is made anew in any case."""
    thorough: bool
    """Whether contents are compared where stat(2) tells no difference."""


class CompareSpec(NamedTuple):
    """A copied tree to compare with its model."""

    old: list[Mount]
    """What shows the model, made in a mount namespace of the helper's own."""
    old_below: list[Mount]
    """What shows the tree it was made from; empty if there is none."""
    new: list[Mount]
    """The same of the copy."""
    new_below: list[Mount]
    mount_point: str
    """An existing empty directory to make them below."""
    since: int
    """What is known beforehand (``compare.Known``), as the next one."""
    touched: list[str]
