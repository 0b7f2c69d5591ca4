"""From what a user asked and what the image says to a container's whole configuration (behaviour.md, "POST /containers/create")."""

import attrs

from trioker.model.container import Config
from trioker.model.errors import TriokerError
from trioker.model.ids import short_id

INHERITED = ("hostname", "user", "memory", "memory_swap", "cpu_shares", "port_specs", "env", "command", "dns")
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
    """The user's configuration over the image's."""
    if inherited is None:
        return wanted
    taken = {name: getattr(wanted, name) or getattr(inherited, name) for name in INHERITED + OR_ED}
    return attrs.evolve(wanted, **taken)


def complete(config: Config, container_id: str, abilities: Abilities) -> tuple[Config, tuple[str, ...]]:
    """Fill in what depends on the container and the host; returns warnings too. Raises TriokerError without a command."""
    if not config.command:
        raise TriokerError("No command specified")
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
