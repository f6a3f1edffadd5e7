"""Who comes in: each Association is judged by the site's rules and limits, watched while it is open, and counted out.

The rules are pure (`domain.access`, `domain.limits`); here they meet connections.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fiona_dagster.adapters.dicom_scu.acse import own_pass_of
from fiona_dagster.domain.access import (
    ALL_SERVICES,
    Call,
    Rejection,
    Service,
    admit_call,
    certificate_names,
    service_of,
)
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.limits import Allowance
from fiona_dagster.domain.receiver import ReceiverSettings
from fiona_dagster.domain.reception import Peer, is_enabled
from scp_listener import pynetdicom_hooks
from scp_listener.occupancy import Place
from scp_listener.streamed_association import hang_up, peer_of
from scp_listener.threshold import Threshold
from scp_listener.tls import SecureSocket

NEGOTIATION_SECONDS = 60.0
"""A connection that has not become an Association after so long is ended."""
_CONNECTIONS_FOR_EACH = 2
_SPARE_CONNECTIONS = 16
"""Connections beyond Associations: those that are being negotiated, and those that are told that there is no room."""

_ROOM_SECONDS = 0.1
"""For so long a disk that had room is not asked again."""

Refuse = Callable[[Status, str, Peer], None]


@dataclass
class _Guest:
    """A connection. Times by the monotonic clock."""

    since: float
    began: bool = False
    """Its Association's thread was started; `Thread.ident` and `is_alive` say nothing of one that is starting."""
    address: str = ""
    entered: bool = False
    services: frozenset[Service] = ALL_SERVICES
    message_since: float | None = None
    connection: socket.socket | None = None


@dataclass
class _Rates:
    bytes: Allowance
    objects: Allowance
    turn: threading.Lock = field(default_factory=threading.Lock)

    def is_whole(self, now: float) -> bool:
        """Whether nothing would be forgotten with it; else who hangs up and calls again could send more."""
        return self.bytes.is_whole(now) and self.objects.is_whole(now)


