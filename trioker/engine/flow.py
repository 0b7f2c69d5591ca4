"""A byte stream between a producer that sends and a consumer that iterates."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import trio

from trioker.engine.ports import Send

T = TypeVar("T")


async def carry(
    produce: Callable[[Send], Awaitable[None]], consume: Callable[[AsyncIterator[bytes]], Awaitable[T]]
) -> T:
    """Run both: what ``produce`` sends is what ``consume`` reads, without a pile between them. Returns what ``consume`` does.

    When one fails the other is cancelled, and the failure is raised as it is. A stream whose producer failed never comes to its end.
    """
    sender, receiver = trio.open_memory_channel[bytes](0)

    async def run() -> None:
        await produce(sender.send)
        sender.close()

    try:
        with sender, receiver:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                result = await consume(receiver)
                nursery.cancel_scope.cancel()  # of what comes behind the consumer's end nobody wants to know
    except BaseExceptionGroup as group:
        raise _cause(group) from None
    return result


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure; a cancellation only where there is nothing else."""
    leaves: list[BaseException] = [group]
    while any(isinstance(each, BaseExceptionGroup) for each in leaves):
        leaves = [
            leaf for each in leaves for leaf in (each.exceptions if isinstance(each, BaseExceptionGroup) else (each,))
        ]
    return next((each for each in leaves if not isinstance(each, trio.Cancelled)), leaves[0])
