"""Query parameters by type, and where they come from."""

import pytest

from trioker.api.v1_2.parameters import Parameters, form_parameters, query_parameters
from trioker.model.errors import InvalidParameter
from trioker.testing.fake_request import fake_request

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", True),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("", False),
        ("0", False),
        ("false", False),
        ("False", False),
    ],
)
def test_a_flag_has_the_words_of_its_time(text, value):
    assert Parameters({"v": text}).flag("v") is value


@pytest.mark.parametrize("text", ["yes", "2", "01", " 1", "t", "tru\u0435", "1\0"])
def test_another_word_is_no_flag(text):
    with pytest.raises(InvalidParameter, match=r"^v: expected 1, true, 0 or false, got "):
        Parameters({"v": text}).flag("v")


def test_a_missing_parameter_has_its_default():
    assert (Parameters({}).flag("v"), Parameters({}).number("t", 10), Parameters({"t": ""}).number("t", 10)) == (
        False,
        10,
        10,
    )


@pytest.mark.parametrize(("text", "value"), [("5", 5), ("-1", -1), ("+7", 7), ("007", 7), (str(2**63 - 1), 2**63 - 1)])
def test_a_number_is_decimal(text, value):
    assert Parameters({"t": text}).number("t", 10) == value


@pytest.mark.parametrize(
    "text", ["x", "1.5", "1e3", " 1", "1 ", "0x10", "1_000", "٣", str(2**63), "9" * 5000, "--1", "-"]
)
def test_another_text_is_no_number(text):
    with pytest.raises(InvalidParameter, match=r"^t: expected a whole number, got "):
        Parameters({"t": text}).number("t", 10)


def test_the_first_of_a_repeated_parameter_counts():
    assert query_parameters(fake_request("GET", "/x?t=1&t=2")).text("t") == "1"


@pytest.mark.parametrize("content_type", [FORM, FORM.upper(), f"{FORM}; charset=utf-8"])
async def test_a_form_body_adds_parameters_and_goes_first(content_type):
    query = await form_parameters(fake_request("POST", "/x?t=1&v=1", b"t=2&repo=a%2Fb+c", content_type))
    assert (query.text("t"), query.text("v"), query.text("repo")) == ("2", "1", "a/b c")


@pytest.mark.parametrize("content_type", ["", "text/plain", "plain/text", "application/json"])
async def test_a_body_of_another_type_is_left_alone(content_type):
    request = fake_request("POST", "/x?t=1", b"t=2", content_type)
    assert (await form_parameters(request)).text("t") == "1"
    assert request.body.reads == 0


async def test_a_form_of_too_many_fields_is_refused():
    with pytest.raises(InvalidParameter, match=r"^body: not a form of at most 1000 fields$"):
        await form_parameters(fake_request("POST", "/x", b"a=1&" * 2000, FORM))
