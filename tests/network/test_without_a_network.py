from trioker.model.network import NetworkOptions
from trioker.network.opening import daemon_network
from trioker.network.without import Without


class NoRecords:
    """Nothing is on record, and nothing may be put there."""

    def network(self):
        return None


async def test_without_a_network_nothing_is_recorded_and_nothing_reserved():
    async with daemon_network(NetworkOptions(bridge="none"), NoRecords(), (), cleanup=True) as network:
        assert network.reserve("c" * 64, ["80"]) is None
        assert network.port is None


def test_a_container_without_a_network_has_its_name_on_its_loopback():
    assert Without().hosts("me", None).endswith("127.0.0.1\tme\n")


def test_its_name_servers_are_its_own_then_the_daemons():
    assert Without(("9.9.9.9",)).resolv_conf(("1.1.1.1", "::1")) == "nameserver 1.1.1.1\nnameserver ::1\n"
    assert Without(("9.9.9.9",)).resolv_conf(()) == "nameserver 9.9.9.9\n"
