"""Finding a container by what a user typed: a unique prefix of its id (behaviour.md section 3)."""

from bisect import bisect_left, insort

from trioker.model.errors import NotFound


class IdIndex:
    """The known ids, sorted."""

    def __init__(self) -> None:
        self._ids: list[str] = []

    def add(self, full_id: str) -> None:
        """Make an id findable."""
        insort(self._ids, full_id)

    def discard(self, full_id: str) -> None:
        """Forget an id."""
        place = bisect_left(self._ids, full_id)
        if self._ids[place : place + 1] == [full_id]:
            del self._ids[place]

    def find(self, prefix: str) -> str:
        """The one id that begins so. Raises NotFound when there is none, or more than one."""
        place = bisect_left(self._ids, prefix)
        found = [each for each in self._ids[place : place + 2] if each.startswith(prefix)]
        if not prefix or len(found) != 1:
            raise NotFound(f"No such container: {prefix}")
        return found[0]
