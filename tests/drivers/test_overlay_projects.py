"""Which numbers layers get and when they are given back, on a filesystem of the tests' own."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from trioker.linux.projects import Membership, Record
from trioker_overlay import quotas
from trioker_overlay.driver import Overlay
from trioker_overlay.quotas import NUMBERS, Projects

MIB = 2**20
SIZE = 64 * MIB
ROOT = "/"


class Filesystem:
    """What the kernel keeps: a number for each directory, and records."""

    def __init__(self) -> None:
        self.members: dict[int, int] = {}
        self.limits: dict[int, tuple[int, int]] = {}
        self.used: dict[int, int] = {}
        self.leaving: set[int] = set()
        self.rivals: list[int] = []
        self.error = 0

    def membership(self, fd):
        return Membership(self.members.get(os.fstat(fd).st_ino, 0), inherited=False)

    def join(self, fd, project):
        self.members[os.fstat(fd).st_ino] = project
        if project and project in self.rivals:
            self.leaving.add(project)

    def record(self, fd, project):
        if self.error:
            raise OSError(self.error, "record")
        inodes = list(self.members.values()).count(project) + (project in self.leaving)
        limits = self.limits.get(project, (0, 0))
        used = self.used.get(project, 0)
        return Record(*limits, used, inodes) if inodes or used or any(limits) else None

    def limit(self, fd, project, size, inodes):
        if self.error:
            raise OSError(self.error, "limit")
        self.limits[project] = (size, inodes)


@pytest.fixture
def filesystem(monkeypatch):
    filesystem = Filesystem()
    for name in ("membership", "join", "record", "limit"):
        monkeypatch.setattr(quotas.projects, name, getattr(filesystem, name))
    return filesystem


@pytest.fixture
def layer(tmp_path, filesystem):
    """Makes a layer's directory."""

    def make(name):
        (tmp_path / name).mkdir()
        return str(tmp_path / name)

    return make


def number(filesystem, home):
    return filesystem.members.get(os.stat(home).st_ino, 0)


def test_each_layer_gets_the_first_number_that_nobody_uses(filesystem, layer):
    filesystem.used[NUMBERS[1]] = 4096
    projects, homes = Projects(ROOT, SIZE), [layer(each) for each in "abc"]
    for home in homes:
        projects.give(home)
    assert [number(filesystem, each) for each in homes] == [NUMBERS[0], NUMBERS[2], NUMBERS[3]]


def test_what_is_unpacked_into_has_no_limit_until_it_is_mounted_writable_again(filesystem, tmp_path):
    driver, key = Overlay(tmp_path, size=SIZE), "a" * 64
    driver.create(key, None)
    found = []
    for call in (partial(driver.mounts, readonly=False), driver.unpack_target, partial(driver.mounts, readonly=False)):
        call(key)
        found.append(filesystem.limits[NUMBERS[0]][0])
    assert found == [SIZE, 0, SIZE]


def test_after_a_restart_the_filesystem_tells_which_are_taken(filesystem, layer):
    old, new = layer("old"), layer("new")
    Projects(ROOT, SIZE).give(old)
    Projects(ROOT, SIZE).give(new)
    assert (number(filesystem, old), number(filesystem, new)) == (NUMBERS[0], NUMBERS[1])


def test_a_number_comes_back_when_the_last_file_has_gone(filesystem, layer):
    projects, homes = Projects(ROOT, SIZE), [layer(each) for each in "abc"]
    projects.give(homes[0])
    projects.release(homes[0])
    projects.give(homes[1])
    assert number(filesystem, homes[1]) == NUMBERS[1]
    filesystem.members.pop(os.stat(homes[0]).st_ino)
    projects.give(homes[2])
    assert number(filesystem, homes[2]) == NUMBERS[0]


def test_a_number_that_another_process_takes_at_the_same_moment_is_left_to_it(filesystem, layer):
    filesystem.rivals = [NUMBERS[0]]
    home = layer("home")
    Projects(ROOT, SIZE).give(home)
    assert number(filesystem, home) == NUMBERS[1]


def test_a_layer_that_gets_no_number_is_in_nobody_s_project(filesystem, layer, monkeypatch):
    monkeypatch.setattr(quotas, "NUMBERS", NUMBERS[:1])
    filesystem.rivals = [NUMBERS[0]]
    home = layer("home")
    with pytest.raises(OSError, match="each number"):
        Projects(ROOT, SIZE).give(home)
    assert number(filesystem, home) == 0


