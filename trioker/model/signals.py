"""What signals are called."""

import signal
from collections.abc import Iterator

from trioker.model.errors import InvalidParameter


def _signals() -> Iterator[tuple[str, int]]:
    """Every way to say a signal."""
    yield "", signal.SIGTERM
    for number in signal.valid_signals():
        yield str(int(number)), number
    for each in signal.Signals:
        yield each.name.removeprefix("SIG"), each
    for offset in range(1, signal.SIGRTMAX - signal.SIGRTMIN):
        yield f"RTMIN+{offset}", signal.SIGRTMIN + offset
        yield f"RTMAX-{offset}", signal.SIGRTMAX - offset


_NUMBERS = {name: int(number) for name, number in _signals()}


def signal_number(text: str) -> int:
    """The number of a signal: ``SIGQUIT``, ``quit``, ``3``, ``RTMIN+2``; SIGTERM for "". Raises InvalidParameter."""
    try:
        return _NUMBERS[text.upper().removeprefix("SIG")]
    except KeyError:
        raise InvalidParameter(f"Invalid signal: {text[:64]}") from None
