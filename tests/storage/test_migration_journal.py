import os

import pytest

from trioker.storage.journal import Journal, write_durably

BASE, TOP = "c" * 64, "b" * 64


def test_a_full_disk_is_told_with_the_file_that_had_no_room(tmp_path):
    (tmp_path / "driver.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*driver'$"):
        write_durably(tmp_path / "driver", "vfs\n")
    assert os.listdir(tmp_path) == []


def test_a_last_line_that_was_cut_counts_for_nothing(tmp_path):
    journal = Journal.begin(tmp_path, "vfs", "overlay")
    journal.add(BASE)
    with (tmp_path / "migration").open("a") as file:
        file.write(f"{TOP} who")
    found = Journal.find(tmp_path)
    assert found
    assert (found.old, found.new, found.finished) == ("vfs", "overlay", {BASE})
    found.add(TOP)
    again = Journal.find(tmp_path)
    assert again
    assert again.finished == {BASE, TOP}
    again.strike(BASE)
    struck = Journal.find(tmp_path)
    assert struck
    assert struck.finished == {TOP}
    struck.strike_all()
    empty = Journal.find(tmp_path)
    assert empty
    assert (empty.old, empty.new, empty.finished) == ("vfs", "overlay", set())
    again.end()
    assert Journal.find(tmp_path) is None


def test_what_an_earlier_version_noted_with_a_digest_counts(tmp_path):
    write_durably(tmp_path / "migration", f"vfs overlay\n{BASE} sha256:1\n{TOP} sha256:2\n{TOP}\n")
    found = Journal.find(tmp_path)
    assert found
    assert found.finished == {BASE}
