"""A container of a real daemon is as docs/isolation.md says."""

import re
from collections.abc import Iterator
from pathlib import Path

import attacker
import pytest
from daemon import Daemon, running_daemon

from trioker.runtime.spec import MASKED_PATHS

pytestmark = pytest.mark.root

PAGE = (Path(__file__).parent.parent.parent / "docs" / "isolation.md").read_text()
LOOK = {
    "mounts": "' '.join(':'.join(line.split()[1:4]) for line in open('/proc/self/mounts'))",
    "status": "' '.join(each.replace(chr(9), '').strip() for each in open('/proc/self/status') if each[:4] in ('NoNe', 'Secc'))",
    "namespaces": "' '.join(sorted(os.readlink(f'/proc/self/ns/{name}') for name in ('mnt', 'pid', 'uts', 'ipc', 'net', 'cgroup')))",
    "low ports": "open('/proc/sys/net/ipv4/ip_unprivileged_port_start').read()",
    "pings": "' '.join(open('/proc/sys/net/ipv4/ping_group_range').read().split())",
    "serving": "attempt(lambda: (os.setuid(1000), socket.socket().bind(('127.0.0.1', 80)))[1])",
    "pinging": "attempt(lambda: (os.setgid(1000), os.setuid(1000), socket.socket(2, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close())[2])",
}


def rows(heading: str) -> list[list[str]]:
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture(scope="module")
def seen(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a container sees of itself."""
    with running_daemon(pyz, tmp_path_factory.mktemp("defaults")) as daemon:
        yield look(daemon)


def look(daemon: Daemon) -> dict[str, str]:
    daemon.api.import_image(attacker.attacker_tar(), "attacker")
    code, output = daemon.api.run(*attacker.command(LOOK), image="attacker")
    found = attacker.answers(output.decode())
    assert (code, found.keys()) == (0, LOOK.keys()), output.decode()
    return found


def test_the_mounts_have_the_flags_of_the_table(seen: dict[str, str]):
    mounted = {}
    for entry in seen["mounts"].split():
        place, kind, flags = entry.split(":", 2)
        mounted[place] = (kind, set(flags.split(",")) & {"ro", "rw", "nosuid", "nodev", "noexec"})
    for place, kind, _, ours in rows("Mounts"):
        assert mounted[place] == (kind, set(ours.split(",")))
    others = (
        mounted.keys()
        - {place for place, *_ in rows("Mounts")}
        - {"/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
    )
    assert others <= {*MASKED_PATHS, "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"} | set(
        throttles(mounted)
    )


def throttles(mounted: dict[str, object]) -> list[str]:
    return [each for each in mounted if re.fullmatch(r"/sys/devices/system/cpu/cpu\d+/thermal_throttle", each)]


def test_no_new_privileges_and_one_filter(seen: dict[str, str]):
    assert seen["status"].split() == ["NoNewPrivs:1", "Seccomp:2", "Seccomp_filters:1"]


def test_no_namespace_is_the_hosts(seen: dict[str, str]):
    hosts = {str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("mnt", "pid", "uts", "ipc", "net", "cgroup")}
    assert not hosts & set(seen["namespaces"].split())


def test_a_user_may_serve_low_ports_and_ping(seen: dict[str, str]):
    table = {name: ours for name, _, ours, _ in rows("The rest")}
    assert seen["low ports"].strip() == table["net.ipv4.ip_unprivileged_port_start"]
    assert seen["pings"] == table["net.ipv4.ping_group_range"]
    assert (seen["serving"], seen["pinging"]) == ("ok", "ok")
