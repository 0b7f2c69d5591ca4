"""The daemon's command line: ``trioker.pyz -d ...`` or ``trioker.pyz daemon ...``."""

import argparse
import os
from collections.abc import Sequence

from trioker.cli import values
from trioker.cli.limiting import add_limits, limit_options
from trioker.cli.networking import add_networking, network_options
from trioker.cli.parser import Parser
from trioker.cli.registries import add_registries, registry_options
from trioker.http.addresses import DEFAULT_PORT, BadAddress, check_exposure, parse_address
from trioker.model.errors import InvalidParameter
from trioker.model.network import NetworkOptions
from trioker.model.options import DaemonOptions, TlsFiles
from trioker.model.run import LogPolicy

_DEFAULT_ADDRESSES = (f"tcp://127.0.0.1:{DEFAULT_PORT}", f"unix://{values.DEFAULT_SOCKET}")
_LOG_OPTIONS = {"max-size": values.size, "max-file": values.count}


def parse_daemon(arguments: Sequence[str], *, flagged: bool = False) -> DaemonOptions:
    """Options from the command line; exits with status 2 and a word on what cannot be. ``flagged``: ``-d`` must be among them."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if flagged and not given.daemon:
        parser.error(f"{arguments[0]} without a command: add -d to run the daemon")
    listeners = tuple(given.host or _default_listeners())
    tls = _tls(parser, given)
    exposed = given.tls == "false"
    _check_exposure(parser, listeners, secured=True if tls else False if exposed else None)
    return DaemonOptions(
        listeners=listeners,
        exposed=exposed,
        root=given.root,
        exec_root=given.exec_root,
        storage_driver=given.storage_driver,
        storage_options=tuple(dict(given.storage_opt).items()),
        driver_dirs=tuple(given.driver_dir),
        host_names=tuple(given.host_name),
        cors=given.api_enable_cors,
        tls=tls,
        pid_file=given.pidfile,
        debug=given.debug,
        log_json=given.log_format == "json",
        container_logs=_log_limits(parser, given.log_opt),
        registries=registry_options(given),
        network=_network(parser, given),
        limits=limit_options(given),
        userns_remap=given.userns_remap,
        cleanup=given.cleanup,
    )


def _parser() -> Parser:
    parser = Parser(
        "daemon", "-d [OPTION]...", "Serve the Docker Remote API. Runs in the foreground until SIGTERM or SIGINT."
    )
    parser.add_argument("-d", "--daemon", action="store_true", help=argparse.SUPPRESS)
    _add_api(parser.add_argument_group("where and to whom"))
    _add_tls(parser.add_argument_group("TLS, on every TCP address"))
    _add_storage(parser.add_argument_group("storage"))
    add_registries(parser.add_argument_group("registries"))
    add_networking(parser.add_argument_group("containers' network"))
    add_limits(parser.add_argument_group("containers' limits"))
    _add_running(parser.add_argument_group("running"))
    return parser


def _add_api(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-H", "--host", action="append", type=values.listener, metavar="ADDRESS",
        help=f"serve on tcp://ADDRESS:PORT, unix:///PATH or fd:// (systemd's sockets); may be repeated (default: {' and '.join(_DEFAULT_ADDRESSES)})",
    )  # fmt: skip
    group.add_argument("--host-name", action="append", default=[], type=values.host_name, metavar="NAME",
                       help="a further name under which TCP clients may address the daemon; may be repeated")  # fmt: skip
    group.add_argument("--api-enable-cors", action="store_true", help="let web pages of any origin use the API")


def _add_tls(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--tls",
        nargs="?",
        const="true",
        choices=("true", "false"),
        help="'--tls=false' allows plain TCP beyond loopback: anyone who reaches it is root here",
    )
    group.add_argument(
        "--tlsverify", action="store_true", help="admit only clients with a certificate of the CA; needs the next three"
    )
    group.add_argument("--tlscacert", type=values.path, metavar="FILE", help="PEM file of the CA that signs clients")
    group.add_argument("--tlscert", type=values.path, metavar="FILE", help="PEM file of the daemon's certificate")
    group.add_argument("--tlskey", type=values.path, metavar="FILE", help="PEM file of the daemon's key")


def _add_storage(group: argparse._ArgumentGroup) -> None:
    defaults = DaemonOptions(())
    group.add_argument(
        "-g",
        "--graph",
        "--data-root",
        dest="root",
        type=values.path,
        default=defaults.root,
        metavar="ROOT",
        help="where everything is kept (default: %(default)s)",
    )
    group.add_argument(
        "-s",
        "--storage-driver",
        default="",
        metavar="NAME",
        help="overlay, btrfs, vfs or another that 'drivers' lists (default: the first that works)",
    )
    group.add_argument(
        "--storage-opt",
        action="append",
        default=[],
        type=values.pair,
        metavar="KEY=VALUE",
        help="an option of the storage driver; may be repeated",
    )
    group.add_argument(
        "--driver-dir",
        action="append",
        default=[],
        type=values.path,
        metavar="DIR",
        help="a folder with further storage drivers; may be repeated",
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    defaults = DaemonOptions(())
    group.add_argument(
        "--exec-root",
        type=values.path,
        default=defaults.exec_root,
        metavar="DIR",
        help="for what need not survive a reboot (default: %(default)s)",
    )
    group.add_argument(
        "--userns-remap",
        type=values.remap,
        default=defaults.userns_remap,
        metavar="NAME",
        help="run containers as ids of the host that /etc/subuid and /etc/subgid give to USER[:GROUP] or UID[:GID], or with 'default' to trioker",
    )
    group.add_argument(
        "-p", "--pidfile", type=values.path, metavar="FILE", help="write the process id there (default: nowhere)"
    )
    group.add_argument("-D", "--debug", action="store_true", help="log more")
    group.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="form of the daemon's own log (default: %(default)s)",
    )
    group.add_argument(
        "--log-opt",
        action="append",
        default=[],
        type=values.pair,
        metavar="KEY=VALUE",
        help="max-size=10m, max-file=5: how much of a container's output is kept",
    )


def _default_listeners() -> tuple[str, ...]:
    """The sockets of systemd when it passed some to this very process (sd_listen_fds(3)), else the usual two."""
    return ("fd://",) if os.environ.get("LISTEN_PID") == str(os.getpid()) else _DEFAULT_ADDRESSES


def _tls(parser: Parser, given: argparse.Namespace) -> TlsFiles | None:
    files = {"--tlscacert": given.tlscacert, "--tlscert": given.tlscert, "--tlskey": given.tlskey}
    if given.tlsverify and given.tls != "false":
        missing = [flag for flag, file in files.items() if file is None]
        if missing:
            parser.error(f"--tlsverify needs {' and '.join(missing)} too")
        return TlsFiles(given.tlscacert, given.tlscert, given.tlskey)
    if given.tlsverify:
        parser.error("--tlsverify and --tls=false contradict each other")
    if given.tls == "true" or any(files.values()):
        parser.error("TLS without --tlsverify would let every client in: add --tlsverify")
    return None


def _network(parser: Parser, given: argparse.Namespace) -> NetworkOptions:
    try:
        return network_options(given)
    except InvalidParameter as error:
        parser.error(str(error))


def _check_exposure(parser: Parser, listeners: Sequence[str], *, secured: bool | None) -> None:
    for each in listeners:
        try:
            check_exposure(parse_address(each), secured)
        except BadAddress as error:
            parser.error(str(error))


def _log_limits(parser: Parser, pairs: Sequence[tuple[str, str]]) -> LogPolicy:
    read = {}
    for key, value in pairs:
        if key not in _LOG_OPTIONS:
            parser.error(f"argument --log-opt: {key!r} is not known (known: {', '.join(_LOG_OPTIONS)})")
        try:
            read[key] = _LOG_OPTIONS[key](value)
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --log-opt: {key}: {error}")
    defaults = LogPolicy()
    return LogPolicy(read.get("max-size", defaults.size), read.get("max-file", defaults.files))
