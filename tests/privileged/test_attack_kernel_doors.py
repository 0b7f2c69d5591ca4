"""Ways out by the kernel's own doors, tried by a program in a container; and where one of our guards can be left out, the same without it."""

import ctypes
import os
import socket
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import attacker
import inside
import pytest
from forked import in_child
from launcher_lab import Lab

from trioker.linux import seccomp
from trioker.linux.mounts import MS_BIND, Mount
from trioker.linux.syscall_table import numbers

pytestmark = pytest.mark.root

SECRET = "only the host may read this"
GUARDS: dict[str, dict[str, object]] = {
    "": {},
    "filter": {"seccomp": False},
    "masks": {"masked_paths": []},
    "read-only": {"readonly_paths": []},
}
"""What an order leaves out of our guards."""
HOST = "container"  # tried on the host itself, by its root

Try = Callable[[str, str], str]


class Door(NamedTuple):
    """An attack: the words that may come of it (``|`` between them), and what is left out to see it get further."""

    attack: str
    shut: str
    without: str = ""


DOORS = {
    "CVE-2022-0492, a release agent": Door("as_own_root(lambda: mount('c', '/tmp', 'cgroup', data='memory'))", "EPERM EPERM", "filter"),
    "CVE-2022-0185, the new mount calls": Door("as_own_root(lambda: call('fsopen', b'tmpfs', 0))", "EPERM EPERM", "filter"),
    "CVE-2023-0386, an overlay": Door("as_own_root(lambda: mount('o', '/tmp', 'overlay', data='lowerdir=/etc:/bin'))", "EPERM EPERM", "filter"),
    "a copy of a mount": Door("as_own_root(lambda: call('open_tree', -100, b'/', 0x8001))", "EPERM EPERM", "filter"),
    "a mount": Door("mount('tmpfs', '/tmp', 'tmpfs')", "EPERM"),
    "a mask taken away": Door("call('umount2', b'/proc/keys', 0)", "EPERM"),
    "/proc/sys made writable": Door("mount('', '/proc/sys', '', MS_REMOUNT | MS_BIND)", "EPERM"),
    "/sys made writable": Door("mount('', '/sys', '', MS_REMOUNT | MS_BIND)", "EPERM"),
    "a user namespace by clone": Door("call('clone', CLONE_NEWUSER | 17, 0)", "EPERM", "filter"),
    "clone3, whose flags no filter sees": Door("call('clone3', bytes(64), 64)", "ENOSYS", "filter"),
    "somebody's namespaces": Door("call('setns', os.open('/proc/self/ns/net', 0), 0)", "EPERM", HOST),
    "the keyring of the session": Door("call('keyctl', 0, -3, 0)", "EPERM", "filter"),
    "a key added": Door("call('add_key', b'user', b'name', b'x', 1, -3)", "EPERM", "filter"),
    "a key asked for": Door("call('request_key', b'user', b'name', None, 0)", "EPERM", "filter"),
    "userfaultfd": Door("call('userfaultfd', 1)", "EPERM", "filter"),
    "io_uring": Door("call('io_uring_setup', 1, bytes(120))", "EPERM", "filter"),
    "a BPF map": Door("call('bpf', 0, struct.pack('IIII', 2, 4, 4, 1) + bytes(112), 128)", "EPERM", HOST),
    "perf events": Door("call('perf_event_open', struct.pack('IIQ', 1, 112, 0) + bytes(96), 0, -1, -1, 0)", "EPERM", HOST),
    "the kernel's log": Door("call('syslog', 10, None, 0)", "EPERM", HOST),
    "a kernel module": Door("call('finit_module', -1, b'', 0)", "EPERM", HOST),
    "another kernel": Door("call('kexec_load', 0, 0, None, 0)", "EPERM"),
    "the clock": Door("call('clock_settime', 0, None)", "EPERM", HOST),
    "swap": Door("call('swapon', b'/etc/motd', 0)", "EPERM"),
    "ports of the machine": Door("call('ioperm', 0, 1, 1)", "EPERM", HOST),
    "quotas": Door("call('quotactl', 0x800001 << 8, b'/', 0, None)", "EPERM", HOST),
    "descriptors of another process": Door("call('pidfd_getfd', os.pidfd_open(1), 0, 0)", "EPERM", "filter"),
    "memory of a NUMA node": Door("call('mbind', 0, 0, 0, None, 0, 0)", "EPERM", "filter"),
    "data that can be executed": Door("call('personality', 0x400000)", "EPERM", "filter"),
    "addresses that are no secret": Door("call('personality', 0x40000)", "EPERM", "filter"),
    "the kernel's ciphers by a socket": Door("open_socket(38, socket.SOCK_SEQPACKET)", "EPERM", "filter"),
    "the hypervisor by a socket": Door("open_socket(40, socket.SOCK_STREAM)", "EPERM", "filter"),
    "a forgotten network": Door("open_socket(3, socket.SOCK_DGRAM)", "EPERM", "filter"),
    "a network to come": Door("open_socket(46)", "EPERM", "filter"),
    "the program for core dumps": Door("open_writable('/proc/sys/kernel/core_pattern')", "EROFS", "read-only"),
    "the program for missing modules": Door("open_writable('/proc/sys/kernel/modprobe')", "EROFS|ENOENT"),
    "the program for new devices": Door("open_writable('/sys/kernel/uevent_helper')", "EROFS|ENOENT"),
    "the magic key": Door("open_writable('/proc/sysrq-trigger')", "EROFS|ENOENT"),
    "processors of interrupts": Door("open_writable('/proc/irq/default_smp_affinity')", "EROFS", "read-only"),
    "settings of a block device": Door("[open_writable(each) for each in glob.glob('/sys/block/*/queue/read_ahead_kb')][:1]", "['EROFS']|[]", HOST),
    "the kernel's memory": Door("read_some('/proc/kcore')", "empty|ENOENT"),
    "the host's keys": Door("read_some('/proc/keys')", "empty", "masks"),
    "GHSA-6fw5-f8r9-fgfm, when interrupts come": Door("read_some('/proc/interrupts')", "empty", "masks"),
    "the host's timers": Door("read_some('/proc/timer_list')", "empty|ENOENT"),
    "the firmware's tables": Door("read_some('/sys/firmware')", "empty|ENOENT", "masks"),
    "CVE-2020-8694, how much power is used": Door("read_some('/sys/devices/virtual/powercap')", "empty|ENOENT"),
    "a chroot climbed out of": Door("climb_out_of_chroots()", "inside"),
    "memory by a device": Door("make_and_open(0o20000, 1, 1)", "ok EPERM", HOST),
    "the kernel's log by a device": Door("make_and_open(0o20000, 1, 11)", "ok EPERM", HOST),
    "/dev/fuse": Door("make_and_open(0o20000, 10, 229)", "ok EPERM", HOST),
    "a loop device": Door("make_and_open(0o20000, 10, 237)", "ok EPERM", HOST),
    "/dev/kvm": Door("make_and_open(0o20000, 10, 232)", "ok EPERM", HOST),
    "a terminal without one": Door("push_into('/dev/tty')", "ENXIO"),
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The attacker's image, unpacked."""
    path = tmp_path_factory.mktemp("attacker") / "tree"
    path.mkdir()
    subprocess.run(["tar", "-x", "-C", path], input=attacker.attacker_tar(), check=True)
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("doors") / "lab")
    yield lab
    lab.close()


