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

from trioker.launcher import command, lockdown, network, process, rootfs, stdio, userns, wire
from trioker.launcher.accounts import find_user
from trioker.launcher.failure import Failed, describe, stage
from trioker.launcher.helper import run_helper
from trioker.launcher.launch import Launch
from trioker.launcher.network import Pair, Port, Uplink
from trioker.launcher.spec import LaunchSpec, LinkSpec
from trioker.launcher.user import UNKNOWN_USER, UnknownUser, User
from trioker.launcher.userns import Remap, Users
from trioker.linux import mounts, namespaces, syscalls
from trioker.linux.cgroups import Hierarchies

_START_WITHIN = 50  # seconds from the order to execve; a little less than the daemon waits, so that it hears why
_HELPER = {"report", "spec", "data"}
_NEEDED = {"launch": {"report", "spec"}} | dict.fromkeys(("unpack", "pack", "write", "mirror", "compare"), _HELPER)


class Zygote(NamedTuple):
    """What all are given that come from one zygote."""

    daemon: wire.Socket
    """Where orders come from."""
    hierarchies: Hierarchies
    device_rules: int | None = None
    """What ``cgroups.load_device_rules`` returned."""
    port: Port | None = None
    """How containers are put on the host's bridge, if there is one."""
    remap: Remap | None = None
    """The ids of containers that have a user namespace."""


class Surroundings(NamedTuple):
    """What an init is given."""

    zygote: Zygote
    release: int
    """A pipe that gets a byte when the zygote shall make the next init."""
    monitor: wire.Socket
    """Whom to tell how it went. It hangs up when the monitor, our parent, ends."""


def main(around: Surroundings) -> NoReturn:
    """Make an init and be it. On version 2 of control groups it is born in one that the order names: moving in later waits for the whole machine.

    Until then its maker waits for it, in all of its namespaces but the one of processes, in which only a child can be.
    """
    die_with(around.monitor)  # or it would take an order that nobody sees to the end
    daemon, hierarchies, device_rules, port, remap = around.zygote
    uplink = Uplink.open(port)
    users = make_namespaces(remap)
    born_inside = bool(hierarchies.v2)
    if not born_inside:
        continue_as_child(around)
    process.set_name("trioker-init")  # the one that waits is called so, and never two
    process.end_before_the_daemon()
    early = not wire.polled(daemon, select.POLLIN)
    made, pair = (_prepare_early(users), _pair_early(uplink)) if early else (None, None)
    kind, fds = take_order(daemon)
    if kind != "launch":
        if born_inside:
            continue_as_child(around)  # a helper, too, shall be alone
        help_with(kind, fds, around)
    if wire.polled(daemon, select.POLLIN):
        release(around)
    links = pair.fds() if pair else uplink.fds() if uplink else ()
    kept = {around.monitor.fileno(), around.release, users.fd if users else -1, device_rules or -1}
    process.close_all_but({*kept, *fds.values(), *(made or ()), *links})
    launch = begin(fds)
    try:
        with stage("init"):
            directory = launch.make_cgroup(hierarchies, device_rules)
            if born_inside:
                continue_as_child(around, directory)
                signal.alarm(_START_WITHIN)  # a child does not inherit it
            launch.enter_cgroup(born_inside=born_inside)
            made = made or prepare(users)
            join_network(pair, uplink, launch.spec.network)
            run(launch, made, around, users)
    except Failed as failed:
        launch.give_up(around.monitor, failed)
        release(around)
    os._exit(1)


def _prepare_early(users: Users | None) -> rootfs.Filesystems | None:
    """Prepare without an order. What goes wrong will go wrong again when there is one, and then somebody hears of it."""
    try:
        return prepare(users)
    except Failed:
        return None


def _pair_early(uplink: Uplink | None) -> Pair | None:
    """The same for the link to the host."""
    try:
        return network.make_pair(uplink) if uplink else None
    except OSError:
        return None


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


def make_namespaces(remap: Remap | None) -> Users | None:
    """Enter the namespaces init is to be in; the one of processes is made, and the next child will be the first in it. Raises OSError."""
    users = userns.make_namespaces(remap) if remap else None
    has_others = users and not users.refusal
    syscalls.unshare(namespaces.OF_PROCESSES if has_others else namespaces.OF_PROCESSES | namespaces.OWNED)
    return users


def continue_as_child(around: Surroundings, cgroup: int | None = None) -> None:
    """Go on as init: the first in its namespace of processes, in the control group it is to have, a child of our parent. Raises OSError."""
    pid, _ = syscalls.clone3(syscalls.CLONE_PARENT, -1 if cgroup is None else cgroup)
    if pid:
        os._exit(0)
    die_with(around.monitor)
    os.setsid()


def prepare(users: Users | None) -> rootfs.Filesystems:
    """What needs no order: loopback, keyring, the kernel's filesystems. Raises Failed."""
    with stage("namespaces"):
        os.umask(0)
        with suppress(OSError):  # no quota left: then the keyring of the daemon's session stays, which is empty too
            syscalls.keyctl_join_session_keyring()
        if users:
            users.check()
        namespaces.bring_loopback_up()
        namespaces.let_users_serve_and_ping()
        return userns.make_filesystems(users)


def join_network(pair: Pair | None, uplink: Uplink | None, wanted: LinkSpec | None) -> None:
    """Take the place on the host's bridge that was ordered, if one was; ``pair`` is what is made already. Raises Failed."""
    with stage("network"):
        if wanted and not uplink:
            raise ValueError("there is no bridge to be on")
        if wanted and uplink:
            network.connect(pair or network.make_pair(uplink), wanted)
        elif pair:
            network.remove_pair(pair)


def run(launch: Launch, made: rootfs.Filesystems, around: Surroundings, users: Users | None) -> NoReturn:
    """Everything else, ending in the container's command. Raises Failed."""
    spec = launch.spec
    launch.write_down()
    with userns.making_its_files(users):
        streams = make_view(launch, made, users)
    with stage("user"):
        user = _find_user(spec.user)
        stdio.install(streams, userns.owner(users, user), tty=spec.tty)
    with stage("limits"):
        launch.warnings += lockdown.set_limits(spec.rlimits)
    if users:
        enter(users, around)
    with stage("cwd"):
        change_directory(spec.cwd)
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


def enter(users: Users, around: Surroundings) -> None:
    """Become the container's root, who on the host is nobody in particular. Raises Failed."""
    with stage("namespaces"):
        userns.enter(users)
        lockdown.begin_anew()
        die_with(around.monitor)


def make_view(launch: Launch, made: rootfs.Filesystems, users: Users | None) -> stdio.Stdio:
    """The container's files, host name and streams; the host's files are out of sight afterwards."""
    spec = launch.spec
    with stage("rootfs"):
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWCGROUP)  # copies of what we are in by now
        mounts.make_private()
        userns.map_files(users)
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
    if wire.polled(monitor, 0):
        os._exit(1)
