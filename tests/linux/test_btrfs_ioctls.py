"""Sizes and numbers as linux/btrfs.h has them: the size is part of an ioctl's number, so a wrong layout is another ioctl."""

import pytest

from trioker.linux import btrfs


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        (btrfs.VOLUME, 4096),
        (btrfs.SUBVOLUME_INFO, 504),
        (btrfs.SEARCH, 112),
        (btrfs.ITEM_HEADER, 32),
        (btrfs.QUOTA_CONTROL, 16),
        (btrfs.QGROUP_CREATE, 16),
        (btrfs.QGROUP_ASSIGN, 24),
        (btrfs.QGROUP_LIMIT, 48),
        (btrfs.QGROUP_STATUS_ITEM, 32),
        (btrfs.HANDLE, 28),
    ],
)
def test_a_structure_has_the_kernel_s_size(layout, size):
    assert layout.size == size


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("_SYNC", 0x9408),
        ("_SNAP_CREATE_V2", 0x50009417),
        ("_SUBVOL_CREATE_V2", 0x50009418),
        ("_SNAP_DESTROY_V2", 0x5000943F),
        ("_SUBVOL_GETFLAGS", 0x80089419),
        ("_SUBVOL_SETFLAGS", 0x4008941A),
        ("_GET_SUBVOL_INFO", 0x81F8943C),
        ("_TREE_SEARCH_V2", 0xC0709411),
        ("_QUOTA_CTL", 0xC0109428),
        ("_QGROUP_ASSIGN", 0x40189429),
        ("_QGROUP_CREATE", 0x4010942A),
        ("_QGROUP_LIMIT", 0x8030942B),
    ],
)
def test_an_ioctl_has_the_kernel_s_number(name, number):
    assert getattr(btrfs, name) == number


def test_a_quota_group_s_level_is_in_its_highest_sixteen_bits():
    assert btrfs.group(0, 256) == 256
    assert btrfs.group(1, 256) == 0x0001_0000_0000_0100


def test_another_filesystem_is_told_from_btrfs():
    with open("/proc/self/status") as file:
        assert not btrfs.is_btrfs(file.fileno())
