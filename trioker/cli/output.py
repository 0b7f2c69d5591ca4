"""What commands say on standard output and standard error, whoever may have closed them or gone away. Imports next to nothing, as ``version``."""

import sys

from trioker.cli.program import program

_NOBODY_READS = 128 + 13
"""The exit status of who is ended by SIGPIPE, which Python ignores."""


def put(text: str) -> None:
    """Write to standard output, at once: at its end Python would tell in its own way why it cannot.

    Ends the command where that cannot be, without a word where nobody reads any more.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.exit(_NOBODY_READS)
    except OSError as error:
        complain(f"{program()}: standard output: {error.strerror}\n")
        sys.exit(1)


def complain(text: str) -> None:
    """Write to standard error, if it can be."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        pass
