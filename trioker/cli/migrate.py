"""``trioker.pyz migrate``: its command line, and what it shows while it works."""

import shutil
import sys
from collections.abc import Sequence

from trioker.api.v1_2.words import size
from trioker.cli import values
from trioker.cli.output import complain
from trioker.cli.parser import Parser
from trioker.model.options import MigrateOptions
from trioker.model.progress import Progress

_DESCRIPTION = """\
Move all images and stopped containers of a store to another storage driver. No daemon may have the store open.

Each layer is copied, and compared with the old one, before the next: all that can be told of each entry, and by their digests the contents of the
files that are not the very ones of the layer below. Until all are there the store stays with its driver: what interrupts the move (Ctrl-C, a power
cut, a full disk) leaves it whole, and the same command goes on from there. --to another driver, or to the store's own, drops what was begun, also
where the driver it was begun with is here no more. Both copies need room."""


def parse_migrate(arguments: Sequence[str]) -> MigrateOptions:
    """Options from the command line; exits with status 2 on anything that cannot be."""
    parser = Parser("migrate", "migrate --to NAME [-g ROOT] [OPTION]...", _DESCRIPTION)
    add = parser.add_argument
    add("--to", required=True, metavar="NAME", help="the storage driver to move to; see the command drivers")
    add("-g", "--graph", "--data-root", dest="root", type=values.path, default=MigrateOptions("").root,
        metavar="ROOT", help="where the daemon keeps everything (default: %(default)s)")  # fmt: skip
    add("--storage-opt", action="append", default=[], type=values.pair, metavar="KEY=VALUE",
        help="an option of the new driver; may be repeated")  # fmt: skip
    add("--driver-dir", action="append", default=[], type=values.path, metavar="DIR",
        help="a folder with further storage drivers; may be repeated")  # fmt: skip
    add("--keep", action="store_true", help="leave the old driver's data in ROOT/storage")
    given = parser.parse_args(arguments)
    return MigrateOptions(given.to, given.root, tuple(given.storage_opt), tuple(given.driver_dir), given.keep)


class Display:
    """A line for each layer: on a terminal it tells what is being done now, elsewhere only what was done. What cannot be shown is left out."""

    def __init__(self) -> None:
        self._part = ""
        self._live = sys.stdout.isatty()
        self._seen = True

    def __call__(self, told: Progress) -> None:
        """Show it."""
        text = f"{told.id}: {told.status}"
        if self._live:
            self._replace(told.id, text if told.current is None else f"{text} {size(told.current)}")
        elif told.current is None:
            self._write(f"{text}\n")

    def _replace(self, part: str, text: str) -> None:
        if self._part and part != self._part:
            self._write("\n")
        self._part = part
        self._write(f"\r{text[: shutil.get_terminal_size().columns - 1]}\x1b[K")

    def end(self, text: str, *, failed: bool) -> None:
        """Say how it ended."""
        if self._part:
            self._write("\n")
        (complain if failed else self._write)(f"{text}\n")

    def _write(self, text: str) -> None:
        """Until it fails: the reader has gone, or the disk is full that it is kept on."""
        try:
            if self._seen:
                sys.stdout.write(text)
                sys.stdout.flush()
        except (OSError, ValueError):  # or a driver has closed it
            self._seen = False
