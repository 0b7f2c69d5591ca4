import os
import socket
import subprocess
import tarfile

import pytest
from archives import grow_tree, pieces, snapshot

from trioker.launcher.pack import pack
from trioker.launcher.unpack import unpack
from trioker.launcher.whiteouts import RemovingWhiteouts


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.mkdir()
    return path


def packed(source, tmp_path):
    made = tmp_path / "made.tar"
    with made.open("wb") as out:
        counts = pack(str(source), out.fileno())
    return made, counts


@pytest.mark.parametrize("seed", range(4))
def test_gnu_tar_finds_no_difference(seed, source, tmp_path):
    grow_tree(source, seed)
    made, counts = packed(source, tmp_path)
    subprocess.run(["tar", "--numeric-owner", "-C", source, "--compare", "-f", made], check=True)
    with tarfile.open(made) as archive:
        found = archive.getmembers()
    assert len(found) == counts.entries
    assert sum(each.size for each in found if each.isreg()) == counts.size


@pytest.mark.parametrize("seed", range(4))
def test_what_is_packed_unpacks_to_the_same(seed, source, tmp_path):
    grow_tree(source, seed)
    made, counts = packed(source, tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    before, umask = os.getcwd(), os.umask(0)
    try:
        root = os.fsencode(target) + b"/"
        done = unpack(pieces(made.read_bytes()), RemovingWhiteouts(), max_bytes=2**30, max_entries=1000, root=root)
    finally:
        os.umask(umask)
        os.chdir(before)
    assert done == counts
    assert snapshot(target) == snapshot(source)


def test_names_begin_with_a_dot_and_rise(source, tmp_path):
    for name in ("b", "a", "d/x", "d/a", "c"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).touch()
    made, _ = packed(source, tmp_path)
    names = subprocess.run(["tar", "-tf", made], check=True, capture_output=True, text=True).stdout.split()
    assert names == ["./", "./a", "./b", "./c", "./d/", "./d/a", "./d/x"]


def test_the_same_tree_is_the_same_bytes(source, tmp_path):
    grow_tree(source, 9)
    first = packed(source, tmp_path)[0].read_bytes()
    assert packed(source, tmp_path)[0].read_bytes() == first


def test_sockets_are_left_out(source, tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.getcwd()
        os.chdir(source)  # a socket's path has 107 bytes
        sock.bind("socket")
        os.chdir(here)
        assert packed(source, tmp_path)[1].entries == 1


def test_a_tree_deeper_than_a_path_can_say_is_packed(source, tmp_path):
    fd = os.open(source, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert packed(source, tmp_path)[1].entries == 1501
    subprocess.run(["rm", "-r", source], check=True)


def test_a_file_that_shrinks_while_it_is_read_is_filled_with_zeros(source, tmp_path):
    (source / "file").write_bytes(b"x" * 2**21)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        pack(str(source), writer)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:
        head = stream.read(4096)  # the packer is in the middle of the file: a pipe holds 64 KiB
        os.truncate(source / "file", 2**20)
        made = head + stream.read()
    os.waitpid(pid, 0)
    (tmp_path / "made.tar").write_bytes(made)
    with tarfile.open(tmp_path / "made.tar") as archive:
        data = archive.extractfile("./file").read()
    assert len(data) == 2**21
    assert data == b"x" * 2**20 + bytes(2**20)


def test_nobody_reading_is_a_broken_pipe(source):
    (source / "file").write_bytes(bytes(2**20))
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        pack(str(source), writer)
    os.close(writer)
