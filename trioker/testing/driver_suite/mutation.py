"""Random changes to a tree, the same for the same seed."""

import os
import random
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_NAMES = ("a", "b", "c", "d.txt", "new\nline", os.fsdecode(b"\xff"), ".wh", "z z")
_DEEPEST = 4


class Mutator:
    """Changes the tree ``root`` a step at a time, and remembers every path it may have touched."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = os.fspath(root)
        self._random = random.Random(seed)  # noqa: S311  to be repeated, not to be secret
        self._size = seed % 1000
        self.touched: set[str] = set()
        self.log: list[str] = []

    def run(self, steps: int) -> None:
        """Make so many steps; one that the tree makes impossible counts too."""
        deeds: list[Callable[[str], None]] = [
            *(self._write, self._write, self._make_directory, self._make_directory, self._make_link, self._make_fifo),
            *(self._change_mode, self._change_owner, self._change_times),
            *(self._delete, self._move, self._add_name, self._make_anew),
        ]
        for _ in range(steps):
            deed, path = self._random.choice(deeds), self._place()
            self.log.append(f"{deed.__name__} {path!r}")
            self._touch(path)
            with suppress(OSError):  # it is not there, is no directory, or another filesystem (EXDEV)
                deed(path)

    def _place(self) -> str:
        """A path, there or not, whose parent is there."""
        path = ""
        for _ in range(self._random.randint(1, _DEEPEST)):
            path = f"{path}/{self._random.choice(_NAMES)}"
            if not self._is_directory(path):
                break
        return path

    def _is_directory(self, path: str) -> bool:
        return os.path.isdir(self._root + path) and not os.path.islink(self._root + path)

    def _touch(self, path: str) -> None:
        """``path``, what is below it now, and the directories above it."""
        self.touched.update([path, *self._below(path)])
        while path:
            path = path.rpartition("/")[0]
            self.touched.add(path)

    def _below(self, path: str) -> list[str]:
        found = []
        if self._is_directory(path):
            for place, inside, files in os.walk(self._root + path):
                found += [f"{place[len(self._root) :]}/{name}" for name in (*inside, *files)]
        return found

    def _write(self, path: str) -> None:
        """Every write a size of its own: a clock tick is long enough for two."""
        if os.path.lexists(self._root + path) and not stat.S_ISREG(os.lstat(self._root + path).st_mode):
            return
        self._size += 1
        Path(self._root + path).write_bytes(b"x" * self._size)

    def _make_directory(self, path: str) -> None:
        os.mkdir(self._root + path)

    def _make_link(self, path: str) -> None:
        os.symlink(self._random.choice(_NAMES), self._root + path)

    def _make_fifo(self, path: str) -> None:
        os.mkfifo(self._root + path)

    def _change_mode(self, path: str) -> None:
        if not os.path.islink(self._root + path):
            os.chmod(self._root + path, 0o700 | self._random.randrange(0o100))

    def _change_owner(self, path: str) -> None:
        os.lchown(self._root + path, self._random.randrange(5), self._random.randrange(5))

    def _change_times(self, path: str) -> None:
        os.utime(self._root + path, ns=(1, self._random.randrange(10**18)), follow_symlinks=False)

    def _delete(self, path: str) -> None:
        if self._is_directory(path):
            shutil.rmtree(self._root + path)
        else:
            os.unlink(self._root + path)

    def _move(self, path: str) -> None:
        target = self._place()
        self._touch(target)
        os.rename(self._root + path, self._root + target)
        self._touch(target)

    def _add_name(self, path: str) -> None:
        target = self._place()
        self._touch(target)
        os.link(self._root + path, self._root + target, follow_symlinks=False)

    def _make_anew(self, path: str) -> None:
        """A directory removed and made again hides what the image has there."""
        self._delete(path)
        os.mkdir(self._root + path)
        for name in self._random.sample(_NAMES, 2):
            self._write(f"{path}/{name}")
        self._touch(path)
