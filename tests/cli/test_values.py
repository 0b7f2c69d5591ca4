from argparse import ArgumentTypeError

import pytest

from trioker.cli import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("512k", 512 << 10),
        ("10m", 10 << 20),
        ("10MB", 10 << 20),
        ("1g", 1 << 30),
        ("2GiB", 2 << 30),
        ("1T", 1 << 40),
        ("100b", 100),
    ],
)
def test_a_size_counts_in_powers_of_1024(text, expected):
    assert values.size(text) == expected


@pytest.mark.parametrize("text", ["", "m", "-1", "0", "0m", "1.5g", "10x", "10 m", "ten", "1_0", "\u0661m"])
def test_what_is_not_a_size_is_named(text):
    with pytest.raises(ArgumentTypeError, match="is not a size"):
        values.size(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://127.0.0.1:4243", "tcp://127.0.0.1:4243"),
        ("tcp://:5000", "tcp://127.0.0.1:5000"),
        ("tcp://", "tcp://127.0.0.1:4243"),
        ("tcp://localhost", "tcp://localhost:4243"),
        ("tcp://[::1]:4243", "tcp://[::1]:4243"),
        ("tcp://0.0.0.0:0/", "tcp://0.0.0.0:0"),
        ("unix:///run/x.sock", "unix:///run/x.sock"),
        ("unix://", "unix:///run/trioker.sock"),
        ("fd://", "fd://"),
    ],
)
def test_a_listener_is_read(text, expected):
    assert values.listener(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1:4243", "http://127.0.0.1", "fd://3", "tcp://::1", "tcp://1.2.3.4:65536", "unix://run/x.sock"],
)
def test_a_bad_listener_is_refused_and_repeated(text):
    with pytest.raises(ArgumentTypeError, match="bad address") as caught:
        values.listener(text)
    assert repr(text) in str(caught.value)


def test_a_pair_is_split_at_its_first_equals_sign():
    assert values.pair("a=b=c") == ("a", "b=c")
    assert values.pair("a=") == ("a", "")


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_what_is_not_a_pair_is_named(text):
    with pytest.raises(ArgumentTypeError, match="key=value"):
        values.pair(text)


@pytest.mark.parametrize("text", ["", "a b", "-a", "a..b", "a:80", "ä"])
def test_what_is_not_a_host_name_is_named(text):
    with pytest.raises(ArgumentTypeError, match="is not a host name"):
        values.host_name(text)


def test_a_host_name_is_kept_in_lower_case():
    assert values.host_name("Build-1.Example.COM") == "build-1.example.com"
