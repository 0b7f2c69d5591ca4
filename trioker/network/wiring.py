"""What is done to the kernel for a container, and undone: synchronous, called by one thread at a time."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface, IPv6Interface

from trioker.model.network import Endpoint, NetworkOptions, NetworkRecord
from trioker.network import bridge, endpoint, firewall, links, netlink
from trioker.network.firewall import Firewall, Policy
from trioker.network.netlink import Netlink

log = logging.getLogger("trioker.network")

_LOOKED_AT = 2
"""Links of ended containers looked after at each further end: more than one, so that the list becomes shorter."""


class Wiring:
    """The bridge and the rules, with the containers that are on it now."""

    def __init__(self, record: NetworkRecord, options: NetworkOptions, live: Sequence[Endpoint]) -> None:
        """Make what is not there, and take over ``live``, the containers that outlived an earlier daemon. Raises OSError, Conflict."""
        self._record = record
        self._address = IPv4Interface(record.address)
        self._address6 = IPv6Interface(record.address6) if record.address6 else None
        self._live = {each.container: each for each in live}
        self._left: OrderedDict[str, str] = OrderedDict()
        self.firewall: Firewall | None = None
        """None where there are no rules, by wish or for lack of nf_tables."""
        self._host = Netlink(netlink.ROUTE)
        try:
            self._port = self._build(options)
            self._remove_orphans()
            if options.firewall:
                self._open_firewall(options)
        except BaseException:
            self.close()
            raise

    def _build(self, options: NetworkOptions) -> endpoint.Port:
        made = bridge.build(self._host, self._record, options)
        filtered = made.filtered and self._record.made and options.firewall
        isolated = (
            not options.icc and not filtered
        )  # what is filtered need not be isolated, and then could not get round by the host
        return endpoint.Port(made.number, made.mtu, isolated=isolated, hairpin=made.filtered)

    def _remove_orphans(self) -> None:
        """Links of containers that ended while there was no daemon, and whose namespaces somebody keeps."""
        known = {each.link for each in self._live.values()}
        for each in links.all_links(self._host):
            if each.master == self._port.bridge and endpoint.is_endpoint(each) and each.name not in known:
                endpoint.disconnect(self._host, each.name)

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

    def connect(self, wanted: Endpoint, netns: int) -> None:
        """Give the network namespace behind ``netns`` the place that ``wanted`` tells. Raises OSError; then nothing is left of it."""
        self._clear(wanted.address)
        own = IPv4Interface((wanted.address, wanted.prefix))
        own6 = IPv6Interface((wanted.address6, wanted.prefix6)) if wanted.address6 else None
        place = endpoint.Place(own, self._address.ip, own6, self._address6.ip if self._address6 else None)
        endpoint.connect(self._host, self._port, wanted.link, place, netns)
        self._live[wanted.container] = wanted
        try:
            self._change(Firewall.publish, wanted)
        except BaseException:
            del self._live[wanted.container]
            endpoint.disconnect(self._host, wanted.link)
            raise

    def disconnect(self, gone: Endpoint) -> None:
        """Take its ports away. Its link goes with its namespace, later; one that does not is removed before its address is used again."""
        if self._live.pop(gone.container, None) is None:
            return
        self._left[gone.address] = gone.link
        for address in list(self._left)[:_LOOKED_AT]:
            link = self._left.pop(address)
            if endpoint.number_of(link):
                self._left[address] = link
        self._change(Firewall.withdraw, gone)

    def close(self) -> None:
        """Let go; everything stays as it is."""
        if self.firewall:
            self.firewall.close()
        self._host.close()

    def _clear(self, address: str) -> None:
        link = self._left.pop(address, "")
        if link:
            endpoint.disconnect(self._host, link)

    def _change(self, change: Callable[[Firewall, Endpoint], None], changed: Endpoint) -> None:
        """One change of the rules. Where they are not as we left them (somebody flushed all), they are made anew."""
        if not self.firewall or not changed.ports:
            return
        try:
            change(self.firewall, changed)
        except OSError as error:
            log.warning("the packet rules were changed by somebody (%s): making them anew", error)
            self.firewall.replace(self._live.values())
