"""Identifiers: 32 random bytes as 64 hex digits; the short form is the first 12 (behaviour.md section 3)."""

import secrets

SHORT_LENGTH = 12


def new_id() -> str:
    """A fresh identifier: 64 lower-case hex digits."""
    return secrets.token_hex(32)


def short_id(full: str) -> str:
    """The 12-digit form that users see."""
    return full[:SHORT_LENGTH]
