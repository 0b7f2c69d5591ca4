"""``trioker.pyz check-host``: what this host offers, line by line, and what each thing means for running containers here.

Things are tried where trying is harmless (a namespace in a child process, a netlink question), not guessed from version numbers.
"""

import ctypes
import os
import platform
import re
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from trioker.launcher import userns
from trioker.linux import capabilities, cgroups, links, mounts, netlink, syscalls
from trioker.linux.netlink import Netlink
from trioker.network import sysctls
from trioker.storage.discovery import available
from trioker.storage.listing import list_drivers

OK = "ok"
WARN = "warn"
MISSING = "missing"

OLDEST_KERNEL = (5, 12)
"""mount_setattr(2) came with it; openat2, clone3 into a cgroup and close_range are older."""

_NAMESPACES = {
    "mount": (syscalls.CLONE_NEWNS, "containers cannot have their own root"),
    "pid": (syscalls.CLONE_NEWPID, "containers would see and signal the host's processes"),
    "uts": (syscalls.CLONE_NEWUTS, "containers cannot have a host name"),
    "ipc": (syscalls.CLONE_NEWIPC, "containers would share the host's shared memory"),
    "net": (syscalls.CLONE_NEWNET, "containers would share the host's network"),
    "cgroup": (syscalls.CLONE_NEWCGROUP, "containers would see the host's control groups"),
}

_NFNETLINK_GET_TABLE = 10 << 8 | 1  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE (linux/netfilter/nf_tables.h)
_NETLINK_NETFILTER = 12
_DUMP_REQUEST = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NLMSG_ERROR = 2

_SECCOMP_GET_ACTION_AVAIL = 2  # linux/seccomp.h
_SECCOMP_RET_ERRNO = 0x00050000
_SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}


class Finding(NamedTuple):
    """One line."""

    mark: str
    subject: str
    meaning: str
    needed: bool = False
    """Whether the daemon cannot run while this is missing."""


def report(root: Path, driver_dirs: Sequence[Path]) -> tuple[int, str]:
    """The exit status, 1 when something needed is missing, and all findings."""
    findings = list(look(root, driver_dirs))
    width = max(len(each.subject) for each in findings)
    lines = [f"{each.mark:8} {each.subject.ljust(width)}  {each.meaning}\n" for each in findings]
    lacking = [each.subject for each in findings if each.mark == MISSING and each.needed]
    verdict = f"trioker cannot run here: {', '.join(lacking)}" if lacking else "trioker can run here"
    return 1 if lacking else 0, f"{''.join(lines)}\n{verdict}\n"


def look(root: Path, driver_dirs: Sequence[Path]) -> Iterator[Finding]:
    """All findings."""
    yield kernel(os.uname().release)
    yield machine(platform.machine())
    yield python(sys.version_info[:2])
    yield from privileges(os.geteuid(), capabilities.current())
    yield from control_groups(cgroups.detect())
    yield from namespaces()
    yield user_namespace(root)
    yield filters()
    yield bridges()
    yield nftables()
    yield forwarding()
    yield from drivers(root, driver_dirs)


