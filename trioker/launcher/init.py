"""A container's init, from clone3 to execve: it takes one order from the daemon and becomes what was ordered.

It is made before there is an order, and then has its namespaces and filesystems already. An order for a helper finds in it a process
without a network and without sight of other processes, which suits a helper.
"""

import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import NamedTuple, NoReturn

from trioker.launcher import command, lockdown, process, rootfs, stdio, wire
from trioker.launcher.accounts import find_user
from trioker.launcher.failure import Failed, describe, stage
from trioker.launcher.helper import run_helper
from trioker.launcher.launch import Launch
from trioker.launcher.spec import LaunchSpec
from trioker.launcher.user import UNKNOWN_USER, UnknownUser, User
from trioker.linux import mounts, namespaces, syscalls
from trioker.linux.cgroups import Hierarchies

_START_WITHIN = 50  # seconds from the order to execve; a little less than the daemon waits, so that it hears why
_HELPER = {"report", "spec", "data"}
_NEEDED = {"launch": {"report", "spec"}, "unpack": _HELPER, "pack": _HELPER, "write": _HELPER}


class Zygote(NamedTuple):
    """What all are given that come from one zygote."""

    daemon: wire.Socket
    """Where orders come from."""
    hierarchies: Hierarchies


class Surroundings(NamedTuple):
    """What an init is given."""

    daemon: wire.Socket
    """Where orders come from."""
    release: int
    """A pipe that gets a byte when the zygote shall make the next init."""
    monitor: wire.Socket
    """Whom to tell how it went. It hangs up when the monitor, our parent, ends."""
    hierarchies: Hierarchies


def main(around: Surroundings) -> NoReturn:
    """Make an init and be it. On version 2 of control groups it is born into a directory that the order names, so it is made later."""
    process.set_name("trioker-init")
    born_inside = bool(around.hierarchies.v2)
    if born_inside:
        die_with(around.monitor)  # or it would take an order that nobody sees to the end
    else:
        continue_as_child(None)
    made = None if born_inside or _waiting(around.daemon) else _prepare_early(around)
    kind, fds = take_order(around.daemon)
    if kind != "launch":
        help_with(kind, fds, around)
    if _waiting(around.daemon):
        release(around)
    process.close_all_but({around.monitor.fileno(), around.release, *fds.values(), *(made or ())})
    launch = begin(fds)
    try:
        with stage("init"):
            directory = launch.make_cgroup(around.hierarchies)
            if born_inside:
                continue_as_child(directory)
            launch.offer_network()
            launch.enter_cgroup(born_inside=born_inside)
            run(launch, made or prepare(around), around)
    except Failed as failed:
        launch.give_up(around.monitor, failed)
        release(around)
    os._exit(1)


def _prepare_early(around: Surroundings) -> rootfs.Filesystems | None:
    """Prepare without an order. What goes wrong will go wrong again when there is one, and then somebody hears of it."""
    try:
        return prepare(around)
    except Failed:
        return None


def _waiting(daemon: wire.Socket) -> bool:
    poll = select.poll()
    poll.register(daemon, select.POLLIN)
    return bool(poll.poll(0))


def release(around: Surroundings) -> None:
    """Have the zygote make the next init. Once is enough: after that it does not listen."""
    with suppress(BrokenPipeError):
        os.write(around.release, b"1")


def take_order(daemon: wire.Socket) -> tuple[str, dict[str, int]]:
    """The next order: a kind, and descriptors by name. Ends the process when the daemon has gone."""
    while True:
        try:
            received = wire.receive(daemon)
        except wire.BadPacket as error:
            sys.stderr.write(f"launcher: {error}\n")
            continue
        if received is None:
            os._exit(0)
        message, fds = received
        kind = str(message.get("kind"))
        if kind in _NEEDED and _NEEDED[kind] <= fds.keys():
            return kind, fds
        sys.stderr.write(f"launcher: not an order: {message!r} with {sorted(fds)}\n")
        for fd in fds.values():
            os.close(fd)


def help_with(kind: str, fds: dict[str, int], around: Surroundings) -> NoReturn:
    """Become a helper. The monitor stays with it: with that, it would be killed."""
    release(around)
    process.close_all_but({around.monitor.fileno(), *fds.values()})
    os.umask(0o022)
    run_helper(kind, wire.read_spec(fds.pop("spec")), fds)


