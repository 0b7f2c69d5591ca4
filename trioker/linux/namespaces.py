"""What a container's namespaces need done in them before its command runs."""

import fcntl
import os
import socket
import struct
from contextlib import suppress

from trioker.linux import syscalls

OF_PROCESSES = syscalls.CLONE_NEWPID
"""Whoever makes it stays outside: its children are in it, the first of them as its init (pid_namespaces(7))."""
OWNED = syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
"""A container's others, which its user namespace owns if it has one. Its mount and cgroup namespaces are copies of a state and made later."""

_FOR_USERS = {
    "ip_unprivileged_port_start": b"0",
    "ping_group_range": b"0 2147483647",
}  # Documentation/networking/ip-sysctl.rst

_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914  # linux/sockios.h
_IFF_UP = 0x1
_IFREQ = struct.Struct(
    "16sh14x"
)  # struct ifreq with ifr_flags; larger members make it 40 bytes, the kernel copies them too


def bring_loopback_up() -> None:
    """Set the interface ``lo`` of this network namespace up; the kernel then gives it 127.0.0.1 and ::1 itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = _IFREQ.pack(b"lo", 0).ljust(40, b"\0")
        _, flags = _IFREQ.unpack(fcntl.ioctl(control, _SIOCGIFFLAGS, request)[: _IFREQ.size])
        fcntl.ioctl(control, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | _IFF_UP).ljust(40, b"\0"))


def let_users_serve_and_ping() -> None:
    """Let every user of this network namespace listen below port 1024, and send echo requests (icmp(7)), without a capability: as docker does.

    The low ports are kept for a host's services, and in a namespace of its own a container is alone with its own. Through the host's /proc, whose
    ``sys/net`` shows each process its own namespace. A host that has it read-only stays with the kernel's defaults.
    """
    for name, value in _FOR_USERS.items():
        with suppress(OSError):
            fd = os.open(f"/proc/sys/net/ipv4/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, value)
            finally:
                os.close(fd)
