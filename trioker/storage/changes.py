"""What callers are told of a layer's changes, beyond what its driver says."""

from collections.abc import Iterable, Iterator, Sequence

from trioker.storage.driver import Change, Kind


def with_parents(changes: Iterable[Change]) -> Iterator[Change]:
    """The same, in the order of a walk, and every directory above one of them, as modified where it has not been told otherwise; never "/".

    Docker lists them for all its drivers. Ours need not: a walker tells a directory before it has seen what is inside.
    """
    last: Sequence[str] = ()
    for change in changes:
        parts = change.path.split("/")
        for depth in range(max(2, _shared(parts, last) + 1), len(parts)):
            yield Change("/".join(parts[:depth]), Kind.MODIFIED)
        yield change
        last = parts


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many names two paths begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (name, its) in pairs if name != its), min(len(one), len(other)))
