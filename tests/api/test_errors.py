"""From kinds of failure to replies (behaviour.md section 1)."""

import pytest

from trioker.api.errors import error_reply, explain, status_of
from trioker.model.errors import (
    Conflict,
    Forbidden,
    Impossible,
    InvalidParameter,
    LaunchFailed,
    NotFound,
    TriokerError,
    Unauthorized,
)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (NotFound("No such container: x"), 404, "No such container: x"),
        (InvalidParameter("all: bad"), 400, "Bad parameter: all: bad"),
        (InvalidParameter("Bad parameter: all"), 400, "Bad parameter: all"),
        (Conflict("Conflict, x wasn't deleted"), 409, "Conflict, x wasn't deleted"),
        (Conflict("taken"), 409, "Conflict: taken"),
        (Impossible("Impossible to remove a running container"), 406, "Impossible to remove a running container"),
        (Impossible("no terminal"), 406, "Impossible: no terminal"),
        (Unauthorized("Wrong login/password, please try again"), 401, "Wrong login/password, please try again"),
        (Forbidden("hasn't been activated"), 403, "hasn't been activated"),
        (TriokerError("disk full"), 500, "disk full"),
        (LaunchFailed("exec", "not found", 127), 500, "not found"),
    ],
)
def test_a_kind_has_a_status_and_an_opening(error, status, text):
    assert (status_of(error), explain(error)) == (status, text)


def test_an_error_is_plain_text_with_a_line_end():
    reply = error_reply(NotFound("No such image: \udcff é"))
    assert (reply.status, reply.body) == (404, "No such image: ? é\n".encode())
    assert reply.headers == ((b"Content-Type", b"text/plain; charset=utf-8"),)
