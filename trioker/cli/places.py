"""The arguments of the commands that look at the host's storage: ``drivers`` and ``check-host``."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from trioker.cli import values
from trioker.cli.parser import Parser
from trioker.model.options import DaemonOptions


class Places(NamedTuple):
    """Where to look."""

    root: Path
    driver_dirs: tuple[Path, ...]


def parse_places(command: str, description: str, arguments: Sequence[str]) -> Places:
    """``-g ROOT`` and ``--driver-dir DIR``; exits with status 2 on anything else."""
    parser = Parser(command, f"{command} [-g ROOT] [--driver-dir DIR]...", description)
    parser.add_argument("-g", "--graph", "--data-root", dest="root", type=values.path, default=DaemonOptions(()).root,
                        metavar="ROOT", help="where the daemon keeps everything (default: %(default)s)")  # fmt: skip
    parser.add_argument("--driver-dir", action="append", default=[], type=values.path, metavar="DIR",
                        help="a folder with further storage drivers; may be repeated")  # fmt: skip
    given = parser.parse_args(arguments)
    return Places(given.root, tuple(given.driver_dir))
