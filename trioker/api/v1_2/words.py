"""Times and sizes in the words of 2013 (behaviour.md sections 4 and 5)."""

from datetime import UTC, datetime

SECOND_NS = 10**9
NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time; clients of the time read it as one."""

SIZE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def seconds(time_ns: int) -> int:
    """Whole seconds since the epoch."""
    return time_ns // SECOND_NS


def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC with as many digits of the second as matter; 0 is ``NEVER``."""
    if time_ns == 0:
        return NEVER
    whole, fraction = divmod(time_ns, SECOND_NS)
    digits = f".{fraction:09}".rstrip("0").rstrip(".")
    moment = datetime.fromtimestamp(whole, UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}{digits}Z"


def duration(length_ns: int) -> str:
    """A length of time as ``ps`` shows it: one unit, rounded down."""
    length = length_ns // SECOND_NS
    minutes, hours = length // 60, length // 3600
    if length < 1:
        return "Less than a second"
    if minutes < 1:
        return f"{length} seconds"
    if minutes == 1:
        return "About a minute"
    if hours < 1:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    return _long_duration(hours)


def _long_duration(hours: int) -> str:
    days = hours // 24
    if hours < 48:
        return f"{hours} hours"
    if days < 14:
        return f"{days} days"
    if days < 90:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"


def size(count: int) -> str:
    """Bytes with four digits and a decimal unit: ``9.476 kB``."""
    value, power = float(count), 0
    while value >= 1000 and power < len(SIZE_UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.4g} {SIZE_UNITS[power]}"


def progress(current: int, total: int) -> str:
    """How far a transfer is: ``9.476 kB/94.86 kB (10%)``, or ``9476/? (n/a)`` when its end is unknown."""
    if total <= 0:
        return f"{current}/? (n/a)"
    return f"{size(current)}/{size(total)} ({100 * current / total:.0f}%)"
