import os

from trioker.linux.mounts import filesystem


def test_the_type_of_a_mounted_filesystem_is_told():
    assert filesystem("/proc/self/status") == "proc"


def test_of_what_is_mounted_nowhere_nothing_is_told():
    fd = os.memfd_create("file")
    assert filesystem(f"/proc/self/fd/{fd}") == ""
    os.close(fd)
