"""What goes along with requests, and which of several places is used."""

import pytest

from trioker.images.registry.v1_wire import COOKIE_BYTES, COOKIES, Cookies, NoAnswer, Reply, first_answer, refusal
from trioker.model.errors import Forbidden, NotFound, TriokerError, Unauthorized

URL = "http://a/v1/x"


def set_cookie(value: str) -> tuple[bytes, bytes]:
    return b"set-cookie", value.encode()


def test_cookies_go_back_to_who_set_them_and_nobody_else() -> None:
    cookies = Cookies()
    cookies.take(
        URL, [set_cookie("one=1; Path=/; HttpOnly"), set_cookie("two=a=b"), (b"other", b"x=y"), set_cookie("none")]
    )
    cookies.take(URL, [set_cookie("one=2")])
    assert cookies.headers("http://a/other?q") == [(b"cookie", b"one=2; two=a=b")]
    for elsewhere in ("https://a/v1/x", "http://a:81/", "http://b/"):
        assert cookies.headers(elsewhere) == []


def test_cookies_have_bounds_and_are_not_shown() -> None:
    cookies = Cookies()
    cookies.take(
        URL, [set_cookie(f"large={'x' * COOKIE_BYTES}"), *(set_cookie(f"n{number}=v") for number in range(1000))]
    )
    ((_, value),) = cookies.headers(URL)
    assert value.count(b"=") == COOKIES
    assert "n1" not in repr(cookies)


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        ("application/json", b'{"error": "disk\\nfull"}', "disk full"),
        ("application/json", b'"Username or email already exists"', "Username or email already exists"),
        ("application/json", b'{"error": {"deep": 1}}', ""),
        ("application/json", b"[1]", ""),
        ("text/plain; charset=utf-8", b"first line\nsecond", "first line"),
        ("text/html", b"<html>", ""),
        ("", b"", ""),
        ("text/plain", b"x" * 1000, "x" * 200 + "..."),
    ],
)
def test_a_servers_own_words_are_shown_if_they_are_for_people(content_type: str, body: bytes, said: str) -> None:
    assert Reply(418, [(b"content-type", content_type.encode())], body, URL).error == said


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthorized), (403, Forbidden), (404, NotFound), (400, NoAnswer), (418, TriokerError)]
)
def test_a_status_has_its_kind(status: int, kind: type[TriokerError]) -> None:
    assert type(refusal(Reply(status, [], b"", URL))) is kind


async def test_the_first_place_that_is_of_use_is_used() -> None:
    asked = []

    async def attempt(place: TriokerError | int) -> int:
        asked.append(place)
        if isinstance(place, TriokerError):
            raise place
        return place

    gone, busy, tls = NoAnswer("gone"), NoAnswer("busy", 503), NoAnswer("speak TLS", 400)
    assert await first_answer([gone, tls, 1, 2], attempt) == 1
    assert asked == [gone, tls, 1]
    with pytest.raises(NoAnswer, match="busy"):
        await first_answer([gone, tls, busy, gone], attempt)
    with pytest.raises(NotFound):
        await first_answer([gone, NotFound("no such name"), 1], attempt)
