"""The kernel, one function per fact: syscalls by ctypes, mounts, capabilities, cgroups, seccomp. Standard library only."""