def test_threads_get_different_numbers(filesystem, layer):
    projects, homes = Projects(ROOT, SIZE), [layer(str(each)) for each in range(50)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(projects.give, homes))
    assert sorted(number(filesystem, each) for each in homes) == list(NUMBERS[:50])


def test_when_all_numbers_are_taken_it_is_an_error_that_says_so(filesystem, layer, monkeypatch):
    monkeypatch.setattr(quotas, "NUMBERS", NUMBERS[:2])
    projects = Projects(ROOT, SIZE)
    for name in "ab":
        projects.give(layer(name))
    home = layer("c")
    with pytest.raises(OSError, match="each number from 1953628160 to 1953628161") as caught:
        projects.give(home)
    assert caught.value.errno == errno.ENOSPC
    assert number(filesystem, home) == 0


def test_a_limit_is_of_bytes_and_of_the_inodes_that_would_take_as_many(filesystem, layer):
    home = layer("home")
    projects = Projects(ROOT, SIZE)
    projects.give(home)
    assert filesystem.limits == {}
    projects.limit(home)
    assert filesystem.limits == {NUMBERS[0]: (SIZE, SIZE // 512)}


@pytest.mark.parametrize(("used", "size"), [(SIZE - MIB, SIZE), (SIZE - MIB + 512, SIZE + MIB), (2 * SIZE, SIZE + MIB)])
def test_a_full_layer_has_room_for_the_mount_once(filesystem, layer, used, size):
    home = layer("home")
    projects = Projects(ROOT, SIZE)
    projects.give(home)
    filesystem.used[NUMBERS[0]] = used
    projects.limit(home)
    assert filesystem.limits[NUMBERS[0]][0] == size


def test_without_a_size_a_layer_is_no_project_and_a_limited_one_stays_limited(filesystem, layer):
    old, new = layer("old"), layer("new")
    limited, free = Projects(ROOT, SIZE), Projects(ROOT, 0)
    limited.give(old)
    limited.limit(old)
    free.give(new)
    free.limit(new)
    free.limit(old)
    assert number(filesystem, new) == 0
    assert filesystem.limits == {NUMBERS[0]: (SIZE, SIZE // 512)}


def test_a_layer_made_without_a_size_is_not_limited_later(filesystem, layer):
    home = layer("home")
    Projects(ROOT, SIZE).limit(home)
    assert filesystem.limits == {}


@pytest.mark.parametrize("size", [0, SIZE])
def test_releasing_takes_the_limit_away(filesystem, layer, size):
    home = layer("home")
    projects = Projects(ROOT, SIZE)
    projects.give(home)
    projects.limit(home)
    Projects(ROOT, size).release(home)
    assert filesystem.limits == {NUMBERS[0]: (0, 0)}


def test_somebody_else_s_project_keeps_its_limit(filesystem, layer):
    home = layer("home")
    filesystem.members[os.stat(home).st_ino] = 42
    filesystem.limits[42] = (1, 1)
    Projects(ROOT, 0).release(home)
    assert filesystem.limits == {42: (1, 1)}


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ESRCH])
def test_where_nothing_is_counted_any_more_a_layer_can_be_released(filesystem, layer, error):
    home = layer("home")
    projects = Projects(ROOT, SIZE)
    projects.give(home)
    filesystem.error = error
    projects.release(home)


def test_where_nothing_is_counted_layers_are_not_looked_at(filesystem, layer):
    filesystem.error = errno.ENOSYS
    projects = Projects(ROOT, 0)
    filesystem.error = errno.EIO
    projects.release(layer("home"))


def test_a_layer_that_is_not_there_has_nothing_to_release(filesystem, tmp_path):
    Projects(ROOT, SIZE).release(str(tmp_path / "nowhere"))


def test_what_was_on_its_way_out_is_released_by_the_next_process(filesystem, layer, tmp_path):
    home = layer("removing-home")
    projects = Projects(ROOT, SIZE)
    projects.give(home)
    projects.limit(home)
    Projects(ROOT, 0).sweep(str(tmp_path))
    assert filesystem.limits == {NUMBERS[0]: (0, 0)}
