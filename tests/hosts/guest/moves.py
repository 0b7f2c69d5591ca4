"""A store that is moved from driver to driver, with stopped containers beside its images."""

import os
import subprocess
import sys
from typing import Any

from host import IMAGE, PYZ, daemon
from power import numbers, unpacked

CONTAINERS = 2


def make_containers(*, say: Any) -> dict[str, int]:
    """Stopped ones that have written what their number says; the numbers by the containers' ids."""
    api, made = daemon().api, {}
    for number in range(CONTAINERS):
        container = api.create("sh", "-c", f"{numbers(number).command}; rm /etc/motd", image=IMAGE)
        api.start(container)
        assert api.wait(container) == 0, api.logs(container)
        made[container] = number
    return made


def check_containers(made: dict[str, int], *, say: Any) -> None:
    """They have what they have written, lack what they have removed, and can be started again."""
    api = daemon().api
    for container, number in made.items():
        found = dict(unpacked(api.ok("GET", f"/containers/{container}/export")))
        assert found["numbers"] == numbers(number).content, container
        assert "etc/motd" not in found
        assert "etc/passwd" in found
        changes = {change["Path"]: change["Kind"] for change in api.ok("GET", f"/containers/{container}/changes")}
        assert changes == {"/etc": 0, "/etc/motd": 2, "/numbers": 1}, changes


def end_daemon(*, say: Any) -> None:
    """As a service manager does; the containers and images stay, and what containers have written is on the disk."""
    assert daemon().stop() == 0, daemon().log_text()
    os.sync()


def migrate(to: str, *, say: Any) -> str:
    """Move the store, which no daemon has open, to another driver; what is printed is said as it comes. Returns the last line of it.

    The store has nothing of another driver, or of the move, afterwards.
    """
    command = [sys.executable, PYZ, "migrate", "--to", to, "-g", daemon().root]
    said = [""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as migration:
        for line in migration.stdout or ():
            said.append(line)
            say(line)
    assert migration.returncode == 0, "".join(said)
    assert (left := sorted(os.listdir(daemon().root / "storage"))) == sorted(["driver", "lock", to]), left
    return said[-1]
