"""A container's configuration from the JSON of ``POST /containers/create`` (page, "Create a container"; behaviour.md section 4)."""

import ipaddress
import posixpath
import re

from trioker.api.decoding import Fields, show
from trioker.model.container import Config
from trioker.model.errors import InvalidParameter, TriokerError

MEMORY_MINIMUM = 524288
"""Bytes; less was refused in 2013 and is too little for a process today."""

HOSTNAME_BYTES = 64
"""__NEW_UTS_LEN (sethostname(2))."""

PORT_SPEC = re.compile(r"(?:(?P<public>[0-9]{0,5}):)?(?P<private>[0-9]{1,5})", re.ASCII)
PORTS = range(1, 65536)


def config_from_json(fields: Fields) -> Config:
    """The user's configuration, every field checked. Raises InvalidParameter naming the field."""
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
        volumes=fields.names("Volumes"),
        volumes_from=fields.text("VolumesFrom"),
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
    if not config.image:
        raise InvalidParameter("Image: no image is named")
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
    """``80``, ``:80`` or ``4500:80`` (behaviour.md section 7)."""
    match = PORT_SPEC.fullmatch(spec)
    ports = [int(port) for port in match.groups() if port] if match else []
    if not ports or not all(port in PORTS for port in ports):
        raise InvalidParameter(f'PortSpecs: expected "80", ":80" or "4500:80" with ports 1 to 65535, got {show(spec)}')


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
