"""The monitor's line to a daemon that is slow, gone or talks nonsense."""

import os

import pytest

from trioker.launcher import link as module
from trioker.launcher import wire
from trioker.launcher.link import Link, accept, listen


@pytest.fixture
def ends():
    ours, theirs = wire.pair()
    link = Link(ours)
    yield link, theirs
    link.close()
    theirs.close()


def fill(link):
    """Send pieces until the daemon would have to take some; how many were sent."""
    count = 0
    while not link.blocked:
        link.send_output(1, count, b"x" * wire.PIECE)
        count += 1
    return count


def test_output_is_sent_only_where_it_is_wanted(ends):
    link, theirs = ends
    link.send_output(1, 1, b"unseen")
    link.attached = True
    link.send_output(2, 7, b"seen")
    assert wire.decode(theirs.recv(100)) == wire.Output(2, 7, b"seen")


def test_what_a_slow_daemon_does_not_take_waits_in_order(ends):
    link, theirs = ends
    link.attached = True
    count = fill(link)
    link.send({"event": "exited"})
    positions = []
    for _ in range(count):
        positions.append(wire.decode(theirs.recv(wire.MAX_PACKET)).position)
        link.flush()
    assert positions == list(range(count))
    assert not link.blocked
    assert wire.receive(theirs) == ({"event": "exited"}, {})


def test_a_daemon_that_takes_nothing_in_time_is_hung_up_on(ends, monkeypatch):
    link, _ = ends
    link.attached = True
    fill(link)
    link.flush()
    assert link.blocked
    assert 0 < link.patience <= module.PATIENCE
    monkeypatch.setattr(link, "_deadline", 0.0)
    link.flush()
    assert (link.blocked, link.fd, link.attached) == (False, -1, False)


def test_without_a_daemon_everything_is_dropped(ends):
    link, theirs = ends
    link.attached = True
    theirs.close()
    link.send_output(1, 1, b"lost")
    link.send({"event": "exited"})
    link.drain()
    assert (link.blocked, link.fd) == (False, -1)
    assert link.receive() is None


def test_a_new_daemon_gets_nothing_that_was_meant_for_the_old_one(ends):
    link, theirs = ends
    link.attached = True
    fill(link)
    ours, newer = wire.pair()
    link.replace(ours)
    link.send_output(1, 1, b"not asked for")
    link.send({"event": "started"})
    assert wire.receive(newer) == ({"event": "started"}, {})
    newer.close()
    while theirs.recv(wire.MAX_PACKET):
        pass


def test_last_words_arrive_although_the_daemon_spoke_meanwhile(ends):
    """A socket closed with unread packets would make them an error on the other side."""
    link, theirs = ends
    wire.send(theirs, {"op": "detach"})
    link.send({"event": "exited"})
    link.close()
    assert wire.decode(theirs.recv(100)) == {"event": "exited"}
    assert theirs.recv(100) == b""


def test_a_daemon_is_heard_and_its_stray_descriptors_are_closed(ends):
    link, theirs = ends
    before = set(os.listdir("/proc/self/fd"))
    wire.send(theirs, {"op": "attach"}, {"stray": 0})
    assert link.receive() == {"op": "attach"}
    assert link.receive() is None
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("packet", [b"rubbish", b"J[]", b"1" + b"\0" * 8])
def test_a_daemon_that_talks_nonsense_is_hung_up_on(ends, packet):
    link, theirs = ends
    theirs.send(packet)
    assert link.receive() is None
    assert link.fd == -1


def test_later_daemons_of_our_own_user_are_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listener = listen("sock")
    assert accept(listener) is None
    client, other = wire.pair()
    other.close()
    client.close()
    client = wire.Socket(1, 5)
    client.connect("sock")
    sock = accept(listener)
    assert sock is not None
    for each in (sock, client, listener):
        each.close()
