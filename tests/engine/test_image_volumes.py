import os

import attrs
import pytest

from trioker.model.container import Config
from trioker.model.errors import InvalidParameter


@pytest.fixture
async def name(house):
    house.images.image = attrs.evolve(house.images.image, config=Config(command=("x",), volumes=("/data",)))
    return (await house.containers.create(Config(image="busybox", volumes=("/own",)))).id


def volume(house, name, path):
    return next(each.volume for each in house.containers.get(name).volumes if each.path == path)


async def test_a_volume_of_the_images_is_filled_at_the_first_start_and_a_users_own_is_empty(house, name):
    await house.containers.start(name)
    place = f"{house.files.volumes}/{volume(house, name, '/data')}"
    assert house.runtime.unpacked == {f"{place}.new": b"tar"}
    assert [each["directory"] for each in house.runtime.packed] == ["/data"]
    assert len(os.listdir(house.files.volumes)) == 2
    assert os.path.isdir(place)
    await house.containers.restart(name, 0)
    assert len(house.runtime.packed) == 1


async def test_a_volume_that_could_not_be_filled_is_tried_again(house, name):
    unpack = house.runtime.unpack

    async def fail(path, whiteouts, chunks):
        raise InvalidParameter("no room")

    house.runtime.unpack = fail
    with pytest.raises(InvalidParameter, match="no room"):
        await house.containers.start(name)
    assert not os.path.exists(f"{house.files.volumes}/{volume(house, name, '/data')}")
    house.runtime.unpack = unpack
    await house.containers.start(name)
    assert os.path.exists(f"{house.files.volumes}/{volume(house, name, '/data')}")


async def test_nothing_is_left_of_a_volume_half_filled_when_its_container_goes(house, name):
    async def fail(path, whiteouts, chunks):
        raise InvalidParameter("no room")

    house.runtime.unpack = fail
    with pytest.raises(InvalidParameter):
        await house.containers.start(name)
    assert os.listdir(house.files.volumes) != []
    await house.containers.remove(name, volumes=True)
    assert os.listdir(house.files.volumes) == []


async def test_the_stop_signal_is_the_images(house):
    house.images.image = attrs.evolve(house.images.image, config=Config(command=("x",), stop_signal="SIGQUIT"))
    name = (await house.containers.create(Config(image="busybox"))).id
    await house.containers.start(name)
    await house.containers.stop(name, 1)
    assert house.containers.get(name).state.exit_code == 128 + 3
