"""The argument parser all commands share."""

import argparse
from typing import NoReturn

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

    def error(self, message: str) -> NoReturn:
        """Say what was wrong and exit with status 2."""
        self.exit(2, f"{program()}: {message}\nSee '{self.prog} --help'.\n")
