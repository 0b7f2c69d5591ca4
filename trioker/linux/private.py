"""Work in a mount namespace that is gone afterwards."""

import threading
from collections.abc import Callable
from typing import TypeVar

from trioker.linux import syscalls

T = TypeVar("T")


def in_private_mounts(work: Callable[[], T]) -> T:
    """Call ``work`` where its mounts are seen by nobody else and end with it; its working directory is its own too.

    A namespace belongs to a thread, not to a process, and dies with it: so a fresh thread, never one of a pool, and no fork, which a
    process with threads cannot do safely. What ``work`` raises is raised here. Raises OSError where namespaces are not allowed.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_FS)
            syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE, "")
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001  raised again below, in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="private-mounts")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
