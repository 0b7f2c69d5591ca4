"""The network as the daemon has it: reserve a place, connect a container to it, take it away; on trio.

A daemon plans first (``plan_network``), stores the record, and only then opens (``open_network``), so that ``remove_network`` can undo
whatever a killed daemon had begun.
"""

import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import TypeVar

import attrs
import trio

from trioker.launcher.network import Port
from trioker.linux import links, netlink
from trioker.linux.netlink import Netlink
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.model.ids import short_id
from trioker.model.network import Endpoint, NetworkOptions, NetworkRecord, PublishedPort
from trioker.model.ports import PortSpec, parse_port
from trioker.network import bridge, endpoint, ownership, resolver, watching
from trioker.network.addresses import Addresses, partner6
from trioker.network.conntrack import forget_datagrams
from trioker.network.firewall import remove_table
from trioker.network.forwarder import Target, forward_tcp, forward_udp
from trioker.network.holding import Held, hold
from trioker.network.leftovers import Leftovers
from trioker.network.ports import Ports
from trioker.network.wiring import Wiring

log = logging.getLogger("trioker.network")

T = TypeVar("T")

NONE = "none"
"""The bridge's name for having no network."""


def plan_network(options: NetworkOptions, record: NetworkRecord | None, resolv_conf: str) -> NetworkRecord:
    """What the network shall be, to be stored before it is opened; ``record`` is what was stored before. Nothing is changed. Synchronous.

    Raises InvalidParameter, Conflict, OSError.
    """
    with Netlink(netlink.ROUTE) as sock:
        return bridge.plan(bridge.Host.seen_by(sock), options, record, resolver.name_servers(resolv_conf))


def remove_network(record: NetworkRecord) -> None:
    """The host's links, rules, settings and routes as they were (``--cleanup``); idempotent. Synchronous. Raises OSError.

    Where another store has taken the bridge over, all of that is its own now.
    """
    with Netlink(netlink.ROUTE) as sock:
        if bridge.is_anothers(sock, record):
            return
    try:
        remove_table(record.bridge)
    except OSError as error:
        log.warning("packet rules were not removed: %s", error)
    with Netlink(netlink.ROUTE) as sock:
        bridge.undo(sock, record)


def containers_on(record: NetworkRecord) -> int:
    """How many containers are on a network's bridge, whatever became of them meanwhile on record. Synchronous. Raises OSError."""
    with Netlink(netlink.ROUTE) as sock:
        return sum(bool(each.further_names) for each in ownership.endpoints(links.all_links(sock), record))


@asynccontextmanager
async def open_network(
    options: NetworkOptions, record: NetworkRecord, live: Sequence[Endpoint] = ()
) -> AsyncIterator["Network"]:
    """Make or take over the network that was planned. ``live`` are the places of the containers that outlived an earlier daemon.

    When the context ends, all stays that the kernel does alone. Raises OSError, Conflict.
    """
    wiring = await trio.to_thread.run_sync(Wiring, record, options, live)
    ports = Ports(options.first_port, options.last_port, partial(hold, ipv6=bool(record.address6)))
    try:
        async with trio.open_nursery() as nursery:
            network = Network(record, wiring, ports, nursery, options.dns)
            network.adopt(live)
            nursery.start_soon(network.keep_rules)
            yield network
            nursery.cancel_scope.cancel()
    finally:
        ports.close()
        wiring.close()


