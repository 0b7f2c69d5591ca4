"""What a container's namespaces need done in them before its command runs."""

import fcntl
import socket
import struct

from trioker.linux import syscalls

CONTAINER = syscalls.CLONE_NEWPID | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWNET
"""The namespaces a container's init is born in. Its mount and cgroup namespaces are copies of a state, so they are made later (``unshare``)."""

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
