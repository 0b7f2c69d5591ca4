from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioker.images.dockerfile.expansion import LONGEST, expand, expand_document, expand_words
from trioker.images.dockerfile.patterns import remove_prefix, remove_suffix, replace
from trioker.model.errors import InvalidParameter

VALUES = {"x": "value", "e": "", "p": "a/b/c.tar.gz", "two": "1  2", "star": "a*b", "n1": "one", "_": "under"}


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("", ""),
        ("plain/words.x", "plain/words.x"),
        ("$x", "value"),
        ("$x$x", "valuevalue"),
        ("${x}s", "values"),
        ("$xs", ""),
        ("a$x-b", "avalue-b"),
        ("$n1/$_", "one/under"),
        ("$", "$"),
        ("a$ b$/", "a$ b$/"),
        ("$1x$?$$y", "xy"),
        (r"\$x", "$x"),
        (r"\\$x", r"\value"),
        (r"\a", "a"),
        ("a\\", "a"),
        ("'$x'", "$x"),
        (r"'\$x'", r"\$x"),
        ('"$x"', "value"),
        (r'"\$x \" \\ \a"', r'$x " \ \a'),
        ('"it\'s"', "it's"),
        ("'a'\"b\"c", "abc"),
        ('""', ""),
        ("${x:-d}", "value"),
        ("${e:-d}", "d"),
        ("${e-d}", ""),
        ("${u:-d}", "d"),
        ("${u-d}", "d"),
        ("${u-}", ""),
        ("${x:+d}", "d"),
        ("${e:+d}", ""),
        ("${e+d}", "d"),
        ("${u+d}", ""),
        ("${x:?no}", "value"),
        ("${e?no}", ""),
        ("${u:-${x:+$n1}}", "one"),
        ("${u:-${v:-a}${w-b}}", "ab"),
        ("${u:-'}'\"$x\"}", "}value"),
        (r"${u:-\}}", "}"),
        ("${u:-a b}", "a b"),
        ("${p#*/}", "b/c.tar.gz"),
        ("${p##*/}", "c.tar.gz"),
        ("${p%.*}", "a/b/c.tar"),
        ("${p%%.*}", "a/b/c"),
        ("${p#x}", "a/b/c.tar.gz"),
        ("${p%?z}", "a/b/c.tar."),
        (r"${star#a\*}", "b"),
        (r"${star%\*?}", "a"),
        ("${p/\\//-}", "a-b/c.tar.gz"),
        ("${p//\\//-}", "a-b-c.tar.gz"),
        ("${p//[a]/-}", "a/b/c.tar.gz"),
        ("${p/b*r/$x}", "a/value.gz"),
        ("${p//./}", "a/b/ctargz"),
        ("${p/nothing/x}", "a/b/c.tar.gz"),
        ("${p//*/x}", "x"),
        ("${p/$n1/x}", "a/b/c.tar.gz"),
        ("${u/a/b}", ""),
        ("${u#a}", ""),
        ("${p#$u}", "a/b/c.tar.gz"),
    ],
)
def test_a_word_comes_to_what_a_shell_makes_of_it(word, result):
    assert expand(word, VALUES.get) == result


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("80 81", ("80", "81")),
        ("$two", ("1", "2")),
        ('"$two"', ("1  2",)),
        ("a$two.b", ("a1", "2.b")),
        (r"a\ b ' c'", ("a b", " c")),
        ("  $u ''  ", ()),
    ],
)
def test_words_are_divided_after_their_variables_have_been_filled_in(word, words):
    assert expand_words(word, VALUES.get) == words


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("a $x\n'$x' \"$x\"\n", "a value\n'value' \"value\"\n"),
        ("\\$x \\\\ \\\n", "$x \\ \n"),
        ("${u:-it's}\n", "it's\n"),
    ],
)
def test_quotes_mean_nothing_in_a_here_document(text, result):
    assert expand_document(text, VALUES.get) == result


def test_another_escape_leaves_backslashes_alone():
    assert expand(r"c:\$x`$x", VALUES.get, "`") == r"c:\value$x"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("${x", "syntax error: missing '}'"),
        ("${", "syntax error: bad substitution"),
        ("${}", "syntax error: bad substitution"),
        ("${{x}}", "syntax error: bad substitution"),
        ("${:x}", "syntax error: bad substitution"),
        ("${x:}", "unsupported modifier (}) in substitution"),
        ("${x:", "syntax error: missing '}'"),
        ("${x:=y}", "unsupported modifier (=) in substitution"),
        ("${x^^}", "unsupported modifier (^) in substitution"),
        ("${x:-y", "syntax error: missing '}'"),
        ("${x/y}", "syntax error: missing '/'"),
        ("${x/y/z", "syntax error: missing '}'"),
        ("${u:?is needed}", "u: is needed"),
        ("${u?}", "u: is not allowed to be unset"),
        ("${e:?}", "e: is not allowed to be empty"),
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
        (f"${{x#{'a' * 300}}}", f"the pattern '{'a' * 256}' is longer than 256 characters"),
    ],
)
def test_what_is_no_substitution_is_said(word, message):
    with pytest.raises(InvalidParameter) as caught:
        expand(word, VALUES.get)
    assert str(caught.value) == f"failed to process {word[:256]!r}: {message}"


@pytest.mark.parametrize(
    "word",
    [
        "$big" * 20,
        '"' + "$big" * 20 + '"',
        "${x:-" * 60 + "}" * 60,
        "${big//a/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
        "${big//?b/}" * 1000,
        "${u:-" * 100_000,
    ],
    ids=lambda word: word[:12],
)
def test_what_grows_out_of_bounds_is_refused(word):
    with pytest.raises(InvalidParameter):
        expand(word, {"x": "y", "big": "a" * (LONGEST // 10)}.get)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([*"${}:-+?#%/*\\'\" ab", "${x", "x}", "é"]), max_size=30).map("".join))
def test_whatever_comes_is_expanded_or_refused(word):
    for expansion in (expand, expand_words, expand_document):
        with suppress(InvalidParameter):
            expansion(word, VALUES.get)


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?", max_size=6), st.text("ab", max_size=8), st.booleans())
def test_patterns_match_as_their_definition_says(pattern, value, longest):
    """Held against all beginnings and ends that a straightforward matcher finds."""
    fits = [cut for cut in range(len(value) + 1) if plainly_matches(pattern, value[:cut])]
    end = (max(fits) if longest else min(fits)) if fits else 0
    assert remove_prefix(value, pattern, longest=longest) == value[end:]
    fits = [cut for cut in range(len(value) + 1) if plainly_matches(pattern, value[cut:])]
    start = (min(fits) if longest else max(fits)) if fits else len(value)
    assert remove_suffix(value, pattern, longest=longest) == value[:start]
    found = [
        (start, end)
        for start in range(len(value))
        for end in range(len(value), start, -1)
        if plainly_matches(pattern, value[start:end])
    ]
    expected = value[: found[0][0]] + "-" + value[found[0][1] :] if found and pattern.strip("*") else None
    if expected is not None:
        assert replace(value, pattern, "-", every=False) == expected


def plainly_matches(pattern, text):
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(plainly_matches(pattern[1:], text[cut:]) for cut in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and plainly_matches(pattern[1:], text[1:])
