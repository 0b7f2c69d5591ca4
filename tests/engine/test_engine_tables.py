import signal

import attrs
import pytest

from trioker.engine.configuration import Abilities, complete, merge
from trioker.engine.lifecycle import MOVES, Step, WrongMoveError, move
from trioker.engine.names import IdIndex
from trioker.model.container import Config, Label, Phase
from trioker.model.errors import InvalidParameter, NotFound, TriokerError
from trioker.model.signals import signal_number


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
    taken = Config(user="www", env=("C=3",), command=("serve",), memory=2**30, tty=True, volumes=("/x",), image="i")
    assert merged == taken
    assert merge(Config(image="i"), None) == Config(image="i")


def test_volumes_ports_and_labels_are_collected_and_a_label_of_the_users_wins():
    image = Config(volumes=("/a", "/b"), exposed_ports=("80/tcp",), labels=(Label("a", "1"), Label("b", "2")))
    wanted = Config(volumes=("/b", "/c"), exposed_ports=("90/udp",), labels=(Label("b", "3"),))
    merged = merge(wanted, image)
    assert merged.volumes == ("/b", "/c", "/a")
    assert merged.exposed_ports == ("90/udp", "80/tcp")
    assert merged.labels == (Label("a", "1"), Label("b", "3"))


def test_an_entrypoint_of_the_users_does_not_get_the_images_arguments():
    image = Config(entrypoint=("serve",), command=("--all",), working_dir="/srv", stop_signal="QUIT")
    merged = merge(Config(), image)
    assert (merged.entrypoint, merged.command, merged.working_dir) == (("serve",), ("--all",), "/srv")
    assert merge(Config(command=("--one",)), image).entrypoint == ("serve",)
    own = merge(Config(entrypoint=("sh",)), image)
    assert (own.entrypoint, own.command, own.stop_signal) == (("sh",), (), "QUIT")
    assert merge(Config(entrypoint=("",), command=("ls",)), image).entrypoint == ()


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 15), ("SIGQUIT", 3), ("quit", 3), ("9", 9), ("SIGRTMIN+3", signal.SIGRTMIN + 3), ("RTMAX", signal.SIGRTMAX)],
)
def test_a_stop_signal_is_a_name_or_a_number(text, number):
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["SIGNOTHING", "0", "65", "-1", "9" * 5000, "QUIT+1", "RTMIN+", "RTMIN+99", "²"])
def test_what_is_no_signal_is_refused(text):
    with pytest.raises(InvalidParameter, match="Invalid signal"):
        signal_number(text)


def test_no_command_is_refused_and_missing_abilities_are_warned_of():
    with pytest.raises(TriokerError, match="No command specified"):
        complete(Config(), "a" * 64, Abilities())
    assert complete(Config(entrypoint=("x",)), "a" * 64, Abilities())[1] == ()
    with pytest.raises(InvalidParameter):
        complete(Config(command=("x",), stop_signal="SIGNOTHING"), "a" * 64, Abilities())
    wanted = Config(command=("x",), memory=2**30)
    config, warnings = complete(wanted, "a" * 64, Abilities(swap_limit=False))
    assert config.memory_swap == -1
    assert "swap" in warnings[0]
    config, warnings = complete(wanted, "a" * 64, Abilities(memory_limit=False))
    assert config == attrs.evolve(wanted, memory=0, hostname="a" * 12)
    assert "memory limit" in warnings[0]
