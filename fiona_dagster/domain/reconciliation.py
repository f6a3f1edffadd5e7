"""Four accounts of the same studies joined: REDCap's Incoming, what was received, what was released, the research PACS.

FIONA compared none of them (getAllPatients2, parseAllPatients, whatIsInIDS7 and whatIsNotInIDS7 only copied the
archive's answers into REDCap). What one account says and another does not is a `Difference`, with who acts and how.
An account that was not read is unknown, not empty: nothing is said of what it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fiona_dagster.domain.registration import TransferStatus
from fiona_dagster.domain.transfer import TransferState

CONFIRMED = (TransferState.FORWARDED, TransferState.DELIVERED)
EXPECTED_STATUS: Mapping[TransferState, TransferStatus] = {
    TransferState.FORWARDED: TransferStatus.DONE,
    TransferState.DELIVERED: TransferStatus.DONE,
    TransferState.HELD: TransferStatus.FAILED,
    TransferState.FAILED: TransferStatus.FAILED,
    TransferState.RETIRED: TransferStatus.CANCELLED,
}
"""What Incoming says of a transfer that rests; one that is worked on may have any status."""


class Kind(StrEnum):
    """What does not agree."""

    NOT_REGISTERED = "received, not in REDCap"
    NOT_RECEIVED = "in REDCap, not received"
    OTHER_COUNT = "another number of images in REDCap"
    UNANSWERED = "requested in REDCap, not taken up"
    NEVER_CAME = "in the coupling list, never came"
    UNASSIGNED = "received, assigned to no project"
    NOT_RELEASED = "assigned, not released"
    TRANSFER_MISSING = "transfer is not in REDCap"
    OTHER_STATUS = "another status of the transfer in REDCap"
    OTHER_COPY = "REDCap names another copy"
    NOT_IN_PACS = "released, not in the research PACS"
    FEWER_IN_PACS = "fewer images in the research PACS than released"
    MORE_IN_PACS = "more images in the research PACS than released"
    OTHER_PROJECT = "under another project in the research PACS"
    RETIRED_IN_PACS = "taken back, still in the research PACS"
    STRANGER_IN_PACS = "in the research PACS, released by nobody"


IN_REDCAP = frozenset({
    Kind.NOT_REGISTERED, Kind.NOT_RECEIVED, Kind.OTHER_COUNT, Kind.UNANSWERED, Kind.TRANSFER_MISSING,
    Kind.OTHER_STATUS, Kind.OTHER_COPY,
})  # fmt: skip
"""Differences that only one who has read Incoming can see."""
IN_ARCHIVE = frozenset({
    Kind.NOT_IN_PACS, Kind.FEWER_IN_PACS, Kind.MORE_IN_PACS, Kind.OTHER_PROJECT, Kind.RETIRED_IN_PACS,
    Kind.STRANGER_IN_PACS,
})  # fmt: skip
"""Differences that only one whom the research PACS answered can see."""

NEXT_ACTIONS: Mapping[Kind, tuple[str, str]] = {
    Kind.NOT_REGISTERED: ("gateway", "materialise incoming_record of the study again; see its last run"),
    Kind.NOT_RECEIVED: ("data manager", "have the source send the study again, or delete the record"),
    Kind.OTHER_COUNT: ("gateway", "materialise incoming_record of the study again"),
    Kind.UNANSWERED: ("data manager", "see that the study is here (else have it sent), and the decisions sensor is on"),
    Kind.NEVER_CAME: ("data manager", "ask the department whether it was sent, and check the accession number"),
    Kind.UNASSIGNED: ("data manager", "assign it: `fiona assign`, or give it up: `fiona give-up`"),
    Kind.NOT_RELEASED: ("data manager", "read the reason: `fiona status`; then `fiona release`, resend or give up"),
    Kind.TRANSFER_MISSING: ("gateway", "`fiona resend` the study: REDCap is told again"),
    Kind.OTHER_STATUS: ("data manager", "find who changed it in Incoming; `fiona resend` tells REDCap again"),
    Kind.OTHER_COPY: ("data manager", "find who changed it in Incoming; `fiona resend` tells REDCap again"),
    Kind.NOT_IN_PACS: ("PACS administrator", "find out who deleted it; `fiona resend` sends it again"),
    Kind.FEWER_IN_PACS: ("PACS administrator", "find out who deleted images; `fiona resend` sends what is missing"),
    Kind.MORE_IN_PACS: ("PACS administrator", "see whether a result was added there; else delete what is not ours"),
    Kind.OTHER_PROJECT: ("PACS administrator", "withhold it from both; `fiona amend`, or correct it there"),
    Kind.RETIRED_IN_PACS: ("PACS administrator", "delete it there; `fiona withdraw --project P` shows the receipts"),
    Kind.STRANGER_IN_PACS: ("PACS administrator", "find its sender, it may hold names: `fiona reconcile --show N`"),
}  # fmt: skip
"""Who acts, and how."""


@dataclass(frozen=True)
class ReceivedStudy:
    """The ledger's account of a study. `images`: in its classified series."""

    key: str
    study_instance_uid: str = field(repr=False)
    images: int
    registered: bool
    routed: bool
    given_up: bool = False
    accession_number: str = field(default="", repr=False)


