"""No network: containers have their loopback and nobody else (``-b none``)."""

from collections.abc import Sequence

import attrs

from trioker.model.network import Endpoint
from trioker.network import resolver
from trioker.network.network import Network


@attrs.frozen
class Without:
    """In place of ``Network``. What is published by a container leads nowhere."""

    dns: tuple[str, ...] = ()
    earlier: Network | None = None
    """The network of an earlier daemon, for the containers that are on it."""
    port: None = None
    """The launcher puts nobody on a bridge."""

    def reserve(self, container_id: str, port_specs: Sequence[str] = ()) -> None:
        """There are no places."""

    async def publish(self, reserved: Endpoint) -> None:
        """Nothing is ever reserved."""

    async def disconnect(self, gone: Endpoint) -> None:
        """The place of a container that an earlier daemon has started."""
        if self.earlier:
            await self.earlier.disconnect(gone)

    def resolv_conf(self, chosen: Sequence[str]) -> str:
        """The servers that were asked for, else the host's file as it is; none can be reached."""
        return "".join(f"nameserver {each}\n" for each in chosen or self.dns) or resolver.host_text()

    def hosts(self, name: str, place: Endpoint | None) -> str:  # noqa: ARG002
        """Its own name is its loopback's."""
        return resolver.hosts_file(name, "")
