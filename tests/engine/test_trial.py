import pytest

from trioker.engine.trial import try_out
from trioker.model.errors import LaunchFailed


async def test_a_command_that_is_not_there_is_all_that_may_be_wrong(house):
    house.runtime.processes = [LaunchFailed("exec", "stat /trial: no such file or directory", 127)]
    await try_out(house.runtime, house.layers)
    (run,) = house.runtime.runs
    assert run.config.command == ("/trial",)


async def test_any_other_failure_is_told(house):
    house.runtime.processes = [LaunchFailed("rootfs", "cannot be mounted", 128)]
    with pytest.raises(LaunchFailed, match="cannot be mounted"):
        await try_out(house.runtime, house.layers)


@pytest.mark.parametrize("stage", ["exec", "rootfs"])
async def test_it_leaves_no_layer(house, stage):
    house.runtime.processes = [LaunchFailed(stage, "so it is", 127)]
    try:
        await try_out(house.runtime, house.layers)
    except LaunchFailed:
        assert stage == "rootfs"
    assert house.layers.parents == {}