@dataclass(frozen=True)
class LedgerTransfer:
    """The ledger's account of a transfer.

    `requested`: `YYYY-mm-dd HH:MM`; `copies`: Study Instance UIDs under which its copies were released or, where it is
    retired, sent.
    """

    id: int
    transfer_key: str
    study_key: str
    project: str
    participant: str = field(repr=False)
    event: str
    state: TransferState
    requested: str
    copies: tuple[str, ...] = field(default=(), repr=False)
    given_up: bool = False


@dataclass(frozen=True)
class RegisteredTransfer:
    """A row of Incoming's `transfers`. `pending`: it asks for work (`registration.is_pending`)."""

    transfer_key: str
    project: str
    participant: str = field(repr=False)
    event: str
    status: TransferStatus | None
    requested: str
    pending: bool
    copies: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class RegisteredRow:
    """Incoming's account of a study. `ours`: this gateway wrote it; FIONA's old rows are nobody's work."""

    study_instance_uid: str = field(repr=False)
    images: int | None
    ours: bool
    transfers: tuple[RegisteredTransfer, ...] = ()


@dataclass(frozen=True)
class ArchivedStudy:
    """The research PACS's account of a study; `images` is None where it was not counted."""

    study_instance_uid: str = field(repr=False)
    project: str
    images: int | None


@dataclass(frozen=True)
class ExpectedStudy:
    """An entry of the coupling list that is due; `study_instance_uid` and `accession_number` may be empty."""

    record_id: str
    project: str
    accession_number: str = field(repr=False)
    study_instance_uid: str = field(repr=False)


@dataclass(frozen=True)
class Accounts:
    """What is compared. None: that account was not read.

    Attributes:
        released: distinct SOP Instances of confirmed copies, by their Study Instance UID.
        sent: Study Instance UIDs of everything that the research PACS was ever sent.
        archived: by Study Instance UID.
        gone: Study Instance UIDs that the research PACS positively does not have.
        unsettled: ledger keys of studies that are worked on just now: nothing is said of them.
    """

    studies: Sequence[ReceivedStudy]
    transfers: Sequence[LedgerTransfer]
    released: Mapping[str, int] = field(repr=False)
    sent: Collection[str] = field(repr=False)
    registered: Mapping[str, RegisteredRow] | None = field(default=None, repr=False)
    archived: Mapping[str, ArchivedStudy] | None = field(default=None, repr=False)
    gone: Collection[str] = field(default=frozenset(), repr=False)
    expected: Sequence[ExpectedStudy] = ()
    unsettled: Collection[str] = frozenset()
    settled_minute: str = "9999"
    """`YYYY-mm-dd HH:MM`: what was requested later than this may wait still."""


@dataclass(frozen=True, order=True)
class Difference:
    """Something on which two accounts do not agree.

    `uid` is a Study Instance UID, perhaps the hospital's: it is kept in the ledger and shown to nobody unasked.
    """

    kind: Kind
    study_key: str = ""
    transfer_id: int = 0
    project: str = ""
    detail: str = ""
    uid: str = field(default="", repr=False)

    @property
    def owner(self) -> str:
        """Who acts."""
        return NEXT_ACTIONS[self.kind][0]

    @property
    def next_action(self) -> str:
        """What is to be done."""
        return NEXT_ACTIONS[self.kind][1]


def differences(accounts: Accounts) -> list[Difference]:
    """Every difference, in order of kind; none of what is worked on, or of an account that was not read."""
    found = [
        *_received(accounts),
        *(_registered(accounts, accounts.registered) if accounts.registered is not None else ()),
        *(_archived(accounts, accounts.archived) if accounts.archived is not None else ()),
    ]
    order = list(Kind)
    return sorted(set(found), key=lambda one: (order.index(one.kind), one))


def _received(accounts: Accounts) -> Iterator[Difference]:
    """Received against released and coupling list: what the ledger alone shows."""
    assigned = {one.study_key for one in accounts.transfers}
    for study in accounts.studies:
        if study.key in accounts.unsettled or study.given_up:
            continue
        if study.routed and study.key not in assigned:
            yield Difference(Kind.UNASSIGNED, study.key, uid=study.study_instance_uid)
    for one in accounts.transfers:
        waits = one.state in (TransferState.HELD, TransferState.FAILED) and not one.given_up
        if waits and one.study_key not in accounts.unsettled:
            yield Difference(Kind.NOT_RELEASED, one.study_key, one.id, one.project, one.state.value)
    uids = {one.study_instance_uid for one in accounts.studies}
    accessions = {one.accession_number for one in accounts.studies} - {""}
    for entry in accounts.expected:
        if entry.study_instance_uid not in uids and entry.accession_number not in accessions:
            yield Difference(Kind.NEVER_CAME, project=entry.project, detail=f"entry {entry.record_id}")


