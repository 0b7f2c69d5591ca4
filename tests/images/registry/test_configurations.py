import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.images.registry.configurations import HISTORY, HistoryEntry, Step, encode_config, parse_config
from trioker.images.registry.documents import BadDocument
from trioker.images.registry.lineage import chain_ids, lineage_from
from trioker.images.registry.platforms import Platform
from trioker.images.registry.times import parse_time, show_time
from trioker.model.container import Config, Healthcheck, Label
from trioker.model.errors import TriokerError
from trioker.model.image import Image

DIFFS = tuple(f"sha256:{number:064x}" for number in range(1, 4))
DIGEST = f"sha256:{'f' * 64}"
SECOND = 10**9

INNER = {
    "User": "web",
    "Env": ["PATH=/bin", "A=b=c", "ALONE"],
    "Entrypoint": ["/entry"],
    "Cmd": ["serve", "--all"],
    "WorkingDir": "/srv",
    "Volumes": {"/data": {}},
    "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Labels": {"a": "1", "": "x"},
    "StopSignal": "SIGQUIT",
    "Healthcheck": {"Test": ["CMD", "check"], "Interval": 5, "Timeout": 6, "StartPeriod": 7, "Retries": 8},
    "OnBuild": ["RUN x"],
    "Shell": ["/bin/bash", "-c"],
}
DOCUMENT = {
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "created": "2001-09-09T01:46:40.000000005Z",
    "author": "Ann",
    "docker_version": "20.10",
    "config": INNER,
    "rootfs": {"type": "layers", "diff_ids": list(DIFFS)},
    "history": [
        {"created": "2001-01-01T00:00:00Z", "created_by": "ADD one"},
        {"created": "2001-01-02T00:00:00Z", "created_by": "ENV A=b", "empty_layer": True},
        {"created": "2001-01-03T00:00:00Z", "created_by": "RUN two", "author": "Bob", "comment": "c"},
        {"created": "2001-01-04T00:00:00Z", "created_by": "COPY three"},
        {"created": "2001-01-05T00:00:00Z", "created_by": "CMD serve", "empty_layer": True},
    ],
}


def parse(document, layers=3):
    return parse_config(json.dumps(document).encode(), "app:1", layers)


def test_a_configuration_is_read_whole():
    parsed = parse(DOCUMENT)
    assert parsed.config == Config(
        user="web",
        env=("PATH=/bin", "A=b=c", "ALONE"),
        entrypoint=("/entry",),
        command=("serve", "--all"),
        working_dir="/srv",
        volumes=("/data",),
        exposed_ports=("80/tcp", "53/udp"),
        labels=(Label("a", "1"), Label("", "x")),
        stop_signal="SIGQUIT",
        healthcheck=Healthcheck(("CMD", "check"), 5, 6, 7, 8),
        on_build=("RUN x",),
        shell=("/bin/bash", "-c"),
    )
    assert parsed.platform == Platform("linux", "arm64", "v8")
    assert (parsed.created_ns, parsed.author, parsed.docker_version, parsed.diff_ids) == (
        10**18 + 5,
        "Ann",
        "20.10",
        DIFFS,
    )
    assert parsed.history[2] == HistoryEntry(parse_time("2001-01-03T00:00:00Z"), "RUN two", "Bob", "c")
    assert [entry.empty_layer for entry in parsed.history] == [False, True, False, False, True]


def test_an_image_cannot_set_what_the_engine_grants():
    grants = {
        "Hostname": "evil",
        "Domainname": "evil",
        "Memory": 1,
        "MemorySwap": 1,
        "CpuShares": 1,
        "Dns": ["6.6.6.6"],
        "VolumesFrom": "other",
        "PortSpecs": ["22:22"],
        "Tty": True,
        "OpenStdin": True,
        "AttachStdin": True,
        "Image": "x",
        "Privileged": True,
        "Binds": ["/:/host"],
        "HostConfig": {"Binds": ["/:/host"]},
    }
    assert parse({**DOCUMENT, "config": {**INNER, **grants}}).config == parse(DOCUMENT).config


def test_a_bare_configuration_is_enough():
    parsed = parse({"rootfs": {"type": "layers", "diff_ids": []}, "config": None, "history": None}, 0)
    assert parsed.config == Config()


