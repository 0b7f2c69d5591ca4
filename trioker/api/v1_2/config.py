"""A container's configuration from the JSON of ``POST /containers/create`` (page, "Create a container"; behaviour.md section 4).

Beside the page's fields stand those that today's Dockerfiles set, in the form in which today's clients send them.
"""

import ipaddress
import posixpath
import re

from trioker.api.decoding import Fields, show
from trioker.model.container import Config, Healthcheck, Label
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.model.ports import parse_port

MEMORY_MINIMUM = 524288
"""Bytes; less was refused in 2013 and is too little for a process today."""

HOSTNAME_BYTES = 64
"""__NEW_UTS_LEN (sethostname(2))."""

PORTS = range(1, 65536)
EXPOSED_PORT = re.compile(r"([0-9]{1,5})(/(?:tcp|udp|sctp))?", re.ASCII)

PROBES = ("", "NONE", "CMD", "CMD-SHELL")
"""First words of a health check's test; "" inherits it."""
SHORTEST_PROBE_TIME = 10**6
"""Nanoseconds; what docker takes at least, so that seconds given in place of nanoseconds are noticed."""


def config_from_json(fields: Fields) -> Config:
    """The user's configuration, every field checked. Raises InvalidParameter naming the field."""
    config = partial_config(fields)
    if not config.image:
        raise InvalidParameter("Image: no image is named")
    return config


def partial_config(fields: Fields) -> Config:
    """The same where an image need not be named (a commit's)."""
    config = Config(
        hostname=fields.text("Hostname"),
        user=fields.text("User"),
        memory=fields.integer("Memory"),
        memory_swap=fields.integer("MemorySwap"),
        cpu_shares=fields.integer("CpuShares"),
        attach_stdin=fields.flag("AttachStdin"),
        attach_stdout=fields.flag("AttachStdout"),
        attach_stderr=fields.flag("AttachStderr"),
        port_specs=fields.texts("PortSpecs"),
        tty=fields.flag("Tty"),
        open_stdin=fields.flag("OpenStdin"),
        stdin_once=fields.flag("StdinOnce"),
        env=fields.texts("Env"),
        command=fields.texts("Cmd"),
        dns=fields.texts("Dns"),
        image=fields.text("Image"),
        volumes=fields.names("Volumes", "/data"),
        volumes_from=fields.text("VolumesFrom"),
        entrypoint=fields.texts("Entrypoint"),
        working_dir=fields.text("WorkingDir"),
        labels=tuple(Label(*pair) for pair in fields.pairs("Labels")),
        exposed_ports=tuple(_exposed_port(port) for port in fields.names("ExposedPorts", "80/tcp")),
        stop_signal=fields.text("StopSignal"),
        healthcheck=_healthcheck(fields.part("Healthcheck")),
        on_build=fields.texts("OnBuild"),
        shell=fields.texts("Shell"),
    )
    _check(config)
    return config


def _check(config: Config) -> None:
    _check_hostname(config.hostname)
    _check_user(config.user)
    _check_cpu_shares(config.cpu_shares)
    for spec in config.port_specs:
        _check_port_spec(spec)
    for entry in config.env:
        _check_env(entry)
    for server in config.dns:
        _check_dns(server)
    for path in config.volumes:
        _check_volume(path)
    _check_working_dir(config.working_dir)
    _check_memory(config.memory, config.memory_swap)


def _check_hostname(name: str) -> None:
    if len(name.encode()) > HOSTNAME_BYTES:
        raise InvalidParameter(f"Hostname: longer than {HOSTNAME_BYTES} bytes, got {show(name)}")
    if any(character in "/ " or not character.isprintable() for character in name):
        raise InvalidParameter(f"Hostname: a slash, a blank or a control character is not allowed, got {show(name)}")


def _check_user(user: str) -> None:
    """One line, as it is looked up in a file of lines."""
    if not user.isprintable():
        raise InvalidParameter(f"User: a control character is not allowed, got {show(user)}")


def _check_cpu_shares(shares: int) -> None:
    if shares < 0:
        raise InvalidParameter(f"CpuShares: expected 0 or more, got {shares}")


def _check_port_spec(spec: str) -> None:
    """``80``, ``:80`` or ``4500:80`` (behaviour.md section 7), and what came later (``model.ports``)."""
    try:
        parse_port(spec)
    except InvalidParameter as error:
        raise InvalidParameter(
            f'PortSpecs: expected "80", ":80", "4500:80" or "127.0.0.1:4500:80/udp": {error}'
        ) from None


def _check_env(entry: str) -> None:
    """``K=V``, or ``K`` alone for an empty value."""
    if not entry.partition("=")[0]:
        raise InvalidParameter(f"Env: expected NAME=value, got {show(entry)}")


def _check_dns(server: str) -> None:
    """Written into resolv.conf, so nothing but an address: a zone behind % may hold anything."""
    try:
        ipaddress.ip_address(server.replace("%", " "))
    except ValueError as error:
        raise InvalidParameter(f"Dns: expected an IP address, got {show(server)}") from error


def _check_volume(path: str) -> None:
    if not path.startswith("/") or ".." in path.split("/") or posixpath.normpath(path).strip("/") == "":
        raise InvalidParameter(f'Volumes: expected an absolute path below "/" without "..", got {show(path)}')


def _check_working_dir(path: str) -> None:
    if path and not path.startswith("/"):
        raise InvalidParameter(f"WorkingDir: expected an absolute path, got {show(path)}")


def _exposed_port(port: str) -> str:
    """With its protocol."""
    match = EXPOSED_PORT.fullmatch(port)
    if match is None or int(match[1]) not in PORTS:
        raise InvalidParameter(f'ExposedPorts: expected "80", "80/tcp" or "80/udp", got {show(port)}')
    return f"{match[1]}{match[2] or '/tcp'}"


def _healthcheck(fields: Fields | None) -> Healthcheck | None:
    if fields is None:
        return None
    check = Healthcheck(
        test=fields.texts("Test"),
        interval_ns=_probe_time(fields, "Interval"),
        timeout_ns=_probe_time(fields, "Timeout"),
        start_period_ns=_probe_time(fields, "StartPeriod"),
        retries=fields.integer("Retries"),
        start_interval_ns=_probe_time(fields, "StartInterval"),
    )
    if check.test and check.test[0] not in PROBES:
        raise InvalidParameter(f"Healthcheck.Test: expected NONE, CMD or CMD-SHELL first, got {show(check.test[0])}")
    if check.retries < 0:
        raise InvalidParameter(f"Healthcheck.Retries: expected 0 or more, got {check.retries}")
    return check


def _probe_time(fields: Fields, name: str) -> int:
    time = fields.integer(name)
    if time and time < SHORTEST_PROBE_TIME:
        raise InvalidParameter(
            f"Healthcheck.{name}: expected 0 or at least {SHORTEST_PROBE_TIME} nanoseconds, got {time}"
        )
    return time


def _check_memory(memory: int, swap: int) -> None:
    if memory < 0:
        raise InvalidParameter(f"Memory: expected 0 or a number of bytes, got {memory}")
    if swap < -1:
        raise InvalidParameter(f"MemorySwap: expected -1, 0 or a number of bytes, got {swap}")
    if 0 < memory < MEMORY_MINIMUM:
        # Not an InvalidParameter: this one can be read, and the page's time answered 500 (behaviour.md section 4).
        raise TriokerError(f"Memory limit must be given in bytes (minimum {MEMORY_MINIMUM} bytes)")
    if 0 < swap < memory:
        raise InvalidParameter(
            f"MemorySwap: it counts memory and swap together, but {swap} is less than Memory, {memory}"
        )
