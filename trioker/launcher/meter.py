"""Telling the daemon how far a long job on a tree has come."""

import os

_EVERY_BYTES = 2**22
_EVERY_ENTRIES = 1000


class Meter:
    """Counts, and from time to time writes how many bytes it has come to, as a line of decimal digits.

    Raises BrokenPipeError where nobody reads any more: that is how the job is called off.
    """

    def __init__(self, out: int) -> None:
        self._out = out
        self.bytes = self.entries = 0
        self._told_bytes = self._told_entries = 0

    def entry(self) -> None:
        """One entry more."""
        self.entries += 1
        if self.entries - self._told_entries >= _EVERY_ENTRIES:
            self._tell()

    def read(self, count: int) -> None:
        """So many bytes more."""
        self.bytes += count
        if self.bytes - self._told_bytes >= _EVERY_BYTES:
            self._tell()

    def _tell(self) -> None:
        self._told_bytes, self._told_entries = self.bytes, self.entries
        os.write(self._out, b"%d\n" % self.bytes)
