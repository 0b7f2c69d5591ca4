"""The default system call filter (seccomp(2)), assembled from names.

An allow-list in the spirit of Docker's default profile:

- what is listed is allowed, some of it by an argument;
- what the kernel has and is not listed fails with EPERM;
- what is newer than our table fails with ENOSYS, so that libraries fall back as on an older kernel. For the same reason ``clone3``
  does: its flags are behind a pointer, out of the filter's sight, while ``clone`` can be checked.

A foreign architecture (32-bit x86 and ARM, x32) fails with ENOSYS whole. Docker allows those; but ``socketcall``, ``ipc`` and ``clone`` with
other arguments are second doors to what is closed here, so a 32-bit program does not run. An error and not a kill: a 64-bit program
that only asks (an emulator, a test of the kernel) goes on as on a kernel built without the compatibility layer.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Collection

from trioker.linux.syscall_table import numbers
from trioker.linux.syscalls import oserror, prctl

_ALLOWED = """
accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown clock_adjtime clock_getres clock_gettime
clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait
epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark
fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr
fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd
getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr getxattrat inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit ioprio_get ioprio_set kill
landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listmount listxattr listxattrat llistxattr
lremovexattr lseek lsetxattr lstat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
mlockall mmap modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd
msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2
pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6
ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr removexattrat
rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
sendfile sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority
setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack
signalfd signalfd4 socketpair splice stat statfs statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask
uname unlink unlinkat uprobe uretprobe utime utimensat utimes vfork vmsplice wait4 waitid write writev
"""
# ptrace and process_vm_*: since kernel 4.8 a traced call is filtered after the tracer changed it, and both ask for rights over the other process.
# uprobe and uretprobe: the kernel's own trampolines make them in traced programs; since 6.18 they pass every filter anyway.

_UNKNOWN = "clone3 file_getattr file_setattr"
"""Fail as on an older kernel, for callers have another way then: clone3 see above; the other two docker's profile does not know yet."""

_ALLOWED_WITH = {
    "BPF": "bpf",
    "DAC_READ_SEARCH": "open_by_handle_at",  # opens any file of the file system by number ("shocker")
    "PERFMON": "perf_event_open",
    "SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr"
    " mount mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount2"
    " unshare",
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYSLOG": "syslog",
    "SYS_MODULE": "delete_module finit_module init_module",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "SYS_RAWIO": "ioperm iopl",
    "SYS_TIME": "clock_settime settimeofday",
    "SYS_TTY_CONFIG": "vhangup",
}
"""Calls that a capability opens; without it they are denied even where the kernel would not ask for it."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NEW_NAMESPACE = (
    0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME needs clone3 or unshare
)
_PERSONALITIES = (
    0x0,
    0x0008,
    0x20000,
    0x20008,
    0xFFFFFFFF,
)  # Linux, 32 bit, UNAME26, both, and the question which one is set
_DENIED_FAMILIES = (3, 4, 5, 6, 11, 12, 19, 20, 23, 25, 34, 37, 38, 40)
"""Socket families (linux/socket.h) that docker's filter or its AppArmor profile denies. AX.25, IPX, AppleTalk, NET/ROM, ROSE, DECnet, Econet, ATM,
IrDA, WANPIPE, ISDN and CAIF are forgotten code, loaded as a module on demand. AF_ALG (38): a wide kernel interface few need. AF_VSOCK (40): no
network namespace keeps it apart from the host."""
_UNKNOWN_FAMILIES = 46  # and above: AF_MAX of kernel 6.18
_DENIED_REQUESTS = (0x40086602, 0x401C5820)
"""FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR (linux/fs.h): whoever owns a file may take it out of its project with either, and so out of the limit of
its container's disk. Both carry all flags at once behind a pointer, so none of them can be set; the answer is that of a filesystem without flags."""

# struct sock_filter and its codes (linux/filter.h, linux/bpf_common.h); offsets into struct seccomp_data.
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH = 0, 4
_ARGUMENT, _SECOND = 16, 24  # the lower halves: the calls we look into ignore the upper ones, so must we
_RESULTS = {"allow": 0x7FFF0000} | {
    name: 0x00050000 | getattr(errno, name) for name in ("EPERM", "ENOSYS", "EOPNOTSUPP")
}

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2

_libc = ctypes.CDLL(None, use_errno=True)


