"""The model's values as the page's JSON; keys in its order, with the second spellings that clients of the time read (behaviour.md section 0)."""

from collections.abc import Sequence

from trioker.api.v1_2.words import duration, seconds, timestamp
from trioker.model.container import ChangeKind, Config, Container, Created, Healthcheck, State
from trioker.model.ids import short_id
from trioker.model.image import Image, Removal, Tag
from trioker.model.network import Endpoint, PublishedPort

Shape = dict[str, object]

NO_TAG = "<none>"
"""Shown as the tag of what was pulled by a digest, as docker shows it since there are digests; ``repository:digest`` is no name."""


def config_shape(config: Config) -> Shape:
    """A configuration: the page's keys, lists that are not set null; then of those that the page does not have what is set."""
    return {
        "Hostname": config.hostname,
        "User": config.user,
        "Memory": config.memory,
        "MemorySwap": config.memory_swap,
        "CpuShares": config.cpu_shares,
        "AttachStdin": config.attach_stdin,
        "AttachStdout": config.attach_stdout,
        "AttachStderr": config.attach_stderr,
        "PortSpecs": config.port_specs or None,
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
        "StdinOnce": config.stdin_once,
        "Env": config.env or None,
        "Cmd": config.command or None,
        "Dns": config.dns or None,
        "Image": config.image,
        "Volumes": {path: {} for path in config.volumes},
        "VolumesFrom": config.volumes_from,
        **_later_keys(config),
    }


def _later_keys(config: Config) -> Shape:
    """As today's clients know them. One that is not set is left out, so that what uses none of them looks as on the page."""
    shape: Shape = {
        "Entrypoint": config.entrypoint,
        "WorkingDir": config.working_dir,
        "Labels": {label.name: label.value for label in config.labels},
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "StopSignal": config.stop_signal,
        "Healthcheck": config.healthcheck and _healthcheck_shape(config.healthcheck),
        "OnBuild": config.on_build,
        "Shell": config.shell,
    }
    return {key: value for key, value in shape.items() if value}


def _healthcheck_shape(check: Healthcheck) -> Shape:
    shape: Shape = {
        "Test": check.test,
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "StartInterval": check.start_interval_ns,
        "Retries": check.retries,
    }
    return {key: value for key, value in shape.items() if value}


def status(state: State, now_ns: int) -> str:
    """What ``ps`` says of a container. One that never ran says "Exit 0" (behaviour.md section 4)."""
    if state.running:
        return f"Up {duration(now_ns - state.started_ns)}"
    return f"Exit {state.exit_code}"


def _words(container: Container) -> tuple[str, ...]:
    """What runs in it: the command, behind the entrypoint where there is one."""
    return container.config.entrypoint + container.config.command or ("",)


def container_row(container: Container, image: str, sizes: tuple[int, int], now_ns: int) -> Shape:
    """One line of the list; ``image`` is the image's name for people."""
    path, *arguments = _words(container)
    return {
        "Id": container.id,
        "Image": image,
        "Command": f"{path} {' '.join(arguments)}",
        "Created": seconds(container.created_ns),
        "Status": status(container.state, now_ns),
        "Ports": _ports_column(container),
        "SizeRw": sizes[0],
        "SizeRootFs": sizes[1],
    }


def container_shape(container: Container, executable: str) -> Shape:
    """Everything of one container. ``executable`` stands where the daemon's own path was shown as the container's init."""
    path, *arguments = _words(container)
    return {
        "ID": container.id,
        "Id": container.id,
        "Created": timestamp(container.created_ns),
        "Path": path,
        "Args": arguments,
        "Config": config_shape(container.config),
        "State": _state_shape(container.state),
        "Image": container.image_id,
        "NetworkSettings": _network_shape(container),
        "SysInitPath": executable,
        "ResolvConfPath": container.resolv_conf,
        "Volumes": _volumes_shape(container),
    }


def _state_shape(state: State) -> Shape:
    """The page's keys, then those that people miss there."""
    return {
        "Running": state.running,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "StartedAt": timestamp(state.started_ns),
        "Ghost": False,
        "FinishedAt": timestamp(state.finished_ns),
        "OOMKilled": state.oom_killed,
        "Error": state.error,
    }


