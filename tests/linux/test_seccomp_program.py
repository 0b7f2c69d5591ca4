"""The assembled filter, run by a small interpreter of classic BPF over every system call and compared with the policy by name."""

import errno
import re
import struct
from pathlib import Path

import pytest

from trioker.linux import seccomp
from trioker.linux.capabilities import DEFAULT, NUMBERS
from trioker.linux.syscall_table import numbers

ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, ERROR = 0x7FFF0000, 0x00050000
EPERM, ENOSYS = ERROR | errno.EPERM, ERROR | errno.ENOSYS
VERDICTS = {"allow": ALLOW, "EPERM": EPERM, "ENOSYS": ENOSYS}


def run(program: bytes, arch: int, number: int, argument: int = 0, second: int = 0) -> int:
    """What the kernel would answer; struct seccomp_data is number, architecture, instruction pointer, six arguments."""
    data = struct.pack("=IIQ6Q", number, arch, 0, argument, second, 0, 0, 0, 0)
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        operation, when_true, when_false, value = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x15:
                at += when_true if accumulator == value else when_false
            case 0x35:
                at += when_true if accumulator >= value else when_false
            case 0x45:
                at += when_true if accumulator & value else when_false
            case 0x06:
                return value
            case _:
                pytest.fail(f"unknown operation {operation:#x}")


@pytest.fixture(params=ARCHES)
def arch(request):
    return request.param


def verdict(arch: str, name: str, argument: int = 0, capabilities=DEFAULT) -> int:
    return run(seccomp.assemble(arch, capabilities), ARCHES[arch], numbers(arch)[name], argument)


@pytest.mark.parametrize("capabilities", [DEFAULT, frozenset(), NUMBERS.keys()], ids=["default", "none", "all"])
def test_every_call_is_decided_as_the_policy_says_by_name(arch, capabilities):
    program = seccomp.assemble(arch, capabilities)
    policy = seccomp.policy(arch, capabilities)
    wanted = {numbers(arch)[name]: VERDICTS[decision] for name, decision in policy.items() if decision != "argument"}
    checked = {numbers(arch)[name] for name, decision in policy.items() if decision == "argument"}
    for number in set(range(1024)) - checked:
        assert run(program, ARCHES[arch], number) == wanted.get(number, ENOSYS), number


def test_the_program_is_small(arch):
    assert len(seccomp.assemble(arch, DEFAULT)) / 8 < 128


ORDINARY = "read openat execve futex mmap ptrace process_vm_readv chroot mknodat getxattrat"


@pytest.mark.parametrize("name", ORDINARY.split())
def test_an_ordinary_call_is_allowed(arch, name):
    assert verdict(arch, name) == ALLOW


DANGEROUS = """
unshare setns mount umount2 pivot_root move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr open_by_handle_at
keyctl add_key request_key bpf perf_event_open kexec_load kexec_file_load init_module finit_module delete_module userfaultfd io_uring_setup
io_uring_enter io_uring_register syslog reboot swapon swapoff acct quotactl settimeofday clock_settime sethostname kcmp fanotify_init
pidfd_getfd process_madvise vhangup lookup_dcookie mbind move_pages
"""


@pytest.mark.parametrize("name", DANGEROUS.split())
def test_a_dangerous_call_is_denied_to_a_default_container(arch, name):
    assert verdict(arch, name) == EPERM


def test_clone3_looks_unknown_so_that_libc_takes_clone(arch):
    assert verdict(arch, "clone3") == ENOSYS


@pytest.mark.parametrize("name", ["file_getattr", "file_setattr"])
def test_what_docker_does_not_know_yet_looks_unknown_so_that_programs_take_the_older_call(arch, name):
    assert verdict(arch, name) == ENOSYS


@pytest.mark.parametrize("number", [600, 1023, 10_000, 0x3FFF_FFFF, 0xFFFF_FFFF])
def test_a_call_newer_than_the_table_looks_unknown(arch, number):
    assert run(seccomp.assemble(arch, DEFAULT), ARCHES[arch], number) == ENOSYS


@pytest.mark.parametrize("foreign", [0x40000003, 0x40000028, 0xC0000015, 0], ids=["i386", "arm", "ppc64le", "zero"])
def test_a_foreign_architecture_gets_an_error_and_is_not_killed(arch, foreign):
    program = seccomp.assemble(arch, DEFAULT)
    assert {run(program, foreign, number) for number in range(512)} == {ENOSYS}


def test_x32_gets_an_error():
    program = seccomp.assemble("x86_64", DEFAULT)
    assert {run(program, ARCHES["x86_64"], 0x40000000 | number) for number in range(1024)} == {ENOSYS}


@pytest.mark.parametrize("shift", [17, 25, 26, 27, 28, 29, 30])
def test_clone_makes_no_namespaces(arch, shift):
    assert verdict(arch, "clone", 1 << shift | 17) == EPERM


