"""Who gives way where all places are taken, with sockets of this process alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from scp_listener import threshold
from scp_listener.threshold import Threshold

Pairs = list[tuple[socket.socket, socket.socket]]


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    """Our end and the peer's."""
    made = [socket.socketpair() for _ in range(5)]
    yield made
    for pair in made:
        for one in pair:
            one.close()


def was_ended(peer: socket.socket) -> bool:
    peer.settimeout(0)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


def test_the_busiest_address_gives_way_and_its_oldest_first(pairs: Pairs) -> None:
    entrance = Threshold(3)
    for (ours, _), address in zip(pairs[:3], ("10.0.0.1", "10.0.0.9", "10.0.0.9"), strict=True):
        assert entrance.arrived(ours, address) == (True, None)
    assert entrance.arrived(pairs[3][0], "10.0.0.2") == (True, "10.0.0.9")
    assert [was_ended(peer) for _, peer in pairs] == [False, True, False, False, False]
    assert entrance.arrived(pairs[4][0], "10.0.0.3") == (True, "10.0.0.1"), "of equals the oldest"
    assert was_ended(pairs[0][1])


def test_who_has_asked_stays_and_who_was_rejected_does_not(pairs: Pairs) -> None:
    entrance = Threshold(2)
    for ours, _ in pairs[:2]:
        entrance.arrived(ours, "10.0.0.1")
        entrance.asked(ours)
    assert entrance.arrived(pairs[2][0], "10.0.0.2") == (False, None)
    entrance.asked(pairs[1][0], rejected=True)
    assert entrance.arrived(pairs[2][0], "10.0.0.2") == (True, "10.0.0.1")
    assert [was_ended(peer) for _, peer in pairs[:3]] == [False, True, False]
    for ours, _ in pairs[:3]:
        entrance.gone(ours)
        entrance.gone(ours)
    for ours, _ in pairs[:2]:
        assert entrance.arrived(ours, "10.0.0.1") == (True, None)


def test_tls_changes_no_place_and_is_ended_within_its_handshake(pairs: Pairs) -> None:
    entrance = Threshold(1)
    bare, peer = pairs[0]
    assert entrance.arrived(bare, "10.0.0.1") == (True, None)
    secure = socket.socket(fileno=bare.detach())  # as OpenSSL's wrapper does
    assert entrance.arrived(pairs[1][0], "10.0.0.2") == (True, "10.0.0.1"), "between the two"
    assert not was_ended(peer)
    entrance.became(bare, secure)
    assert was_ended(peer)
    entrance.gone(secure)
    secure.close()


def test_those_that_leave_are_bounded(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threshold, "_LEAVING", 1)
    entrance = Threshold(1)
    assert entrance.arrived(pairs[0][0], "10.0.0.1") == (True, None)
    assert entrance.arrived(pairs[1][0], "10.0.0.1") == (True, "10.0.0.1")
    assert entrance.arrived(pairs[2][0], "10.0.0.1") == (False, None), "a descriptor is not free yet"
    entrance.gone(pairs[0][0])
    assert entrance.arrived(pairs[2][0], "10.0.0.1") == (True, "10.0.0.1")
