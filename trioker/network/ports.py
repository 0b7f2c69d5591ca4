"""Published ports: which port of the host a wish becomes."""

import errno
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from trioker.model.errors import Conflict, InvalidParameter
from trioker.model.network import PublishedPort
from trioker.model.ports import PortSpec


class Claim(Protocol):
    """A port of the host held for us."""

    def close(self) -> None:
        """Let go of it."""


Claimer = Callable[[PublishedPort], Claim]
"""Takes a port of the host. Raises OSError (EADDRINUSE) where somebody has it."""


class Ports:
    """The ports that are published now. ``claim`` keeps each from every other program of the host meanwhile."""

    def __init__(self, first: int, last: int, claim: Claimer) -> None:
        self._range = range(first, last + 1)
        self._claim = claim
        self._held: dict[tuple[str, int], dict[str, Claim | None]] = {}
        self._next = 0

    def publish(self, specs: Iterable[PortSpec]) -> tuple[PublishedPort, ...]:
        """A port of the host for each, all or none. Raises Conflict ("Port already in use: N"), or where the range is full."""
        made: list[PublishedPort] = []
        # Those that must have one certain port first: a random one may not take it away.
        wishes = sorted(dict.fromkeys(specs), key=lambda each: each.public is None)
        try:
            made.extend(map(self._publish, wishes))
        except BaseException:
            self.release(made)
            raise
        return tuple(made)

    def adopt(self, ports: Sequence[PublishedPort]) -> list[PublishedPort]:
        """Take over the ports of a container that outlived a daemon; returns those that a program of the host has taken meanwhile."""
        lost = []
        for each in ports:
            try:
                claim: Claim | None = self._claim(each)
            except OSError:
                claim = None
                lost.append(each)
            self._held.setdefault((each.protocol, each.public), {})[each.host] = claim
        return lost

    def release(self, ports: Iterable[PublishedPort]) -> None:
        """They are free again. Idempotent."""
        for each in ports:
            hosts = self._held.get((each.protocol, each.public), {})
            claim = hosts.pop(each.host, None)
            if claim:
                claim.close()
            if not hosts:
                self._held.pop((each.protocol, each.public), None)

    def claim_of(self, port: PublishedPort) -> Claim | None:
        """What holds a published port, if anything does."""
        return self._held.get((port.protocol, port.public), {}).get(port.host)

    def close(self) -> None:
        """Let go of all; what is published stays so."""
        for hosts in self._held.values():
            for claim in hosts.values():
                if claim:
                    claim.close()
        self._held.clear()

    def _publish(self, spec: PortSpec) -> PublishedPort:
        if spec.public is None:
            return self._publish_any(spec)
        made = self._try(spec, spec.public)
        if made is None:
            raise Conflict(f"Port already in use: {spec.public}")
        return made

    def _publish_any(self, spec: PortSpec) -> PublishedPort:
        for step in range(len(self._range)):
            at = (self._next + step) % len(self._range)
            if made := self._try(spec, self._range[at]):
                self._next = at + 1
                return made
        raise Conflict(f"all ports from {self._range.start} to {self._range.stop - 1} are in use")

    def _try(self, spec: PortSpec, public: int) -> PublishedPort | None:
        wanted = PublishedPort(spec.protocol, spec.host, public, spec.private)
        hosts = self._held.get((spec.protocol, public), {})
        if spec.host in hosts or "" in hosts or (hosts and not spec.host):
            return None
        try:
            claim = self._claim(wanted)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            where = spec.host or "all addresses"
            raise InvalidParameter(f"port {public} cannot be published on {where}: {error.strerror}") from None
        self._held.setdefault((spec.protocol, public), {})[spec.host] = claim
        return wanted
