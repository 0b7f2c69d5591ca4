"""The kept blobs: within their bounds, and never taken for what they are not."""

import hashlib
import itertools
import os
import time

import pytest
import trio
from transfer_fakes import FakeBlobRecords

from trioker.images import blobs as module
from trioker.images.blobs import FORGOTTEN_AFTER, BlobStore
from trioker.images.parts import Spoiled
from trioker.model.layer import KeptBlob

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def store(tmp_path, limit=10**6, records=None):
    ticks = itertools.count(time.time_ns())
    return await BlobStore.open(tmp_path / "blobs", records or FakeBlobRecords(), lambda: next(ticks), limit)


async def keep(blobs, data, diff="sha256:d"):
    """As a layer that was fetched."""
    part = blobs.part(digest_of(data))
    async with part.growing(len(data)) as append:
        await append(data)
    assert part.is_sound()
    return await blobs.keep(part, GZIP, diff)


async def content(blobs, digest):
    return b"".join([piece async for piece in blobs.part(digest).chunks()])


def names(tmp_path):
    return {each.name for each in (tmp_path / "blobs").glob("*/*")}


async def test_what_is_kept_is_found_by_its_digest_and_by_the_layer_it_is(tmp_path):
    blobs = await store(tmp_path)
    kept = await keep(blobs, b"layer", "sha256:diff")
    assert blobs.get(digest_of(b"layer")) == kept == blobs.of_layer("sha256:diff")
    assert await content(blobs, kept.digest) == b"layer"
    assert blobs.of_layer("") is None
    assert blobs.of_layer("sha256:other") is None


async def test_documents_are_kept_and_verified(tmp_path):
    blobs = await store(tmp_path)
    saved = await blobs.save(b"{}", "application/json")
    assert await blobs.load(saved.digest) == b"{}"
    (tmp_path / "blobs/sha256" / saved.digest[7:]).write_bytes(b"[]")
    assert await blobs.load(saved.digest) is None
    assert blobs.get(saved.digest) is None
    assert names(tmp_path) == set()


async def test_all_of_it_is_there_after_a_restart(tmp_path):
    records = FakeBlobRecords()
    kept = await keep(await store(tmp_path, records=records), b"layer", "sha256:diff")
    blobs = await store(tmp_path, records=records)
    assert blobs.of_layer("sha256:diff") == kept
    assert await content(blobs, kept.digest) == b"layer"


async def test_files_and_records_without_each_other_are_forgotten_at_the_start(tmp_path):
    records = FakeBlobRecords()
    blobs = await store(tmp_path, records=records)
    for data in (b"lost", b"longer"):
        await keep(blobs, data)
    (tmp_path / "blobs/sha256" / digest_of(b"lost")[7:]).unlink()
    (tmp_path / "blobs/sha256" / digest_of(b"longer")[7:]).write_bytes(b"shorter")
    (tmp_path / "blobs/sha256" / ("0" * 64)).write_bytes(b"unknown")
    (tmp_path / "blobs/partial/new-1").write_bytes(b"a layer that was being packed")
    (tmp_path / "blobs/partial" / ("1" * 64)).write_bytes(b"a layer that was being fetched")
    await store(tmp_path, records=records)
    assert names(tmp_path) == {"1" * 64}
    assert not records.rows


async def test_a_fetch_that_nobody_took_up_for_a_week_is_forgotten(tmp_path):
    await store(tmp_path)
    old = tmp_path / "blobs/partial" / ("1" * 64)
    old.write_bytes(b"half")
    long_ago = time.time_ns() - FORGOTTEN_AFTER - 10**9
    os.utime(old, ns=(long_ago, long_ago))
    await store(tmp_path)
    assert names(tmp_path) == set()


async def test_beyond_the_limit_what_was_not_wanted_for_longest_goes_first_and_documents_last(tmp_path):
    blobs = await store(tmp_path, limit=25)
    document = await blobs.save(b"{}", "application/json")
    for letter in (b"a", b"b"):
        await keep(blobs, letter * 10, f"sha256:{letter}")
    async with blobs.wanted(digest_of(b"a" * 10)):
        pass
    await keep(blobs, b"c" * 10, "sha256:c")
    await blobs.trim()
    assert names(tmp_path) == {each[7:] for each in (digest_of(b"a" * 10), digest_of(b"c" * 10), document.digest)}
    assert await blobs.size() == 22


