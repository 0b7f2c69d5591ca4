import pytest

from trioker.http.addresses import Activated, BadAddress, Tcp, Unix, check_exposure, parse_address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("tcp://127.0.0.1:4243", Tcp("127.0.0.1", 4243)),
        ("tcp://127.0.0.1", Tcp("127.0.0.1", 4243)),
        ("tcp://[::1]:99", Tcp("::1", 99)),
        ("tcp://[::1]", Tcp("::1", 4243)),
        ("tcp://:99", Tcp("127.0.0.1", 99)),
        ("tcp://", Tcp("127.0.0.1", 4243)),
        ("tcp://localhost:0", Tcp("localhost", 0)),
        ("tcp://host.lan:65535/", Tcp("host.lan", 65535)),
        ("unix:///run/trioker.sock", Unix("/run/trioker.sock")),
        ("fd://", Activated()),
    ],
)
def test_addresses(value, address):
    assert parse_address(value) == address


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "127.0.0.1:4243",
            "http://x",
            "tcp://::1:4243",
            "tcp://[::1:4243",
            "tcp://[127.0.0.1]:1",
            "tcp://h:65536",
        ),
        *(
            "tcp://h:-1",
            "tcp://h:x",
            "tcp://h:1/path",
            "unix://",
            "unix://relative",
            "unix:///dir/",
            "unix:///" + "x" * 107,
            "unix:///a\0b",
            "fd://3",
        ),
    ],
)
def test_bad_addresses_are_named(value):
    with pytest.raises(BadAddress) as caught:
        parse_address(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "value", ["tcp://127.0.0.1", "tcp://127.9.9.9", "tcp://[::1]", "tcp://localhost", "unix:///s", "fd://"]
)
def test_what_only_this_machine_reaches_needs_no_tls(value):
    check_exposure(parse_address(value), None)


@pytest.mark.parametrize("value", ["tcp://0.0.0.0", "tcp://[::]", "tcp://10.0.0.1", "tcp://name.lan"])
def test_what_others_reach_needs_tls_or_a_word(value):
    address = parse_address(value)
    with pytest.raises(
        BadAddress, match=r"--tlsverify --tlscacert FILE --tlscert FILE --tlskey FILE, or say --tls=false"
    ):
        check_exposure(address, None)
    check_exposure(address, True)
    check_exposure(address, False)


@pytest.mark.parametrize("value", ["tcp://[::1]:99", "tcp://h:1", "unix:///s", "fd://"])
def test_an_address_prints_as_it_was_given(value):
    assert str(parse_address(value)) == value
