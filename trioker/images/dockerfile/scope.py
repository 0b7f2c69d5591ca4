"""Which variables an instruction sees. Source: Dockerfile reference, "ARG": "Scope", "Predefined ARGs", "Impact on build caching"."""

from collections.abc import Iterable, Mapping

import attrs

from trioker.images.dockerfile.instructions import Arg, Env, Instruction
from trioker.model.errors import InvalidParameter

LARGEST_ENVIRONMENT = 2**18
"""Characters of names and values. A large environment has some thousand; each image of a build keeps the whole, and the kernel takes no
more than 2 MiB with a new program under the usual stack limit (execve(2), "Limits on size of arguments and environment")."""

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PREDEFINED = frozenset(_PROXIES + tuple(map(str.lower, _PROXIES)))
"""What a build may be given without an ARG; a step's result is taken not to depend on them."""

_NOTHING: Mapping[str, str] = {}


@attrs.frozen
class Scope:
    """The variables at one place of a Dockerfile. ENV wins over ARG, whichever comes later."""

    env: Mapping[str, str] = _NOTHING
    """The image's environment."""
    args: Mapping[str, str] = _NOTHING
    """The build arguments declared so far that have a value."""
    given: Mapping[str, str] = _NOTHING
    """What the build's caller gave, declared or not."""
    outer: Mapping[str, str] = _NOTHING
    """What an ARG without a default inherits."""

    def lookup(self, name: str) -> str | None:
        """A variable's value, for ``expanding.expanded``."""
        for values in (self.env, self.args, self._proxies()):
            if name in values:
                return values[name]
        return None

    def behind(self, instruction: Instruction) -> "Scope":
        """The scope behind an expanded instruction. Raises InvalidParameter where it grows too large."""
        if isinstance(instruction, Env):
            return self._checked(
                {**self.env} | {each.name: each.value or "" for each in instruction.variables}, self.args
            )
        if isinstance(instruction, Arg):
            return self._checked(self.env, {**self.args} | self._declared(instruction))
        return self

    def arguments(self) -> dict[str, str]:
        """The build arguments a RUN has in its environment besides ``env``."""
        return self._proxies() | self.keyed_arguments()

    def keyed_arguments(self) -> dict[str, str]:
        """Those of them a RUN's recipe must name: the declared."""
        return {name: value for name, value in self.args.items() if name not in self.env}

    def stage(self, env: Iterable[str]) -> "Scope":
        """The scope a stage begins with, this one being that before the first FROM; ``env`` is its image's, ``KEY=value`` each."""
        pairs = (each.partition("=") for each in env)
        return Scope({name: value for name, _, value in pairs}, {}, self.given, self.args)

    def _proxies(self) -> dict[str, str]:
        return {name: value for name, value in self.given.items() if name in PREDEFINED and name not in self.env}

    def _declared(self, instruction: Arg) -> dict[str, str]:
        values = ((each.name, self._value(each.name, each.value)) for each in instruction.arguments)
        return {name: value for name, value in values if value is not None}

    def _value(self, name: str, default: str | None) -> str | None:
        if name in self.given:
            return self.given[name]
        return self.outer.get(name) if default is None else default

    def _checked(self, env: Mapping[str, str], args: Mapping[str, str]) -> "Scope":
        size = sum(len(name) + len(value) for values in (env, args) for name, value in values.items())
        if size > LARGEST_ENVIRONMENT:
            raise InvalidParameter(f"the environment grows to more than {LARGEST_ENVIRONMENT} characters")
        return attrs.evolve(self, env=env, args=args)


def first_scope(given: Mapping[str, str], platform: str) -> Scope:
    """The scope a Dockerfile begins with; ``platform`` is both the host's and the target's, as ``linux/arm/v7``."""
    system, architecture, variant = (*platform.split("/"), "", "")[:3]
    values = {"PLATFORM": platform, "OS": system, "ARCH": architecture, "VARIANT": variant}
    automatic = {side + name: value for side in ("TARGET", "BUILD") for name, value in values.items()}
    return Scope(args={name: given.get(name, value) for name, value in automatic.items()}, given=given)


def unconsumed(given: Iterable[str], instructions: Iterable[Instruction]) -> tuple[str, ...]:
    """Names that were given and no ARG asks for, sorted: Docker warns of them."""
    declared = {each.name for one in instructions if isinstance(one, Arg) for each in one.arguments}
    return tuple(sorted(set(given) - declared - PREDEFINED))
