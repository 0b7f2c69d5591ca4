"""The process that takes an archive in: what it hands over, what digest it gives, what it may do, and how it ends."""

import bz2
import gzip
import hashlib
import lzma
import os
import signal

import pytest
from archives import archive, fed, member, unpack_bytes
from forked import in_child
from polling import wait_until

from trioker.launcher.intake import Intake
from trioker.launcher.tar_header import BadArchive

pytestmark = pytest.mark.root

TAR = archive(member("a", os.urandom(3_000_000)), member("b", b"x" * 700))


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def take_in(data, root):
    with fed(data) as reader:
        intake = Intake(reader, str(root))
        return b"".join(map(bytes, iter(intake.read, b""))), intake.diff


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("length", [1, 2**18, len(TAR)])
def test_everything_is_handed_over_and_digested(compress, length, tmp_path):
    data = TAR[:length]
    assert take_in(compress(data), tmp_path) == (data, digest(data))


@pytest.mark.parametrize("behind", [b"", bytes(9_000), b"whatever else" * 100_000])
def test_the_digest_is_of_all_bytes_also_of_those_behind_the_end_of_the_tar(behind, tmp_path):
    for compressed in (TAR + behind, gzip.compress(TAR + behind), gzip.compress(TAR) + gzip.compress(behind)):
        answer = unpack_bytes(compressed, tmp_path)
        assert (answer["event"], answer["diff"]) == ("done", digest(TAR + behind))


def test_damage_is_told_with_what_came_before_it(tmp_path):
    cut = gzip.compress(TAR)[:-10]
    with fed(cut) as reader:
        intake = Intake(reader, str(tmp_path))
        with pytest.raises(BadArchive, match="the gzip data ends too early"):
            sum(map(len, iter(intake.read, b"")))
    assert unpack_bytes(cut, tmp_path)["message"] == "the gzip data ends too early in entry a"


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def children():
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def test_it_has_no_capability_no_root_of_ours_and_few_system_calls(tmp_path):
    def look():
        reader, writer = os.pipe()
        Intake(reader, str(tmp_path))
        os.write(writer, b"the head")
        (pid,) = children()
        wait_until(lambda: status(pid)["Seccomp"] == "2", "a process that has shut itself in")
        found = status(pid)
        return [found[name] for name in ("CapEff", "CapPrm", "NoNewPrivs")], os.readlink(f"/proc/{pid}/root")

    nothing = "0" * 16
    assert in_child(look) == [[nothing, nothing, "1"], str(tmp_path)]


def test_one_that_is_killed_is_told(tmp_path):
    def kill():
        reader, writer = os.pipe()
        intake = Intake(reader, str(tmp_path))
        os.write(writer, b"x" * 100)
        os.kill(children()[0], signal.SIGKILL)
        try:
            intake.read()
        except OSError as error:
            return str(error)

    assert in_child(kill) == "the process that decompresses was killed"


def test_it_ends_with_the_process_that_made_it(tmp_path):
    reader, writer = os.pipe()

    def leave():
        os.close(writer)
        Intake(reader, str(tmp_path))
        return children()[0]

    keeper = os.dup(writer)
    pid = in_child(leave)
    os.close(reader)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}") or status(pid)["State"][0] == "Z", "its end")
    os.close(writer)
    os.close(keeper)
