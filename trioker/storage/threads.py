"""Calls that block and usually end soon, made in a thread."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import trio

T = TypeVar("T")

ENDS_WITHIN = 5.0
"""Seconds for a call that nobody waits for any more."""


async def work(call: Callable[..., T], *arguments: object) -> T:
    """Call what blocks, in a thread.

    Cancelled, it has a few seconds to end. After that it is left behind, for it may hang: what it leaves half-done is as after a ``kill -9``.
    """
    ended, token = trio.Event(), trio.lowlevel.current_trio_token()

    def told() -> T:
        try:
            return call(*arguments)
        finally:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(ended.set)

    await trio.lowlevel.checkpoint_if_cancelled()
    try:
        return await trio.to_thread.run_sync(told, abandon_on_cancel=True)
    except trio.Cancelled:
        with trio.move_on_after(ENDS_WITHIN, shield=True):
            await ended.wait()
        raise
