import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.images.registry.names import (
    Endpoint,
    Registries,
    check_digest,
    endpoints,
    parse_remote,
    repositories,
)
from trioker.model.errors import InvalidParameter

DIGEST = f"sha256:{'0' * 63}a"
OWN = Registries(default="reg.example:5000")


@pytest.mark.parametrize(
    ("name", "host", "repository", "local"),
    [
        ("busybox", "docker.io", "library/busybox", "busybox"),
        ("user/app", "docker.io", "user/app", "user/app"),
        ("a/b/c", "docker.io", "a/b/c", "a/b/c"),
        ("docker.io/busybox", "docker.io", "library/busybox", "busybox"),
        ("docker.io/library/busybox", "docker.io", "library/busybox", "busybox"),
        ("library/busybox", "docker.io", "library/busybox", "busybox"),
        ("index.docker.io/user/app", "docker.io", "user/app", "user/app"),
        ("localhost/app", "localhost", "app", "localhost/app"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b", "127.0.0.1:5000/a/b"),
        ("reg.example/app", "reg.example", "app", "reg.example/app"),
        ("Reg.Example:5000/app", "reg.example:5000", "app", "Reg.Example:5000/app"),
        ("[::1]:5000/app", "[::1]:5000", "app", "[::1]:5000/app"),
        ("local/app", "docker.io", "local/app", "local/app"),
    ],
)
def test_a_name_says_which_registry_and_which_repository(name, host, repository, local):
    remote = parse_remote(name)
    assert (remote.host, remote.repository, remote.local) == (host, repository, local)
    assert repositories(remote) == (repository,)


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("app", "", ("", "", "latest", "app:latest")),
        ("app:1", "", ("1", "", "1", "app:1")),
        ("app", "1", ("1", "", "1", "app:1")),
        ("app:1", "2", ("2", "", "2", "app:2")),
        (f"app@{DIGEST}", "", ("", DIGEST, DIGEST, f"app@{DIGEST}")),
        (f"app:1@{DIGEST}", "", ("1", DIGEST, DIGEST, f"app@{DIGEST}")),
        ("app", DIGEST, ("", DIGEST, DIGEST, f"app@{DIGEST}")),
        ("localhost:5000/app", "", ("", "", "latest", "localhost:5000/app:latest")),
        ("localhost:5000/app:1", "", ("1", "", "1", "localhost:5000/app:1")),
    ],
)
def test_a_tag_or_digest_is_in_the_name_or_beside_it(name, tag, expected):
    remote = parse_remote(name, tag)
    assert (remote.tag, remote.digest, remote.reference, str(remote)) == expected


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("", ""),
        ("/app", ""),
        ("app/", ""),
        ("a//b", ""),
        ("a/../b", ""),
        (".", ""),
        ("a b", ""),
        ("a\n", ""),
        ("a?x=y", ""),
        ("a%2fb", ""),
        ("localhost:5000/", ""),
        ("localhost:99999/app", ""),
        ("localhost:0/app", ""),
        ("user:pw@host.example/app", ""),
        ("-h.example/app", ""),
        ("app@", ""),
        ("app@sha256:12", ""),
        (f"app@{DIGEST.upper()}", ""),
        (f"app@{DIGEST}@{DIGEST}", ""),
        ("app:a b", ""),
        ("app", "../x"),
        ("app", "sha512:" + "0" * 128),
        ("a" * 300, ""),
    ],
)
def test_what_is_no_name_is_refused(name, tag):
    with pytest.raises(InvalidParameter):
        parse_remote(name, tag)


@given(st.text(), st.text())
def test_no_name_raises_anything_else(name, tag):
    try:
        remote = parse_remote(name, tag)
    except InvalidParameter:
        return
    assert all(part not in {"", ".", ".."} for part in remote.repository.split("/"))


def test_a_registry_in_place_of_docker_io_is_asked_for_library_names_first():
    remote = parse_remote("busybox", registries=OWN)
    assert (remote.host, remote.repository, remote.local) == ("reg.example:5000", "busybox", "busybox")
    assert repositories(remote) == ("library/busybox", "busybox")
    assert repositories(parse_remote("a/busybox", registries=OWN)) == ("a/busybox",)
    assert repositories(parse_remote("reg.example:5000/busybox", registries=OWN)) == ("busybox",)


