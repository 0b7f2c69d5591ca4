"""What is done to the kernel for a container, and undone: synchronous, called by one thread at a time."""

import logging
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface, IPv6Interface

import attrs

from trioker.launcher.network import Port
from trioker.linux import links, netlink
from trioker.linux.netlink import Netlink
from trioker.model.network import Endpoint, NetworkOptions, NetworkRecord
from trioker.network import bridge, endpoint, firewall, ownership
from trioker.network.firewall import Firewall, Policy

log = logging.getLogger("trioker.network")


class Wiring:
    """The bridge and the rules, with the containers whose ports are published now."""

    def __init__(self, record: NetworkRecord, options: NetworkOptions, live: Sequence[Endpoint]) -> None:
        """Make what is not there, and take over ``live``, the containers that outlived an earlier daemon. Raises OSError, Conflict."""
        self._record = record
        self._address = IPv4Interface(record.address)
        self._address6 = IPv6Interface(record.address6) if record.address6 else None
        self._live = {each.container: each for each in live}
        self.firewall: Firewall | None = None
        """None where there are no rules, by wish or for lack of nf_tables."""
        self._host = Netlink(netlink.ROUTE)
        try:
            if options.firewall:
                self._open_firewall(options)  # before the bridge, which lets through what only rules hold back
            else:
                firewall.remove_table(record.bridge)  # an earlier daemon's
            self.port = self._build(attrs.evolve(options, firewall=self.firewall is not None))
            """How containers are put on the bridge."""
            self._take_over_links()
        except BaseException:
            self.close()
            raise

    def _build(self, options: NetworkOptions) -> Port:
        made = bridge.build(self._host, self._record, options)
        filtered = made.filtered and self._record.made and options.firewall
        isolated = (
            not options.icc and not filtered
        )  # isolated from a neighbour one cannot get to it by way of the host either
        prefix = endpoint.link_prefix(options.store)
        return Port(made.number, made.mtu, isolated=isolated, hairpin=made.filtered, prefix=prefix)

    def _take_over_links(self) -> None:
        """Remove links of containers that ended while there was no daemon, or never came to be, and whose namespaces somebody keeps."""
        known = {each.link for each in self._live.values()}
        for each in ownership.endpoints(links.all_links(self._host), self._record):
            if known.isdisjoint(each.further_names):
                endpoint.remove(self._host, each.name)
            else:  # it was put there under other conditions, maybe on a bridge that somebody has deleted since
                endpoint.put_on_bridge(self._host, each.number, self.port)

    def _open_firewall(self, options: NetworkOptions) -> None:
        policy = Policy(
            self._record.bridge, self._address, self._address6, self._record.made, options.icc, options.guarded_ports
        )
        try:
            self.firewall = firewall.open_firewall(policy, self._live.values())
        except firewall.Missing as missing:
            log.warning(
                "no packet rules, so the daemon itself serves published ports and containers reach nobody outside: %s",
                missing,
            )
            return
        for each in self.firewall.obstacles():
            log.warning(
                "the chain '%s' drops what it does not know: containers reach nobody unless a rule there accepts the bridge %s",
                each,
                self._record.bridge,
            )

    def publish(self, wanted: Endpoint) -> None:
        """Lead its ports to its address. Raises OSError; then nothing is left of it."""
        self._live[wanted.container] = wanted
        try:
            self._change(Firewall.publish, wanted)
        except BaseException:
            del self._live[wanted.container]
            raise

    def withdraw(self, gone: Endpoint) -> None:
        """Lead them nowhere. Raises OSError."""
        if self._live.pop(gone.container, None):
            self._change(Firewall.withdraw, gone)

    def mend(self, sign: str = "") -> None:
        """Make the rules anew, which somebody changed, as this tells. Raises OSError."""
        if self.firewall:
            log.warning("the packet rules were changed by somebody%s: making them anew", sign)
            self.firewall.replace(self._live.values())

    def remove_link(self, name: str) -> None:
        """Remove a link that has not gone with its namespace, because somebody keeps that. Raises OSError."""
        endpoint.remove(self._host, name)

    def present(self) -> set[str]:
        """The names of the links of containers."""
        found = ownership.endpoints(links.all_links(self._host), self._record)
        return {name for each in found for name in each.further_names}

    def close(self) -> None:
        """Let go; everything stays as it is."""
        if self.firewall:
            self.firewall.close()
        self._host.close()

    def _change(self, change: Callable[[Firewall, Endpoint], None], changed: Endpoint) -> None:
        """One change of the rules. Where they are not as we left them (somebody flushed all), they are made anew."""
        if not self.firewall or not changed.ports:
            return
        try:
            change(self.firewall, changed)
        except OSError as error:
            self.mend(f" ({error})")
