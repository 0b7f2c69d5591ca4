"""The body of POST /containers/create, field by field."""

import json

import pytest

from trioker.api.decoding import BODY_LIMIT, Fields, decode_json
from trioker.api.v1_2.config import config_from_json
from trioker.model.container import Config, Healthcheck, Label
from trioker.model.errors import InvalidParameter, TriokerError


def read(**fields):
    return config_from_json(Fields.of({"Image": "base", **fields}))


def refusal(**fields):
    with pytest.raises(InvalidParameter) as caught:
        read(**fields)
    return str(caught.value)


def test_every_field_is_read():
    body = {
        "Hostname": "h", "User": "u", "Memory": 2**20, "MemorySwap": -1, "CpuShares": 2, "AttachStdin": True, "AttachStdout": True,
        "AttachStderr": True, "PortSpecs": ["80", ":80", "4500:80", "127.0.0.1::53/udp"], "Tty": True, "OpenStdin": True, "StdinOnce": True,
        "Env": ["A=b=c", "K"], "Cmd": ["date", "-u"], "Dns": ["8.8.8.8", "::1"], "Image": "base", "Volumes": {"/data": {}, "/x": None},
        "VolumesFrom": "abc",
    }  # fmt: skip
    assert config_from_json(Fields.of(body)) == Config(
        hostname="h", user="u", memory=2**20, memory_swap=-1, cpu_shares=2, attach_stdin=True, attach_stdout=True, attach_stderr=True, tty=True,
        port_specs=("80", ":80", "4500:80", "127.0.0.1::53/udp"), open_stdin=True, stdin_once=True, env=("A=b=c", "K"), command=("date", "-u"),
        dns=("8.8.8.8", "::1"), image="base", volumes=("/data", "/x"), volumes_from="abc",
    )  # fmt: skip


def test_null_missing_and_unknown_leave_the_defaults():
    names = ["Hostname", "Memory", "Tty", "Env", "Cmd", "Dns", "Volumes", "VolumesFrom", "PortSpecs", "User", "Entrypoint", "WorkingDir",
             "Labels", "ExposedPorts", "StopSignal", "Healthcheck", "OnBuild", "Shell"]  # fmt: skip
    assert read(**dict.fromkeys(names), Healthchecks=5, NetworkDisabled=True) == Config(image="base")


def test_what_todays_dockerfiles_set_is_read_in_todays_form():
    body = {
        "Image": "base", "Entrypoint": ["/bin/e", "-x"], "WorkingDir": "/srv", "Labels": {"a": "1", "b": ""},
        "ExposedPorts": {"80": {}, "53/udp": None}, "StopSignal": "SIGQUIT", "OnBuild": ["RUN x"], "Shell": ["/bin/bash", "-c"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**9, "timeout": 10**6, "StartPeriod": 0, "Retries": 3},
    }  # fmt: skip
    assert config_from_json(Fields.of(body)) == Config(
        image="base", entrypoint=("/bin/e", "-x"), working_dir="/srv", labels=(Label("a", "1"), Label("b", "")),
        exposed_ports=("80/tcp", "53/udp"), stop_signal="SIGQUIT", on_build=("RUN x",), shell=("/bin/bash", "-c"),
        healthcheck=Healthcheck(("CMD", "true"), interval_ns=10**9, timeout_ns=10**6, retries=3),
    )  # fmt: skip


def test_an_empty_health_check_is_none():
    assert read(Healthcheck={}) == Config(image="base")


