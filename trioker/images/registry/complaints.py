"""What a registry says when it refuses (OCI distribution-spec 1.1, "Error Codes"), as errors of ours in the words users know."""

import json

from trioker.http.client import Answer, FetchError
from trioker.images.registry.documents import BadDocument, printable
from trioker.model.errors import Forbidden, NotFound, TriokerError, Unauthorized

COMPLAINT_BYTES = 64 * 1024
"""Read of a refusal's body."""
MESSAGE_CHARACTERS = 300
"""Shown of it."""
_PASSING = {408, 425, 429}


async def refusal(answer: Answer, what: str) -> FetchError | TriokerError:
    """The error to raise for an answer that is none we wanted: FetchError where asking again may help, else the kind that fits.

    ``what`` was asked for: ``manifest for busybox:latest``.
    """
    said = await _said(answer)
    if answer.status in _PASSING or answer.status >= 500:
        return answer.error(said or f"the registry answered {answer.status}")
    if answer.status == 401:
        return Unauthorized(f"unauthorized: {_without(said, 'unauthorized') or 'authentication required'} ({what})")
    if answer.status == 403:
        return Forbidden(f"denied: {_without(said, 'denied') or 'requested access to the resource is denied'} ({what})")
    if answer.status == 404:
        return NotFound(f"{what} not found: {said or 'the registry answered 404'}")
    return TriokerError(f"{what}: {said or f'the registry answered {answer.status}'}")


def want_json(answer: Answer, what: str) -> None:
    """Raises BadDocument where a web page came in place of a registry's answer: a portal, a proxy, a wrong address."""
    if media_type(answer) in {"text/html", "application/xhtml+xml"}:
        raise BadDocument(f"{what}: the registry answered {media_type(answer)} instead of JSON")


def media_type(answer: Answer) -> str:
    """The Content-Type without parameters, in lower case."""
    return answer.header(b"content-type").partition(";")[0].strip().lower()


async def drain(answer: Answer) -> None:
    """Read what is of no interest, so that the connection can be used again."""
    try:
        await answer.read(COMPLAINT_BYTES)
    except FetchError:
        return


async def _said(answer: Answer) -> str:
    """``manifest unknown: what the registry adds``; "" where it says nothing that can be read."""
    try:
        body = json.loads((await answer.read(COMPLAINT_BYTES)).decode())
    except (FetchError, ValueError, RecursionError):
        return (
            f"HTTP status {answer.status}, {media_type(answer)} instead of JSON"
            if media_type(answer) == "text/html"
            else ""
        )
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else body
    if not isinstance(first, dict):
        return ""
    code = _text(first.get("code")).lower().replace("_", " ")
    message = _text(first.get("message")) or _text(first.get("details")) or _text(first.get("error"))
    return ": ".join(dict.fromkeys(filter(None, (code, message))))


def _text(value: object) -> str:
    return printable(value, MESSAGE_CHARACTERS) if isinstance(value, str) else ""


def _without(said: str, code: str) -> str:
    """Our own opening says the code already."""
    return "" if said == code else said.removeprefix(f"{code}: ")