class Network:
    """Places on the bridge. What asks the kernel runs in one thread at a time."""

    def __init__(
        self, record: NetworkRecord, wiring: Wiring, ports: Ports, nursery: trio.Nursery, dns: Sequence[str] = ()
    ) -> None:
        self.record = record
        self._bridge = IPv4Interface(record.address)
        self._bridge6 = IPv6Interface(record.address6) if record.address6 else None
        self._wiring = wiring
        self._ports = ports
        self._nursery = nursery
        self._addresses = Addresses(self._bridge)
        self._one_thread = trio.CapacityLimiter(1)
        self._forwarding: dict[str, trio.CancelScope] = {}
        self._places: dict[str, Endpoint] = {}
        self._left = Leftovers()
        self._dns = dns
        self._serves_names = False

    @property
    def port(self) -> Port:
        """How the launcher puts containers on the bridge."""
        return self._wiring.port

    @property
    def gateway(self) -> str:
        """The bridge's address: the host, as containers see it."""
        return str(self._bridge.ip)

    def reserve(self, container_id: str, port_specs: Sequence[str] = ()) -> Endpoint:
        """An address, and ports of the host, which are taken from now on. ``release`` or ``disconnect`` gives them back.

        Raises InvalidParameter for what is no port, Conflict: "Port already in use: N", or all addresses taken.
        """
        specs = [self._checked(parse_port(each), each) for each in port_specs]
        address = self._addresses.take()
        try:
            ports = self._ports.publish(specs)
        except BaseException:
            self._addresses.release(address)
            raise
        self._places[container_id] = reserved = self._endpoint(container_id, address, ports)
        return reserved

    def release(self, reserved: Endpoint) -> None:
        """Give back what was reserved and never published. Idempotent."""
        if self._places.get(reserved.container) != reserved:
            return  # given back already; by now its address may be another's
        del self._places[reserved.container]
        self._addresses.release(IPv4Address(reserved.address))
        self._ports.release(reserved.ports)

    async def publish(self, reserved: Endpoint) -> None:
        """Lead its ports there. To be called before the launcher makes the container, which then takes its place by itself.

        Raises TriokerError; what was reserved stays so.
        """
        left = self._left.take(reserved.address)
        try:
            if left:
                await self._work(lambda: self._wiring.remove_link(left))
            if reserved.ports:
                await self._work(lambda: self._wiring.publish(reserved))
        except OSError as error:
            raise TriokerError(f"the container could not be connected to the network: {error.strerror}") from error
        self._serve(reserved)
        self._nursery.start_soon(self._forget_datagrams, reserved)

    async def disconnect(self, gone: Endpoint) -> None:
        """The container has ended, or never was published: its address and ports are free at once, and soon lead nowhere. Idempotent."""
        if self._places.get(gone.container) != gone:
            return
        # First: who gets the port or address next is served by the same thread, behind this.
        self.release(gone)
        if self._left.add(gone.address, gone.link):
            self._nursery.start_soon(self._look_after_links)
        if not gone.ports:
            return
        with trio.CancelScope(shield=True):
            self._stop_serving(gone.container)
            try:
                await self._work(lambda: self._wiring.withdraw(gone))
            except OSError as error:
                log.warning("container %s: its ports stay in the packet rules: %s", short_id(gone.container), error)
        self._nursery.start_soon(self._forget_datagrams, gone)

    async def keep_rules(self) -> None:
        """Make the packet rules anew whenever somebody else changes them, until cancelled: some of them guard the host."""
        firewall = self._wiring.firewall
        if firewall is None:
            return
        try:
            with watching.listen() as sock:
                await watching.watch(sock, firewall.table, firewall.port, self._mend_rules)
        except OSError as error:
            log.warning("packet rules that somebody changes are made anew only with the next port: %s", error)

    async def _mend_rules(self) -> None:
        try:
            await self._work(self._wiring.mend)
        except OSError as error:
            log.warning("the packet rules could not be made anew: %s", error)

    async def _look_after_links(self) -> None:
        """Forget those that have gone, which nearly all have."""
        try:
            self._left.keep(await self._work(self._wiring.present))
        except OSError as error:
            log.warning("the links of ended containers could not be looked at: %s", error)

    def adopt(self, live: Sequence[Endpoint]) -> None:
        """Take over addresses and ports of containers of an earlier daemon."""
        for each in live:
            self._places[each.container] = each
            if not self._addresses.adopt(IPv4Address(each.address)):
                log.warning(
                    "container %s has an address of another network: %s", short_id(each.container), each.address
                )
            for port in self._ports.adopt(each.ports):
                log.warning(
                    "port %d of container %s is a program's of the host too", port.public, short_id(each.container)
                )
            self._serve(each)

    @property
    def in_use(self) -> bool:
        """Whether a container has a place."""
        return bool(self._places)

    def resolv_conf(self, chosen: Sequence[str]) -> str:
        """What a container's /etc/resolv.conf says: ``chosen``, else the daemon's ``--dns``, else what the host's says now.

        Where that only the host itself can ask, the daemon answers from then on.
        """
        wanted = chosen or self._dns
        found = resolver.container_resolv_conf(
            resolver.host_text(), wanted, self.gateway, ipv6=self._bridge6 is not None
        )
        if found.forwarded and not self._serves_names:
            self._serves_names = True
            self._nursery.start_soon(self._answer)
        return found.text

    def hosts(self, name: str, place: Endpoint | None) -> str:
        """What a container's /etc/hosts says."""
        return resolver.hosts_file(name, place.address, place.address6) if place else resolver.hosts_file(name, "")

    async def _answer(self) -> None:
        try:
            await self.serve_names()
        except TriokerError as error:
            log.warning("%s: containers find no names unless they are told other servers (--dns)", error)

    async def serve_names(self, target: Target = resolver.host_resolver) -> None:
        """Answer containers' questions for names by the host's resolver, until cancelled. Raises TriokerError where port 53 is taken."""
        try:
            await resolver.serve_names(self.gateway, self.record.bridge, target)
        except OSError as error:
            raise TriokerError(f"names cannot be served on {self.gateway}: {error.strerror}") from None

    def _checked(self, spec: PortSpec, text: str) -> PortSpec:
        if ":" in spec.host and self._bridge6 is None:
            raise InvalidParameter(f"{text!r} cannot be published: containers have no IPv6 without --ipv6")
        return spec

    def _endpoint(self, container_id: str, address: IPv4Address, ports: tuple[PublishedPort, ...]) -> Endpoint:
        made = Endpoint(
            container=container_id,
            bridge=self.record.bridge,
            link=endpoint.link_name(container_id),
            mac=endpoint.mac_of(address),
            address=str(address),
            prefix=self._bridge.network.prefixlen,
            gateway=self.gateway,
            ports=ports,
        )
        if self._bridge6 is None:
            return made
        own = partner6(self._bridge6, IPv4Interface((address, made.prefix)))
        prefix = own.network.prefixlen
        return attrs.evolve(made, address6=str(own.ip), prefix6=prefix, gateway6=str(self._bridge6.ip))

    async def _work(self, deed: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(deed, limiter=self._one_thread)

    async def _forget_datagrams(self, place: Endpoint) -> None:
        """Who sends to a port all the time shall find who has it now."""
        ports = {each.public for each in place.ports if each.protocol == "udp"}
        if not ports or not self._wiring.firewall:
            return
        try:
            await trio.to_thread.run_sync(forget_datagrams, ports)
        except OSError as error:
            log.warning("UDP clients may still be led to where ports %s led before: %s", sorted(ports), error)

    def _serve(self, place: Endpoint) -> None:
        """The daemon passes on itself what no rule can: without rules all that comes to published ports, else what the host sends to ::1."""
        if not place.ports or (self._wiring.firewall and self._bridge6 is None):
            return
        self._forwarding[place.container] = scope = trio.CancelScope()
        self._nursery.start_soon(self._forward, place, scope)

    def _stop_serving(self, container_id: str) -> None:
        scope = self._forwarding.pop(container_id, None)
        if scope:
            scope.cancel()

    async def _forward(self, place: Endpoint, scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                for port in place.ports:
                    held = self._ports.claim_of(port)
                    for each in held.sockets if isinstance(held, Held) else ():
                        if self._passes_on(port, each):
                            self._forward_one(nursery, place, port, each)

    def _forward_one(self, nursery: trio.Nursery, place: Endpoint, port: PublishedPort, held: socket.socket) -> None:
        try:
            listener = held.dup()
        except OSError as error:  # too many open files: the container and the daemon go on
            log.warning("port %d of %s is not served: %s", port.public, place.container[:12], error.strerror)
            return
        nursery.start_soon(_SERVE[port.protocol], listener, _target(place, port, held.family))

    def _passes_on(self, port: PublishedPort, held: socket.socket) -> bool:
        """The kernel lets nothing from ::1 leave, so no rule leads from there to a container."""
        return not self._wiring.firewall or (held.family == socket.AF_INET6 and port.host in ("", "::1"))


_SERVE: dict[str, Callable[..., Awaitable[None]]] = {"tcp": forward_tcp, "udp": forward_udp}


def _target(place: Endpoint, port: PublishedPort, family: int) -> Target:
    address = place.address6 if family == socket.AF_INET6 else place.address
    return lambda: (address, port.private)
