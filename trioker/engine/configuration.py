"""From what a user asked and what the image says to a container's whole configuration (behaviour.md, "POST /containers/create")."""

import attrs

from trioker.model.container import Config, Label
from trioker.model.errors import TriokerError
from trioker.model.ids import short_id
from trioker.model.signals import signal_number

INHERITED = (
    *("hostname", "user", "memory", "memory_swap", "cpu_shares", "port_specs", "env", "command", "dns"),
    *("entrypoint", "working_dir", "stop_signal", "healthcheck", "shell"),
)
"""Taken from the image where the user gave nothing: lists as a whole, never merged."""
OR_ED = ("tty", "open_stdin", "stdin_once")

SWAP_WARNING = "Your kernel does not support memory swap capabilities. Limitation discarded."
MEMORY_WARNING = "Your kernel does not support memory limit capabilities. Limitation discarded."


@attrs.frozen
class Abilities:
    """What the host's kernel can limit."""

    memory_limit: bool = True
    swap_limit: bool = True


def merge(wanted: Config, inherited: Config | None) -> Config:
    """The user's configuration over the image's.

    Volumes, ports and labels are collected from both. An entrypoint of the user's is not given the image's arguments; ``("",)`` is none at all.
    """
    if inherited is None:
        return _without_entrypoint(wanted)
    taken = {name: getattr(wanted, name) or getattr(inherited, name) for name in INHERITED + OR_ED}
    if wanted.entrypoint:
        taken["command"] = wanted.command
    merged = attrs.evolve(
        wanted,
        **taken,
        volumes=_union(wanted.volumes, inherited.volumes),
        exposed_ports=_union(wanted.exposed_ports, inherited.exposed_ports),
        labels=_merge_labels(wanted.labels, inherited.labels),
    )
    return _without_entrypoint(merged)


def _without_entrypoint(config: Config) -> Config:
    return attrs.evolve(config, entrypoint=()) if config.entrypoint == ("",) else config


def _union(wanted: tuple[str, ...], inherited: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(wanted + inherited))


def _merge_labels(wanted: tuple[Label, ...], inherited: tuple[Label, ...]) -> tuple[Label, ...]:
    values = {each.name: each for each in inherited + wanted}
    return tuple(values.values())


def complete(config: Config, container_id: str, abilities: Abilities) -> tuple[Config, tuple[str, ...]]:
    """Fill in what depends on the container and the host; returns warnings too.

    Raises TriokerError without a command, InvalidParameter for a stop signal that is none.
    """
    if not config.entrypoint + config.command:
        raise TriokerError("No command specified")
    signal_number(config.stop_signal)
    warnings = []
    if not config.hostname:
        config = attrs.evolve(config, hostname=short_id(container_id))
    if config.memory and not abilities.memory_limit:
        config = attrs.evolve(config, memory=0)
        warnings.append(MEMORY_WARNING)
    if config.memory and not abilities.swap_limit and config.memory_swap >= 0:
        config = attrs.evolve(config, memory_swap=-1)
        warnings.append(SWAP_WARNING)
    return config, tuple(warnings)
