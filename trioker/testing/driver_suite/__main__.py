"""``python -m trioker.testing.driver_suite NAME --root DIR``: one line per check, and an exit status.

Every check runs in a process of its own with a deadline, so a driver that hangs or takes the interpreter down fails that check only.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest import SkipTest

from trioker.storage.discovery import DriverError, available, find, load
from trioker.storage.driver import OpenDriver
from trioker.testing.driver_suite import CHECKS, run
from trioker.testing.driver_suite.processes import explain, in_child

_DEADLINE = 300.0
"""Seconds for one check: what a slow disk needs for 128 full copies, generously."""


def main(argv: Sequence[str]) -> int:
    """The command. Returns the exit status: 0 all passed, 1 some failed, 2 nothing could be tried."""
    given = _parser().parse_args(argv)
    chosen = [name for name in CHECKS if all(word in name for word in given.keyword)]
    if given.list:
        print(*chosen, sep="\n")
        return 0
    if why := _cannot_start(given, chosen):
        print(f"driver_suite: {why}", file=sys.stderr)
        return 2
    try:
        opener = load(find(given.driver, available(given.driver_dir)), given.driver_dir)
        given.root.mkdir(parents=True, exist_ok=True)
        why = _unopened(opener, given.root, dict(given.storage_opt))
    except (DriverError, OSError) as error:
        why = str(error)
    if why:
        print(f"driver_suite: {why}", file=sys.stderr)
        return 2
    return _report([_try(name, opener, given.root, dict(given.storage_opt)) for name in chosen])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="driver_suite", description="Run the contract of storage drivers over one of them, as root."
    )
    parser.add_argument("driver", nargs="?", default="", help="its name, as `trioker.pyz drivers` shows it")
    parser.add_argument(
        "--root", type=Path, help="a directory on the filesystem to try it on; each check makes one of its own there"
    )
    parser.add_argument(
        "--driver-dir", type=Path, action="append", default=[], metavar="DIR", help="a folder with further drivers"
    )
    parser.add_argument(
        "--storage-opt", type=_option, action="append", default=[], metavar="KEY=VALUE", help="an option of the driver"
    )
    parser.add_argument(
        "-k", dest="keyword", action="append", default=[], metavar="WORD", help="only checks with that in their name"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the checks and end")
    return parser


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _cannot_start(given: argparse.Namespace, chosen: Sequence[str]) -> str:
    if not given.driver or given.root is None:
        return "which driver, and where? driver_suite NAME --root DIR"
    if not chosen:
        return f"no check has {' and '.join(given.keyword)} in its name; --list shows them"
    if not __debug__:
        return "python -O takes the assertions out, and every check would pass"
    if os.geteuid():
        return "only root can mount what a driver makes"
    return ""


def _unopened(opener: OpenDriver, root: Path, options: Mapping[str, str]) -> str:
    """Why the driver cannot even be opened on an empty directory; then nothing can be said of its promises. Empty where it can."""
    with tempfile.TemporaryDirectory(prefix="opening-", dir=root) as place:
        try:
            outcome = in_child(lambda _: opener(Path(place), options).close(), _DEADLINE)
        except AssertionError as error:
            return str(error)
    return "" if outcome.status == 0 else outcome.said or f"it died, status {outcome.status}"


def _try(name: str, opener: OpenDriver, root: Path, options: Mapping[str, str]) -> str:
    """Run one check and print its line; returns its first word."""
    print(f"{name} ... ", end="", flush=True)
    start = time.perf_counter()
    try:
        outcome = in_child(lambda tell: _check(name, opener, root, options, tell), _DEADLINE)
        word = outcome.said or ("ok" if outcome.status == 0 else f"FAILED it died, status {outcome.status}")
    except AssertionError as error:
        word = f"FAILED {error}"
    print(word, f"({time.perf_counter() - start:.2f} s)" if word == "ok" else "", flush=True)
    return word.split()[0]


def _check(name: str, opener: OpenDriver, root: Path, options: Mapping[str, str], tell: Callable[[str], None]) -> None:
    try:
        run(name, opener, root, options)
    except SkipTest as error:
        tell(f"skipped: {error}")
    except BaseException as error:  # noqa: BLE001  a stranger's driver may raise anything, SystemExit too
        tell(f"FAILED {explain(error)[:1000]}")


def _report(words: Sequence[str]) -> int:
    failed, passed = words.count("FAILED"), words.count("ok")
    print(f"{passed} passed, {failed} failed, {len(words) - passed - failed} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
