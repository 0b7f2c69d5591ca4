"""Who a container's command runs as: the container's own /etc/passwd and /etc/group, read as data and never through nss."""

from collections.abc import Iterator
from typing import NamedTuple

MAX_ID = 2**31 - 1


UNKNOWN_USER = 1
"""Exit code of a container whose user does not exist (behaviour.md section 4)."""


class UnknownUser(Exception):
    """The user or group is neither a number nor in the files; the text says which."""


class User(NamedTuple):
    """The ids of a process."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    """Supplementary groups, the first of them ``gid``: a process may change its own gid, and must not get rid of that group by it, for files
    can give a group less than all others (CVE-2022-36109)."""
    home: str = "/"
    """Its directory; "/" where none is known."""


class _Account(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def lookup(wanted: str, passwd: str, group: str) -> User:
    """Resolve "", ``name``, ``uid``, ``user:group`` against the text of the two files, as Docker does.

    A number is always an id, also where somebody has it as a name. The files' first match counts. Without a group the account's own is
    taken (0 for an unknown uid), with the groups that list it as a member; with one, that one alone. Raises UnknownUser.
    """
    user, _, group_name = wanted.partition(":")
    account = _find_account(user, passwd)
    if group_name:
        gid = _find_group(group_name, group)
        return User(account.uid, gid, (gid,), account.home)
    memberships = (each.gid for each in _groups(group) if account.name and account.name in each.members)
    return User(account.uid, account.gid, tuple(dict.fromkeys((account.gid, *memberships))), account.home)


def _find_account(user: str, passwd: str) -> _Account:
    uid = _number(user) if user else 0
    for each in _accounts(passwd):
        if (each.name == user) if uid is None else (each.uid == uid):
            return each
    if uid is None:
        raise UnknownUser(f"unable to find user {user}: no matching entries in passwd file")
    return _Account("", uid, 0, "/")


def _find_group(name: str, group: str) -> int:
    gid = _number(name)
    if gid is not None:
        return gid
    for each in _groups(group):
        if each.name == name:
            return each.gid
    raise UnknownUser(f"unable to find group {name}: no matching entries in group file")


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    # The length first: int() of a long text is slow by design, and a container's files may hold anything.
    if len(text) > 10 or int(text) > MAX_ID:
        raise UnknownUser(f"uids and gids must be in range 0-{MAX_ID}: {text[:32]}")
    return int(text)


def _accounts(passwd: str) -> Iterator[_Account]:
    for fields in _lines(passwd, 4):
        uid, gid = _file_number(fields[2]), _file_number(fields[3])
        if uid is not None and gid is not None:
            yield _Account(fields[0], uid, gid, _home(fields))


def _home(fields: list[str]) -> str:
    """The home directory in a line of passwd, "/" where it can be none."""
    home = "".join(fields[5:6])
    return home if home.startswith("/") and "\0" not in home else "/"


def _groups(group: str) -> Iterator[_Group]:
    for fields in _lines(group, 3):
        gid = _file_number(fields[2])
        if gid is not None:
            yield _Group(fields[0], gid, tuple(fields[3].split(",")) if fields[3:] else ())


def _file_number(text: str) -> int | None:
    """A number in a file; one that is no id makes its line count for nothing."""
    try:
        return _number(text)
    except UnknownUser:
        return None


def _lines(text: str, least: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= least:
            yield fields
