"""A machine in qemu, from power-on to power-off or power cut; it does what the modules in ``guest/`` can do.

Its network ends in qemu: of all the world it reaches a server that says WORLD_SAYS, and it is reached by nobody but its tester.
"""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from daemon import free_port
from disks import Base, faults

UP_WITHIN = 180.0
"""Seconds to boot; six are usual, as every instruction is emulated. This and the others bear with a busy machine."""
OFF_WITHIN = 90.0
DEED_WITHIN = 400.0
MEMORY = "1G"

ADDRESS = "10.0.2.15"
"""What qemu knows it by (the manual's "Network options", of ``-netdev user``); the guest gives it to itself."""
DOORS = (4500, 4501)
"""Its ports that the tester can reach."""
WORLD, WORLD_SAYS = "10.0.2.100", "hello from the world"
ANSWER_WITHIN = 60.0


class Disks(NamedTuple):
    """What is in the machine."""

    base: Base
    brought: Path
    data: Path
    """Keeps what was written to it after the machine has gone."""
    others: tuple[Path, ...] = ()
    """So do these, from /dev/vdd on; what is on them is up to those who use them."""


class Machine:
    """One with its disks, on or off."""

    def __init__(self, disks: Disks, console: Path) -> None:
        self._disks, self._console = disks, console
        self._qemu: subprocess.Popen[bytes] | None = None
        self._port = socket.socket()
        self._received = b""
        self._doors: dict[int, int] = {}

    def switch_on(self) -> None:
        """Returns when it takes orders."""
        self._port.close()
        self._port, theirs = socket.socketpair()
        self._received = b""
        self._doors = {door: free_port() for door in DOORS}
        with theirs:
            command = _command(self._disks, self._console, theirs.fileno(), self._doors)
            self._qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        self._hear("boot", time.monotonic() + UP_WITHIN)

    def switch_off(self) -> None:
        """As an orderly host goes down: its processes are told to end, its disk comes to rest, in which e2fsck finds no fault."""
        self._port.shutdown(socket.SHUT_RDWR)
        assert self._qemu is not None, "it is not on"
        assert self._qemu.wait(OFF_WITHIN) == 0, self._told()
        assert not (found := faults(self._disks.data)), found

    def cut_power(self) -> list[Any]:
        """Now, whatever it is doing: all that it has not written to its disk is lost. Returns what it said last and nobody had heard yet."""
        self._end()
        while data := self._port.recv(65536):
            self._received += data
        whole = self._received[: self._received.rfind(b"\n") + 1]
        return [self._value("the last deed", json.loads(line)) for line in whole.splitlines()]

    def destroy(self) -> None:
        """Nothing of it is left but its disks."""
        self._end()
        self._port.close()

    def _end(self) -> None:
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait(OFF_WITHIN)

    def ask(self, door: int) -> str:
        """All that a server on one of DOORS says to a client outside; "" where there is none, as qemu has to admit everybody first."""
        with (
            socket.create_connection(("127.0.0.1", self._doors[door]), ANSWER_WITHIN) as client,
            client.makefile() as said,
        ):
            with contextlib.suppress(ConnectionResetError, TimeoutError):
                return said.read()
        return ""

    def do(self, deed: str, *arguments: Any, patience: float = DEED_WITHIN) -> Any:
        """What ``module.function`` of the guest's returns. Raises AssertionError with the guest's own traceback where that fails."""
        *_, end = self.follow(deed, *arguments, patience=patience)
        return end

    def follow(self, deed: str, *arguments: Any, patience: float = DEED_WITHIN) -> Iterator[Any]:
        """What a deed says on its way, as it comes, and last what it returns."""
        self._port.settimeout(patience)
        self._port.sendall(json.dumps({"deed": deed, "arguments": arguments}).encode() + b"\n")
        deadline = time.monotonic() + patience
        while True:
            message = self._hear(deed, deadline)
            yield self._value(deed, message)
            if "done" in message:
                return

    def _hear(self, what: str, deadline: float) -> Any:
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            assert left > 0, f"{what}: nothing heard from the second host in time\n{self._told()}"
            self._port.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data = self._port.recv(65536)
                assert data, f"{what}: the second host has gone\n{self._told()}"
                self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)

    def _value(self, deed: str, message: Any) -> Any:
        if "failed" in message:
            raise AssertionError(f"{deed} on the second host:\n{message['failed']}\n{self._told()}")
        return message["said"] if "said" in message else message["done"]

    def _told(self) -> str:
        return "its console ends so:\n" + self._console.read_text(errors="replace")[-4000:]


@contextlib.contextmanager
def switched_on(disks: Disks, console: Path) -> Iterator[Machine]:
    """A machine for the length of a with-block, up at its beginning; nothing of it runs after it."""
    machine = Machine(disks, console)
    try:
        machine.switch_on()
        yield machine
    finally:
        machine.destroy()


def _command(disks: Disks, console: Path, port: int, doors: Mapping[int, int]) -> list[str]:
    """Every instruction is emulated, also where there is a /dev/kvm: one that is there need not work (where this was written it never boots).

    Flushes are not passed on to this host's disk: what qemu was given outlives qemu anyhow. So a power cut takes what the guest's kernel
    has not written yet; that a disk forgets what it has not flushed is not played."""
    drives = [f"file={disks.base.root},readonly=on", f"file={disks.brought},readonly=on", f"file={disks.data}"]
    drives += [f"file={each}" for each in disks.others]
    world = f"guestfwd=tcp:{WORLD}:80-cmd:echo {WORLD_SAYS}"
    forwards = [f"hostfwd=tcp:127.0.0.1:{ours}-{ADDRESS}:{door}" for door, ours in doors.items()]
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY,
        "-kernel", str(disks.base.kernel), "-initrd", str(disks.base.initramfs),
        "-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on",
        "-chardev", f"file,id=console,path={console}", "-serial", "chardev:console",
        *(word for each in drives for word in ("-drive", f"if=virtio,format=raw,cache=unsafe,{each}")),
        "-device", "virtio-serial-pci", "-chardev", f"socket,id=port,fd={port}", "-device", "virtserialport,chardev=port",
        "-netdev", ",".join(["user,id=net,restrict=on", world, *forwards]), "-device", "virtio-net-pci,netdev=net,romfile=",
    ]  # fmt: skip
