import attrs
import pytest

from trioker.engine.configuration import Abilities
from trioker.engine.containers import Containers, Rooms
from trioker.engine.files import Files
from trioker.model.run import LogPolicy
from trioker.testing.fake_rooms import FakeImages, FakeLayers, FakeNetwork, FakeRecords, FakeRuntime


@attrs.frozen
class House:
    """An engine with fake rooms around it."""

    containers: Containers
    runtime: FakeRuntime
    layers: FakeLayers
    images: FakeImages
    records: FakeRecords
    files: Files
    network: FakeNetwork


def build_house(nursery, tmp_path, records=None, runtime=None, abilities=None):
    runtime, layers, images, records = runtime or FakeRuntime(), FakeLayers(), FakeImages(), records or FakeRecords()
    files = Files.below(tmp_path)
    rooms = Rooms(runtime, layers, images, records, network := FakeNetwork())
    engine = Containers(rooms, files, nursery, log_policy=LogPolicy(), abilities=abilities or Abilities())
    return House(engine, runtime, layers, images, records, files, network)


@pytest.fixture
async def house(nursery, tmp_path) -> House:
    return build_house(nursery, tmp_path)


@pytest.fixture
def build(nursery, tmp_path):
    return lambda **rooms: build_house(nursery, tmp_path, **rooms)
