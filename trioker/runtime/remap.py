"""Which ids of the host containers get: ``--userns-remap`` and the files /etc/subuid and /etc/subgid (subuid(5))."""

import grp
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

from trioker.launcher.userns import Range, Remap
from trioker.model.errors import InvalidParameter

DEFAULT_NAME = "trioker"
"""Whose ids ``default`` means. No such user need exist."""

_USUAL = 65536  # ids a container needs: those of every distribution, with the highest, nobody's, 65534
_FIRST = 100000  # the lowest that useradd(8) gives out (SUB_UID_MIN)
_MOST_RANGES = 340  # that a user namespace takes (user_namespaces(7))
_HIGHEST_ID = 2**32 - 2


def read_remap(wanted: str, root: Path, etc: Path = Path("/etc")) -> Remap:
    """What ``default``, ``USER[:GROUP]`` or ``UID[:GID]`` means on this host, for a daemon whose files are in ``root``.

    All ranges of the user in subuid, and of the group (or without one of the user) in subgid, in the order of the files.
    Raises InvalidParameter saying what is missing where.
    """
    user, _, group = (DEFAULT_NAME if wanted == "default" else wanted).partition(":")
    uids = _find(wanted, etc / "subuid", user, _user_names)
    gids = _find(wanted, etc / "subgid", group or user, _group_names if group else _user_names)
    return Remap(uids, gids, str(root))


def _find(wanted: str, file: Path, name: str, aliases: Callable[[str], set[str]]) -> list[Range]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # as if it were empty
        text = ""
    ranges = _ranges(text, {name} | aliases(name))
    if not ranges:
        free = max([_FIRST, *(first + count for _, first, count in _lines(text))])
        raise InvalidParameter(
            f'--userns-remap={wanted}: {file} has no range for "{name}": add a line such as {name}:{free}:{_USUAL}'
        )
    try:
        return _checked(ranges)
    except ValueError as error:
        raise InvalidParameter(f'--userns-remap={wanted}: the ranges of "{name}" in {file} {error}') from None


def _ranges(text: str, names: set[str]) -> list[Range]:
    """The ranges of one owner, one after the other in the container."""
    found, inside = [], 0
    for owner, first, count in _lines(text):
        if owner in names and count:
            found.append(Range(inside, first, count))
            inside += count
    return found[:_MOST_RANGES]


def _lines(text: str) -> Iterator[tuple[str, int, int]]:
    """The sound lines; others count for nothing, as with newuidmap(1)."""
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and all(each.isascii() and each.isdigit() and len(each) <= 10 for each in fields[1:]):
            yield fields[0], int(fields[1]), int(fields[2])


def _checked(ranges: list[Range]) -> list[Range]:
    end = 1  # id 0 is what containers are kept from
    for each in sorted(ranges, key=lambda each: each.outside):
        if each.outside < 1:
            raise ValueError("have the host's own root in them")
        if each.outside < end:
            raise ValueError("overlap")
        end = each.outside + each.size
    if end > _HIGHEST_ID + 1:
        raise ValueError(f"go beyond {_HIGHEST_ID}")
    return ranges


def _user_names(name: str) -> set[str]:
    """What else the files may call a user: by number, or by name."""
    try:
        found = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        return set()
    return {found.pw_name, str(found.pw_uid)}


def _group_names(name: str) -> set[str]:
    try:
        found = grp.getgrgid(int(name)) if name.isdecimal() else grp.getgrnam(name)
    except (KeyError, OverflowError):
        return set()
    return {found.gr_name, str(found.gr_gid)}
