import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.images.registry.challenges import Challenge, parse_challenges

BEARER = {"realm": "https://auth.example/token", "service": "r.example", "scope": "repository:a/b:pull,push"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], []),
        ([""], []),
        (['Basic realm="x"'], [("basic", {"realm": "x"})]),
        (["BASIC REALM=x"], [("basic", {"realm": "x"})]),
        (["Basic"], [("basic", {})]),
        (['Basic realm="a \\"b\\" \\\\"'], [("basic", {"realm": 'a "b" \\'})]),
        (
            ['Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push"'],
            [("bearer", BEARER)],
        ),
        (
            ['Basic realm="x", Bearer realm="y" , service=z'],
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y", "service": "z"})],
        ),
        (['Basic realm="x"', 'Bearer realm="y"'], [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        (['Negotiate abc==, Basic realm="x"'], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (['Negotiate, Basic realm="x"'], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (['Bearer  realm = "a" ,, service="b",'], [("bearer", {"realm": "a", "service": "b"})]),
        (['Bearer realm="a", realm="b"'], [("bearer", {"realm": "a"})]),
        (['Basic realm="x", Bearer realm="unclosed'], [("basic", {"realm": "x"}), ("bearer", {})]),
        (['="x"'], []),
    ],
)
def test_challenges_are_read_in_every_form(fields, expected):
    assert parse_challenges(fields) == tuple(Challenge(scheme, parameters) for scheme, parameters in expected)


@given(st.lists(st.text(alphabet='Baser ="\\,x\t;é')))
def test_no_field_raises(fields):
    parse_challenges(fields)


def test_a_missing_parameter_is_empty():
    assert parse_challenges(["Basic"])[0]["realm"] == ""
