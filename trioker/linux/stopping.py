"""Signals that end the process, held back for as long as there is something to put away before that."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def held_back() -> Iterator[int]:
    """From the first signal on, the descriptor is readable, for the block to come to its end; there the signal does what it would have done.

    So no handler raises its exception in the midst of the block. A second signal is not held back, and a signal that is ignored stays so. For the
    main thread; a forked child calls ``let_through``.
    """
    received: list[int] = []
    before = {each: signal.getsignal(each) for each in _ENDING if signal.getsignal(each) is not signal.SIG_IGN}
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler)

    def note(number: int, _: object) -> None:
        received.append(number)
        restore()

    waker = signal.set_wakeup_fd(writing)
    try:
        for each in before:
            signal.signal(each, note)
        yield reading
    finally:
        restore()
        signal.set_wakeup_fd(waker)
        os.close(reading)
        os.close(writing)
        if received:
            signal.raise_signal(received[0])


def let_through() -> None:
    """In a forked child: have them end it, and say nothing to the parent."""
    signal.set_wakeup_fd(-1)
    for each in _ENDING:
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, signal.SIG_DFL)
