"""Whose a bridge is: that is written on it, so that two stores which name the same one do not take each other's links away."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from trioker.linux.links import Link
from trioker.model.errors import Conflict
from trioker.model.network import NetworkOptions, NetworkRecord
from trioker.network.endpoint import is_endpoint, link_prefix

_MARK = "trioker"
_LONGEST = 255  # bytes of an alias (linux/if.h, IFALIASZ, less one)


class Owner(NamedTuple):
    """A store that has made a bridge."""

    store: str
    """The first digits of its id."""
    directory: str

    def mark(self) -> str:
        """What is written on its bridge."""
        return os.fsdecode(os.fsencode(" ".join((_MARK, *self)))[:_LONGEST])


def ourselves(options: NetworkOptions) -> Owner:
    """Who asks for a network."""
    return Owner(options.store[:12], options.root)


def owner_of(mark: str) -> Owner | None:
    """Whose mark it is; None for anything else that may be written on a link."""
    words = mark.split(" ", 2)
    return Owner(*words[1:]) if len(words) == 3 and words[0] == _MARK else None


def check(bridge: Link, links: Sequence[Link], options: NetworkOptions) -> None:
    """Raises Conflict where another store has the bridge, or containers on it.

    One whose directory is gone and that has nothing on it any more has left it behind: then it may be taken.
    """
    owner = owner_of(bridge.alias)
    other = owner if owner and owner.store != ourselves(options).store else None
    ours = link_prefix(options.store)
    strangers = [
        each for each in links if each.master == bridge.number and is_endpoint(each) and not each.name.startswith(ours)
    ]
    if other and (strangers or os.path.isdir(other.directory)):
        raise Conflict(
            f"the bridge {bridge.name} belongs to the trioker of {other.directory} (store {other.store}): choose another"
            f" name with -b, or, if that trioker is no more, 'ip link delete {bridge.name}'"
        )
    if strangers:
        raise Conflict(f"the bridge {bridge.name} has containers of another trioker on it: choose another name with -b")


def endpoints(present: Sequence[Link], record: NetworkRecord) -> list[Link]:
    """The links that are of containers, or wait for one, of the store of ``record``."""
    owner = owner_of(record.owner)
    prefix = link_prefix(owner.store if owner else "")
    return [each for each in present if is_endpoint(each) and each.name.startswith(prefix)]


def is_anothers(bridge: Link, mark: str) -> bool:
    """Whether it belongs to another store than the one of ``mark``."""
    owner, own = owner_of(bridge.alias), owner_of(mark)
    return owner is not None and (own is None or owner.store != own.store)
