"""Times as registries write them (RFC 3339), to the nanosecond."""

import calendar
import re
import time

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_SECOND = 10**9
_LAST = 2**63 - 1


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch; 0 for "" and for times before it, as Go's zero time (year 1). Raises ValueError."""
    if not text:
        return 0
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("expected a time like 2013-07-15T15:47:25.123Z")
    year, month, day, hour, minute, second = (int(match[place]) for place in range(1, 7))
    if year == 0 or not 1 <= month <= 12 or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 60:
        raise ValueError("there is no such time")
    fraction = int((match[7] or "0")[:9].ljust(9, "0"))
    offset = (int(match[9] or 0) * 60 + int(match[10] or 0)) * (-60 if match[8] == "-" else 60)
    seconds = calendar.timegm((year, month, day, hour, minute, second)) - offset
    return min(max(seconds * _SECOND + fraction, 0), _LAST)


def show_time(nanoseconds: int) -> str:
    """The same as text, in UTC, with as many decimals as it takes."""
    seconds, fraction = divmod(nanoseconds, _SECOND)
    decimals = f".{fraction:09}".rstrip("0") if fraction else ""
    return f"{_utc(seconds)}{decimals}Z"


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
