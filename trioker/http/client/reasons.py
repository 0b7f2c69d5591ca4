"""Deadlines, and failures in words that help."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from trioker.http.client.errors import FetchError, Hopeless

_QUOTED = 200
"""Characters of what somebody else says."""


@contextmanager
def explained(label: str, seconds: float) -> Iterator[None]:
    """Turn what can fail on the way, and ``seconds`` without success, into FetchError beginning with ``label``."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise FetchError(f"{label}: nothing happened for {seconds:g} s") from None
    except (OSError, trio.BrokenResourceError) as error:
        raise failure(label, error) from error


def failure(label: str, error: Exception) -> FetchError:
    """The FetchError for what a wire raised."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Hopeless(f"{label}: certificate verify failed: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return Hopeless(f"{label}: TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}")
    return FetchError(f"{label}: {reason(error)}")


def reason(error: BaseException) -> str:
    """What the operating system says of a connection, without what Python and trio say around it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(reason(each) for each in error.exceptions))
    if error.__cause__ is not None:
        return reason(error.__cause__)
    if isinstance(error, OSError) and error.errno is not None:
        # Negative numbers are those of the name service, which have no text in the C library's table.
        text = os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
        return text[:1].lower() + text[1:]
    return quoted(error)


def quoted(error: object) -> str:
    """A text that may hold a server's words: printable, and not long."""
    text = str(error)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
