"""``trioker.pyz version``. Imports next to nothing: scripts ask often."""

import os
import sys

from trioker import __version__
from trioker.commit import COMMIT


def report() -> str:
    """Versions of all that matters in a bug report, a line each."""
    python = ".".join(map(str, sys.version_info[:3]))
    lines = {
        "trioker": __version__,
        "commit": COMMIT or "unknown",
        "API": "1.2",
        "Python": f"{python} ({sys.executable})",
        "kernel": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
    }
    return "".join(f"{key + ':':9}{value}\n" for key, value in lines.items())
