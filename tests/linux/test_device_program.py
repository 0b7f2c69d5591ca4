"""The eBPF program for devices, run by a small interpreter."""

import itertools
import struct

import pytest

from trioker.linux.bpf import device_program
from trioker.linux.cgroup_layout import DEVICE_RULES

BLOCK, CHAR = 1, 2
MAKE, READ, WRITE = 1, 2, 4


def run(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    context = struct.pack("<III", access << 16 | kind, major, minor)
    code = list(struct.iter_unpack("<BBhi", program))
    registers = [0] * 11
    at = 0
    while True:
        operation, pair, jump, number = code[at]
        target, source = pair & 0xF, pair >> 4
        at += 1
        match operation:
            case 0x61:
                assert source == 1
                (registers[target],) = struct.unpack_from("<I", context, jump)
            case 0xB7:
                registers[target] = number
            case 0xBF:
                registers[target] = registers[source]
            case 0x74:
                registers[target] >>= number
            case 0x54:
                registers[target] &= number
            case 0x55:
                at += jump if registers[target] != number else 0
            case 0x45:
                at += jump if registers[target] & number else 0
            case 0x95:
                return registers[0]
            case _:
                pytest.fail(f"unknown operation {operation:#x}")


ALLOWED = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, 0), (136, 77)}


def test_only_the_default_devices_can_be_opened():
    program = device_program(DEVICE_RULES)
    places = ALLOWED | {(1, 1), (1, 2), (1, 11), (5, 3), (10, 200), (10, 229), (8, 0), (254, 0), (3, 1)}
    for (major, minor), access in itertools.product(places, (READ, WRITE, READ | WRITE, MAKE | READ)):
        assert run(program, CHAR, access, major, minor) == ((major, minor) in ALLOWED)
        assert run(program, BLOCK, access, major, minor) == 0


@pytest.mark.parametrize("kind", [BLOCK, CHAR])
def test_any_node_may_be_made(kind):
    assert run(device_program(DEVICE_RULES), kind, MAKE, 254, 0) == 1


def test_without_rules_nothing_is_allowed():
    assert run(device_program([]), CHAR, READ, 1, 3) == 0


def test_a_rule_allows_only_its_own_access():
    program = device_program(["b 8:1 r"])
    assert [run(program, BLOCK, access, 8, 1) for access in (READ, WRITE, READ | WRITE, MAKE)] == [1, 0, 0, 0]
