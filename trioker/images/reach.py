"""Which of a registry's endpoints to talk to."""

from collections.abc import Iterable

from trioker.images.registry.names import Endpoint
from trioker.images.registry.tokens import Tokens
from trioker.images.registry.v2 import Session
from trioker.model.errors import TriokerError


async def first_v2(places: Iterable[Endpoint], tokens: Tokens) -> Endpoint | None:
    """The first endpoint that answers, if that is as a registry of today; None if it does not speak v2.

    Raises TriokerError with what is wrong of each.
    """
    failures: list[TriokerError] = []
    for place in places:
        try:
            return place if await Session(tokens, place).ping() else None
        except TriokerError as error:
            failures.append(error)
    raise TriokerError("; ".join(dict.fromkeys(map(str, failures))))