def _registered(accounts: Accounts, registered: Mapping[str, RegisteredRow]) -> Iterator[Difference]:
    """Received against Incoming, study by study and transfer by transfer."""
    by_study: dict[str, list[LedgerTransfer]] = {}
    for transfer in accounts.transfers:
        by_study.setdefault(transfer.study_key, []).append(transfer)
    for study in accounts.studies:
        if study.key not in accounts.unsettled:
            row = registered.get(study.study_instance_uid)
            yield from _study(study, row, by_study.get(study.key, []), accounts.settled_minute)
    received = {one.study_instance_uid for one in accounts.studies}
    for uid, row in registered.items():
        if uid not in received:
            if row.ours:
                yield Difference(Kind.NOT_RECEIVED, uid=uid)
            for wanted in _due(row, accounts.settled_minute):
                yield Difference(Kind.UNANSWERED, project=wanted.project, uid=uid)


def _study(
    study: ReceivedStudy, row: RegisteredRow | None, mine: Sequence[LedgerTransfer], settled_minute: str
) -> Iterator[Difference]:
    uid = study.study_instance_uid
    if row is None:
        if study.registered or not study.given_up:
            yield Difference(Kind.NOT_REGISTERED, study.key, uid=uid)
        return
    if study.registered and row.images != study.images:
        told = "no number" if row.images is None else str(row.images)
        yield Difference(
            Kind.OTHER_COUNT, study.key, detail=f"{study.images} received, REDCap has {told}", uid=uid
        )
    for one in mine:
        yield from _transfer(one, row)
    for wanted in _due(row, settled_minute):
        if not any(_same(one, wanted) and wanted.requested <= one.requested for one in mine):
            yield Difference(Kind.UNANSWERED, study.key, project=wanted.project, uid=uid)


def _due(row: RegisteredRow, settled_minute: str) -> list[RegisteredTransfer]:
    return [one for one in row.transfers if one.pending and one.requested < settled_minute]


def _transfer(one: LedgerTransfer, row: RegisteredRow) -> Iterator[Difference]:
    told = [wanted for wanted in row.transfers if _same(one, wanted)]
    if not told:
        yield Difference(Kind.TRANSFER_MISSING, one.study_key, one.id, one.project)
        return
    right = EXPECTED_STATUS.get(one.state)
    if right is None or any(wanted.pending for wanted in told):
        return
    if all(wanted.status != right for wanted in told):
        status = told[0].status
        says = "nothing" if status is None else status.name.lower()
        detail = f"{one.state.value} here, REDCap says {says}"
        yield Difference(Kind.OTHER_STATUS, one.study_key, one.id, one.project, detail)
    elif one.state in CONFIRMED and all(set(wanted.copies) != set(one.copies) for wanted in told):
        yield Difference(Kind.OTHER_COPY, one.study_key, one.id, one.project)


def _archived(accounts: Accounts, archived: Mapping[str, ArchivedStudy]) -> Iterator[Difference]:
    """Released against the research PACS. What it neither has nor denies is unknown."""
    busy = {
        uid
        for one in accounts.transfers
        if one.study_key in accounts.unsettled or one.state not in (*CONFIRMED, TransferState.RETIRED)
        for uid in one.copies
    }
    live = {uid for one in accounts.transfers if one.state in CONFIRMED for uid in one.copies}
    for one in accounts.transfers:
        for uid in one.copies:
            if uid in busy:
                continue
            there = archived.get(uid)
            who = (one.study_key, one.id, one.project)
            if one.state is TransferState.RETIRED:
                if there is not None and uid not in live:
                    yield Difference(Kind.RETIRED_IN_PACS, *who, _images(there.images), uid)
            elif there is None:
                if uid in accounts.gone:
                    yield Difference(Kind.NOT_IN_PACS, *who, f"{accounts.released.get(uid, 0)} released", uid)
            else:
                yield from _copy(accounts.released.get(uid, 0), there, who)
    told = {
        uid
        for row in (accounts.registered or {}).values()
        for wanted in row.transfers
        for uid in wanted.copies
    }
    for uid, there in archived.items():
        # without Incoming nobody can tell FIONA's older copies from strangers
        if accounts.registered is not None and uid not in accounts.sent and uid not in told:
            yield Difference(Kind.STRANGER_IN_PACS, detail=_images(there.images), uid=uid)


def _copy(released: int, there: ArchivedStudy, who: tuple[str, int, str]) -> Iterator[Difference]:
    if there.images is not None and there.images != released:
        kind = Kind.FEWER_IN_PACS if there.images < released else Kind.MORE_IN_PACS
        yield Difference(kind, *who, f"{released} released, {there.images} there", there.study_instance_uid)
    if there.project and there.project != who[2]:
        yield Difference(Kind.OTHER_PROJECT, *who, uid=there.study_instance_uid)


def _same(one: LedgerTransfer, wanted: RegisteredTransfer) -> bool:
    return bool(wanted.transfer_key and wanted.transfer_key == one.transfer_key) or (
        (one.project, one.participant, one.event) == (wanted.project, wanted.participant, wanted.event)
    )


def _images(number: int | None) -> str:
    return "" if number is None else f"{number} image(s) there"
