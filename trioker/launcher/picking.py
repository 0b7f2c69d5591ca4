"""Which part of a tree is packed: the paths of a layer as a tree of their own, and the sources of a COPY found by their patterns."""

import os
import posixpath
from collections.abc import Iterable, Iterator

from trioker.launcher.globs import BadPattern, compile_glob, has_magic
from trioker.launcher.tar_header import BadArchive, shown


class Picked:
    """A directory of the layer: what it holds of it by name, and the names it takes away."""

    __slots__ = ("below", "gone")

    def __init__(self) -> None:
        self.below: dict[str, Picked] = {}
        self.gone: set[str] = set()

    def reach(self, names: Iterable[str]) -> "Picked":
        """The entry at the end of a path, made where missing, as are those on the way."""
        place = self
        for name in names:
            place = place.below.setdefault(name, Picked())
        return place


def pick(only: Iterable[str], deleted: Iterable[str]) -> Picked:
    """The root of the layer."""
    root = Picked()
    for path in only:
        root.reach(_components(path))
    for path in deleted:
        *parents, name = _components(path)
        root.reach(parents).gone.add(name)
    return root


def find_sources(sources: Iterable[str]) -> Iterator[str]:
    """The paths that sources stand for, relative to the process's root, each once; "" is the root. Raises BadArchive for one without a match."""
    seen: set[str] = set()
    for source in sources:
        found = _matches(source)
        if not found:
            raise BadArchive(f"{_printable(source)}: no such file or directory")
        yield from (path for path in found if path not in seen)
        seen.update(found)


def _matches(source: str) -> list[str]:
    parts = _components(posixpath.normpath(f"/{source}"))
    found = [""]
    for part in parts:
        found = [posixpath.join(base, name) for base in found for name in _names(base, part)]
    return [path for path in found if os.path.exists(f"/{path}")]


def _names(base: str, part: str) -> list[str]:
    """The names in the directory ``base`` that a component stands for; one that is no pattern need not be there."""
    if not has_magic(part):
        return [part]
    try:
        glob = compile_glob(part)
        return sorted(filter(glob.fullmatch, os.listdir(f"/{base}")), key=os.fsencode)
    except BadPattern as error:
        raise BadArchive(str(error)) from error
    except (FileNotFoundError, NotADirectoryError):
        return []


def _components(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def _printable(source: str) -> str:
    return shown(os.fsencode(source))
