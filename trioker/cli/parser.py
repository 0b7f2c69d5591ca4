"""The argument parser all commands share."""

import argparse
import sys
from typing import NoReturn

from trioker.cli.output import complain, put
from trioker.cli.program import program


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are short: what was wrong, and where help is."""

    def __init__(self, command: str, usage: str, description: str) -> None:
        super().__init__(
            prog=f"{program()} {command}",
            usage=f"{program()} {usage}",
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def print_help(self, file: object = None) -> None:  # noqa: ARG002  it is for standard output only
        """Print it as commands print."""
        put(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Say what was wrong and exit with status 2."""
        complain(f"{program()}: {message}\nSee '{self.prog} --help'.\n")
        sys.exit(2)
