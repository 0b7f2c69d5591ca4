"""An archive on its way in: decompressed and digested by a process of its own, and handed over in shared memory.

It stands between a stranger's bytes and the process that writes files: the libraries that undo compression, and their mistakes, get no
capability, no file and no system call but reading, writing and memory. And it has a processor to itself: the digest costs no time.

The memory is a ring of slots, filled and emptied in turn. For each slot that is full four bytes go through one pipe, its length; for each that
is empty again a byte goes back through the other. A length of zero ends the archive; the outcome follows as JSON.
"""

import json
import mmap
import os
import signal
from contextlib import suppress
from typing import NoReturn

from trioker.launcher import confine, process
from trioker.launcher.decompress import BLOCK, open_source
from trioker.launcher.failure import describe
from trioker.launcher.tar_header import BadArchive
from trioker.launcher.wire import MAX_TEXT, Message
from trioker.linux import seccomp, syscalls

_SLOTS = 8  # so many that neither waits for the other's hiccups
_CALLS = (
    "brk close exit exit_group futex lseek madvise mmap mprotect mremap munmap read readv rt_sigreturn write writev"
)


class Intake:
    """The archive that arrives on a descriptor."""

    def __init__(self, fd: int, root: str) -> None:
        """Start the process. ``root`` is a directory for it to be shut in; it cannot open anything there. ``fd`` is its alone from now on."""
        self._memory = mmap.mmap(-1, _SLOTS * BLOCK)
        filled, theirs = os.pipe()
        empty, ours = os.pipe()
        if os.fork() == 0:
            _be_the_process(fd, root, self._memory, theirs, empty)
        for each in (fd, theirs, empty):
            os.close(each)
        self._filled, self._empty = filled, ours
        self._taken = 0
        self._outcome: Message = {}

    def read(self) -> memoryview | bytes:
        """The next bytes, until the next call; none at the end. Raises BadArchive for damage, OSError."""
        if self._outcome:
            return b""
        if self._taken:
            with suppress(BrokenPipeError):  # it has given everything
                os.write(self._empty, b"\0")
        length = int.from_bytes(os.read(self._filled, 4), "little")
        if not length:
            self._outcome = self._end()
            return b""
        slot = self._taken % _SLOTS * BLOCK
        self._taken += 1
        return memoryview(self._memory)[slot : slot + length]

    @property
    def diff(self) -> str:
        """``sha256:...`` of all that was read, when ``read`` has come to the end."""
        return str(self._outcome["diff"])

    def _end(self) -> Message:
        text = b"".join(iter(lambda: os.read(self._filled, MAX_TEXT), b""))
        outcome: Message = json.loads(text) if text else {"message": "the process that decompresses was killed"}
        if "message" in outcome:
            raise (BadArchive if outcome.get("archive") else OSError)(outcome["message"])
        return outcome


def _be_the_process(fd: int, root: str, memory: mmap.mmap, filled: int, empty: int) -> NoReturn:
    outcome: Message = {}
    try:
        outcome = {"diff": _take_in(fd, root, memory, filled, empty)}
    except BadArchive as error:
        outcome = {"message": str(error), "archive": True}
    except MemoryError:
        outcome = {"message": f"decompressing takes more than {confine.MEMORY >> 20} MiB of memory"}
    except OSError as error:
        outcome = {"message": describe(error)}
    except BaseException as error:  # noqa: BLE001  a bug of ours; see run_helper
        outcome = {"message": f"{type(error).__name__}: {error}"}
    finally:
        with suppress(OSError):  # nobody is interested any more
            _write_all(filled, bytes(4) + json.dumps(outcome).encode())
        os._exit(0)


def _take_in(fd: int, root: str, memory: mmap.mmap, filled: int, empty: int) -> str:
    from hashlib import sha256  # noqa: PLC0415  OpenSSL, and so large: see decompress._decoder

    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    fill = open_source(fd)  # before the root changes: it may have to load a library
    process.close_all_but({fd, filled, empty})
    confine.confine(root, ())
    seccomp.allow_only(_CALLS.split())
    digest = sha256()
    slots = [memoryview(memory)[start : start + BLOCK] for start in range(0, _SLOTS * BLOCK, BLOCK)]
    free = _SLOTS
    count = 0
    while True:
        if not free:
            free = len(os.read(empty, _SLOTS))
            if not free:
                return ""  # the reader has gone
        slot = slots[count % _SLOTS]
        length = 0
        while length < BLOCK and (more := fill(slot[length:])):
            length += more
        if not length:
            return f"sha256:{digest.hexdigest()}"
        os.write(filled, length.to_bytes(4, "little"))
        digest.update(slot[:length])
        free -= 1
        count += 1


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
