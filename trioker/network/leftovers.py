"""Links of ended containers. Each goes with its namespace a little later, unless somebody keeps that; then it still has its address."""

from collections.abc import Collection

_MANY = 256  # so many are remembered before anybody looks which have gone


class Leftovers:
    """Which link to remove, should it still be there, before an address is another container's."""

    def __init__(self) -> None:
        self._links: dict[str, str] = {}
        self._look_at = _MANY

    def add(self, address: str, link: str) -> bool:
        """Remember it; returns whether it is time to ``keep`` those that are there."""
        self._links[address] = link
        if len(self._links) < self._look_at:
            return False
        self._look_at *= 2
        return True

    def take(self, address: str) -> str:
        """The link that may still have this address, "" for none."""
        return self._links.pop(address, "")

    def keep(self, present: Collection[str]) -> None:
        """Forget all links but those that are there."""
        self._links = {address: link for address, link in self._links.items() if link in present}
        self._look_at = 2 * len(self._links) + _MANY
