"""A verified study to an archive: ask what it has, send what is missing or has changed, ask again (law 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from fiona_dagster.adapters.commitment_book import CommitmentBook, digest_of
from fiona_dagster.adapters.confirmation import holdings
from fiona_dagster.adapters.dicom_scu import SendOutcome, SendReport
from fiona_dagster.adapters.image_peers import RESEARCH_PACS, ImagePeer
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.sendings import SentInstance
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.errors import (
    ConfigurationError,
    Hold,
    NotOffered,
    Permanent,
    Resting,
    Transient,
    Unreachable,
)
from fiona_dagster.domain.forwarding import (
    ConfirmedBy,
    ForwardReceipt,
    Holdings,
    SendingState,
    SentState,
    Unconfirmed,
    changed,
    confirm,
    difference,
    leftovers,
    missing,
    strangers,
)
from fiona_dagster.domain.image_destinations import Confirm
from fiona_dagster.domain.verification import VerifiedStudy

ROUNDS = 3
"""How often in one attempt that is sent again which the archive says it has not, that alone."""
BACKSTOP_SECONDS = 3600.0
"""Of many transfers that wait for an archive one tries it again; the others are woken by its success, or by this."""
CANCEL_SECONDS = 2.0
"""As often at most the ledger is asked whether a person took the transfer out of the queue."""


class CancelledError(Exception):
    """A person took the transfer out of the destination's queue while it was being sent."""


def bring(
    verified: VerifiedStudy, archive: ImagePeer, *, transfer_id: int, identity: str, ledger: Ledger,
    clock: Callable[[], float],
) -> ForwardReceipt:  # fmt: skip
    """`Forwarding.forward`, if the archive is not left alone just now; the queue knows how it ended.

    Raises:
        Resting: it is left alone.
        CancelledError: a person decided otherwise meanwhile.
        Hold, Transient, Permanent, ConfigurationError: see `Forwarding.forward`.
    """
    key = archive.key
    try:
        ledger.breakers.admit(key, now=clock())
    except Resting as error:
        ledger.sendings.postpone(transfer_id, key, until=error.until + BACKSTOP_SECONDS)
        raise
    settle = partial(ledger.sendings.settle, transfer_id, key, total=len(verified.instances))
    work = Forwarding(
        verified, archive, transfer_id=transfer_id, identity=identity, ledger=ledger, clock=clock
    )
    try:
        receipt = work.forward()
    except Unconfirmed as error:  # it is not dead: the sensors' back-off alone decides about the next try
        ledger.breakers.reached(key, now=clock())
        settle(SendingState.WAITING, now=clock(), reason=str(error), confirmed=work.confirmed)
        raise
    except (Transient, ConfigurationError) as error:
        settle(SendingState.WAITING, now=clock(), reason=str(error), confirmed=work.confirmed)
        alone = not isinstance(error, Transient) or isinstance(error, Unreachable)
        ledger.breakers.failed(key, transfer_id, now=clock(), unreachable=alone, reason=str(error))
        raise
    except CancelledError:
        ledger.breakers.reached(key, now=clock())
        raise
    except (Hold, Permanent) as error:
        ledger.breakers.reached(key, now=clock())
        settle(SendingState.FAILED, now=clock(), reason=str(error), confirmed=work.confirmed)
        raise
    ledger.breakers.reached(key, now=clock())
    settle(
        SendingState.CONFIRMED, now=clock(), reason=receipt.note, confirmed=receipt.confirmed,
        confirmed_by=receipt.confirmed_by,
    )  # fmt: skip
    return receipt


def is_there(verified: VerifiedStudy, archive: ImagePeer, *, transfer_id: int, ledger: Ledger) -> bool:
    """Whether the archive confirmed these very copies for the present request, so that it need not be asked."""
    row = ledger.sendings.of_transfer(transfer_id).get(archive.key)
    if row is None or row.state is not SendingState.CONFIRMED:
        return False
    given = ledger.deliveries.given_for(transfer_id, archive.key)
    return all(
        one.sop_instance_uid in given and given[one.sop_instance_uid].sha256 == one.sha256
        for one in verified.instances
    )


