"""What the instructions that touch no file make of an image's configuration: a table from the instruction to its function.

Source: Dockerfile reference, each instruction's own section. All take expanded instructions.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from trioker.images.build.selection import resolve
from trioker.images.dockerfile.instructions import (
    Assignment,
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    OnBuild,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from trioker.model.container import Config
from trioker.model.container import Label as ImageLabel
from trioker.model.signals import signal_number

DEFAULT_SHELL = ("/bin/sh", "-c")
NOP = "#(nop) "
"""Begins the command that history shows for a step which ran none."""


def configured(config: Config, instruction: Instruction, *, command_is_ours: bool) -> Config:
    """The configuration behind the instruction; unchanged for one that has no business with it.

    ``command_is_ours``: the stage itself said CMD. If not, ENTRYPOINT takes away the one it has from its base image, which was not meant
    as arguments of this entry point.
    """
    change = _CHANGES.get(type(instruction))
    if change is None:
        return config
    changed = change(config, instruction)
    if isinstance(instruction, Entrypoint) and not command_is_ours:
        changed = attrs.evolve(changed, command=())
    return changed


def shell_of(config: Config) -> tuple[str, ...]:
    """What shell forms run in."""
    return config.shell or DEFAULT_SHELL


def nop(instruction: Instruction) -> tuple[str, ...]:
    """The command history shows for an instruction that runs none."""
    return (*DEFAULT_SHELL, NOP + instruction.text)


def with_variables(env: Iterable[str], variables: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """``KEY=value`` each; a name that is there keeps its place."""
    values = {each.partition("=")[0]: each for each in env}
    return tuple((values | {name: f"{name}={value}" for name, value in variables}).values())


def _pairs(assignments: Iterable[Assignment]) -> list[tuple[str, str]]:
    return [(each.name, each.value or "") for each in assignments]


def _directory(path: str, working_dir: str) -> str:
    return resolve(path, working_dir or "/").rstrip("/") or "/"


def _env(config: Config, instruction: Env) -> Config:
    return attrs.evolve(config, env=with_variables(config.env, _pairs(instruction.variables)))


def _label(config: Config, instruction: Label) -> Config:
    values = {each.name: each.value for each in config.labels} | dict(_pairs(instruction.labels))
    return attrs.evolve(config, labels=tuple(ImageLabel(*each) for each in values.items()))


def _cmd(config: Config, instruction: Cmd) -> Config:
    return attrs.evolve(config, command=instruction.command.arguments(shell_of(config)))


def _entrypoint(config: Config, instruction: Entrypoint) -> Config:
    return attrs.evolve(config, entrypoint=instruction.command.arguments(shell_of(config)))


def _shell(config: Config, instruction: Shell) -> Config:
    return attrs.evolve(config, shell=instruction.words)


def _workdir(config: Config, instruction: Workdir) -> Config:
    return attrs.evolve(config, working_dir=_directory(instruction.path, config.working_dir))


def _user(config: Config, instruction: User) -> Config:
    return attrs.evolve(config, user=instruction.user)


def _volume(config: Config, instruction: Volume) -> Config:
    paths = (_directory(path.strip(), "") for path in instruction.paths)
    return attrs.evolve(config, volumes=tuple(dict.fromkeys((*config.volumes, *paths))))


def _expose(config: Config, instruction: Expose) -> Config:
    return attrs.evolve(config, exposed_ports=tuple(dict.fromkeys((*config.exposed_ports, *instruction.ports))))


def _stop_signal(config: Config, instruction: StopSignal) -> Config:
    signal_number(instruction.signal)  # a wrong one would be found out when a container is made
    return attrs.evolve(config, stop_signal=instruction.signal)


def _healthcheck(config: Config, instruction: Healthcheck) -> Config:
    return attrs.evolve(config, healthcheck=instruction.probe)


def _on_build(config: Config, instruction: OnBuild) -> Config:
    return attrs.evolve(config, on_build=(*config.on_build, instruction.trigger))


_CHANGES: Mapping[type[Instruction], Callable[[Config, Any], Config]] = {
    Env: _env,
    Label: _label,
    Cmd: _cmd,
    Entrypoint: _entrypoint,
    Shell: _shell,
    Workdir: _workdir,
    User: _user,
    Volume: _volume,
    Expose: _expose,
    StopSignal: _stop_signal,
    Healthcheck: _healthcheck,
    OnBuild: _on_build,
}
