"""Sizes and numbers as linux/fs.h, linux/dqblk_xfs.h and linux/quota.h have them, and what a record says."""

import errno

import pytest

from trioker.linux import projects, syscalls


def test_the_structures_have_the_kernel_s_sizes():
    assert (
        projects.ATTRIBUTES.size
        == projects._GET_ATTRIBUTES >> 16 & 0x3FFF
        == projects._SET_ATTRIBUTES >> 16 & 0x3FFF
        == 28
    )
    assert projects.RECORD.size == 112


def test_the_commands_are_those_of_projects_with_the_kernel_s_numbers():
    assert (projects._GET_RECORD, projects._SET_LIMITS) == (0x580302, 0x580402)


def test_a_record_is_told_in_bytes(monkeypatch):
    def kernel(fd, command, number, record):
        assert (fd, command, number) == (3, 0x580302, 77)
        record[8:56] = b"".join(each.to_bytes(8, "little") for each in (20, 1, 30, 2, 4, 5))

    monkeypatch.setattr(syscalls, "quotactl_fd", kernel)
    assert projects.record(3, 77) == projects.Record(most_bytes=10240, most_inodes=30, bytes=2048, inodes=5)


def test_a_project_that_nobody_counts_has_no_record(monkeypatch):
    def kernel(*_):
        raise FileNotFoundError(errno.ENOENT, "no such record")

    monkeypatch.setattr(syscalls, "quotactl_fd", kernel)
    assert projects.record(3, 77) is None


@pytest.mark.parametrize(("size", "blocks"), [(0, 0), (1, 1), (512, 1), (513, 2), (2**62, 2**53)])
def test_a_limit_is_told_in_whole_blocks_and_is_never_none_by_rounding(monkeypatch, size, blocks):
    said = []
    monkeypatch.setattr(syscalls, "quotactl_fd", lambda *arguments: said.append(arguments))
    projects.limit(3, 77, size, 9)
    ((fd, command, number, record),) = said
    assert (fd, command, number) == (3, 0x580402, 77)
    fields = projects.RECORD.unpack(record)
    assert fields[:4] == (1, 2, 0b1010, 77)  # version, of a project, the two hard limits
    assert (fields[4], fields[6]) == (blocks, 9)
    assert not any(fields[5:6] + fields[7:10])


def test_a_filesystem_without_quotas_says_so():
    with open("/proc/self/status") as file, pytest.raises(OSError, match="quotactl_fd"):
        projects.record(file.fileno(), 1)
