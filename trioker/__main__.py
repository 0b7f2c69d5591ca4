"""Picks the command, and imports nothing heavy before it knows which. This file must parse on Python 3.6: old ones are told here."""

# ruff: noqa: PLC0415 - each command imports only what it needs: `version` must not pay for the daemon, nor the launcher carry it.

import _signal  # type: ignore[import-not-found]  # signal itself takes its time, and these are the first instructions of ours
import os
import sys

OLDEST = (3, 11)

HELP = """\
Usage: {0} COMMAND [OPTION]...

A container engine in one file, serving the Docker Remote API v1.2.

Commands:
  -d, daemon   run the daemon ('{0} -d --help' lists its options)
  df           show what takes room on the disk (-v: each thing by itself)
  drivers      list the storage drivers and say which work here
  migrate      move images and stopped containers to another storage driver
  check-host   say what this host offers and whether the daemon can run on it
  version      show versions
"""


def main() -> int:
    """Run the command that sys.argv names; returns the exit status."""
    if sys.version_info < OLDEST:
        sys.stderr.write("trioker needs Python 3.11 or newer; {} is {}.{}\n".format(sys.executable, *sys.version_info))
        return 1
    _end_by_interrupts()
    _fill_streams()
    command = sys.argv[1] if sys.argv[1:] else "help"
    if command in COMMANDS:
        return COMMANDS[command](sys.argv[2:])
    if command.startswith("-"):
        return _daemon(sys.argv[1:], flagged=True)
    from trioker.cli.output import complain
    from trioker.cli.program import program

    complain(f"{program()}: {command!r} is not a command\nSee '{program()} --help'.\n")
    return 2


def _end_by_interrupts() -> None:
    """Let SIGINT end us as SIGTERM does, without Python's traceback; what has something to put away handles both, from there on."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def _fill_streams() -> None:
    """Have all standard streams: files that are opened would get the numbers of those that were closed, and be written what is meant for them."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            from trioker.storage.surroundings import fill_standard_streams

            fill_standard_streams()
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="replace"))


def _use_checkout_drivers() -> None:
    """Make the drivers importable when we run from a checkout, where they are a source root of their own."""
    drivers = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "drivers")
    if os.path.isfile(os.path.join(drivers, "trioker_overlay", "__init__.py")):
        sys.path.append(drivers)


def _daemon(arguments: "list[str]", *, flagged: bool = False) -> int:
    from trioker.cli.daemon import parse_daemon

    options = parse_daemon(arguments, flagged=flagged)
    from trioker.daemon import main as serve

    _use_checkout_drivers()
    return _leave(serve(options))


def _leave(status: int) -> int:
    """End the process here, where all of ours is closed. The interpreter's own end would wait for every thread a storage driver has left."""
    try:
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):  # there was none, or a driver has closed that, too
        pass
    os._exit(status)


def _launcher(arguments: "list[str]") -> int:
    from trioker.launcher.zygote import main as fork_on_request

    return fork_on_request(arguments)


def _drivers(arguments: "list[str]") -> int:
    from trioker.cli.drivers import show
    from trioker.cli.places import parse_places
    from trioker.cli.program import end_in_order

    end_in_order()
    _use_checkout_drivers()
    return show(parse_places("drivers", "List the storage drivers and say which work on this host.", arguments))


def _migrate(arguments: "list[str]") -> int:
    from trioker.cli.migrate import Display, parse_migrate

    options = parse_migrate(arguments)
    from trioker.migrate import main as migrate

    _use_checkout_drivers()
    display = Display()
    status, text = migrate(options, display)
    display.end(text, failed=bool(status))
    return _leave(status)


def _check_host(arguments: "list[str]") -> int:
    from trioker.cli.places import parse_places

    root, driver_dirs = parse_places(
        "check-host", "Say what this host offers, and whether the daemon can run on it.", arguments
    )
    from trioker.check_host import report
    from trioker.cli.output import put
    from trioker.cli.program import end_in_order

    end_in_order()
    _use_checkout_drivers()
    status, text = report(root, driver_dirs)
    put(text)
    return status


def _df(arguments: "list[str]") -> int:
    from trioker.cli.df import main as show

    return show(arguments)


def _version(arguments: "list[str]") -> int:
    from trioker.cli.output import complain, put
    from trioker.cli.program import program
    from trioker.cli.version import report

    if arguments:
        complain(f"{program()}: version takes no arguments\n")
        return 2
    put(report())
    return 0


def _help(_: "list[str]") -> int:
    from trioker.cli.output import put
    from trioker.cli.program import program

    put(HELP.format(program()))
    return 0


COMMANDS = {
    "daemon": _daemon,
    "launcher": _launcher,
    "df": _df,
    "drivers": _drivers,
    "migrate": _migrate,
    "check-host": _check_host,
    "version": _version,
    "--version": _version,
    "-v": _version,
    "help": _help,
    "--help": _help,
    "-h": _help,
}


if __name__ == "__main__":
    sys.exit(main())
