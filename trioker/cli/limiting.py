"""The daemon's options about what every container may use."""

import argparse
import re
import resource
from argparse import ArgumentTypeError

from trioker.model.options import ContainerLimits, Rlimit

_RLIMITS = {each.removeprefix("RLIMIT_").lower() for each in dir(resource) if each.startswith("RLIMIT_")} - {"ofile"}
_NUMBER = re.compile(r"-1|[0-9]{1,19}", re.ASCII)
_MOST = 2**63 - 1  # Docker's numbers are signed; nothing on a computer is more
_MOST_PROCESSES = 2**22  # the kernel's PID_MAX_LIMIT (linux/threads.h)


def add_limits(group: argparse._ArgumentGroup) -> None:
    """Declare them."""
    defaults = ContainerLimits()
    group.add_argument("--default-ulimit", action="append", default=[], type=_ulimit, metavar="NAME=SOFT[:HARD]",
                       help="of each process in a container (setrlimit(2)); -1 is no limit; may be repeated (default: the daemon's own)")  # fmt: skip
    group.add_argument("--default-pids-limit", type=_processes, default=defaults.processes, metavar="N",
                       help="how many processes and threads a container may have; 0 or -1 is no limit (default: %(default)s)")  # fmt: skip


def limit_options(given: argparse.Namespace) -> ContainerLimits:
    """What was given; of one limit given twice, the last."""
    by_name = {each.name: each for each in given.default_ulimit}
    return ContainerLimits(tuple(by_name.values()), given.default_pids_limit)


def _ulimit(text: str) -> Rlimit:
    """Docker's notation, and its words for what is wrong with it."""
    name, equals, numbers = text.partition("=")
    if not equals:
        raise ArgumentTypeError(f"invalid ulimit argument: {text}")
    if name not in _RLIMITS:
        raise ArgumentTypeError(f"invalid ulimit type: {name} (known: {', '.join(sorted(_RLIMITS))})")
    soft, *more = [_number(each) for each in numbers.split(":")]
    if len(more) > 1:
        raise ArgumentTypeError(f"too many limit value arguments - {numbers}, can only have up to two, `soft[:hard]`")
    hard = more[0] if more else soft
    if hard != -1 and (soft == -1 or soft > hard):
        raise ArgumentTypeError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return Rlimit(name, soft, hard)


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > _MOST:
        raise ArgumentTypeError(f"{text!r} is not a limit: a whole number, or -1 for none")
    return int(text)


def _processes(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > _MOST_PROCESSES:
        raise ArgumentTypeError(f"{text!r} is not a number of processes up to {_MOST_PROCESSES}, or -1 for no limit")
    return max(0, int(text))
