import pytest

from trioker.network.resolver import container_resolv_conf, host_resolver, hosts_file, name_servers


def servers(host, chosen=(), ipv6=False):
    found = container_resolv_conf(host, chosen, "10.1.0.1", ipv6=ipv6)
    return name_servers(found.text), found.forwarded


def test_the_hosts_servers_are_the_containers():
    assert servers("nameserver 192.0.2.53\nnameserver 192.0.2.54\n") == (["192.0.2.53", "192.0.2.54"], False)


@pytest.mark.parametrize("server", ["127.0.0.1", "127.0.0.53", "::1", "0.0.0.0", "fe80::1%eth0"])
def test_where_only_the_host_reaches_its_resolver_the_bridge_answers(server):
    assert servers(f"nameserver {server}\n") == (["10.1.0.1"], True)


def test_a_host_without_servers_asks_itself():
    assert servers("# nothing\nnameserver\nnameserver none\n") == (["10.1.0.1"], True)


def test_one_server_that_can_be_reached_is_enough():
    assert servers("nameserver 127.0.0.1\nnameserver 192.0.2.53\n") == (["192.0.2.53"], False)


def test_servers_of_ipv6_are_for_containers_that_have_it():
    host = "nameserver 2001:db8::53\nnameserver 192.0.2.53\n"
    assert servers(host) == (["192.0.2.53"], False)
    assert servers(host, ipv6=True) == (["2001:db8::53", "192.0.2.53"], False)


def test_chosen_servers_take_the_place_of_the_hosts_whatever_they_are():
    assert servers("nameserver 192.0.2.53\n", ["127.0.0.1", "192.0.2.1"]) == (["127.0.0.1", "192.0.2.1"], False)


def test_search_list_and_options_are_the_hosts():
    host = "search a.example b.example\noptions ndots:2\nnameserver 127.0.0.1\nsortlist x\n"
    text = container_resolv_conf(host, (), "10.1.0.1", ipv6=False).text
    assert text == "search a.example b.example\noptions ndots:2\nnameserver 10.1.0.1\n"


def test_the_hosts_resolver_is_read_anew(tmp_path):
    path = tmp_path / "resolv.conf"
    assert host_resolver(str(path)) == ("127.0.0.1", 53)
    path.write_bytes(b"# \xff\nnameserver 127.0.0.53\n")
    assert host_resolver(str(path)) == ("127.0.0.53", 53)
    assert host_resolver(str(tmp_path)) is None


def test_a_container_knows_its_own_name():
    assert "10.1.0.2\tbox\nfd00::2\tbox\n" in hosts_file("box", "10.1.0.2", "fd00::2")
    assert hosts_file("box", "").endswith("127.0.0.1\tbox\n")