@pytest.mark.parametrize("flags", [17, 0x3D0F00, 0x4111, 0x01200011], ids=["fork", "thread", "vfork", "glibc"])
def test_clone_makes_processes_and_threads(arch, flags):
    assert verdict(arch, "clone", flags) == ALLOW


def test_the_upper_half_of_an_argument_hides_nothing(arch):
    assert verdict(arch, "clone", 1 << 32 | 0x10000000) == EPERM
    assert verdict(arch, "socket", 1 << 32 | 40) == EPERM


@pytest.mark.parametrize("persona", [0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF])
def test_a_harmless_personality_is_allowed(arch, persona):
    assert verdict(arch, "personality", persona) == ALLOW


@pytest.mark.parametrize("persona", [0x0040000, 0x0400000, 0x20009, 0x1, 0x7FFFFFFF])
def test_another_personality_is_denied(arch, persona):
    assert verdict(arch, "personality", persona) == EPERM


@pytest.mark.parametrize(
    ("family", "answer"),
    [
        *((family, ALLOW) for family in (0, 1, 2, 10, 15, 16, 17, 31, 39, 44, 45)),
        *((family, EPERM) for family in (3, 6, 12, 19, 38, 40, 46, 255, 0xFFFFFFFF)),
    ],
)
def test_sockets_to_the_host_to_the_kernels_ciphers_and_of_unknown_or_forgotten_families_are_denied(
    arch, family, answer
):
    assert verdict(arch, "socket", family) == answer


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("SYS_ADMIN", "mount"),
        ("SYS_ADMIN", "clone3"),
        ("DAC_READ_SEARCH", "open_by_handle_at"),
        ("SYS_MODULE", "init_module"),
        ("SYS_BOOT", "reboot"),
        ("BPF", "bpf"),
        ("SYS_TIME", "clock_settime"),
        ("SYSLOG", "syslog"),
    ],
)
def test_a_capability_opens_its_calls(arch, capability, name):
    assert verdict(arch, name, capabilities=DEFAULT | {capability}) == ALLOW


def test_without_its_capability_chroot_is_denied(arch):
    assert verdict(arch, "chroot", capabilities=DEFAULT - {"SYS_CHROOT"}) == EPERM


def test_no_capability_opens_the_keyrings(arch):
    assert verdict(arch, "keyctl", capabilities=NUMBERS.keys()) == EPERM


def test_sys_admin_may_make_namespaces(arch):
    assert verdict(arch, "clone", 0x10000000, capabilities={"SYS_ADMIN"}) == ALLOW


def test_every_name_of_the_policy_is_a_call_of_one_architecture():
    known = numbers("x86_64").keys() | numbers("aarch64").keys()
    named = set(seccomp._ALLOWED.split()).union(*(each.split() for each in seccomp._ALLOWED_WITH.values()))
    assert named <= known
    assert seccomp._ALLOWED_WITH.keys() <= NUMBERS.keys()


def test_an_architecture_without_a_table_is_an_error():
    with pytest.raises(KeyError):
        seccomp.assemble("s390x", DEFAULT)


def test_the_numbers_are_those_of_the_kernels_header():
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers here")
    facts = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}
    table = numbers("x86_64")
    assert {name: table.get(name) for name in facts} == facts


def test_the_generic_numbers_are_those_of_the_kernels_header():
    header = Path("/usr/include/asm-generic/unistd.h")
    if not header.exists():
        pytest.skip("no kernel headers here")
    facts = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", header.read_text())}
    for absent in ("arch_specific_syscall", "syscalls", "sync_file_range2"):
        facts.pop(absent, None)
    facts["newfstatat"] = facts.pop("fstatat")
    facts = {
        name: number
        for name, number in facts.items()
        if not name.endswith(("64", "_time64")) or name in numbers("aarch64")
    }
    table = numbers("aarch64")
    assert {name: table.get(name) for name in facts} == facts


@pytest.mark.parametrize("capabilities", [DEFAULT, NUMBERS.keys()], ids=["default", "all"])
@pytest.mark.parametrize(
    "request_", [0x40086602, 0x401C5820, 0xFFFFFFFF_40086602], ids=["flags", "project", "upper-half"]
)
def test_no_file_leaves_its_project(arch, capabilities, request_):
    answer = run(seccomp.assemble(arch, capabilities), ARCHES[arch], numbers(arch)["ioctl"], second=request_)
    assert answer == ERROR | errno.EOPNOTSUPP


@pytest.mark.parametrize(
    "request_", [0x80086601, 0x801C581F, 0x5401, 0x40086601], ids=["getflags", "getproject", "tcgets", "near"]
)
def test_other_requests_are_the_files_affair(arch, request_):
    assert run(seccomp.assemble(arch, DEFAULT), ARCHES[arch], numbers(arch)["ioctl"], 0x40086602, request_) == ALLOW