def begin(fds: dict[str, int]) -> Launch:
    """Read the order. One that cannot be read is answered here: there is nothing to undo."""
    signal.alarm(_START_WITHIN)
    try:
        return Launch(LaunchSpec.from_json(wire.read_spec(fds["spec"])), fds["report"], fds.get("output"))
    except (ValueError, TypeError, KeyError, OSError) as error:
        with suppress(OSError):
            wire.send(wire.adopt(fds["report"]), Failed("spec", describe(error)).to_message())
        os._exit(1)


def continue_as_child(cgroup: int | None) -> None:
    """Go on as init in the namespaces and control group it is to have, a child of our parent."""
    pid, _ = syscalls.clone3(namespaces.CONTAINER | syscalls.CLONE_PARENT, -1 if cgroup is None else cgroup)
    if pid:
        os._exit(0)


def prepare(around: Surroundings) -> rootfs.Filesystems:
    """What needs no order: session, loopback, keyring, the kernel's filesystems. Raises Failed."""
    with stage("namespaces"):
        die_with(around.monitor)
        os.umask(0)
        with suppress(PermissionError):  # a second try: a session's leader already
            os.setsid()
        with suppress(OSError):  # no quota left: then the keyring of the daemon's session stays, which is empty too
            syscalls.keyctl_join_session_keyring()
        namespaces.bring_loopback_up()
        return rootfs.make_filesystems()


def run(launch: Launch, made: rootfs.Filesystems, around: Surroundings) -> NoReturn:
    """Everything else, ending in the container's command. Raises Failed."""
    spec = launch.spec
    launch.write_down()
    streams = make_view(launch, made)
    with stage("user"):
        user = _find_user(spec.user)
        stdio.install(streams, user.uid, tty=spec.tty)
    with stage("limits"):
        launch.warnings += lockdown.set_limits(spec.rlimits)
    with stage("cwd"):
        change_directory(spec.cwd)
    launch.await_network()
    launch.hand_over(around.monitor, streams.monitors)
    with stage("security"):
        granted = lockdown.grantable(tuple(spec.capabilities))
        lockdown.become(user, granted)
        die_with(around.monitor)
        release(around)  # SIGPIPE is still ignored here
        lockdown.close_doors(granted, filtered=spec.seccomp)
    with stage("cwd"):
        check_directory()
    signal.alarm(0)
    command.execute(spec.argv, _environment(spec.env, user.home))


def make_view(launch: Launch, made: rootfs.Filesystems) -> stdio.Stdio:
    """The container's files, host name and streams; the host's files are out of sight afterwards."""
    spec = launch.spec
    with stage("rootfs"):
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWCGROUP)  # copies of what we are in by now
        mounts.make_private()
        root = rootfs.make_root(spec.mounts, spec.mount_point)
        socket.sethostname(spec.hostname)
    with stage("mounts"):
        rootfs.attach_filesystems(root, made)
    with stage("stdio"):
        streams = stdio.open_stdio(made, tty=spec.tty, open_stdin=spec.open_stdin, output=launch.output)
    for each in spec.binds:
        with stage("bind"):
            rootfs.attach_bind(root, made, each)
    with stage("mounts"):
        rootfs.enter(root)
        rootfs.mask(root, made, spec.masked_paths)
        rootfs.make_readonly(root, spec.readonly_paths)
    return streams


def _environment(env: list[str], home: str) -> list[str]:
    return env if any(each.startswith("HOME=") for each in env) else [*env, f"HOME={home}"]


def _find_user(wanted: str) -> User:
    try:
        return find_user(wanted)
    except UnknownUser as error:
        raise Failed("user", str(error), UNKNOWN_USER) from None


def change_directory(path: str) -> None:
    """Go there, as seen in the container; it is made where missing, as Docker does."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(rootfs.reach(root, path, directory=True))


def check_directory() -> None:
    """Be sure to stand inside the root: a working directory reached through a leaked descriptor is the host's (CVE-2024-21626)."""
    if not os.getcwd().startswith("/"):
        raise ValueError("the working directory is outside of the container's root")


def die_with(monitor: wire.Socket) -> None:
    """Have the kernel kill us when our parent, the monitor, dies; a change of user clears that, so it is done again after one.

    ``monitor`` hangs up when the monitor ends, and the kernel does that before it signals the children: with no hang-up to be seen
    afterwards, the signal will come.
    """
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    poll = select.poll()
    poll.register(monitor, 0)
    if poll.poll(0):
        os._exit(1)
