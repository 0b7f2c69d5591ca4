"""Archives made by others than us, trees compared by all that a tar can tell, and helpers run as the launcher runs them."""

import io
import json
import os
import random
import resource
import signal
import socket
import stat
import tarfile
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from trioker.launcher.helper import run_helper

END = bytes(1024)
_STEMS = ("short", "n" * 90, "m" * 120, "o" * 240, "with blank", "ünïcode", "new\nline")
FORMATS = {"v7": [], "ustar": [], "oldgnu": [], "gnu": [], "posix": ["--xattrs"]}


def member(name, data=b"", kind=tarfile.REGTYPE, form=tarfile.PAX_FORMAT, **fields):
    """One member as Python's tarfile writes it, owned by whoever runs the tests."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.uid, info.gid = kind, len(data), os.geteuid(), os.getegid()
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(form) + data + bytes(-len(data) % 512)


def archive(*members):
    return b"".join(members) + END


def pieces(data, size=1000):
    """A read function that hands the archive out in small pieces, so that everything straddles them, and each time in the same memory."""
    stream = io.BytesIO(data)
    memory = memoryview(bytearray(size))
    return lambda: memory[: stream.readinto(memory)]


def snapshot(root):
    """Everything below ``root`` by path: type, mode, owner, time, content, target, attributes, and which names are one file."""
    found, first_names = {}, {}
    for directory, directories, files in os.walk(root):
        for name in (".", *directories, *files):
            path = os.path.normpath(os.path.join(directory, name))
            relative = os.path.relpath(path, root)
            status = os.lstat(path)
            identity = first_names.setdefault(status.st_ino, relative) if not stat.S_ISDIR(status.st_mode) else ""
            found[relative] = (_description(path, status), identity)
    return found


def _description(path, status):
    kind = stat.S_IFMT(status.st_mode)
    content = {
        stat.S_IFREG: lambda: Path(path).read_bytes(),
        stat.S_IFLNK: lambda: os.readlink(path),
        stat.S_IFCHR: lambda: status.st_rdev,
        stat.S_IFBLK: lambda: status.st_rdev,
    }.get(kind, lambda: None)()
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
    }
    return oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, content, attributes


class Growing(NamedTuple):
    """A tree being grown."""

    choose: random.Random
    directories: list[Path]
    others: list[Path]

    def directory(self, path):
        path.mkdir()
        path.chmod(self.choose.choice((0o755, 0o700, 0o1777)))
        if len(str(path)) < 1000:
            self.directories.append(path)

    def file(self, path):
        path.write_bytes(self.choose.randbytes(self.choose.choice((0, 1, 511, 512, 513, 10_000, 300_000))))

    def sparse(self, path):
        with path.open("wb") as file:
            for _ in range(self.choose.choice((1, 3, 30))):
                file.seek(self.choose.randrange(1, 30) * 4096, os.SEEK_CUR)
                file.write(self.choose.randbytes(self.choose.randrange(1, 9000)))
            file.truncate(file.tell() + self.choose.choice((0, 50_000)))

    def symlink(self, path):
        path.symlink_to(self.choose.choice(("nowhere", "/etc/passwd", "../up", "l" * 150)))

    def hard_link(self, path):
        if self.others:
            path.hardlink_to(self.choose.choice(self.others))
        else:
            path.write_bytes(b"the first")

    def fifo(self, path):
        os.mkfifo(path, 0o640)

    def device(self, path):
        os.mknod(
            path,
            *self.choose.choice(((0o666 | stat.S_IFCHR, os.makedev(1, 3)), (0o660 | stat.S_IFBLK, os.makedev(7, 300)))),
        )


def grow_tree(root, seed, *, privileged=False):
    """A tree with something of everything; the same for the same seed."""
    choose = random.Random(seed)
    growing = Growing(choose, [Path(root)], [])
    makers = [growing.directory, growing.file, growing.sparse, growing.symlink, growing.hard_link, growing.fifo]
    for number in range(60):
        path = choose.choice(growing.directories) / f"{choose.choice(_STEMS)}{number}"
        make = choose.choice(makers + [growing.device] * privileged)
        make(path)
        if make != growing.directory:
            growing.others.append(path)
        if privileged:
            os.chown(path, choose.choice((0, 1000, 70000)), choose.choice((0, 50, 3000000)), follow_symlinks=False)
    for each in growing.others:
        if not each.is_symlink() and each.is_file():
            each.chmod(choose.choice((0o644, 0o755, 0o600, 0o4755, 0o2711)))
    for each in [*growing.others, *reversed(growing.directories)]:
        seconds = choose.choice((0, 1, 1_700_000_000, choose.randrange(2**31)))
        nanoseconds = seconds * 10**9 + choose.choice((0, 1, 123_456_789))
        os.utime(each, ns=(0, nanoseconds), follow_symlinks=False)


def run_job(kind, spec, data, memory=0):
    """What a helper forked for this job answers; ``memory`` is how many bytes more than its parent it may have."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            if memory:
                limit = _data_size() + memory
                resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            run_helper(kind, spec, {"report": theirs.fileno(), "data": data})
        theirs.close()
        packet = ours.recv(2**17)
        os.waitpid(pid, 0)
    assert packet[:1] == b"J"
    return json.loads(packet[1:])


def _data_size():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))


@contextmanager
def fed(data):
    """A pipe with these bytes in it, written by another process. Who takes not all of them closes it within the block."""
    reader, writer = os.pipe()
    feeder = os.fork()
    if feeder == 0:
        os.close(reader)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        try:
            with open(writer, "wb") as file:
                file.write(data)
        finally:
            os._exit(0)
    os.close(writer)
    yield reader
    os.waitpid(feeder, 0)


def unpack_bytes(
    data, path, whiteouts="remove", *, room=2**30, max_bytes=2**30, max_entries=10_000, memory=0, **further
):
    """A helper's answer to this archive; ``further`` is more of its spec."""
    limits = {"room": room, "max_bytes": max_bytes, "max_entries": max_entries}
    spec = {"path": str(path), "whiteouts": whiteouts, **limits, **further}
    with fed(data) as reader:
        try:
            return run_job("unpack", spec, reader, memory)
        finally:
            os.close(reader)
