"""What registries of 2013 say, and how it is refused."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.images.registry import v1_forms as forms
from trioker.model.errors import TriokerError

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
URL = "http://registry/v1/x"


@pytest.mark.parametrize(
    ("typed", "index", "registry"),
    [
        ("foo", "foo", "library/foo"),
        ("library/foo", "foo", "library/foo"),
        ("user/foo", "user/foo", "user/foo"),
        ("a/b/c", "src/a%2Fb%2Fc", "src/a%2Fb%2Fc"),
        ("library/b/c", "src/library%2Fb%2Fc", "src/library%2Fb%2Fc"),
    ],
)
def test_index_and_registry_have_names_of_their_own_for_a_repository(typed: str, index: str, registry: str) -> None:
    assert (forms.index_name(typed), forms.registry_name(typed)) == (index, registry)


def test_a_checksum_is_of_json_line_end_and_layer() -> None:
    checksum = forms.layer_checksum(b'{"id":1}')
    checksum.update(b"layer")
    assert checksum.hexdigest() == hashlib.sha256(b'{"id":1}\nlayer').hexdigest()


def test_a_grant_is_in_the_headers() -> None:
    headers = [
        (b"x-docker-token", b"one"),
        (b"x-docker-endpoints", b"a.io, b.io:5000,[::1]:80"),
        (b"x-docker-token", b"two"),
    ]
    assert forms.parse_grant(headers, URL) == forms.Grant("one, two", ("a.io", "b.io:5000", "[::1]:80"))


@pytest.mark.parametrize(
    ("endpoints", "complaint"),
    [
        (b"", "didn't contain any endpoints"),
        (b" , ", "didn't contain any endpoints"),
        (b"user@host", "bad endpoint"),
        (b"host/path", "bad endpoint"),
        (b"good.io,\xff", "bad endpoint"),
        (b"host:port", "bad endpoint"),
    ],
)
def test_a_grant_without_sound_endpoints_is_refused(endpoints: bytes, complaint: str) -> None:
    with pytest.raises(TriokerError, match=complaint):
        forms.parse_grant([(b"x-docker-endpoints", endpoints)], URL)


def test_only_so_many_endpoints_are_used() -> None:
    many = ",".join(f"r{number}.io" for number in range(100)).encode()
    assert len(forms.parse_grant([(b"x-docker-endpoints", many)], URL).endpoints) == forms.ENDPOINTS


def test_entries_keep_the_checksums_we_can_check() -> None:
    told = [
        {"id": A, "checksum": f"sha256:{B}"},
        {"id": B, "checksum": f"tarsum+sha256:{B}"},
        {"id": C},
        {"id": C, "checksum": None, "Tag": "x"},
    ]
    found = forms.parse_entries(told, URL)
    assert [each.checksum for each in found] == [f"sha256:{B}", "", "", ""]


def test_entries_are_sent_without_what_is_empty() -> None:
    sent = forms.encode_entries([forms.Entry(A, f"sha256:{B}", "latest"), forms.Entry(B)])
    assert json.loads(sent) == [{"id": A, "checksum": f"sha256:{B}", "Tag": "latest"}, {"id": B}]


@pytest.mark.parametrize(
    "value",
    [None, {}, "x", [1], [{}], [{"id": 3}], [{"id": "A" * 64}], [{"id": "a" * 63}], [{"id": "../../etc/passwd"}]],
)
def test_a_list_of_anything_but_images_is_refused(value: object) -> None:
    with pytest.raises(TriokerError, match=URL):
        forms.parse_entries(value, URL)


def test_tags_name_images() -> None:
    assert forms.parse_tags({"latest": A, "1.0-x_y": B}, URL) == {"latest": A, "1.0-x_y": B}


@pytest.mark.parametrize(
    "value", [None, [], {"latest": "short"}, {"": A}, {"a b": A}, {"../x": A}, {"x": None}, {"x" * 129: A}]
)
def test_tags_that_are_none_are_refused(value: object) -> None:
    with pytest.raises(TriokerError, match=URL):
        forms.parse_tags(value, URL)


def test_an_ancestry_begins_with_the_image() -> None:
    assert forms.parse_ancestry([A, B, C], A, URL) == (A, B, C)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([], "expected a list"),
        ({}, "expected a list"),
        ([B, A], "begins with"),
        ([A, B, A], "its own ancestor"),
        ([A, A], "its own ancestor"),
        ([A, "x"], "expected an image id"),
        ([A, None], "expected an image id"),
        ([A, *(f"{number:064x}" for number in range(forms.ANCESTORS))], "1025 ancestors"),
    ],
)
def test_an_ancestry_that_is_none_is_refused(value: object, complaint: str) -> None:
    with pytest.raises(TriokerError, match=complaint):
        forms.parse_ancestry(value, A, URL)


@pytest.mark.parametrize(
    ("raw", "content_type", "complaint"),
    [
        (b"<html>", "text/html; charset=utf-8", "the registry answered text/html instead of JSON"),
        (b"{", "application/json", "what is not JSON"),
        (b"\xff", "", "what is not JSON"),
        (b"[" * 100_000, "", "what is not JSON"),
    ],
)
def test_what_is_not_json_is_refused(raw: bytes, content_type: str, complaint: str) -> None:
    with pytest.raises(TriokerError, match=complaint):
        forms.decode(raw, URL, content_type)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=70) | st.just(A) | st.just("id"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "checksum", "latest", "é\n"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(anything)
def test_nothing_that_a_registry_says_is_worse_than_refused(value: object) -> None:
    for parse in (forms.parse_entries, forms.parse_tags, lambda value, where: forms.parse_ancestry(value, A, where)):
        said = ""
        try:
            parse(value, URL)
        except TriokerError as error:
            said = str(error)
        assert said.isprintable()
        assert len(said) < 500