def test_docker_io_keeps_its_name_where_another_registry_is_the_default():
    remote = parse_remote("docker.io/busybox", registries=OWN)
    assert (remote.host, remote.repository, remote.local) == ("docker.io", "library/busybox", "docker.io/busybox")
    assert repositories(remote) == ("library/busybox",)


def urls(host, **registries):
    return [each.url for each in endpoints(host, Registries(**registries))]


@pytest.mark.parametrize(
    ("host", "registries", "expected"),
    [
        ("docker.io", {}, ["https://registry-1.docker.io"]),
        ("docker.io", {"default": "https://index.docker.io/v1/"}, ["https://registry-1.docker.io"]),
        ("docker.io", {"mirrors": ("https://m.example/",)}, ["https://m.example", "https://registry-1.docker.io"]),
        ("docker.io", {"mirrors": ("https://m.example",), "default": "r.example"}, ["https://registry-1.docker.io"]),
        (
            "r.example",
            {"mirrors": ("https://m.example",), "default": "r.example"},
            ["https://m.example", "https://r.example"],
        ),
        ("r.example:80", {"default": "http://r.example:80/base/"}, ["http://r.example:80/base"]),
        ("r.example", {}, ["https://r.example"]),
        ("127.0.0.1:5000", {}, ["http://127.0.0.1:5000", "https://127.0.0.1:5000"]),
        ("127.9.9.9", {}, ["http://127.9.9.9", "https://127.9.9.9"]),
        ("[::1]:5000", {}, ["http://[::1]:5000", "https://[::1]:5000"]),
        ("localhost:5000", {}, ["http://localhost:5000", "https://localhost:5000"]),
        ("localhost.evil.example", {}, ["https://localhost.evil.example"]),
        ("127.0.0.1.evil.example", {}, ["https://127.0.0.1.evil.example"]),
        (
            "r.example:5000",
            {"insecure": frozenset({"r.example:5000"})},
            ["https://r.example:5000", "http://r.example:5000"],
        ),
        ("r.example:5000", {"insecure": frozenset({"r.example"})}, ["https://r.example:5000", "http://r.example:5000"]),
        ("r.example:5001", {"insecure": frozenset({"r.example:5000"})}, ["https://r.example:5001"]),
        ("10.1.2.3:5000", {"insecure": frozenset({"10.0.0.0/8"})}, ["https://10.1.2.3:5000", "http://10.1.2.3:5000"]),
        ("11.1.2.3:5000", {"insecure": frozenset({"10.0.0.0/8"})}, ["https://11.1.2.3:5000"]),
        ("[fd00::1]", {"insecure": frozenset({"fd00::/8"})}, ["https://[fd00::1]", "http://[fd00::1]"]),
    ],
)
def test_endpoints_are_tried_in_an_order_that_keeps_secrets(host, registries, expected):
    assert urls(host, **registries) == expected


def test_only_what_is_asked_in_place_of_the_registry_is_a_mirror():
    found = endpoints("docker.io", Registries(mirrors=("http://m.example:5000",)))
    assert found == (
        Endpoint("http://m.example:5000", mirror=True, insecure=True),
        Endpoint("https://registry-1.docker.io"),
    )
    assert found[0].authority == "m.example:5000"


@pytest.mark.parametrize(
    "wrong",
    [
        {"default": ""},
        {"default": "ftp://r.example"},
        {"default": "https://user:pw@r.example"},
        {"default": "https://r.example?x"},
        {"mirrors": ("https://",)},
        {"mirrors": ("https://[r.example",)},
        {"insecure": frozenset({"10.0.0.0/99"})},
        {"insecure": frozenset({"a b"})},
    ],
)
def test_flags_that_name_no_registry_are_refused(wrong):
    with pytest.raises(InvalidParameter, match="bad registry"):
        Registries(**wrong)


def test_a_digest_is_given_back():
    assert check_digest(DIGEST) == DIGEST
