"""Trying again, and how long to wait before."""

import random
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import trio

from trioker.http.client.errors import FetchError, Hopeless, Unreached
from trioker.http.client.limits import FIRST_PAUSE, LONGEST_PAUSE

T = TypeVar("T")
_PASSING = {408, 425, 429}
"""Answers that may be others in a moment, as all 5xx."""
_DATE = re.compile(r"[A-Z][a-z]{2}, (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


async def retrying(attempt: Callable[[], Awaitable[T]], *, tries: int = 5) -> T:
    """What ``attempt`` returns, at the latest at the last of so many ``tries``.

    Again after a FetchError that may pass: a lost connection, silence, 408, 429, 5xx. Between them a pause that doubles, or what the
    server asks for by Retry-After. A server that cannot be reached at all is given up at once, unless it was there at an earlier try:
    who mistypes a name should not have to wait, who restarts a registry should not have to begin again.
    """
    met = False
    for number in range(tries - 1):
        try:
            return await attempt()
        except FetchError as error:
            met = met or not isinstance(error, Unreached)
            if not met or not _may_pass(error):
                raise
            pause = max(_backoff(number), error.retry_after or 0)
        await trio.sleep(pause)
    return await attempt()


def _may_pass(error: FetchError) -> bool:
    if error.status:
        return error.status in _PASSING or error.status >= 500
    return not isinstance(error, Hopeless)


def _backoff(number: int) -> float:
    """Seconds after the attempt of this number, from 0; spread, so that those who failed together do not come back together."""
    return FIRST_PAUSE * 2.0**number * random.uniform(0.5, 1)  # noqa: S311 - nobody gains by guessing it


def wanted_pause(value: str) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, section 10.2.3), at most LONGEST_PAUSE; None if it does not ask.

    Of the three forms of an HTTP date only the one that may be sent today is known.
    """
    if re.fullmatch("[0-9]{1,9}", value):
        seconds = float(value)
    elif (moment := _moment(value)) is not None:
        seconds = moment - time.time()
    else:
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def _moment(value: str) -> float | None:
    """Seconds since the epoch, None for what is no date."""
    # Not strptime: it would want the names of months in the locale's language.
    if not (date := _DATE.fullmatch(value)):
        return None
    day, month, year, hour, minute, second = date.groups()
    try:
        number = _MONTHS.index(month) + 1
        return datetime(int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=UTC).timestamp()
    except ValueError:
        return None
