"""No network: containers have their loopback and nobody else (``-b none``)."""

from collections.abc import Sequence

import attrs

from trioker.model.network import Endpoint
from trioker.network import resolver


@attrs.frozen
class Without:
    """In place of ``Network``. What is published by a container leads nowhere."""

    dns: tuple[str, ...] = ()

    def reserve(self, container_id: str, port_specs: Sequence[str] = ()) -> None:
        """There are no places."""

    async def connect(self, reserved: Endpoint, netns: int) -> None:
        """Nothing is ever reserved."""

    async def disconnect(self, gone: Endpoint) -> None:
        """An earlier daemon's network goes with its container."""

    def resolv_conf(self, chosen: Sequence[str]) -> str:
        """The servers that were asked for, else the host's file as it is; none can be reached."""
        return "".join(f"nameserver {each}\n" for each in chosen or self.dns) or resolver.host_text()

    def hosts(self, name: str, place: Endpoint | None) -> str:  # noqa: ARG002
        """Its own name is its loopback's."""
        return resolver.hosts_file(name, "")
