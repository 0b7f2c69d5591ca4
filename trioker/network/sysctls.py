"""Kernel settings of this network namespace, set so that they can be put back (Documentation/networking/ip-sysctl.rst)."""

import os
from collections.abc import Iterable

from trioker.model.network import Before

_ROOT = "/proc/sys"


def read(path: str) -> str | None:
    """A setting's value; None where the kernel has none such."""
    try:
        with open(f"{_ROOT}/{path}", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def write(path: str, value: str) -> None:
    """Set it. Raises OSError."""
    fd = os.open(f"{_ROOT}/{path}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode("ascii"))
    finally:
        os.close(fd)


def forwarding(*, ipv6: bool) -> list[Before]:
    """The settings that forwarding needs and that it changes by the way, in the order of setting them; none where it is on.

    One setting turns it on, or off, for all links at once, so those that had it alone are noted too. For IPv6 the host becomes a router,
    which takes no routes from others any more unless told to (accept_ra 2): it would lose its own.
    """
    found = _forwarding("net/ipv4/ip_forward", "net/ipv4/conf")
    if ipv6:
        switched = _forwarding("net/ipv6/conf/all/forwarding", "net/ipv6/conf")
        found += [*_accepting(), *switched] if switched else []
    return found


def apply(settings: Iterable[Before]) -> None:
    """Set what is not so already; a setting whose link has gone needs nothing."""
    for each in settings:
        if read(each.path) not in (None, each.ours):
            write(each.path, each.ours)


def restore(settings: Iterable[Before]) -> None:
    """Put back what still is as we set it; a setting whose link has gone needs nothing.

    What was noted only because another setting takes it along (``ours`` is ``value``) is set again behind that.
    """
    noted = list(settings)
    changed = [each for each in reversed(noted) if each.ours != each.value]
    for each in changed:
        if read(each.path) == each.ours:
            write(each.path, each.value)
    for each in noted:
        if each.ours == each.value and read(each.path) is not None:
            write(each.path, each.value)


def _forwarding(switch: str, directory: str) -> list[Before]:
    if read(switch) != "0":
        return []
    alone = (f"{directory}/{name}/forwarding" for name in _links(directory))
    return [*(Before(path, "1", "1") for path in alone if read(path) == "1"), Before(switch, "0", "1")]


def _accepting() -> list[Before]:
    paths = (f"net/ipv6/conf/{name}/accept_ra" for name in _links("net/ipv6/conf"))
    return [Before(path, "1", "2") for path in paths if read(path) == "1"]


def _links(directory: str) -> list[str]:
    return sorted(set(os.listdir(f"{_ROOT}/{directory}")) - {"all", "lo"})
