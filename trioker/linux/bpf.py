"""Device rules on version 2 cgroups, where an eBPF program takes the place of version 1's ``devices`` controller.

Source: Documentation/admin-guide/cgroup-v2.rst, "Device controller"; struct bpf_cgroup_dev_ctx and union bpf_attr in linux/bpf.h.
"""

import ctypes
import os
import struct
from collections.abc import Iterable

from trioker.linux.syscalls import oserror

_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_PROG_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2  # others may attach theirs too, and a device needs the word of all

_INSTRUCTION = struct.Struct("<BBhi")  # code, registers (source in the high half), jump, number
_LOAD_WORD, _MOVE, _SHIFT_RIGHT, _AND, _IF_NOT, _IF_ANY_BIT, _EXIT = 0x61, 0xB7, 0x74, 0x54, 0x55, 0x45, 0x95
_RESULT, _CONTEXT, _TYPE, _ACCESS, _MAJOR, _MINOR = range(6)
_TYPES = {"b": 1, "c": 2}
_ACCESSES = {"m": 1, "r": 2, "w": 4}
_ATTR_SIZE = (
    128  # room for all of union bpf_attr we fill; the kernel reads what is missing as zero and wants surplus to be zero
)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def device_program(rules: Iterable[str]) -> bytes:
    """Instructions that allow what one of ``rules`` allows, in version 1's notation (``c 1:3 rwm``, ``*`` for any number), and nothing else."""
    code = [
        _op(_LOAD_WORD, _TYPE, source=_CONTEXT),
        _op(_MOVE | 0x0F, _ACCESS, source=_TYPE),
        _op(_SHIFT_RIGHT, _ACCESS, number=16),
        _op(_AND, _TYPE, number=0xFFFF),
        _op(_LOAD_WORD, _MAJOR, source=_CONTEXT, jump=4),
        _op(_LOAD_WORD, _MINOR, source=_CONTEXT, jump=8),
    ]
    for rule in rules:
        code += _rule(rule)
    return b"".join([*code, _op(_MOVE, _RESULT, number=0), _op(_EXIT)])


def load_device_program(program: bytes) -> int:
    """Have the kernel check and keep the program; returns a descriptor of it. OSError: EPERM without BPF or SYS_ADMIN, EINVAL, ENOSYS."""
    instructions = ctypes.create_string_buffer(program, len(program))
    text = ctypes.create_string_buffer(b"Dual MIT/GPL")
    log = (0, 0, 0)
    load = struct.pack(
        "=IIQQIIQ",
        _PROG_TYPE_CGROUP_DEVICE,
        len(program) // _INSTRUCTION.size,
        ctypes.addressof(instructions),
        ctypes.addressof(text),
        *log,
    )
    return _bpf(_PROG_LOAD, load)


def attach_device_program(program: int, cgroup: int) -> None:
    """Put a loaded program on the cgroup behind a descriptor; there it stays for as long as the cgroup does. Raises OSError."""
    _bpf(_PROG_ATTACH, struct.pack("=IIII", cgroup, program, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))


def _op(code: int, register: int = 0, *, source: int = 0, jump: int = 0, number: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, register | source << 4, jump, number)


def _rule(rule: str) -> list[bytes]:
    """Compare one after the other, jump over the rest where one differs; behind them the device is allowed."""
    kind, device, access = rule.split()
    major, minor = device.split(":")
    other_access = sum(bit for name, bit in _ACCESSES.items() if name not in access)
    tests = [(_IF_NOT, _TYPE, _TYPES[kind])]
    if other_access:
        tests.append((_IF_ANY_BIT, _ACCESS, other_access))
    tests += [(_IF_NOT, register, int(each)) for register, each in ((_MAJOR, major), (_MINOR, minor)) if each != "*"]
    allow = [_op(_MOVE, _RESULT, number=1), _op(_EXIT)]
    distance = len(tests) + len(allow) - 1
    return [
        _op(code, register, jump=distance - i, number=number) for i, (code, register, number) in enumerate(tests)
    ] + allow


def _bpf(command: int, attributes: bytes) -> int:
    size = ctypes.c_ulong(_ATTR_SIZE)
    result = _libc.syscall(
        ctypes.c_long(_BPF[os.uname().machine]), ctypes.c_long(command), attributes.ljust(_ATTR_SIZE, b"\0"), size
    )
    if result < 0:
        raise oserror("bpf")
    return int(result)