def attack_in(lab: Lab, tree: Path, expressions: dict[str, str], **changes: object) -> dict[str, str]:
    root = [Mount(str(tree), "none", MS_BIND)]
    text, _ = lab.run(f"run{len(lab.names)}", *attacker.command(expressions), mounts=root, **changes)
    found = attacker.answers(text)
    assert found.keys() == expressions.keys(), text
    return found


@pytest.fixture(scope="module")
def found(lab: Lab, tree: Path) -> dict[str, str]:
    """What came of every attack in one container as the daemon orders them."""
    return attack_in(lab, tree, {name: door.attack for name, door in DOORS.items()})


@pytest.fixture(scope="module")
def found_without(lab: Lab, tree: Path) -> dict[str, str]:
    """What came of those with a guard that can be left out, where it is."""
    found = {}
    for guard, changes in GUARDS.items():
        if attacks := {name: door.attack for name, door in DOORS.items() if guard and door.without == guard}:
            found |= attack_in(lab, tree, attacks, **changes)
    return found


@pytest.mark.parametrize("name", DOORS)
def test_shut_is(name: str, found: dict[str, str]):
    assert found[name] in DOORS[name].shut.split("|")


@pytest.mark.parametrize("name", [name for name, door in DOORS.items() if door.without not in {"", HOST}])
def test_without_that_guard_open_would_be(name: str, found: dict[str, str], found_without: dict[str, str]):
    assert found_without[name] != found[name] or found[name] == "ENOENT"


