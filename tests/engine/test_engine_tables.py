import attrs
import pytest

from trioker.engine.configuration import Abilities, complete, merge
from trioker.engine.lifecycle import MOVES, Step, WrongMoveError, move
from trioker.engine.names import IdIndex
from trioker.model.container import Config, Phase
from trioker.model.errors import NotFound, TriokerError


def test_an_id_is_found_by_any_unique_prefix():
    index = IdIndex()
    for each in ("abc1", "abd2", "ff00"):
        index.add(each)
    assert index.find("abc") == "abc1"
    assert index.find("f") == "ff00"
    assert index.find("abd2") == "abd2"
    for bad in ("ab", "", "x", "abd23"):
        with pytest.raises(NotFound, match=f"No such container: {bad}"):
            index.find(bad)
    index.discard("abc1")
    assert index.find("ab") == "abd2"


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("step", Step)
def test_every_step_is_either_in_the_table_or_a_typed_error(phase, step):
    if (phase, step) in MOVES:
        assert move(phase, step) is MOVES[phase, step]
    else:
        with pytest.raises(WrongMoveError, match=step.value):
            move(phase, step)


def test_the_users_configuration_wins_and_lists_are_taken_whole():
    image = Config(user="www", env=("A=1", "B=2"), command=("serve",), memory=2**30, tty=True, volumes=("/x",))
    merged = merge(Config(env=("C=3",), image="i"), image)
    assert merged == Config(user="www", env=("C=3",), command=("serve",), memory=2**30, tty=True, image="i")
    assert merge(Config(image="i"), None) == Config(image="i")


def test_no_command_is_refused_and_missing_abilities_are_warned_of():
    with pytest.raises(TriokerError, match="No command specified"):
        complete(Config(), "a" * 64, Abilities())
    wanted = Config(command=("x",), memory=2**30)
    config, warnings = complete(wanted, "a" * 64, Abilities(swap_limit=False))
    assert config.memory_swap == -1
    assert "swap" in warnings[0]
    config, warnings = complete(wanted, "a" * 64, Abilities(memory_limit=False))
    assert config == attrs.evolve(wanted, memory=0, hostname="a" * 12)
    assert "memory limit" in warnings[0]
