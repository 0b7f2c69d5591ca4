"""What users called us by, and how they end us."""

import os
import signal
import sys


def program() -> str:
    """The name to use in messages: the file's name, or ``trioker`` when started as a module."""
    name = os.path.basename(sys.argv[0])
    return name if name and name != "__main__.py" else "trioker"


def end_in_order() -> None:
    """Have the signals that end a command do it as an exception does, so that it removes what it had made to try something."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, lambda number, _: sys.exit(128 + number))
