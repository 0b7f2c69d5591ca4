"""Who is making what."""

import trio
import trio.testing

from trioker.images.claims import Claims


async def test_what_nobody_has_is_had_at_once() -> None:
    claims = Claims()
    async with claims.of({"a", "b"}), claims.of({"c"}), claims.of(()):
        pass


async def test_who_wants_what_another_has_waits_and_blocks_nobody_meanwhile(
    autojump_clock: trio.testing.MockClock,
) -> None:
    claims = Claims()
    order = []

    async def work(name: str, *ids: str) -> None:
        async with claims.of(ids):
            order.append(name)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for name, ids in (("first", "ab"), ("waits", "bc"), ("free", "c")):
            nursery.start_soon(work, name, *ids)
            await trio.testing.wait_all_tasks_blocked()
    assert order == ["first", "free", "waits"]


async def test_who_gives_up_or_fails_leaves_nothing_claimed(autojump_clock: trio.testing.MockClock) -> None:
    claims = Claims()
    async with claims.of({"a"}):
        with trio.move_on_after(1):
            async with claims.of({"a", "b"}):
                raise AssertionError
        async with claims.of({"b"}):
            pass
    with trio.move_on_after(1):
        async with claims.of({"a", "b"}):
            await trio.sleep_forever()
    async with claims.of({"a", "b"}):
        pass
