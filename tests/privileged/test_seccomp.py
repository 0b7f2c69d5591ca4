import ctypes
import errno
import os
import socket
import subprocess
import threading

import pytest
from forked import in_child

from trioker.linux import seccomp
from trioker.linux.capabilities import DEFAULT
from trioker.linux.syscall_table import numbers

pytestmark = pytest.mark.root


def filtered(function, capabilities=DEFAULT):
    """The function's result in a child under the filter."""
    program = seccomp.assemble(seccomp.arch(), capabilities)

    def child():
        seccomp.set_no_new_privs()
        seccomp.install(program)
        return function()

    return in_child(child)


def call(number: int, *arguments: object) -> str:
    """The error of a system call by its name, or ``ok``."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(
        ctypes.c_long(number), *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    )
    return errno.errorcode[ctypes.get_errno()] if result < 0 else "ok"


def named(name: str, *arguments: object) -> str:
    return call(numbers(seccomp.arch())[name], *arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("unshare", (0x20000000,), "EPERM"),
        ("unshare", (0,), "EPERM"),
        ("setns", (-1, 0), "EPERM"),
        ("open_by_handle_at", (-1, None, 0), "EPERM"),
        ("mount", (None, None, None, 0, None), "EPERM"),
        ("keyctl", (0, 0), "EPERM"),
        ("bpf", (0, None, 0), "EPERM"),
        ("io_uring_setup", (1, None), "EPERM"),
        ("userfaultfd", (0,), "EPERM"),
        ("clone", (0x10000000 | 17, 0), "EPERM"),
        ("clone3", (None, 0), "ENOSYS"),
        ("personality", (0xFFFFFFFF,), "ok"),
        ("personality", (0x0040000,), "EPERM"),
        ("personality", (0x20008,), "ok"),
        ("socket", (socket.AF_VSOCK, socket.SOCK_STREAM, 0), "EPERM"),
        ("socket", (socket.AF_ALG, socket.SOCK_SEQPACKET, 0), "EPERM"),
        ("socket", (socket.AF_INET, socket.SOCK_STREAM, 0), "ok"),
        ("ioctl", (-1, 0x40086602, None), "ENOTSUP"),
        ("ioctl", (-1, 0x401C5820, None), "ENOTSUP"),
        ("ioctl", (-1, 0x801C581F, None), "EBADF"),
        ("getpid", (), "ok"),
        ("name_to_handle_at", (-1, None, None, None, 0), "EFAULT"),
    ],
)
def test_the_kernel_answers_as_the_policy_says(name, arguments, answer):
    assert filtered(lambda: named(name, *arguments)) == answer


def test_an_unknown_call_looks_unknown():
    assert filtered(lambda: [call(number) for number in (10_000, 1_000, 0x40000000 | 39)]) == ["ENOSYS"] * 3


def test_programs_processes_and_threads_run():
    def work():
        thread = threading.Thread(target=os.getpid)
        thread.start()
        thread.join()
        return subprocess.run(["sh", "-c", "echo a | cat"], capture_output=True, text=True, check=True).stdout

    assert filtered(work) == "a\n"


def test_a_capability_opens_its_call_for_the_kernel_to_decide():
    assert filtered(lambda: named("unshare", 0x04000000), DEFAULT | {"SYS_ADMIN"}) == "ok"


def test_no_new_privs_and_the_filter_reach_what_is_executed():
    status = filtered(
        lambda: subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    )
    assert "NoNewPrivs:\t1\n" in status
    assert "Seccomp:\t2\n" in status


def test_a_broken_program_is_refused():
    def child():
        seccomp.set_no_new_privs()
        with pytest.raises(OSError, match="PR_SET_SECCOMP") as caught:
            seccomp.install(b"\0" * 8)
        return caught.value.errno

    assert in_child(child) == errno.EINVAL
