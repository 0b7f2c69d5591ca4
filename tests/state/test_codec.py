import enum
import itertools

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trioker.model.container import Config, Container, Phase, State, VolumeMount
from trioker.model.image import Image
from trioker.state.codec import Unreadable, decode, encode

UNDECODABLE = b"caf\xe9 \xff".decode("utf-8", "surrogateescape")


class Level(enum.IntEnum):
    LOW = 1


@attrs.frozen
class Inner:
    name: str


@attrs.frozen
class Sample:
    name: str
    level: Level = Level.LOW
    inner: Inner | None = None


def container() -> Container:
    return Container(
        id="a" * 64,
        created_ns=1_371_900_000_123_456_789,
        config=Config(env=("A=1", f"B={UNDECODABLE}"), command=("sh", "-c", UNDECODABLE), tty=True, memory_swap=-1),
        image_id="b" * 64,
        state=State(Phase.EXITED, exit_code=137, oom_killed=True, error="no \N{PILE OF POO}"),
        volumes=(VolumeMount("/data", "c" * 64),),
    )


def test_a_container_comes_back_equal_with_undecodable_bytes_in_its_strings():
    assert decode(Container, encode(container())) == container()


def test_the_text_is_ascii_on_one_line():
    text = encode(container())
    assert text.isascii()
    assert "\n" not in text


@pytest.mark.parametrize("config", [None, Config(), Config(volumes=("/a", "/b"))])
def test_a_value_that_may_be_none_comes_back_as_it_was(config):
    image = Image("a" * 64, 5, config=config)
    assert decode(Image, encode(image)) == image


def test_classes_may_contain_others_and_integer_enums():
    sample = Sample("out", inner=Inner("in"))
    assert decode(Sample, encode(sample)) == sample


def test_a_missing_field_takes_its_default_and_an_unknown_one_is_ignored():
    assert decode(Sample, '{"name": "x", "from_the_future": [1]}') == Sample("x")


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Sample, "{", "not JSON"),
        (Sample, "[]", "expected a Sample, found []"),
        (Sample, "{}", "name: missing"),
        (Sample, '{"name": 1}', "name: expected str, found 1"),
        (Sample, '{"name": "x", "level": 9}', "level: 9 is not a valid Level"),
        (Sample, '{"name": "x", "inner": {"name": null}}', "inner.name: expected str, found None"),
        (State, '{"pid": true}', "pid: expected int, found True"),
        (State, '{"oom_killed": 1}', "oom_killed: expected bool, found 1"),
        (State, '{"phase": []}', "phase: [] is not a valid Phase"),
        (Config, '{"env": "A=1"}', "env: expected a list, found 'A=1'"),
        (Config, '{"env": ["A=1", 2]}', "env: expected str, found 2"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_text_leads_there(kind, text, message):
    with pytest.raises(Unreadable) as caught:
        decode(kind, text)
    assert str(caught.value).startswith(message)


def test_a_class_with_a_field_the_codec_cannot_hold_is_our_mistake_and_a_type_error():
    @attrs.frozen
    class Odd:
        value: float = 1.0

    with pytest.raises(TypeError, match="float"):
        decode(Odd, "{}")


texts = st.text(st.characters(exclude_categories=()), max_size=8).filter(lambda text: not has_split_pair(text))


def has_split_pair(text: str) -> bool:
    """A high surrogate followed by a low one: JSON has no way to keep the two apart. os.fsdecode never makes a high one."""
    return any("\ud800" <= a <= "\udbff" and "\udc00" <= b <= "\udfff" for a, b in itertools.pairwise(text))


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])  # no timing
@given(
    st.builds(
        Config, hostname=texts, env=st.lists(texts, max_size=3).map(tuple), memory=st.integers(), tty=st.booleans()
    )
)
def test_every_configuration_comes_back_equal(config):
    assert decode(Config, encode(config)) == config
