"""Lengths of time as Go and Docker write them: ``1m30s``."""

import re

from trioker.images.dockerfile.words import shown

_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = r"([0-9]{1,18})(?:\.([0-9]{0,18}))?(ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"\+?(?:{_PART}){{1,8}}")
_LONGEST_NS = 2**63 - 1  # what a Go client can read back
_SHORTEST_NS = 10**6  # of a health check's times (Docker API, HealthConfig)


def duration_ns(text: str, flag: str) -> int:
    """Nanoseconds, 0 for none. Raises ValueError naming ``flag`` for what is no duration, or less than 1 ms."""
    if text in ("", "0"):
        return 0
    if not _DURATION.fullmatch(text):
        raise ValueError(
            f"invalid duration {shown(text)!r} for --{flag}: a number with a unit is wanted, as 30s, 1m30s, 500ms"
        )
    parts = re.findall(_PART, text)
    length: int = sum(int(whole + part) * _UNITS_NS[unit] // 10 ** len(part) for whole, part, unit in parts)
    if length and not _SHORTEST_NS <= length <= _LONGEST_NS:
        raise ValueError(f"duration {shown(text)!r} for --{flag} cannot be less than 1ms or more than 292 years")
    return length
