"""What a long job tells while it runs; a dialect makes its own words of it."""

from collections.abc import Awaitable, Callable

import attrs


@attrs.frozen
class Progress:
    """One thing to tell. With ``id`` it is about one part (a layer, an image), and replaces what was told of that part before."""

    status: str
    """Words for people: "Pulling repository busybox", "Downloading"."""
    id: str = ""
    """Short id of the part; "" for the whole job."""
    current: int | None = None
    """Bytes so far; None where nothing is being counted."""
    total: int = 0
    """Bytes in all; 0 when unknown."""


Tell = Callable[[Progress], Awaitable[None]]
"""Takes what there is to tell; may wait for a slow client, and drops what comes too often."""


@attrs.frozen
class Credentials:
    """Who asks a registry. Never logged, never stored: the repr shows nothing."""

    username: str = attrs.field(default="", repr=False)
    password: str = attrs.field(default="", repr=False)
    email: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)
    """An identity or registry token, sent in place of name and password (``X-Registry-Auth``)."""

    def __bool__(self) -> bool:
        return bool(self.username or self.token)