class Forwarding:
    """One transfer on its way to one archive.

    Args:
        verified: the copies.
        archive: where they go.
        transfer_id: of the ledger.
        identity: for whom and by which policy the copies were made (`ReleaseRequest.identity`).
        ledger: what is known of copies that an archive was given, and what becomes of these.
        clock: seconds since the epoch.
    """

    def __init__(
        self, verified: VerifiedStudy, archive: ImagePeer, *, transfer_id: int, identity: str, ledger: Ledger,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._verified, self._archive, self._transfer_id = verified, archive, transfer_id
        self._identity, self._ledger, self._clock = identity, ledger, clock
        self._released = {str(one.sop_instance_uid): one.sha256 for one in verified.instances}
        self._kinds = {str(one.sop_instance_uid): one.sop_class_uid for one in verified.instances}
        self.confirmed = 0
        """How many instances it has, whatever became of the others."""
        self._asked_at, self._cancelled, self._queried = 0.0, False, True
        self._sent_at: dict[str, float] = {}
        self._book = CommitmentBook(
            ledger.asked_commitments, transfer_id, archive.key,
            digest_of(ledger.transfers.get(transfer_id).generation, self._released), clock,
        )  # fmt: skip

    def forward(self) -> ForwardReceipt:
        """Bring the copies there, and return only when the archive confirms all of them.

        Raises:
            Hold: it has copies under the same UIDs that are not this transfer's, or refuses to replace them.
            CancelledError: a person decided otherwise meanwhile.
            Transient: it is down, or does not (yet) show everything that it accepted.
            Permanent: it refuses for good.
            ConfigurationError: a certificate, a secret or an address must be mended.
        """
        archive = self._archive
        before = self._before()
        given = self._ledger.deliveries.given(archive.key, self._released.keys() & before)
        other = strangers(self._released, before, given, self._transfer_id)
        if other:
            whose = {given[uid].transfer_id if uid in given else None for uid in other}
            raise Hold(f"{archive.key} holds {len(other)} instance(s) " + self._advice(whose))
        again = changed(self._released, before, given)
        failed = (
            self._released.keys() & self._book.said().failed.keys()
        )  # it shows them, and does not keep them
        due = missing(frozenset(self._released), before) | again | failed
        held, report = Holdings(before, ConfirmedBy.QUERY), None
        if due or not self._queried or archive.confirm is Confirm.COMMITMENT:
            held, report = self._send_until_confirmed(due, again)
        refused = {one.sop_instance_uid for one in report.failed} if report else set()
        there = (self._released.keys() & held.uids) - refused
        self.confirmed = len(there)
        self._note(SentState.CONFIRMED, there)
        if report is not None:
            report.raise_for_failures()
        mine = self._ledger.deliveries.given_for(self._transfer_id, archive.key)
        note = difference(
            str(archive),
            replaced=sum(one.over_another for uid, one in mine.items() if uid in self._released),
            left=self._left(leftovers(self._released, mine)),
        )
        warning = f"{archive}: {held.by.warning}" if held.by.warning else ""
        return replace(
            confirm(
                transfer_id=self._transfer_id, revision=self._verified.revision, destination=str(archive),
                released=frozenset(self._released), present_before=before, present_after=held.uids,
                at=self._clock(), sent_again=again, note="; ".join(filter(None, (note, warning))),
            ),
            confirmed_by=held.by.value,
        )  # fmt: skip

    def _advice(self, whose: set[int | None]) -> str:
        """What to do about copies in the way; `whose`: the transfers they were given for, None where unknown."""
        retirements = self._ledger.retirements
        amended = whose <= retirements.replaced_by(self._transfer_id) and all(
            retirements.places_given(one) == [self._archive.key] for one in whose if one is not None
        )  # only then `retirement.carry_out` looks for all of them, and has this one go on
        if amended and self._archive.name == RESEARCH_PACS:
            return (
                "of the wrong assignment that this one replaces: delete them there; this goes on by itself, within "
                "about an hour after it shows them no more"
            )
        return (
            "under the UIDs of this copy that were made for another participant or event, or not by this gateway: "
            "delete them there, then resend; `fiona amend` corrects a wrong assignment"
        )

    def _before(self) -> frozenset[str]:
        """What the archive holds of the study; of one that cannot be asked, what it confirmed in other ways."""
        self._queried = True
        try:
            return self._archive.instances(self._verified.study_instance_uid)
        except NotOffered:
            self._queried = False
            known = self._ledger.sendings.instances(self._transfer_id, self._archive.key)
            said = self._book.said()  # what is asked for and not answered yet is not sent again meanwhile
            held = {one.sop_instance_uid for one in known if one.state is SentState.CONFIRMED}
            return frozenset(held | (said.committed.keys() | said.awaited.keys()) & self._released.keys())

    def _send_until_confirmed(
        self, due: frozenset[str], again: frozenset[str]
    ) -> tuple[Holdings, SendReport | None]:
        """Send what is due; then, that alone which the archive says it has not, unless it refused it."""
        accepted = self._accepted_before()
        last: dict[str, SendOutcome] = {}
        for _ in range(ROUNDS):
            if due:
                last |= {one.sop_instance_uid: one for one in self._send(due, again).outcomes}
                accepted |= {uid for uid, one in last.items() if one.stored}
                _hold_where_the_old_stays(SendReport(tuple(last.values())), again, self._archive.key)
            held = holdings(
                self._archive, self._verified.study_instance_uid, self._kinds, frozenset(accepted),
                self._ledger.breakers, self._clock, self._book, self._sent_at,
            )  # fmt: skip
            lacking = missing(frozenset(self._released), held.uids)
            self._note(SentState.LACKING, lacking & accepted)
            due = frozenset(uid for uid in lacking if uid not in last or last[uid].stored or last[uid].retry)
            if not due:
                break
        # one that was refused because it is there already has arrived, unless it was to replace something
        there = held.uids - again
        return held, SendReport(tuple(one for uid, one in last.items() if one.stored or uid not in there))

    def _accepted_before(self) -> set[str]:
        known = self._ledger.sendings.instances(self._transfer_id, self._archive.key)
        good = (SentState.CONFIRMED, SentState.ACCEPTED, SentState.WARNED)
        return {one.sop_instance_uid for one in known if one.state in good}

    def _send(self, due: frozenset[str], again: frozenset[str]) -> SendReport:
        wanted = {uid: self._released[uid] for uid in due}
        deliveries = self._ledger.deliveries
        deliveries.note_sending(
            self._transfer_id, self._archive.key, self._identity, wanted, now=self._clock(),
            study_instance_uid=self._verified.study_instance_uid, over=again,
        )  # fmt: skip
        paths = [
            self._verified.folder / one.path
            for one in self._verified.instances if one.sop_instance_uid in due
        ]  # fmt: skip
        outcomes: list[SendOutcome] = []
        self._sent_at |= dict.fromkeys(due, self._clock())
        try:
            report = self._archive.send(paths, progress=outcomes.append, stop=self._stop)
        finally:
            self._record(outcomes, wanted)
        if self._cancelled:
            raise CancelledError
        return report

    def _record(self, outcomes: list[SendOutcome], wanted: dict[str, str]) -> None:
        key = self._archive.key
        self._ledger.deliveries.note_accepted(
            key, {one.sop_instance_uid: wanted[one.sop_instance_uid] for one in outcomes if one.stored}
        )
        self._ledger.sendings.note_instances(
            self._transfer_id, key, [_sent(one) for one in outcomes if one.sop_instance_uid],
            now=self._clock(), sent=True,
        )  # fmt: skip

    def _note(self, state: SentState, uids: Iterable[str]) -> None:
        self._ledger.sendings.note_instances(
            self._transfer_id, self._archive.key, [SentInstance(uid, state) for uid in sorted(uids)],
            now=self._clock(), sent=False,
        )  # fmt: skip

    def _stop(self) -> bool:
        now = self._clock()
        if not self._cancelled and abs(now - self._asked_at) >= CANCEL_SECONDS:
            self._asked_at = now
            self._cancelled = self._ledger.sendings.is_cancelled(self._transfer_id, self._archive.key)
        return self._cancelled

    def _left(self, gone: dict[str, frozenset[str]]) -> int:
        """How many instances it still holds of those that are not released any more; asks for each older study.

        Of an archive that cannot be asked, what it was given counts as what it holds.
        """
        study = self._verified.study_instance_uid
        return sum(
            len(uids & self._archive.instances(older or study) if self._queried else uids)
            for older, uids in gone.items()
        )


def _sent(one: SendOutcome) -> SentInstance:
    state = SentState.REFUSED
    if one.stored:
        state = SentState.WARNED if one.problem else SentState.ACCEPTED
    return SentInstance(one.sop_instance_uid, state, one.status, one.problem, one.retry, one.sent_as)


def _hold_where_the_old_stays(report: SendReport, again: frozenset[str], here: str) -> None:
    """A PACS that refuses nothing but what it holds already will refuse it at every try."""
    refused = [one for one in report.failed if one.sop_instance_uid in again and _is_refusal(one.status)]
    if refused and len(refused) == len(report.failed):
        raise Hold(
            f"{here} refuses {len(refused)} changed instance(s) in place of those that it holds: delete them there, "
            "then resend"
        )


def _is_refusal(status: int | None) -> bool:
    return status is not None and status >> 8 != Status.OUT_OF_RESOURCES >> 8
