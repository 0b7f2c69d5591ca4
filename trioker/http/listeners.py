"""Opening what ``-H`` names."""

import errno
import grp
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

import attrs
import trio

from trioker.http.access import Access, Kind
from trioker.http.addresses import Address, Tcp, Unix, check_exposure

BACKLOG = 1024
"""Connections the kernel keeps until they are accepted: a burst of clients should not see refusals."""
SOCKET_GROUPS = ("docker", "trioker")
"""Whose members may use the unix socket; the first that exists. They are as good as root."""
_FIRST_FD = 3
"""Where systemd puts the sockets (sd_listen_fds(3))."""


class ListenError(Exception):
    """An address that cannot be listened on; the text names it."""


@attrs.frozen(eq=False)
class Listener:
    """A socket that listens, and the rules for those who come."""

    socket: trio.SocketListener
    access: Access
    tls: ssl.SSLContext | None = None


@asynccontextmanager
async def open_listeners(
    address: Address,
    *,
    cors: bool = False,
    host_names: frozenset[str] = frozenset(),
    tls: ssl.SSLContext | None = None,
    exposed: bool = False,
) -> AsyncIterator[Sequence[Listener]]:
    """Listen on ``address``; at the end the sockets are closed and a unix socket's file is removed, if it is still ours.

    ``exposed`` says that the user wants TCP beyond loopback in the clear (``--tls=false``). Raises ListenError, BadAddress.
    """
    secured = True if tls else (False if exposed else None)
    check_exposure(address, secured)
    async with AsyncExitStack() as stack:
        if isinstance(address, Unix):
            sockets = [stack.enter_context(_unix_socket(address))]
        else:
            sockets = await _open_tcp(address) if isinstance(address, Tcp) else take_activated(os.environ)
            for opened in sockets:
                await stack.enter_async_context(opened)
        listeners = [_with_rules(opened, Access(Kind.TCP, cors, host_names), tls) for opened in sockets]
        for listener in listeners:
            check_exposure(_bound(listener), secured)
        yield listeners


def _with_rules(opened: trio.SocketListener, tcp: Access, tls: ssl.SSLContext | None) -> Listener:
    if opened.socket.family == socket.AF_UNIX:
        return Listener(opened, attrs.evolve(tcp, kind=Kind.UNIX))
    return Listener(opened, tcp, tls)


def _bound(listener: Listener) -> Address:
    name = listener.socket.socket.getsockname()
    return Unix(name) if listener.access.kind is Kind.UNIX else Tcp(name[0], name[1])


async def _open_tcp(address: Tcp) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG)
    except OSError as error:
        raise _error(address, error) from None


def _error(address: Address, error: OSError) -> ListenError:
    if error.errno == errno.EADDRINUSE:
        return ListenError(f"cannot listen on {address}: address already in use")
    return ListenError(f"cannot listen on {address}: {error.strerror or error}")


@contextmanager
def _unix_socket(address: Unix) -> Iterator[trio.SocketListener]:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_stale(address)
        # The file is made with the mode of the unbound socket less the umask: at no time is it open to more than root and group.
        os.fchmod(sock.fileno(), 0o660)
        sock.bind(address.path)
        identity = _identity(address.path)
        try:
            os.chown(address.path, -1, _socket_group(), follow_symlinks=False)
            os.chmod(address.path, 0o660)
            sock.listen(BACKLOG)
            yield trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        finally:
            if _identity(address.path) == identity:
                os.unlink(address.path)
    except OSError as error:
        raise _error(address, error) from None
    finally:
        sock.close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _socket_group() -> int:
    """The group id for the socket's file, -1 (leave it) if there is no such group or we may not give files away."""
    if os.geteuid() != 0:
        return -1
    for name in SOCKET_GROUPS:
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            continue
    return -1


def _clear_stale(address: Unix) -> None:
    """Remove a socket file that nobody listens on."""
    try:
        if not stat.S_ISSOCK(os.lstat(address.path).st_mode):
            raise ListenError(f"cannot listen on {address}: something that is no socket is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is EAGAIN, and alive
        refused = probe.connect_ex(address.path)
    if refused != errno.ECONNREFUSED:
        raise ListenError(f"cannot listen on {address}: another process listens there")
    os.unlink(address.path)


def take_activated(environ: MutableMapping[str, str], first: int = _FIRST_FD) -> list[trio.SocketListener]:
    """The sockets systemd passed us; the variables are removed, so that no child takes them for its own. Raises ListenError."""
    passed = _passed(environ, first)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, "")
    if not passed:
        raise ListenError("cannot listen on fd://: systemd passed no sockets to this process (LISTEN_PID, LISTEN_FDS)")
    return [_activated(fd) for fd in passed]


def activated_ports(environ: Mapping[str, str], first: int = _FIRST_FD) -> list[int]:
    """The ports that ``take_activated`` will take over; what is no socket is for that to refuse."""
    ports = []
    for fd in _passed(environ, first):
        with suppress(OSError), socket.socket(fileno=os.dup(fd)) as sock:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                ports.append(int(sock.getsockname()[1]))
    return ports


def _passed(environ: Mapping[str, str], first: int) -> range:
    count = environ.get("LISTEN_FDS", "") if environ.get("LISTEN_PID") == str(os.getpid()) else ""
    return range(first, first + (int(count) if count.isdecimal() else 0))


def _activated(fd: int) -> trio.SocketListener:
    try:
        os.set_inheritable(fd, False)
        taken = socket.socket(fileno=fd)
    except OSError as error:
        raise ListenError(f"cannot listen on fd://: descriptor {fd} is no socket ({error.strerror})") from None
    try:
        return trio.SocketListener(trio.socket.from_stdlib_socket(taken))
    except ValueError as error:
        taken.close()
        raise ListenError(f"cannot listen on fd://: descriptor {fd} does not listen ({error})") from None
