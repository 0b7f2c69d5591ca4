"""What a kind of failure is in HTTP: its status, the words its text begins with, and the reply."""

from collections.abc import Iterator
from contextlib import contextmanager

from trioker.api.replies import text_reply
from trioker.http.messages import Response
from trioker.linux.syscalls import DISK_FULL
from trioker.model.errors import Conflict, Forbidden, Impossible, InvalidParameter, NotFound, TriokerError, Unauthorized

KINDS = (
    (NotFound, 404, ""),
    (InvalidParameter, 400, "Bad parameter"),
    (Conflict, 409, "Conflict"),
    (Impossible, 406, "Impossible"),
    (Unauthorized, 401, ""),
    (Forbidden, 403, ""),
)
"""Kind, status, and how its text begins: the daemon of 2013 told the kinds apart by these words, and so do people (behaviour.md section 1)."""

OTHER_STATUS = 500


def status_of(error: TriokerError) -> int:
    """The HTTP status of a failure."""
    return next((status for kind, status, _ in KINDS if isinstance(error, kind)), OTHER_STATUS)


def explain(error: TriokerError) -> str:
    """The text a client shows, without a line end."""
    text = str(error)
    opening = next((words for kind, _, words in KINDS if isinstance(error, kind)), "")
    return text if text.startswith(opening) else f"{opening}: {text}"


def error_reply(error: TriokerError) -> Response:
    """The failure as a reply: text and a line end, as clients of the time print it."""
    return text_reply(explain(error) + "\n", status=status_of(error))


@contextmanager
def told_of_full_disks() -> Iterator[None]:
    """In its context a full disk is a TriokerError: the one trouble of the host's files that is the user's to end, and no mistake of ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise TriokerError(error.strerror) from error
