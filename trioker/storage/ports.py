"""What the storage room needs of other rooms."""

from collections.abc import Callable, Sequence
from typing import Protocol

from trioker.model.layer import LayerRecord
from trioker.storage.driver import Mount


class LayerRecords(Protocol):
    """The store of layer records."""

    def layers(self) -> Sequence[LayerRecord]:
        """All; called at start."""

    async def save_layer(self, record: LayerRecord, *, durable: bool = False) -> None:
        """Write or replace the record; ``durable`` returns only when it would survive a power cut."""

    async def delete_layer(self, key: str) -> None:
        """Forget the record; an unknown key is no error."""


class Trees(Protocol):
    """What a migration has done by confined helpers. ``tell`` hears how many bytes were read so far; failures are TriokerErrors."""

    async def mirror(
        self,
        old: Sequence[Mount],
        new: Sequence[Mount],
        touched: Sequence[str],
        tell: Callable[[int], None],
        *,
        thorough: bool,
    ) -> None:
        """Make the tree that ``new`` shows equal to that of ``old``, what is at ``touched`` anew in any case.

        Elsewhere contents are compared only if it is to be ``thorough``. Raises NoRoom where the new one's filesystem is full.
        """

    async def compare(
        self,
        old: Sequence[Sequence[Mount]],
        new: Sequence[Sequence[Mount]],
        touched: Sequence[str],
        tell: Callable[[int], None],
        *,
        since: int,
    ) -> str:
        """Compare two trees, each followed by the one below it (no mounts for none), which are known to be equal.

        Returns the path of the first entry that is not equal, "" where all are. What is at ``touched`` is read in any case, and what was changed
        in the new tree ``since`` (nanoseconds, by the kernel's clock for files).
        """
