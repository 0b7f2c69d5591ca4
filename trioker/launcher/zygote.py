"""The process all others of the launcher are forked from. It imports, then only forks: it reads no order and knows no container.

One init always waits for the next order, below a monitor of its own, in namespaces and with filesystems that are made already: they take
longer than all the rest of a launch. The next one is made when it has done its part and the command had a moment of the processors to
itself, or when a further order waits already.
"""

import gc
import json
import os
import select
import time
from contextlib import suppress

from trioker.launcher import lockdown, monitor, process, wire
from trioker.launcher.init import Zygote
from trioker.launcher.network import Port
from trioker.launcher.userns import Remap
from trioker.linux import capabilities, cgroups

_AGAIN_AFTER = 0.1  # seconds until the next try where no process could be made
_MOMENT = 10
"""Milliseconds. Making an init takes a processor for five to ten; on two of them a short command would take turns with it."""


def main(arguments: list[str]) -> int:
    """Fork monitors for the daemon on the inherited socket ``--fd N`` until it has hung up. Returns the exit status.

    ``--port JSON`` tells how containers are put on the host's bridge (``network.Port``), ``--remap JSON`` their ids (``userns.Remap``).
    """
    process.protect_interpreter()
    fd, port, remap = _parse(arguments)
    with suppress(PermissionError):  # a session's leader already
        os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1):  # standard error stays the daemon's, in the zygote and in what has no order yet
        os.dup2(null, standard)
    process.close_all_but({fd})
    process.set_name("trioker-launch")
    process.reset_signals()
    process.become_undumpable()
    process.reap_nobody()
    process.allow_deadlines()
    lockdown.prepare(lockdown.grantable(tuple(sorted(capabilities.DEFAULT))))
    hierarchies = cgroups.detect()
    gc.collect()
    gc.freeze()
    serve(Zygote(wire.adopt(fd), hierarchies, _load_device_rules(hierarchies), port, remap))
    return 0


def _load_device_rules(hierarchies: cgroups.Hierarchies) -> int | None:
    """What goes wrong here will go wrong again when there is an order, and then somebody hears of it."""
    try:
        return cgroups.load_device_rules(hierarchies)
    except OSError:
        return None


def _parse(arguments: list[str]) -> tuple[int, Port | None, Remap | None]:
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) % 2 or not given.get("--fd", "").isdigit() or given.keys() - {"--fd", "--port", "--remap"}:
        raise SystemExit("Usage: trioker launcher --fd N [--port JSON] [--remap JSON]    (the daemon starts it)")
    port = Port(**json.loads(given["--port"])) if "--port" in given else None
    return int(given["--fd"]), port, Remap.from_json(json.loads(given["--remap"])) if "--remap" in given else None


def serve(zygote: Zygote) -> None:
    """Keep an init waiting until the daemon has hung up. What was started lives on; the waiting one ends by itself.

    What is touched from one fork to the next stays behind as the monitor's own memory, so as little as possible happens here.
    """
    while True:
        ours, theirs = wire.pair()
        reader, writer = os.pipe()
        try:
            pid = os.fork()
        except OSError:  # EAGAIN, ENOMEM: orders wait, and the daemon has a deadline
            pid = -1
        if pid == 0:
            monitor.main(zygote, ours, theirs, writer)
        os.close(writer)
        ours.close()
        theirs.close()
        done = os.read(reader, 1)
        os.close(reader)
        if done:
            wire.polled(zygote.daemon, select.POLLIN, _MOMENT)
        elif wire.polled(zygote.daemon, 0):  # it ended before it had done its part, because the daemon has hung up
            return
        else:
            time.sleep(_AGAIN_AFTER)
