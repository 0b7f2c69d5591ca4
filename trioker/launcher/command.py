"""Finding and executing the container's command."""

import errno
import os
from collections.abc import Iterator, Sequence
from typing import NoReturn

from trioker.launcher.failure import Failed
from trioker.linux import syscalls

NOT_FOUND = 127
NOT_EXECUTABLE = 126
"""The shell's exit codes (POSIX, 2.8.2) for a command that is not there, and one that cannot be executed."""


def execute(argv: Sequence[str], env: Sequence[str]) -> NoReturn:
    """Become the command; a name without a slash is looked for in the PATH of ``env``. Raises Failed."""
    if not argv:
        raise Failed("exec", "no command specified", NOT_FOUND)
    if "/" in argv[0]:
        _become(argv[0], argv, env)
    denied = None
    for path in candidates(argv[0], env):
        try:
            _become(path, argv, env)
        except Failed as failed:
            if failed.exit_code != NOT_FOUND and denied is None:
                denied = failed
    raise denied or Failed("exec", f'executable file not found in $PATH: "{argv[0]}"', NOT_FOUND)


def candidates(name: str, env: Sequence[str]) -> Iterator[str]:
    """Where ``name`` may be, by the last PATH in ``env``; an empty entry is the working directory (POSIX, 8.3)."""
    if not name:
        return
    paths = [each.removeprefix("PATH=") for each in env if each.startswith("PATH=")]
    for directory in paths[-1].split(":") if paths and paths[-1] else ():
        yield os.path.join(directory or ".", name)


def _become(path: str, argv: Sequence[str], env: Sequence[str]) -> NoReturn:
    try:
        syscalls.execve(path, argv, env)
    except OSError as error:
        raise _refusal(path, error) from error
    raise AssertionError("execve returned")


def _refusal(path: str, error: OSError) -> Failed:
    reason = os.strerror(error.errno or 0).lower()
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return Failed("exec", f'exec "{path}": {reason}', NOT_EXECUTABLE)
    # The file may be there, and its interpreter or loader missing.
    word = "exec" if os.path.exists(path) else "stat"
    return Failed("exec", f"{word} {path}: {reason}", NOT_FOUND)