async def test_what_is_wanted_stays_whatever_the_limit(tmp_path):
    blobs = await store(tmp_path, limit=0)
    kept = await keep(blobs, b"layer")
    async with blobs.wanted(kept.digest):
        async with blobs.wanted(kept.digest):
            pass
        assert await content(blobs, kept.digest) == b"layer"
    assert names(tmp_path) == set()
    assert blobs.of_layer(kept.diff) is None


async def test_half_fetched_blobs_count_and_go_too(tmp_path):
    blobs = await store(tmp_path, limit=10)
    async with blobs.part(digest_of(b"x" * 100)).growing(100) as append:
        await append(b"x" * 50)
    assert await blobs.size() == 50
    await blobs.trim()
    assert names(tmp_path) == set()


async def test_where_the_disk_is_nearly_full_everything_that_nobody_wants_goes(tmp_path, monkeypatch):
    blobs = await store(tmp_path)
    await keep(blobs, b"layer")
    monkeypatch.setattr(module, "FREE", 1.0)  # nothing is as free as that
    await blobs.trim()
    assert names(tmp_path) == set()


async def test_what_was_kept_since_a_damaged_blob_was_read_is_not_forgotten_for_it(tmp_path):
    blobs = await store(tmp_path)
    kept = await keep(blobs, b"layer")
    damaged = blobs.part(kept.digest)
    await blobs.forget(kept.digest)
    await keep(blobs, b"layer")
    await blobs.forget_damaged(damaged)
    assert await content(blobs, kept.digest) == b"layer"
    await blobs.forget_damaged(blobs.part(kept.digest))
    assert names(tmp_path) == set()


async def test_a_kept_blob_that_is_damaged_is_noticed_at_its_end_and_forgotten(tmp_path):
    records = FakeBlobRecords()
    kept = await keep(await store(tmp_path, records=records), b"layer")
    (tmp_path / "blobs/sha256" / kept.digest[7:]).write_bytes(b"lawyer"[:5])
    blobs = await store(tmp_path, records=records)
    with pytest.raises(Spoiled, match="is damaged"):
        await content(blobs, kept.digest)
    assert not await blobs.verify(kept.digest)
    assert blobs.get(kept.digest) is None
    assert names(tmp_path) == set()


async def test_who_follows_a_blob_gets_each_byte_as_it_comes(tmp_path):
    blobs = await store(tmp_path)
    data = os.urandom(3 * 2**20 + 5)
    part = blobs.part(digest_of(data))
    got = []

    async def follow():
        async for piece in part.chunks():
            got.append(piece)  # noqa: PERF401 - one by one

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        async with part.growing(len(data)) as append:
            for start in range(0, len(data), 100_000):
                await append(data[start : start + 100_000])
        await blobs.keep(part, GZIP)
    assert b"".join(got) == data
    assert len(got) > 1


async def test_who_follows_a_blob_that_is_thrown_away_is_told(tmp_path):
    blobs = await store(tmp_path)
    part = blobs.part(digest_of(b"right"))

    async def follow():
        with pytest.raises(Spoiled):
            await content(blobs, part.digest)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        async with part.growing(5) as append:
            await append(b"wrong")
        assert not part.is_sound()
        await blobs.forget(part.digest)
    assert blobs.part(part.digest) is not part
    assert names(tmp_path) == set()


async def test_a_blob_can_be_read_from_anywhere(tmp_path):
    blobs = await store(tmp_path)
    kept = await keep(blobs, b"0123456789")
    assert b"".join([piece async for piece in blobs.open_at(kept.digest)(7)]) == b"789"


async def test_records_tell_which_layer_a_blob_turned_out_to_be(tmp_path):
    records = FakeBlobRecords()
    blobs = await store(tmp_path, records=records)
    kept = await keep(blobs, b"layer", "")
    await blobs.note_diff(kept.digest, "sha256:diff")
    await blobs.note_diff("sha256:unknown", "sha256:diff")
    row = records.rows[kept.digest]
    assert row == KeptBlob(kept.digest, "sha256:diff", 5, GZIP, row.used_ns) == blobs.of_layer("sha256:diff")


async def test_what_goes_while_it_is_counted_counts_for_nothing(tmp_path):
    blobs = await store(tmp_path)
    (tmp_path / "blobs/partial" / ("0" * 64)).symlink_to("gone")  # listed, and not there when it is looked at
    async with blobs.wanted(digest_of(b"other")):
        pass
    assert await blobs.size() == 0