def test_a_command_of_2013_may_be_one_string():
    assert parse({**DOCUMENT, "config": {"Cmd": "run me"}}).config.command == ("/bin/sh", "-c", "run me")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"os": "windows"}, "app:1 is an image for windows/arm64/v8, which does not run on linux"),
        ({"os": "a\n\x1bb"}, "app:1 is an image for a  b/arm64/v8, which does not run on linux"),
        ({"os": 7}, "os: expected a string, got 7"),
        ({"rootfs": None}, 'rootfs: type: expected "layers", got null'),
        ({"rootfs": {"type": "layers"}}, "0 diff_ids, but its manifest has 3 layers"),
        ({"rootfs": {"type": "layers", "diff_ids": ["sha256:x"] * 3}}, "diff_ids: bad digest"),
        ({"rootfs": {"type": "layers", "diff_ids": list(DIFFS) * 500}}, "diff_ids: 1500 entries"),
        ({"created": "yesterday"}, "created: expected a time"),
        ({"created": "2001-13-01T00:00:00Z"}, "created: expected"),
        ({"history": [{}] * (HISTORY + 1)}, "history: 8193 entries"),
        ({"history": [{"empty_layer": 1}]}, r"history\[0\]: empty_layer: expected true or false, got 1"),
        ({"config": []}, "config: expected an object"),
        ({"config": {"Env": ["=x"]}}, "Env: expected NAME=value"),
        ({"config": {"Env": ["A=\0"]}}, "Env: a NUL"),
        ({"config": {"Env": "A=b"}}, "Env: expected a list of strings"),
        ({"config": {"User": "root\nx"}}, "User: expected one line"),
        ({"config": {"WorkingDir": "/a\nb"}}, "WorkingDir: expected a path"),
        ({"config": {"Volumes": {"/../etc": {}}}}, "Volumes: expected an absolute path"),
        ({"config": {"Volumes": {"/": {}}}}, "Volumes: expected an absolute path"),
        ({"config": {"Volumes": ["/a"]}}, "Volumes: expected an object"),
        ({"config": {"Labels": {"a": 1}}}, "Labels: a: expected a string"),
        ({"config": {"Labels": {"a\0": "b"}}}, "Labels: a NUL"),
        ({"config": {"Cmd": "\ud800"}}, "Cmd: a NUL or half a surrogate"),
        ({"config": {"Healthcheck": {"Interval": -1}}}, "Interval: expected an integer from 0"),
    ],
)
def test_what_is_wrong_is_named(changes, text):
    with pytest.raises(BadDocument, match=text) as caught:
        parse({**DOCUMENT, **changes})
    assert str(caught.value).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()) | st.sampled_from(DIFFS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*DOCUMENT, *(f"config.{name}" for name in INNER)]), JSON)
def test_a_mutated_configuration_raises_nothing_but_our_errors(place, value):
    outer, _, inner = place.partition(".")
    complaint = ""
    try:
        lineage_from(parse({**DOCUMENT, outer: {**INNER, inner: value} if inner else value}), DIGEST)
    except TriokerError as error:
        complaint = str(error)
    assert complaint.isprintable()


def test_each_layer_is_an_image_and_steps_without_one_belong_to_the_next():
    one, two, top = lineage_from(parse(DOCUMENT), DIGEST, "sha256:m")
    assert [step.diff for step in (one, two, top)] == list(DIFFS)
    assert [step.image.parent for step in (one, two, top)] == ["", one.image.id, two.image.id]
    assert [step.image.container_config.command for step in (one, two, top)] == [
        ("ADD one",),
        ("RUN two",),
        ("COPY three",),
    ]
    assert (two.image.author, two.image.comment, two.image.config, two.image.manifest) == ("Bob", "c", None, "")
    assert top.image.id == "f" * 64
    assert (top.image.created_ns, top.image.author, top.image.architecture) == (10**18 + 5, "Ann", "aarch64")
    assert (top.image.config, top.image.manifest) == (parse(DOCUMENT).config, "sha256:m")


def test_images_share_lower_layers_of_equal_history_only():
    other = {**DOCUMENT, "author": "Eve", "created": "2002-01-01T00:00:00Z"}
    changed = json.loads(json.dumps(DOCUMENT).replace("ADD one", "ADD 1"))
    ids = [[step.image.id for step in lineage_from(parse(each), DIGEST)][:2] for each in (DOCUMENT, other, changed)]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


@pytest.mark.parametrize(("told", "instead"), [("Bob", "Eve"), ('"c"', '"mine"'), ("arm64", "amd64")])
def test_no_image_can_be_told_anew_under_its_id(told, instead):
    changed = json.loads(json.dumps(DOCUMENT).replace(told, instead))
    one, two = (lineage_from(parse(each), DIGEST)[1].image for each in (DOCUMENT, changed))
    assert one.id != two.id


