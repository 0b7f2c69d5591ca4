"""Giving up what a container's command shall not have: the last steps before its execve."""

import os
import resource
import signal
from collections.abc import Mapping, Sequence
from functools import lru_cache

from trioker.launcher.user import User
from trioker.linux import capabilities, seccomp, syscalls


def set_limits(wanted: Mapping[str, Sequence[int]]) -> list[str]:
    """Set the rlimits; one that is beyond what we may raise is cut to our own hard limit, and told in words. Raises ValueError for a bad name."""
    warnings = []
    for name, (soft, hard) in wanted.items():
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is None:
            raise ValueError(f"unknown limit {name!r}")
        try:
            resource.setrlimit(number, (soft, hard))
        except ValueError:  # what Python makes of EPERM here, and of a soft limit above the hard one
            most = resource.getrlimit(number)[1]
            resource.setrlimit(number, (lesser_limit(soft, most), lesser_limit(hard, most)))
            warnings.append(f"limit {name} cut to {most}: the daemon may not raise its own")
    return warnings


def lesser_limit(wanted: int, most: int) -> int:
    """The stricter of two rlimits, where RLIM_INFINITY is a number too and the least of them."""
    if most == resource.RLIM_INFINITY:
        return wanted
    return most if wanted == resource.RLIM_INFINITY else min(wanted, most)


@lru_cache(maxsize=16)
def seccomp_filter(granted: frozenset[str]) -> bytes:
    """The filter for a container with these capabilities. The zygote asks for the default once, so that no container waits for it."""
    return seccomp.assemble(seccomp.arch(), granted)


@lru_cache(maxsize=16)
def grantable(names: tuple[str, ...]) -> frozenset[str]:
    """Those capabilities that we have ourselves; asked of the kernel once, by the zygote."""
    return frozenset(names) & capabilities.current()


_bounded: frozenset[str] | None = None


def prepare(granted: frozenset[str]) -> None:
    """In the zygote: what most containers get is worked out here once. The bounding set takes nothing from us, as we execute no program."""
    global _bounded  # noqa: PLW0603  known to every process forked from here
    capabilities.limit_bounding(granted)
    _bounded = granted
    seccomp_filter(granted)


def begin_anew() -> None:
    """In a user namespace just entered: there the bounding set is full again (user_namespaces(7))."""
    global _bounded  # noqa: PLW0603
    _bounded = None


def become(user: User, granted: frozenset[str]) -> None:
    """Take on the user with exactly the capabilities ``granted``, none of them for a user other than root."""
    if granted != _bounded:
        capabilities.limit_bounding(granted)
    capabilities.keep(across_setuid=False)
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    capabilities.set_capabilities(granted if user.uid == 0 else ())


def close_doors(granted: frozenset[str], *, filtered: bool) -> None:
    """No new privileges, the system call filter, default signals, nothing open in the command but 0, 1 and 2."""
    os.umask(0o022)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and execve keeps that
        signal.signal(number, signal.SIG_DFL)
    syscalls.close_range(3, 2**32 - 1, syscalls.CLOSE_RANGE_CLOEXEC)
    seccomp.set_no_new_privs()
    if filtered:
        seccomp.install(seccomp_filter(granted))
