"""What every check works with: a driver on a directory of its own, and trees mounted as a container sees them."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from trioker.linux import mounts, syscalls
from trioker.storage.changes import with_parents
from trioker.storage.driver import Change, Driver, Kind, Lists, OpenDriver

BASE, MIDDLE, TOP, OTHER = ("ba" * 32, "1d" * 32, "70" * 32, "07" * 32)
"""Keys as the store makes them: 64 hex digits."""

CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")
"""``setcap cap_net_raw+ep``, as the attribute holds it (linux/capability.h, struct vfs_cap_data)."""

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


class Trial:
    """A driver under trial, with the little every check needs."""

    def __init__(self, open_driver: OpenDriver, root: Path, options: Mapping[str, str] = NO_OPTIONS) -> None:
        self.open_driver, self.root, self.options = open_driver, root, options
        self.driver: Driver = self.open()
        self.entries_when_empty = self.entries()

    def open(self) -> Driver:
        """One more driver on the same data."""
        return self.open_driver(self.root, self.options)

    def reopen(self) -> None:
        """Close the driver and open its data again."""
        self.driver.close()
        self.driver = self.open()

    def entries(self) -> set[str]:
        """All that lies in the driver's directory."""
        return {os.path.join(place, name) for place, inside, files in os.walk(self.root) for name in (*inside, *files)}

    def base(self, *files: str) -> Path:
        """Make BASE with these files, each holding its own name; filled as the unpacker fills it."""
        self.driver.create(BASE, None)
        path = self.driver.unpack_target(BASE).path
        fill(path, *files)
        return path

    @contextmanager
    def shown(self, key: str, *, readonly: bool = False) -> Iterator[Path]:
        """The tree ``key``, mounted as a container sees it."""
        with tempfile.TemporaryDirectory(prefix="driver-suite-") as place:
            recipes = self.driver.mounts(key, readonly=readonly)
            mounts.make(recipes, place)
            try:
                yield Path(place)
            finally:
                os.chdir("/")
                for recipe in recipes:
                    if not recipe.flags & mounts.MS_REMOUNT:
                        syscalls.umount2(place, syscalls.MNT_DETACH)

    def changes(self, key: str) -> list[Change]:
        """What the driver says that differs, as the store hands it on."""
        return list(with_parents(self.driver.changes(key)))

    def expect_whole(self, key: str, *files: str) -> None:
        """The tree shows exactly these files, each holding its own name."""
        with self.shown(key, readonly=True) as root:
            found = {str(each.relative_to(root)): each.read_text() for each in root.rglob("*") if each.is_file()}
        assert found == {name: name for name in files}, f"the tree {key[:4]} holds {found}"

    def expect_keys(self, *keys: str) -> None:
        """Where the driver can list, it lists these."""
        if isinstance(self.driver, Lists):
            found = set(self.driver.keys())
            assert found == set(keys), f"keys() said {_short(found)} where there are {_short(keys)}"

    def remove_all(self) -> None:
        """Every check ends with the promise of ``remove``: nothing is left but what opening alone makes."""
        for key in (TOP, OTHER, MIDDLE, BASE):
            self.driver.remove(key)
        left = self.entries() - self.entries_when_empty
        self.driver.close()
        assert not left, f"remove() left {sorted(left)}"


Check = Callable[[Trial], None]


def fill(root: Path, *files: str) -> None:
    """Make files holding their own names."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def expect(found: Sequence[Change], *expected: tuple[str, Kind]) -> None:
    """``changes`` said this and nothing else."""
    assert [tuple(change) for change in found] == list(expected), f"changes() said {found}"


def _short(keys: Iterable[str]) -> list[str]:
    return sorted(key[:4] for key in keys)
