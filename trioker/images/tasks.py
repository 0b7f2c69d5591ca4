"""Work side by side, with one error as the outcome."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

T = TypeVar("T")


@asynccontextmanager
async def nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that raises one task's error as it is, where trio's would wrap it; the others have been cancelled for it."""
    try:
        async with trio.open_nursery() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        errors, others = group.split(Exception)
        if others is not None:  # we are being cancelled, or ended by the keyboard: then errors don't matter
            raise others from None
        raise _first(errors or group) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def each(items: Iterable[T], work: Callable[[T], Awaitable[object]], at_once: int) -> None:
    """``work`` on every item, begun in their order, so many at a time."""
    queue = iter(items)
    async with nursery() as tasks:
        for _ in range(at_once):
            tasks.start_soon(_worker, queue, work)


async def _worker(queue: Iterator[T], work: Callable[[T], Awaitable[object]]) -> None:
    for item in queue:
        await work(item)
