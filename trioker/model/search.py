"""What a search for images finds."""

import attrs


@attrs.frozen
class SearchResult:
    """One repository."""

    name: str
    description: str = ""
