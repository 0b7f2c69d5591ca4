import pytest

from trioker.images.references import check_repository, check_tag, split_reference
from trioker.model.errors import InvalidParameter


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("busybox", ("busybox", "")),
        ("busybox:latest", ("busybox", "latest")),
        ("shykes/ubuntu:12.04", ("shykes/ubuntu", "12.04")),
        ("host:5000/busybox", ("host:5000/busybox", "")),
        ("host:5000/busybox:1", ("host:5000/busybox", "1")),
        ("busybox:", ("busybox:", "")),
        (":latest", (":latest", "")),
        ("", ("", "")),
    ],
)
def test_the_tag_is_what_stands_behind_the_last_colon_without_a_slash(reference, parts):
    assert split_reference(reference) == parts


@pytest.mark.parametrize(
    "repository",
    ["busybox", "Busybox", "shykes/ubuntu", "a/b/c", "host:5000/a", "registry.example.org/a_b-c.d", "_x", "a" * 255],
)
def test_a_repository_may_be_parts_of_letters_digits_and_marks(repository):
    check_repository(repository)


@pytest.mark.parametrize(
    "repository",
    [
        *(
            "",
            "a:b",
            "a/b:c",
            "a:b/c",
            "host:/a",
            "host:123456/a",
            "/a",
            "a/",
            "a//b",
            ".a",
            "-a",
            "a/..",
            "a b",
            "a\n",
            "a\x00",
        ),
        *("\N{LATIN SMALL LETTER E WITH ACUTE}", "a\udcff", "a@b", "host:\N{ARABIC-INDIC DIGIT FIVE}/a", "a" * 256),
    ],
)
def test_anything_else_is_no_repository(repository):
    with pytest.raises(InvalidParameter) as caught:
        check_repository(repository)
    assert str(caught.value) == f"Illegal repository name: {repository}"


@pytest.mark.parametrize("tag", ["latest", "12.04", "V1-rc_2", "_", "a" * 128])
def test_a_tag_may_be_letters_digits_and_marks(tag):
    check_tag(tag)


@pytest.mark.parametrize("tag", ["", "a:b", "a/b", ".x", "-x", "a b", "a\n", "\udcff", "a" * 129])
def test_anything_else_is_no_tag(tag):
    with pytest.raises(InvalidParameter) as caught:
        check_tag(tag)
    assert str(caught.value) == f"Illegal tag name: {tag}"
