"""What users called us by."""

import os
import sys


def program() -> str:
    """The name to use in messages: the file's name, or ``trioker`` when started as a module."""
    name = os.path.basename(sys.argv[0])
    return name if name and name != "__main__.py" else "trioker"