def test_keys_match_in_any_case_and_the_last_one_counts():
    config = config_from_json(Fields.of(decode_json(b'{"IMAGE": "a", "image": "b", "cMD": ["x"], "openstdin": true}')))
    assert config == Config(image="b", command=("x",), open_stdin=True)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("Memory", "x", 'Memory: expected an integer, got "x"'),
        ("Memory", 1.5, "Memory: expected an integer, got 1.5"),
        ("Memory", True, "Memory: expected an integer, got true"),
        ("Memory", 2**63, "Memory: 9223372036854775808 does not fit into 64 bits"),
        ("Memory", -1, "Memory: expected 0 or a number of bytes, got -1"),
        ("MemorySwap", -2, "MemorySwap: expected -1, 0 or a number of bytes, got -2"),
        ("CpuShares", -1, "CpuShares: expected 0 or more, got -1"),
        ("CpuShares", [], "CpuShares: expected an integer, got []"),
        ("Tty", 1, "Tty: expected true or false, got 1"),
        ("Tty", "true", 'Tty: expected true or false, got "true"'),
        ("Hostname", 5, "Hostname: expected a string, got 5"),
        ("Hostname", "h" * 65, f'Hostname: longer than 64 bytes, got "{"h" * 59}...'),
        ("Hostname", "é" * 33, f'Hostname: longer than 64 bytes, got "{"é" * 33}"'),
        ("Hostname", "a/b", 'Hostname: a slash, a blank or a control character is not allowed, got "a/b"'),
        ("Hostname", "a b", 'Hostname: a slash, a blank or a control character is not allowed, got "a b"'),
        ("Hostname", "a\nb", 'Hostname: a slash, a blank or a control character is not allowed, got "a\\nb"'),
        ("Hostname", "a\0", 'Hostname: a NUL byte is not allowed, got "a\\u0000"'),
        ("User", "root\n", 'User: a control character is not allowed, got "root\\n"'),
        ("User", "a\0", 'User: a NUL byte is not allowed, got "a\\u0000"'),
        ("Cmd", "ls", 'Cmd: expected a list of strings, got "ls"'),
        ("Cmd", ["ls", 5], 'Cmd: expected a list of strings, got ["ls", 5]'),
        ("Cmd", ["ls", None], 'Cmd: expected a list of strings, got ["ls", null]'),
        ("Cmd", ["l\0s"], 'Cmd: a NUL byte is not allowed, got "l\\u0000s"'),
        ("Cmd", ["\ud800"], "Cmd: not valid Unicode, got '\\ud800'"),
        ("Env", {"A": "b"}, 'Env: expected a list of strings, got {"A": "b"}'),
        ("Env", ["A=\0"], 'Env: a NUL byte is not allowed, got "A=\\u0000"'),
        ("Env", ["=b"], 'Env: expected NAME=value, got "=b"'),
        ("Env", [""], 'Env: expected NAME=value, got ""'),
        ("Dns", ["dns.example"], 'Dns: expected an IP address, got "dns.example"'),
        ("Dns", ["fe80::1%e\nsearch x"], 'Dns: expected an IP address, got "fe80::1%e\\nsearch x"'),
        ("Dns", ["1.2.3.4\n"], 'Dns: expected an IP address, got "1.2.3.4\\n"'),
        ("Volumes", ["/data"], 'Volumes: expected an object like {"/data": {}}, got ["/data"]'),
        ("Volumes", {"/data": 5}, 'Volumes: expected an object like {"/data": {}}, got {"/data": 5}'),
        ("Volumes", {"/da\0ta": {}}, 'Volumes: a NUL byte is not allowed, got "/da\\u0000ta"'),
        ("VolumesFrom", "a\0", 'VolumesFrom: a NUL byte is not allowed, got "a\\u0000"'),
        ("Entrypoint", "sh", 'Entrypoint: expected a list of strings, got "sh"'),
        ("Entrypoint", 5, "Entrypoint: expected a list of strings, got 5"),
        ("WorkingDir", "srv", 'WorkingDir: expected an absolute path, got "srv"'),
        ("WorkingDir", "/s\0", 'WorkingDir: a NUL byte is not allowed, got "/s\\u0000"'),
        ("Labels", ["a"], 'Labels: expected an object like {"name": "value"}, got ["a"]'),
        ("Labels", {"a": 1}, 'Labels: expected an object like {"name": "value"}, got {"a": 1}'),
        ("Labels", {"a": "\0"}, 'Labels: a NUL byte is not allowed, got "\\u0000"'),
        ("ExposedPorts", {"80/icmp": {}}, 'ExposedPorts: expected "80", "80/tcp" or "80/udp", got "80/icmp"'),
        ("ExposedPorts", {"0": {}}, 'ExposedPorts: expected "80", "80/tcp" or "80/udp", got "0"'),
        ("ExposedPorts", {"65536/tcp": {}}, 'ExposedPorts: expected "80", "80/tcp" or "80/udp", got "65536/tcp"'),
        ("ExposedPorts", ["80"], 'ExposedPorts: expected an object like {"80/tcp": {}}, got ["80"]'),
        ("StopSignal", 9, "StopSignal: expected a string, got 9"),
        ("Healthcheck", [], "Healthcheck: expected a JSON object, got []"),
        ("Healthcheck", {"Test": "x"}, 'Healthcheck.Test: expected a list of strings, got "x"'),
        ("Healthcheck", {"Test": ["x"]}, 'Healthcheck.Test: expected NONE, CMD or CMD-SHELL first, got "x"'),
        ("Healthcheck", {"Interval": 30}, "Healthcheck.Interval: expected 0 or at least 1000000 nanoseconds, got 30"),
        ("Healthcheck", {"Retries": -1}, "Healthcheck.Retries: expected 0 or more, got -1"),
        ("OnBuild", "RUN x", 'OnBuild: expected a list of strings, got "RUN x"'),
        ("Shell", [1], "Shell: expected a list of strings, got [1]"),
        ("Image", "", "Image: no image is named"),
        ("Image", None, "Image: no image is named"),
        ("Image", 7, "Image: expected a string, got 7"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(field, value, text):
    assert refusal(**{field: value}) == text


@pytest.mark.parametrize("path", ["data", "", "/", "//", "/.", "/a/../b", "/..", "./x"])
def test_a_volume_is_an_absolute_path_below_the_root(path):
    assert refusal(Volumes={path: {}}).startswith('Volumes: expected an absolute path below "/" without ".."')


@pytest.mark.parametrize(
    "spec", ["", "x", "0", ":", "80:", "1:2:3", "65536", ":70000", "0:80", "80/sctp", "\uff18\uff10", "-1"]
)
def test_a_port_spec_names_ports_of_both_sides_an_address_and_a_protocol_or_some_of_them(spec):
    assert refusal(PortSpecs=[spec]).startswith(
        f'PortSpecs: expected "80", ":80", "4500:80" or "127.0.0.1:4500:80/udp": Invalid port format: {spec!r}'
    )


def test_the_longest_host_name_is_64_bytes():
    assert read(Hostname="h" * 64).hostname == "h" * 64


def test_too_little_memory_has_the_words_of_2013_and_is_no_bad_parameter():
    with pytest.raises(TriokerError, match=r"^Memory limit must be given in bytes \(minimum 524288 bytes\)$") as caught:
        read(Memory=524287)
    assert not isinstance(caught.value, InvalidParameter)
    assert read(Memory=524288).memory == 524288


def test_swap_counts_the_memory_too():
    assert "less than Memory" in refusal(Memory=2**20, MemorySwap=2**20 - 1)
    assert read(Memory=2**20, MemorySwap=2**20).memory_swap == 2**20


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "body: it is empty, expected a JSON object"),
        (b" \n", "body: it is empty, expected a JSON object"),
        (b"{", "body: not valid JSON: Expecting property name"),
        (b'{"Image":"x"}}', "body: not valid JSON: Extra data"),
        (b'{"Memory": NaN}', "body: not valid JSON: NaN is not JSON"),
        (b'{"Image":"\xff"}', "body: not valid JSON: 'utf-8' codec can't decode byte 0xff"),
        (b'{"Memory":' + b"9" * 5000 + b"}", "body: not valid JSON: Exceeds the limit"),
        (b"[" * 100_000, "body: nested too deeply"),
        (b"[]", "body: expected a JSON object, got []"),
        (b'"x"', 'body: expected a JSON object, got "x"'),
        (b"null", "Image: no image is named"),
        (b"{}", "Image: no image is named"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(ask, fake, body, text):
    answer = await ask("POST", "/containers/create", body)
    assert answer.status == 400
    assert answer.text.startswith(f"Bad parameter: {text}")
    assert fake.recorder.calls == []


async def test_a_value_is_shown_in_short():
    assert len(refusal(Cmd="x" * 100_000)) < 150


def test_the_limit_leaves_room_for_the_longest_command():
    body = json.dumps({"Image": "base", "Cmd": ["x" * 100_000] * 10}).encode()
    assert len(body) < BODY_LIMIT
