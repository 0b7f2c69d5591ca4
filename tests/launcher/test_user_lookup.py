"""Users and groups by the text of a container's files, as Docker resolves them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.launcher.user import MAX_ID, UnknownUser, User, lookup

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# a comment
bob:x:1000:1001:Bob:/home/bob:/bin/sh
broken:x:many:0::/:
short:x
12:x:77:78::/:
bob:x:5:5:the second:/:
twin:x:1000:9::/:
"""
GROUP = """\
root:x:0:
staff:x:50:bob,alice
wheel:x:10:root,bob
wheel:x:11:
bad:x:none:bob
users:x:100
12:x:79:
"""


@pytest.mark.parametrize(
    ("wanted", "user"),
    [
        ("", User(0, 0, (0, 10), "/root")),
        ("root", User(0, 0, (0, 10), "/root")),
        ("0", User(0, 0, (0, 10), "/root")),
        ("bob", User(1000, 1001, (1001, 50, 10), "/home/bob")),
        ("1000", User(1000, 1001, (1001, 50, 10), "/home/bob")),
        ("4242", User(4242, 0, (0,))),
        ("bob:wheel", User(1000, 10, (10,), "/home/bob")),
        ("bob:7", User(1000, 7, (7,), "/home/bob")),
        ("4242:staff", User(4242, 50, (50,))),
        ("bob:users", User(1000, 100, (100,), "/home/bob")),
        ("bob:", User(1000, 1001, (1001, 50, 10), "/home/bob")),
        (":staff", User(0, 50, (50,), "/root")),
        (str(MAX_ID), User(MAX_ID, 0, (0,))),
    ],
)
def test_names_and_numbers_are_resolved(wanted, user):
    assert lookup(wanted, PASSWD, GROUP) == user


def test_a_number_is_an_id_even_where_somebody_has_it_as_a_name():
    assert lookup("12", PASSWD, GROUP).uid == 12
    assert lookup("bob:12", PASSWD, GROUP).gid == 12


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("foo", "unable to find user foo: no matching entries in passwd file"),
        ("broken", "unable to find user broken: no matching entries in passwd file"),
        ("short", "unable to find user short: no matching entries in passwd file"),
        ("bob:foo", "unable to find group foo: no matching entries in group file"),
        ("bob:bad", "unable to find group bad: no matching entries in group file"),
        ("-1", "unable to find user -1: no matching entries in passwd file"),
        (str(MAX_ID + 1), f"uids and gids must be in range 0-{MAX_ID}: {MAX_ID + 1}"),
        ("0:" + "9" * 5000, f"uids and gids must be in range 0-{MAX_ID}: {'9' * 32}"),
        ("²", "unable to find user ²: no matching entries in passwd file"),
    ],
)
def test_what_is_unknown_is_told(wanted, message):
    with pytest.raises(UnknownUser, match="^" + message.replace("(", r"\(") + "$"):
        lookup(wanted, PASSWD, GROUP)


@pytest.mark.parametrize("rest", ["", ":", "::", "::home", "::/h\0", ":::/bin/sh"])
def test_a_home_that_can_be_none_is_the_root(rest):
    assert lookup("a", f"a:x:1:1{rest}", "").home == "/"


def test_without_files_numbers_still_work():
    assert lookup("", "", "") == User(0, 0, (0,))
    assert lookup("5:6", "", "") == User(5, 6, (6,))


def test_the_own_group_is_among_the_supplementary_ones_and_counts_once():
    assert lookup("bob", PASSWD, "a:x:5:bob\nbob:x:1001:bob\n").groups == (1001, 5)


def test_a_group_listed_twice_counts_once():
    assert lookup("bob", PASSWD, "a:x:5:bob\nb:x:5:bob\n").groups == (1001, 5)


@given(st.text(max_size=40), st.text(), st.text())
def test_any_text_gives_ids_in_range_or_a_clear_error(wanted, passwd, group):
    try:
        user = lookup(wanted, passwd, group)
    except UnknownUser:
        return
    assert all(0 <= each <= MAX_ID for each in (user.uid, user.gid, *user.groups))
