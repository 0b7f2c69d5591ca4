import os
import socket
import stat

import pytest
import trio

from trioker.http.access import Kind
from trioker.http.addresses import Activated, BadAddress, Tcp, Unix
from trioker.http.listeners import ListenError, activated_ports, open_listeners, take_activated


@pytest.fixture
def address(tmp_path):
    return Unix(str(tmp_path / "s.sock"))


async def test_a_tcp_address_is_listened_on_with_its_rules():
    async with open_listeners(Tcp("127.0.0.1", 0), cors=True, host_names=frozenset({"h"})) as (listener,):
        assert listener.access.kind is Kind.TCP
        assert listener.access.cors
        assert listener.access.host_names == {"h"}
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.socket.getsockname()[1])
        await client.aclose()


async def test_a_used_tcp_address_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"cannot listen on tcp://127.0.0.1:{port}: address already in use"):
            async with open_listeners(Tcp("127.0.0.1", port)):
                pass


async def test_an_address_that_is_not_ours_is_named():
    with pytest.raises(ListenError, match=r"cannot listen on tcp://192.0.2.1:1: Cannot assign requested address"):
        async with open_listeners(Tcp("192.0.2.1", 1), exposed=True):
            pass


async def test_beyond_loopback_nothing_is_opened_in_the_clear_without_a_word():
    with pytest.raises(BadAddress, match="--tls=false"):
        async with open_listeners(Tcp("0.0.0.0", 0)):
            pass
    async with open_listeners(Tcp("0.0.0.0", 0), exposed=True) as listeners:
        assert len(listeners) == 1


async def test_a_unix_socket_is_open_to_owner_and_group_only(address):
    async with open_listeners(address, host_names=frozenset({"h"})) as (listener,):
        assert stat.S_IMODE(os.stat(address.path).st_mode) == 0o660
        assert listener.access.kind is Kind.UNIX
        client = await trio.open_unix_socket(address.path)
        await client.aclose()
    assert not os.path.lexists(address.path)


async def test_a_socket_file_that_nobody_listens_on_is_replaced(address):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(address.path)
    async with open_listeners(address):
        client = await trio.open_unix_socket(address.path)
        await client.aclose()


async def test_a_socket_somebody_listens_on_is_left_alone(address):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(address.path)
        other.listen()
        with pytest.raises(ListenError, match="another process listens there"):
            async with open_listeners(address):
                pass
        assert os.path.exists(address.path)


async def test_a_file_that_is_no_socket_is_left_alone(address):
    with open(address.path, "w"):
        pass
    with pytest.raises(ListenError, match="no socket is there"):
        async with open_listeners(address):
            pass
    assert os.path.exists(address.path)


async def test_a_socket_file_that_is_no_longer_ours_is_left_alone(address):
    async with open_listeners(address):
        os.unlink(address.path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(address.path)
    assert os.path.exists(address.path)


async def test_a_missing_directory_is_named(tmp_path):
    path = str(tmp_path / "no" / "s.sock")
    with pytest.raises(ListenError, match=f"cannot listen on unix://{path}: No such file or directory"):
        async with open_listeners(Unix(path)):
            pass


def activation(count: int, pid: int | None = None) -> dict[str, str]:
    return {"LISTEN_PID": str(pid or os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "a", "PATH": "/"}


async def test_sockets_from_systemd_are_taken_once(tmp_path):
    environ = activation(1)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()
        (listener,) = take_activated(environ, made.detach())
    assert environ == {"PATH": "/"}
    assert not os.get_inheritable(listener.socket.fileno())
    await listener.aclose()
    with pytest.raises(ListenError, match="systemd passed no sockets"):
        take_activated(environ)


@pytest.mark.parametrize("environ", [{}, activation(1, pid=1), activation(0), {**activation(1), "LISTEN_FDS": "x"}])
def test_without_sockets_for_this_process_fd_is_refused(environ):
    with pytest.raises(ListenError, match="systemd passed no sockets"):
        take_activated(environ)


def test_the_ports_behind_fd_are_known_before_they_are_taken():
    with socket.create_server(("127.0.0.1", 0)) as made, socket.socket(socket.AF_UNIX) as other:
        port = made.getsockname()[1]
        assert activated_ports(activation(1), made.fileno()) == [port]
        assert activated_ports(activation(1), other.fileno()) == []
        assert activated_ports(activation(1), 9999) == []
        assert activated_ports(activation(1, pid=1), made.fileno()) == []
        assert made.getsockname()[1] == port, "it is open still"


async def test_fd_reads_the_environment(monkeypatch):
    monkeypatch.delenv("LISTEN_PID", raising=False)
    with pytest.raises(ListenError, match="fd://"):
        async with open_listeners(Activated()):
            pass


async def test_a_descriptor_that_does_not_listen_is_named():
    ours, theirs = socket.socketpair()
    with ours:
        fd = theirs.detach()
        with pytest.raises(ListenError, match=f"descriptor {fd} does not listen"):
            take_activated(activation(1), fd)
        with pytest.raises(ListenError, match="descriptor 9999 is no socket"):
            take_activated(activation(1), 9999)