_NOWHERE = Endpoint(container="", bridge="", link="", mac="", address="", prefix=0, gateway="")


def _network_shape(container: Container) -> Shape:
    """Its place while it has one. Mappings are objects while it runs and null otherwise; clients of the next years read ``Ports``."""
    place, running = container.endpoint or _NOWHERE, container.state.running
    return {
        "IPAddress": place.address,
        "IpAddress": place.address,
        "IPPrefixLen": place.prefix,
        "IpPrefixLen": place.prefix,
        "Gateway": place.gateway,
        "Bridge": place.bridge,
        "PortMapping": {_private(port): str(port.public) for port in place.ports} if running else None,
        "Ports": _bindings(place.ports) if running else None,
    }


def _private(port: PublishedPort) -> str:
    """The container's side; in 2013 it was always TCP."""
    return str(port.private) if port.protocol == "tcp" else f"{port.private}/{port.protocol}"


def _bindings(ports: Sequence[PublishedPort]) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        where = {"HostIp": port.host or "0.0.0.0", "HostPort": str(port.public)}
        bindings.setdefault(f"{port.private}/{port.protocol}", []).append(where)
    return bindings


def _ports_column(container: Container) -> str:
    """``49153->80, 4500->22`` (behaviour.md section 4), with the host's address where it is not open on all."""
    ports = container.endpoint.ports if container.endpoint and container.state.running else ()
    return ", ".join(sorted(f"{_outside(port)}->{_private(port)}" for port in ports))


def _outside(port: PublishedPort) -> str:
    host = f"[{port.host}]" if ":" in port.host else port.host
    return f"{host}:{port.public}" if host else str(port.public)


def _volumes_shape(container: Container) -> Shape | None:
    """Null until there is something to show or the container was started once."""
    if not container.volumes and not container.state.started_ns:
        return None
    return {mount.path: mount.volume for mount in container.volumes}


def change_shape(path: str, kind: ChangeKind) -> Shape:
    """One difference."""
    return {"Path": path, "Kind": int(kind)}


def created_shape(created: Created) -> Shape:
    """The answer to a creation."""
    return {"Id": short_id(created.id), "Warnings": created.warnings}


def is_digest(tag: Tag) -> bool:
    """Whether the name is ``repository@sha256:...``."""
    return ":" in tag.tag


def image_row(image: Image, virtual_size: int, tag: Tag | None = None) -> Shape:
    """One line of the list; ``virtual_size`` counts the ancestors too. Without a tag the naming keys are missing."""
    naming: Shape = {"Repository": tag.repository, "Tag": NO_TAG if is_digest(tag) else tag.tag} if tag else {}
    return naming | {
        "Id": image.id,
        "Created": seconds(image.created_ns),
        "Size": image.size,
        "VirtualSize": virtual_size,
    }


def _image_config_shape(config: Config) -> Shape:
    """As on the page, where an image shows null for no volumes and a container ``{}``."""
    return config_shape(config) | {"Volumes": {path: {} for path in config.volumes} or None}


def image_shape(image: Image) -> Shape:
    """Everything of one image; keys without a value are missing, but for those the page always has."""
    return {
        "id": image.id,
        **_present(parent=image.parent, comment=image.comment),
        "created": timestamp(image.created_ns),
        **_present(container=image.container),
        "container_config": _image_config_shape(image.container_config),
        **_present(docker_version=image.docker_version, author=image.author),
        **({"config": _image_config_shape(image.config)} if image.config else {}),
        **_present(architecture=image.architecture),
        "Size": image.size,
    }


def _present(**values: str) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}


def history_row(image: Image, tags: Sequence[Tag]) -> Shape:
    """One generation; its names under the page's key and under the one clients read."""
    names = [tag.reference for tag in tags]
    naming: Shape = {"Tag": names, "Tags": names} if names else {}
    return {
        "Id": short_id(image.id),
        **naming,
        "Created": seconds(image.created_ns),
        "CreatedBy": " ".join(image.container_config.command),
    }


def removal_shape(removal: Removal) -> Shape:
    """One name or one image that is gone."""
    if removal.untagged:
        return {"Untagged": short_id(removal.untagged)}
    return {"Deleted": short_id(removal.deleted)}
