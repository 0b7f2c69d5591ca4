import time

import pytest
import trio
from client_origin import OK, answering, client, origin

from trioker.http.client import FetchError, Hopeless, Unreached, retrying
from trioker.http.client.waiting import wanted_pause


class Attempts:
    """Fails in the given ways, one after the other, then succeeds; notes when it was called."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.times = []

    async def __call__(self) -> str:
        self.times.append(trio.current_time())
        if self.failures:
            raise self.failures.pop(0)
        return "done"


@pytest.mark.parametrize("error", [FetchError("lost"), *(FetchError("", status) for status in (408, 429, 500, 503))])
async def test_what_may_pass_is_tried_again_after_growing_pauses(error, autojump_clock):
    attempts = Attempts(*[error] * 4)
    assert await retrying(attempts) == "done"
    pauses = [after - before for before, after in zip(attempts.times, attempts.times[1:], strict=False)]
    for pause, longest in zip(pauses, (0.5, 1, 2, 4), strict=True):
        assert longest / 2 <= pause <= longest


@pytest.mark.parametrize("tries", [1, 3])
async def test_the_last_failure_is_told(tries, autojump_clock):
    attempts = Attempts(*[FetchError(str(number)) for number in range(1, 9)])
    with pytest.raises(FetchError, match=f"^{tries}$"):
        await retrying(attempts, tries=tries)
    assert len(attempts.times) == tries


@pytest.mark.parametrize(
    "error", [Hopeless("x"), Unreached("x"), ValueError(), *(FetchError("", status) for status in (400, 401, 404))]
)
async def test_what_will_not_pass_is_told_at_once(error):
    attempts = Attempts(error)
    with pytest.raises(type(error)):
        await retrying(attempts)
    assert len(attempts.times) == 1


async def test_a_server_that_was_there_a_moment_ago_is_waited_for(autojump_clock):
    attempts = Attempts(FetchError("lost"), Unreached("x"), Unreached("x"))
    assert await retrying(attempts) == "done"


async def test_the_servers_wish_to_wait_is_honoured(autojump_clock):
    attempts = Attempts(FetchError("", 429, retry_after=20.0), FetchError("", 503, retry_after=0.0))
    await retrying(attempts)
    assert attempts.times[1] == pytest.approx(20)
    assert 20.5 <= attempts.times[2] <= 21


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("0", 0),
        ("7", 7),
        ("3600", 60),
        ("-1", None),
        ("1.5", None),
        ("\u0667", None),
        ("9" * 5000, None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60),
        ("Fri, 99 Xyz 9999 99:99:99 GMT", None),
        ("Fri, 99 Dec 0000 99:99:99 GMT", None),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value, seconds):
    assert wanted_pause(value) == seconds


def test_retry_after_as_a_date_is_counted_from_now():
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    assert 0 <= wanted_pause(date) <= 30


async def test_an_answers_error_tells_what_retrying_needs(autojump_clock):
    busy = b"HTTP/1.1 429 Slow\r\nRetry-After: 40\r\nContent-Length: 0\r\n\r\n"

    async def attempt():
        async with each.request("GET", f"{server.url}/x?secret") as answer:
            if answer.status != 200:
                raise answer.error("toomanyrequests")
            return await answer.read(10)

    async with origin(answering(busy), answering(OK)) as server, client() as each:
        assert await retrying(attempt) == b"ok"
        assert trio.current_time() == pytest.approx(40)
    async with origin(answering(busy)) as server, client() as each:
        with pytest.raises(FetchError, match=f"^{server.url}/x: toomanyrequests$") as caught:
            await retrying(attempt, tries=1)
        assert (caught.value.status, caught.value.retry_after) == (429, 40)
