"""What the storage room needs of other rooms."""

from collections.abc import Sequence
from typing import Protocol

from trioker.model.layer import LayerRecord


class LayerRecords(Protocol):
    """The store of layer records."""

    def layers(self) -> Sequence[LayerRecord]:
        """All; called at start."""

    async def save_layer(self, record: LayerRecord, *, durable: bool = False) -> None:
        """Write or replace the record; ``durable`` returns only when it would survive a power cut."""

    async def delete_layer(self, key: str) -> None:
        """Forget the record; an unknown key is no error."""
