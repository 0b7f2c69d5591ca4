import os
import stat

from trioker.storage.mountpoints import add_mount_points

OLD = 1_000_000_000_123_456_789


def test_what_is_missing_is_made_and_the_times_stay(tmp_path):
    (tmp_path / "etc").mkdir()
    os.utime(tmp_path / "etc", ns=(OLD, OLD))
    os.utime(tmp_path, ns=(OLD, OLD))
    add_mount_points(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["dev", "etc", "proc", "sys"]
    assert sorted(os.listdir(tmp_path / "etc")) == ["hostname", "hosts", "resolv.conf"]
    assert tmp_path.stat().st_mtime_ns == (tmp_path / "etc").stat().st_mtime_ns == OLD


def test_what_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "etc").mkdir(mode=0o700)
    (tmp_path / "etc" / "hosts").write_text("1.2.3.4 here\n")
    (tmp_path / "etc" / "resolv.conf").symlink_to("/run/nothing")
    (tmp_path / "proc").write_text("a file")
    add_mount_points(tmp_path)
    assert (tmp_path / "etc" / "hosts").read_text() == "1.2.3.4 here\n"
    assert os.readlink(tmp_path / "etc" / "resolv.conf") == "/run/nothing"
    assert (tmp_path / "proc").read_text() == "a file"
    assert stat.S_IMODE((tmp_path / "etc").stat().st_mode) == 0o700


def test_a_symlinked_etc_is_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "etc").symlink_to(tmp_path / "outside")
    add_mount_points(root)
    assert os.listdir(tmp_path / "outside") == []


def test_an_etc_that_is_a_pipe_blocks_nobody(tmp_path):
    os.mkfifo(tmp_path / "etc")
    add_mount_points(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["dev", "etc", "proc", "sys"]


def test_no_descriptor_is_left(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    add_mount_points(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