def kernel(release: str) -> Finding:
    """The kernel's version."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and tuple(map(int, found.groups())) >= OLDEST_KERNEL:
        return Finding(OK, "kernel", release)
    return Finding(MISSING, "kernel", f"{release} is older than {OLDEST_KERNEL[0]}.{OLDEST_KERNEL[1]}", needed=True)


def machine(name: str) -> Finding:
    """The processor: syscall numbers and the seccomp table are kept for two."""
    if name in _SECCOMP_CALL:
        return Finding(OK, "architecture", name)
    return Finding(MISSING, "architecture", f"{name} is not one of {', '.join(_SECCOMP_CALL)}", needed=True)


def python(version: tuple[int, ...]) -> Finding:
    """The interpreter; one too old does not get here."""
    text = ".".join(map(str, version))
    if version < (3, 15):
        return Finding(OK, "python", f"{text} ({sys.executable})")
    return Finding(WARN, "python", f"{text} is newer than any that trioker was tested with")


def privileges(uid: int, held: frozenset[str]) -> Iterator[Finding]:
    """User and capabilities."""
    if uid:
        yield Finding(MISSING, "root", f"user id is {uid}: the daemon needs root", needed=True)
    else:
        yield Finding(OK, "root", "user id is 0")
    vital = sorted(
        {"SYS_ADMIN", "SYS_CHROOT", "SETUID", "SETGID", "SETPCAP", "CHOWN", "DAC_OVERRIDE", "FOWNER", "MKNOD"} - held
    )
    lacking = sorted(capabilities.NUMBERS.keys() - held)
    if vital:
        yield Finding(MISSING, "capabilities", f"the daemon needs {', '.join(vital)}", needed=True)
    elif lacking:
        yield Finding(
            WARN, "capabilities", f"containers cannot be given {', '.join(lacking)}: the daemon lacks them itself"
        )
    else:
        yield Finding(OK, "capabilities", "all")


def control_groups(found: cgroups.Hierarchies) -> Iterator[Finding]:
    """The version and each controller."""
    if why := cgroups.obstacle(found):
        yield Finding(MISSING, "cgroups", why, needed=True)
        return
    yield Finding(OK, "cgroups", f"version {found.version}")
    controllers = (
        ("memory", found.memory_limit, "Memory is ignored, with a warning"),
        ("swap", found.swap_limit, "MemorySwap is ignored, with a warning (kernel without swap accounting)"),
        ("cpu", found.cpu_shares, "CpuShares is ignored, with a warning"),
        ("pids", found.pids_limit, "a fork bomb in a container is not stopped"),
    )
    for name, works, lack in controllers:
        yield Finding(OK if works else WARN, f"cgroup {name}", "can be limited" if works else lack)
    yield Finding(OK, "cgroup devices", "can be limited")


def namespaces() -> Iterator[Finding]:
    """Each kind, tried."""
    for name, (flag, lack) in _NAMESPACES.items():
        refusal = _refusal(partial(syscalls.unshare, flag))
        yield Finding(
            MISSING if refusal else OK, f"{name} namespace", f"{refusal}: {lack}" if refusal else "works", needed=True
        )


def user_namespace(root: Path) -> Finding:
    """Whether containers can have one, and the files in ``root`` their owners mapped for it: what ``--userns-remap`` needs."""
    place = next(each for each in (root, *root.parents) if each.exists())
    refusal = _refusal(partial(_map_ids, str(place)))
    return Finding(
        WARN if refusal else OK, "user namespace", f"{refusal}: no --userns-remap here" if refusal else "works"
    )


def _map_ids(directory: str) -> None:
    one = [userns.Range(0, 1, 1)]
    users = userns.make_namespaces(userns.Remap(one, one, directory))
    if users.refusal:
        raise OSError(0, users.refusal)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounts.make_private()
    userns.map_files(users)


def _refusal(attempt: Callable[[], None]) -> str:
    """Why ``attempt`` fails in a child process of its own; empty if it does not."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            attempt()
        except OSError as error:
            os.write(writer, str(error.strerror).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text


def filters() -> Finding:
    """Whether seccomp filters can be installed and refuse with an errno."""
    number = _SECCOMP_CALL.get(platform.machine(), -1)
    action = ctypes.c_uint32(_SECCOMP_RET_ERRNO)
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.syscall(
            ctypes.c_long(number), ctypes.c_uint(_SECCOMP_GET_ACTION_AVAIL), ctypes.c_uint(0), ctypes.byref(action)
        )
        == 0
    ):
        return Finding(OK, "seccomp", "system calls are filtered")
    return Finding(
        MISSING, "seccomp", f"{os.strerror(ctypes.get_errno())}: containers could not be confined", needed=True
    )


def nftables() -> Finding:
    """Whether the kernel answers a netlink question for its nftables."""
    try:
        refusal = _ask_nftables()
    except OSError as error:
        refusal = str(error.strerror)
    if refusal:
        return Finding(
            WARN,
            "nftables",
            f"{refusal}: containers reach nobody outside, and the daemon itself serves published ports",
        )
    return Finding(OK, "nftables", "containers can reach the world, and have published ports")


def bridges() -> Finding:
    """Whether a bridge and a pair of links can be made, tried in a network namespace of their own."""
    refusal = _refusal(_make_bridge)
    if refusal:
        return Finding(WARN, "bridge", f"{refusal}: containers can have no network, the daemon needs '-b none'")
    return Finding(OK, "bridge", "containers can have a network")


def _make_bridge() -> None:
    syscalls.unshare(syscalls.CLONE_NEWNET)
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    with Netlink(netlink.ROUTE) as sock:
        sock.request(links.add_bridge("bridge", "02:42:00:00:00:01", 1500))
        port = socket.if_nametoindex("bridge")
        sock.request(links.add_veth("outside", port, 1500, peer="inside", netns=own))


def forwarding() -> Finding:
    """Whether the host forwards packets."""
    if sysctls.read("net/ipv4/ip_forward") == "1":
        return Finding(OK, "forwarding", "packets are forwarded")
    if os.access("/proc/sys/net/ipv4/ip_forward", os.W_OK):
        return Finding(OK, "forwarding", "off; the daemon turns it on (unless --ip-forward=false)")
    return Finding(WARN, "forwarding", "off, and cannot be turned on: containers reach nobody but the host")


def _ask_nftables() -> str:
    """Dump the tables; the kernel loads its module for it. Empty when it answers, else why not."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as sock:
        sock.settimeout(5)
        family = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)  # struct nfgenmsg
        sock.send(struct.pack("=IHHII", 16 + len(family), _NFNETLINK_GET_TABLE, _DUMP_REQUEST, 1, 0) + family)
        answer = sock.recv(65536)
    _, kind, _, _, _, code = struct.unpack_from("=IHHIIi", answer)
    return os.strerror(-code) if kind == _NLMSG_ERROR and code else ""


def drivers(root: Path, driver_dirs: Sequence[Path]) -> Iterator[Finding]:
    """Each storage driver, tried; one that works is needed."""
    rows = list(list_drivers(root, available(driver_dirs), driver_dirs))
    for row in rows:
        yield Finding(OK if row.works else WARN, f"storage {row.name}", "works" if row.works else row.why)
    if not any(row.works for row in rows):
        yield Finding(MISSING, "storage", f"no driver works in {root}", needed=True)
