"""Random changes to a tree, the same for the same seed."""

import errno
import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_NAMES = ("a", "b", "c", "d.txt", "new\nline", os.fsdecode(b"\xff"), ".wh", "z z")
_DEEPEST = 4


class Mutator:
    """Changes the tree ``root`` a step at a time; ``linking`` gives files further names, too."""

    def __init__(self, root: Path, seed: int, *, linking: bool = True) -> None:
        self._root = os.fspath(root)
        self._random = random.Random(seed)  # noqa: S311  to be repeated, not to be secret
        self._size = seed % 1000
        self._linking = linking
        self.log: list[str] = []

    def run(self, steps: int) -> None:
        """Make so many steps; one that the tree makes impossible counts too."""
        deeds: list[Callable[[str], None]] = [
            *(self._write, self._write, self._make_directory, self._make_directory, self._make_link, self._make_fifo),
            *(self._change_mode, self._change_owner, self._change_times, self._change_attribute),
            *(self._delete, self._move, self._add_name, self._make_anew, self._open, self._touch, self._replace),
        ]
        for _ in range(steps):
            deed, path = self._random.choice(deeds), self._place()
            self.log.append(f"{deed.__name__} {path!r}")
            with suppress(OSError):  # it is not there, or is no directory
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
        """As mv(1) does: a directory of the image may be on another filesystem, by what overlayfs says."""
        source, target = self._root + path, self._root + self._place()
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            if os.path.isdir(target):
                os.rmdir(target)
            subprocess.run(["cp", "-a", "-T", "--", source, target], check=True)
            shutil.rmtree(source)

    def _add_name(self, path: str) -> None:
        target = self._place()
        if self._linking:
            os.link(self._root + path, self._root + target, follow_symlinks=False)

    def _make_anew(self, path: str) -> None:
        """A directory removed and made again hides what the image has there."""
        self._delete(path)
        os.mkdir(self._root + path)
        for name in self._random.sample(_NAMES, 2):
            self._write(f"{path}/{name}")

    def _change_attribute(self, path: str) -> None:
        os.setxattr(self._root + path, "user.colour", bytes([self._random.randrange(3)]), follow_symlinks=False)

    def _open(self, path: str) -> None:
        """For writing, which is all that overlayfs needs to copy a file; but pipes would wait."""
        os.close(os.open(self._root + path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK))

    def _touch(self, path: str) -> None:
        """Set what was so before."""
        found = os.lstat(self._root + path)
        os.lchown(self._root + path, found.st_uid, found.st_gid)
        os.utime(self._root + path, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)

    def _replace(self, path: str) -> None:
        """By its equal; the directory keeps its date, too."""
        above, target = os.path.dirname(self._root + path), self._root + path
        dated = os.lstat(above).st_mtime_ns
        if stat.S_ISREG(os.lstat(target).st_mode):
            subprocess.run(["cp", "-a", "-T", "--", target, f"{target}~"], check=True)
            os.rename(f"{target}~", target)
            os.utime(above, ns=(dated, dated))