@pytest.mark.parametrize("name", [name for name, door in DOORS.items() if door.without == HOST])
def test_open_to_the_hosts_root_is(name: str, found: dict[str, str]):
    def child() -> object:
        inside.NUMBERS.update(numbers(seccomp.arch()))
        return str(eval(DOORS[name].attack, vars(inside)))

    assert in_child(child) != found[name] or found[name] == "[]"


def test_shut_is_the_shocker(lab: Lab, tree: Path):
    """CVE-2014-3519 and its like: a file of the host by its number, on the filesystem the container's root is a part of."""
    secret = tree.parent / "secret"
    secret.write_text(SECRET)
    kind, handle = handle_of(secret)
    attack = {"shocker": f"read_by_handle({kind}, {handle!r})"}
    assert attack_in(lab, tree, attack) == {"shocker": "EPERM"}
    assert attack_in(lab, tree, attack, seccomp=False) == {"shocker": "EPERM"}  # nor does the capability let it pass

    def on_the_host() -> object:
        inside.NUMBERS.update(numbers(seccomp.arch()))
        os.chdir(tree)
        return inside.read_by_handle(kind, handle, ".")

    assert in_child(on_the_host) == SECRET


def handle_of(path: Path) -> tuple[int, bytes]:
    """name_to_handle_at(2)."""
    room = 128
    buffer = ctypes.create_string_buffer(struct.pack("Ii", room, 0), 8 + room)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.name_to_handle_at(-100, os.fsencode(path), buffer, ctypes.byref(ctypes.c_int()), 0) == 0
    size, kind = struct.unpack_from("Ii", buffer)
    return kind, buffer.raw[8 : 8 + size]


def test_shut_is_the_disk_that_the_root_is_on(lab: Lab, tree: Path):
    device = tree.stat().st_dev
    attack = f"make_and_open({stat.S_IFBLK}, {os.major(device)}, {os.minor(device)})"
    assert attack_in(lab, tree, {"disk": attack}) == {"disk": "ok EPERM"}


def test_a_terminal_takes_what_is_pushed_into_it_and_is_the_containers_own(lab: Lab, tree: Path):
    """CVE-2019-11245's like: with the host's terminal inside, TIOCSTI would type commands for its shell."""
    attacks = {
        "name": "os.ttyname(0)",
        "console": "os.stat('/dev/console').st_rdev",
        "own": "os.stat('/dev/pts/0').st_rdev",
        "all": "os.listdir('/dev/pts')",
    }
    seen = attack_in(lab, tree, attacks, tty=True)
    assert seen["name"] in {"/dev/pts/0", "/dev/console"}
    assert seen["console"] == seen["own"]
    assert sorted(eval(seen["all"])) == ["0", "ptmx"]


def test_a_setuid_program_gives_nothing(lab: Lab, tree: Path):
    program = tree / "bin" / "setuid"
    program.write_bytes((tree / "bin" / "busybox").read_bytes())
    program.chmod(0o4755)
    text, _ = lab.run(
        "setuid", "sh", "-c", "exec -a id /bin/setuid", user="1000", mounts=[Mount(str(tree), "none", MS_BIND)]
    )
    assert text.startswith("uid=1000(")
    assert "euid=0" not in text


def test_cve_2022_24769_no_capability_can_be_inherited(lab: Lab, tree: Path):
    attack = "' '.join(line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapInh', 'CapAmb')))"
    assert attack_in(lab, tree, {"inherited": attack}) == {"inherited": " ".join(["0" * 16] * 2)}


@pytest.fixture
def listening() -> Iterator[str]:
    """An abstract socket of the host."""
    name = f"trioker-attacked-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        yield name


def test_cve_2020_15257_no_abstract_socket_of_the_host_is_reached(lab: Lab, tree: Path, listening: str):
    assert attack_in(lab, tree, {"socket": f"connect_abstract({listening!r})"}) == {"socket": "ECONNREFUSED"}
    assert inside.connect_abstract(listening) == "ok"
