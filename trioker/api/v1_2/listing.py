"""Which containers a list shows (page, "List containers"; behaviour.md section 4)."""

import re
from collections.abc import Sequence

import attrs

from trioker.api.decoding import show
from trioker.api.v1_2.parameters import Parameters
from trioker.model.container import Container
from trioker.model.errors import InvalidParameter

NO_LIMIT = -1
"""What clients send for "not given"."""

ID_PREFIX = re.compile(r"[0-9a-f]{1,64}", re.ASCII)


@attrs.frozen
class Listing:
    """What was asked for. Without any of it only running containers are shown."""

    all: bool
    limit: int
    since: str
    before: str

    @property
    def include_stopped(self) -> bool:
        """Each of the parameters shows the stopped ones too."""
        return self.all or self.limit != NO_LIMIT or bool(self.since or self.before)


def read_listing(query: Parameters) -> Listing:
    """From the query. Raises InvalidParameter."""
    limit = query.number("limit", NO_LIMIT)
    if limit < NO_LIMIT:
        raise InvalidParameter(f"limit: expected 0 or more, or -1 for all, got {limit}")
    return Listing(all=query.flag("all"), limit=limit, since=_id(query, "since"), before=_id(query, "before"))


def _id(query: Parameters, name: str) -> str:
    text = query.text(name)
    if text and not ID_PREFIX.fullmatch(text):
        raise InvalidParameter(f"{name}: expected a container's id, got {show(text)}")
    return text


def select(containers: Sequence[Container], listing: Listing) -> Sequence[Container]:
    """Those to show, of all of them newest first.

    An id that no container has is no error, as in 2013: clients keep the last id they saw, and its container may be gone. Nothing is then
    before it, and everything since.
    """
    start = _position(containers, "before", listing.before) + 1 if listing.before else 0
    end = _position(containers, "since", listing.since) if listing.since else len(containers)
    rows = [row for row in containers[start:end] if listing.include_stopped or row.state.running]
    return rows if listing.limit == NO_LIMIT else rows[: listing.limit]


def _position(containers: Sequence[Container], name: str, prefix: str) -> int:
    found = [index for index, container in enumerate(containers) if container.id.startswith(prefix)]
    if len(found) > 1:
        raise InvalidParameter(f"{name}: {len(found)} containers' ids begin with {show(prefix)}")
    return found[0] if found else len(containers)