class Door:
    """One for each process of a listener; `control` is FIONA's control file as it reads now, `is_pass` uses a pass of
    the gateway itself up."""

    def __init__(
        self,
        settings: ReceiverSettings,
        place: Place,
        refuse: Refuse,
        control: Callable[[], str | None],
        *,
        share: int,
        is_pass: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._rules, self.limits = settings.access, settings.limits
        self._place, self._refuse, self.control, self._share = place, refuse, control, share
        self._is_pass = is_pass
        self._guests: dict[Any, _Guest] = {}
        self._rates: dict[str, _Rates] = {}
        self._turn = threading.Lock()
        self._room_until = 0.0
        self.threshold = Threshold(self.limits.associations * _CONNECTIONS_FOR_EACH + _SPARE_CONNECTIONS)

    def connected(self, association: Any) -> None:
        """Somebody has connected."""
        connection: socket.socket = association.dul.socket.socket
        connection.settimeout(self.limits.idle_seconds)  # for a peer that vanishes within a PDU
        with self._turn:
            self._guests[association] = _Guest(time.monotonic(), connection=connection)

    def begun(self, association: Any) -> None:
        """The thread of a connection was started: from now on it has ended where it is not alive."""
        with self._turn:
            guest = self._guests.get(association)
            if guest is not None:
                guest.began = True

    def closed(self, association: Any) -> None:
        """A connection has ended; its Association is counted out by `sweep`."""
        guest = self._guests.get(association)
        if guest is not None and guest.connection is not None:
            self.threshold.gone(guest.connection)

    def requested(self, association: Any) -> bool:
        """An Association is asked for: whether it may go on, with what it may do; else it was rejected."""
        connection = association.dul.socket.socket
        self.threshold.asked(connection)
        verdict = self._verdict(association)
        if not isinstance(verdict, Rejection):
            with self._turn:
                guest = self._guests.setdefault(association, _Guest(time.monotonic()))
            guest.services = verdict
            if verdict != ALL_SERVICES:
                pynetdicom_hooks.accept_only(association, lambda uid: service_of(uid) in verdict)
            return True
        full = verdict in (Rejection.TOO_MANY, Rejection.TOO_MANY_OF_PEER)
        status = Status.OUT_OF_RESOURCES if full else Status.REFUSED_NOT_AUTHORISED
        self._refuse(status, verdict.reason, peer_of(association))
        association.acse.send_reject(*verdict.codes)
        association.kill()  # returns when the rejection is sent
        self.threshold.asked(connection, rejected=True)
        return False

    def may(self, association: Any, service: Service) -> bool:
        """Whether an Association may use a service."""
        guest = self._guests.get(association)
        return guest is not None and service in guest.services

    def has_room(self, folder: Path, *, more: int = 0) -> bool:
        """Whether the disk of `folder` is far enough from full for new instances, `more` bytes where that is known."""
        now = time.monotonic()
        if now < self._room_until and not more:
            return True
        disk = os.statvfs(folder)
        free = max(0, disk.f_bavail * disk.f_frsize - more)
        room = self.limits.has_room(free, disk.f_blocks * disk.f_frsize)
        if not more:
            self._room_until = now + _ROOM_SECONDS if room else 0.0
        return room

    def enter(self, address: str) -> Rejection | None:
        """Count in an Association of `address`, or what else counts as one; why there is no room for it."""
        limits = self.limits
        full = self._place.enter(address, most=limits.associations, most_of_peer=limits.associations_per_peer)
        if full:
            return Rejection.TOO_MANY if full == "all" else Rejection.TOO_MANY_OF_PEER
        return None

    def leave(self, address: str) -> None:
        """Count out what was counted in."""
        self._place.leave(address)

    def message_began(self, association: Any) -> Status:
        """A data set begins: Success, or why it is not taken. Waits where the peer sends more than it may."""
        guest = self._guests.get(association)
        if guest is None:
            return Status.SUCCESS
        if Service.STORAGE not in guest.services:
            return Status.REFUSED_NOT_AUTHORISED
        guest.message_since = time.monotonic()
        if (
            self.limits.objects_per_minute
        ):  # this peer's own thread: what it sends waits in the network meanwhile
            time.sleep(self.seconds_to_wait(guest.address, objects=1))
        return Status.SUCCESS

    def message_ended(self, association: Any) -> None:
        """A data set is complete."""
        guest = self._guests.get(association)
        if guest is not None:
            guest.message_since = None

    def seconds_to_wait(self, address: str, size: int = 0, *, objects: int = 0) -> float:
        """For how long a peer that has sent `size` bytes and `objects` more is to be read no further."""
        if not (self.limits.bytes_per_second or self.limits.objects_per_minute):
            return 0.0
        now, rates = time.monotonic(), self._rates_of(address)
        with rates.turn:
            return max(rates.bytes.take(size, now), rates.objects.take(objects, now))

    def sweep(self) -> None:
        """Count out who is gone, and end what takes too long. Call it now and then."""
        self._place.beat()
        now = time.monotonic()
        with self._turn:
            guests = list(self._guests.items())
            self._rates = {address: one for address, one in self._rates.items() if not one.is_whole(now)}
        for association, guest in guests:
            if guest.began and not association.is_alive():
                self._left(association, guest)
            elif not association.is_established and now - guest.since > NEGOTIATION_SECONDS:
                hang_up(association)
                if not guest.began:  # there was no thread for it
                    self._left(association, guest)
            elif (
                guest.message_since is not None
                and self.limits.message_seconds
                and now - guest.message_since > self.limits.message_seconds
            ):
                guest.message_since = None
                self._refuse(Status.OUT_OF_RESOURCES, "a data set took too long", peer_of(association))
                hang_up(association)

    def _left(self, association: Any, guest: _Guest) -> None:
        connection = association.dul.socket.socket if association.dul.socket else None
        if connection is not None:
            connection.close()
        self.closed(association)
        with self._turn:
            self._guests.pop(association, None)
            if guest.entered:
                guest.entered = False
                self._place.leave(guest.address)

    def _verdict(self, association: Any) -> frozenset[Service] | Rejection:
        if not is_enabled(self.control()):
            return Rejection.SWITCHED_OFF
        call = _call(association)
        shown = own_pass_of(association.requestor.user_identity) if call.from_here else ""
        if shown:
            call = replace(call, is_own=self._is_pass(shown))
        contexts = association.requestor.primitive.presentation_context_definition_list
        proposed = {service_of(str(context.abstract_syntax)) for context in contexts}
        verdict = admit_call(self._rules, call, proposed)
        if isinstance(verdict, Rejection) or (call.from_here and proposed <= {Service.VERIFICATION}):
            return verdict
        full = self.enter(call.address)
        if full is not None:
            return full
        with self._turn:
            guest = self._guests.setdefault(association, _Guest(time.monotonic()))
            guest.address, guest.entered = call.address, True
        return verdict

    def _rates_of(self, address: str) -> _Rates:
        with self._turn:
            found = self._rates.get(address)
            if found is None:
                found = self._rates[address] = _Rates(
                    Allowance(self.limits.bytes_per_second / self._share),
                    Allowance(self.limits.objects_per_minute / 60 / self._share, burst_seconds=60.0),
                )
            return found


def _call(association: Any) -> Call:
    peer = peer_of(association)
    connection: socket.socket | None = association.dul.socket.socket
    secure = isinstance(connection, SecureSocket)
    return Call(
        peer.calling_ae,
        peer.called_ae,
        peer.address,
        is_tls=secure,
        names=certificate_names(connection.getpeercert())
        if isinstance(connection, SecureSocket)
        else frozenset(),
        from_here=_is_ours(peer.address, connection),
    )


def _is_ours(address: str, connection: socket.socket | None) -> bool:
    if address == "::1" or address.startswith("127."):
        return True
    try:
        return connection is not None and connection.getsockname()[0] == address
    except OSError:
        return False