class _FilterProgram(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def arch() -> str:
    """This machine's architecture as ``assemble`` takes it: ``x86_64``, ``aarch64``, or one that has no filter."""
    return os.uname().machine


def policy(arch: str, capabilities: Collection[str]) -> dict[str, str]:
    """What the filter does with each call of the table: ``allow``, ``EPERM``, ``ENOSYS``, or ``argument`` where one of them decides."""
    listed = _ALLOWED.split()
    for capability in capabilities:
        listed += _ALLOWED_WITH.get(capability, "").split()
    decisions = dict.fromkeys(numbers(arch), "EPERM") | dict.fromkeys(_ARGUMENT_CHECKS, "argument")
    decisions |= dict.fromkeys(_UNKNOWN.split(), "ENOSYS")
    decisions |= {name: "allow" for name in listed if name in decisions}
    return decisions


def assemble(arch: str, capabilities: Collection[str]) -> bytes:
    """The filter for an architecture and a container's capabilities (names without ``CAP_``): an array of struct sock_filter.

    Takes about a millisecond: assemble once, install often. Raises KeyError for an architecture without a table.
    """
    program = _Program()
    ends = {name: program.add(_RETURN, result) for name, result in _RESULTS.items()}
    table = numbers(arch)
    decided = {}
    for name, decision in policy(arch, capabilities).items():
        decided[table[name]] = _ARGUMENT_CHECKS[name](program, ends) if decision == "argument" else ends[decision]
    _search(program, _ranges(decided, ends["ENOSYS"]))
    number = program.add(_LOAD, _NUMBER)
    program.jump(_IF_EQUAL, _AUDIT_ARCH[arch], number, ends["ENOSYS"])
    program.add(_LOAD, _ARCH)
    return program.assembled()


def allow_only(names: Collection[str]) -> None:
    """Have every call but these fail with EPERM from now on, in this thread and what it forks; see ``install``.

    Does nothing on an architecture without a table.
    """
    machine = arch()
    if machine in _AUDIT_ARCH:
        table = numbers(machine)
        install(_assemble_list(_AUDIT_ARCH[machine], [table[name] for name in names if name in table]))


def _assemble_list(audit_arch: int, allowed: Collection[int]) -> bytes:
    program = _Program()
    allow, deny = (program.add(_RETURN, _RESULTS[result]) for result in ("allow", "EPERM"))
    _search(program, _ranges(dict.fromkeys(allowed, allow), deny))
    number = program.add(_LOAD, _NUMBER)
    program.jump(_IF_EQUAL, audit_arch, number, deny)
    program.add(_LOAD, _ARCH)
    return program.assembled()


def set_no_new_privs() -> None:
    """Gain nothing by execve from now on, set-user-ID or file capabilities (PR_SET_NO_NEW_PRIVS); ``install`` needs it without SYS_ADMIN."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def install(program: bytes) -> None:
    """Filter every system call of this thread from now on, and of what it forks and executes. Filters add up and never go away.

    The same as seccomp(2) with SECCOMP_SET_MODE_FILTER, by the prctl, which libc has by name. Raises OSError: EACCES without
    ``set_no_new_privs`` and SYS_ADMIN, EINVAL for a broken program or a kernel without filters.
    """
    filters = _FilterProgram(len(program) // _INSTRUCTION.size, program)
    if _libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(filters)) < 0:
        raise oserror("prctl(PR_SET_SECCOMP)")


class _Program:
    """Instructions written from the last to the first: what a jump leads to is there already, and forward is the only way BPF jumps.

    An instruction is known by how many come behind it.
    """

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []

    def add(self, code: int, value: int, when_true: int = 0, when_false: int = 0) -> int:
        """Put an instruction in front; return how many come behind it."""
        self._code.append((code, when_true, when_false, value))
        return len(self._code) - 1

    def jump(self, code: int, value: int, when_true: int, when_false: int) -> int:
        """Put a conditional jump in front. OverflowError where a target is more than a byte's distance away."""
        here = len(self._code)
        distances = (here - when_true - 1, here - when_false - 1)
        if max(distances) > 0xFF:
            raise OverflowError(f"a jump over {max(distances)} instructions: the filter has grown too long")
        return self.add(code, value, *distances)

    def jump_if_one_of(self, values: Collection[int], when_true: int, when_false: int) -> int:
        """Put a jump for each value in front; what equals none of them goes on at ``when_false``."""
        for value in values:
            when_false = self.jump(_IF_EQUAL, value, when_true, when_false)
        return when_false

    def assembled(self) -> bytes:
        return b"".join(_INSTRUCTION.pack(*each) for each in reversed(self._code))


def _ranges(decided: dict[int, int], otherwise: int) -> list[tuple[int, int]]:
    """First number of each run of calls that lead to one place, with the place; the last run has no end."""
    ranges: list[tuple[int, int]] = []
    for number in range(max(decided) + 2):
        place = decided.get(number, otherwise)
        if not ranges or ranges[-1][1] != place:
            ranges.append((number, place))
    return ranges


def _search(program: _Program, ranges: list[tuple[int, int]]) -> int:
    """A balanced search for the run a number is in; x32's numbers have bit 30 set and end in the last one."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    above = _search(program, ranges[middle:])
    below = _search(program, ranges[:middle])
    return program.jump(_IF_AT_LEAST, ranges[middle][0], above, below)


def _check_clone(program: _Program, ends: dict[str, int]) -> int:
    program.jump(_IF_ANY_BIT, _NEW_NAMESPACE, ends["EPERM"], ends["allow"])
    return program.add(_LOAD, _ARGUMENT)


def _check_personality(program: _Program, ends: dict[str, int]) -> int:
    program.jump_if_one_of(_PERSONALITIES, ends["allow"], ends["EPERM"])
    return program.add(_LOAD, _ARGUMENT)


def _check_socket(program: _Program, ends: dict[str, int]) -> int:
    otherwise = program.jump_if_one_of(_DENIED_FAMILIES, ends["EPERM"], ends["allow"])
    program.jump(_IF_AT_LEAST, _UNKNOWN_FAMILIES, ends["EPERM"], otherwise)
    return program.add(_LOAD, _ARGUMENT)


def _check_ioctl(program: _Program, ends: dict[str, int]) -> int:
    program.jump_if_one_of(_DENIED_REQUESTS, ends["EOPNOTSUPP"], ends["allow"])
    return program.add(_LOAD, _SECOND)


_ARGUMENT_CHECKS: dict[str, Callable[[_Program, dict[str, int]], int]] = {
    "clone": _check_clone,
    "ioctl": _check_ioctl,
    "personality": _check_personality,
    "socket": _check_socket,
}
