import pytest

from trioker.launcher.globs import BadPattern, compile_glob, has_magic

# The cases of Go's path/match_test.go that stay within one component, and what they leave out.
MATCHES = [
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*", "", True),
    ("*c", "abc", True),
    ("a*", "a", True),
    ("a*", "abc", True),
    ("a*b*c*d*e*", "axbxcxdxe", True),
    ("a*b*c*d*e*", "axbxcxdxexxx", True),
    ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False),
    ("ab[c]", "abc", True),
    ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False),
    ("ab[^c]", "abc", False),
    ("ab[^b-d]", "abc", False),
    ("ab[^e-g]", "abc", True),
    (r"a\*b", "a*b", True),
    (r"a\*b", "ab", False),
    ("a?b", "a☺b", True),
    ("a[^a]b", "a☺b", True),
    ("a???b", "a☺b", False),
    ("[a-ζ]*", "\u03b1", True),
    ("*[a-ζ]", "A", False),
    (r"[\]a]", "]", True),
    (r"[\-]", "-", True),
    (r"[x\-]", "x", True),
    (r"[x\-]", "-", True),
    (r"[x\-]", "z", False),
    (r"[\-x]", "a", False),
    ("*x", "xxx", True),
    ("[!a]", "!", True),
    ("[!a]", "b", False),
    ("[a^]", "^", True),
    ("[b-a]", "a", False),
    ("[^b-a]", "a", True),
    (".*", ".hidden", True),
    ("*", ".hidden", True),
    ("a*\n", "ab\n", True),
    ("a\udcff?", "a\udcff\udcfe", True),
    ("*.tar.*", "x.tar.y.tar.z", True),
    ("**", "anything", True),
    ("a**b", "ab", True),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), MATCHES)
def test_a_pattern_matches_what_it_does_in_go(pattern, name, expected):
    assert bool(compile_glob(pattern).fullmatch(name)) is expected


@pytest.mark.parametrize(
    "pattern", ["[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", "a\\", "[a-b-c]", "[]", "[^]"]
)
def test_a_malformed_pattern_is_told(pattern):
    with pytest.raises(BadPattern, match="syntax error in pattern"):
        compile_glob(pattern)


def test_many_stars_take_no_time():
    assert compile_glob("*a" * 60 + "b").fullmatch("a" * 255) is None


def test_what_is_more_than_a_name_has_magic():
    assert all(map(has_magic, ("*", "a?", "[x]", "\\a")))
    assert not any(map(has_magic, ("", "a", "]", "^", "{a,b}")))