@pytest.mark.parametrize("history", [None, [], DOCUMENT["history"][:1], DOCUMENT["history"] + DOCUMENT["history"][:1]])
def test_a_history_that_does_not_fit_the_layers_tells_nothing(history):
    steps = lineage_from(parse({**DOCUMENT, "history": history}), DIGEST)
    assert [step.diff for step in steps] == list(DIFFS)
    assert {step.image.container_config for step in steps} == {Config()}
    assert len({step.image.id for step in steps}) == 3


def test_an_image_without_layers_is_one_image():
    parsed = parse({**DOCUMENT, "rootfs": {"type": "layers", "diff_ids": []}}, 0)
    (step,) = lineage_from(parsed, DIGEST)
    assert (step.diff, step.image.id, step.image.parent) == ("", "f" * 64, "")


def steps_here():
    return [
        Step(Image("1" * 64, SECOND, container_config=Config(command=("/bin/sh", "-c", "make"))), DIFFS[0]),
        Step(
            Image("2" * 64, 2 * SECOND, parent="1" * 64, comment="c", container_config=Config(command=("ENV", "A=b")))
        ),
        Step(
            Image(
                "3" * 64,
                3 * SECOND,
                parent="2" * 64,
                author="Ann",
                config=parse(DOCUMENT).config,
                architecture="x86_64",
                docker_version="t",
            ),
            DIFFS[1],
        ),
    ]


def test_a_configuration_made_here_is_read_back():
    raw = encode_config(steps_here())
    assert raw == encode_config(steps_here())
    parsed = parse_config(raw, "app", 2)
    assert attrs.evolve(parsed.config, labels=(), exposed_ports=()) == attrs.evolve(
        parse(DOCUMENT).config, labels=(), exposed_ports=()
    )
    assert set(parsed.config.labels) == {Label("a", "1"), Label("", "x")}
    assert (parsed.created_ns, parsed.author, parsed.docker_version, parsed.platform.architecture) == (
        3 * SECOND,
        "Ann",
        "t",
        "amd64",
    )
    assert [(entry.created_by, entry.empty_layer) for entry in parsed.history] == [
        ("/bin/sh -c make", False),
        ("ENV A=b", True),
        ("", False),
    ]
    assert parsed.diff_ids == DIFFS[:2]


def test_what_the_engine_grants_is_not_written():
    config = Config(
        hostname="h",
        memory=5,
        cpu_shares=5,
        dns=("1.1.1.1",),
        tty=True,
        image="i",
        volumes_from="v",
        port_specs=("8080:80", "22"),
    )
    step = Step(Image("1" * 64, 0, config=config), DIFFS[0])
    assert json.loads(encode_config([step]))["config"] == {"ExposedPorts": {"80/tcp": {}, "22/tcp": {}}}


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00Z", 0),
        ("2001-09-09T01:46:40.000000005Z", 10**18 + 5),
        ("2001-09-09T03:46:40+02:00", 10**18),
        ("2001-09-08T20:16:40.5-05:30", 10**18 + SECOND // 2),
        ("2001-09-09t01:46:40.0000000051234z", 10**18 + 5),
        ("9999-12-31T23:59:59Z", 2**63 - 1),
    ],
)
def test_times_are_read_to_the_nanosecond(text, nanoseconds):
    assert parse_time(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "now",
        "2001-02-30",
        "0000-01-01T00:00:00Z",
        "2001-01-01T24:00:00Z",
        "2001-01-01T00:00:00",
        "٢٠٠١-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="time"):
        parse_time(text)


@given(st.integers(0, 2**63 - 1))
def test_times_are_written_as_they_are_read(nanoseconds):
    assert parse_time(show_time(nanoseconds)) == nanoseconds


def test_a_chain_id_tells_a_layer_with_all_below_it():
    chains = chain_ids(DIFFS)
    assert chains[0] == DIFFS[0]
    assert len(set(chains)) == 3
    assert chain_ids(DIFFS[:2]) == chains[:2]
    # The example of image-spec's "Layer ChainID": sha256 of the chain below, a blank, the diff id.
    assert (
        chain_ids(["sha256:" + "0" * 64] * 2)[1]
        == "sha256:1c549100e455eee76a4725b64270b19d7fa7aea704960d46363fffa8732d51b8"
    )
