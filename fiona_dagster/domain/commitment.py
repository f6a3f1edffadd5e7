"""Storage Commitment as SCP: what we take responsibility for, and when the answer is due (PS3.4 annex J)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

from fiona_dagster.domain.configuration_values import number_of, object_of, objects_of, unknown_keys
from fiona_dagster.domain.errors import ConfigurationError, Reject
from fiona_dagster.domain.identifiers import is_safe_uid_path

if TYPE_CHECKING:
    from pydicom import Dataset

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST_COMMITMENT = 1
"""Action Type ID (PS3.4 table J.3-1)."""
ALL_COMMITTED, SOME_FAILED = 1, 2
"""Event Type IDs (PS3.4 table J.3-2)."""
INVALID_ARGUMENT_VALUE, NO_SUCH_INSTANCE, NO_SUCH_ACTION = 0x0115, 0x0112, 0x0123

COMMITMENT_KEYS = frozenset({"SAMEASSOCIATION", "GIVEUPHOURS", "REQUESTERS"})
REQUESTER_KEYS = frozenset({"AETITLE", "IP", "PORT"})

BACK_OFF_SECONDS = (10.0, 60.0, 120.0, 300.0, 900.0, 1800.0)
"""Wait after the first, second ... report that was not delivered; then half-hourly."""
FEWEST_ATTEMPTS = 10
"""However late it is by the clock, which may have been set."""
SETTLING_SECONDS, LONGEST_SETTLING_SECONDS = 3.0, 60.0
"""How long an instance that nobody knows is looked for: it may have been received and not yet be recorded."""


class FailureReason(IntEnum):
    """Failure Reason (0008,1197) of an instance that is not committed (PS3.4 table J.3-2, PS3.3 C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119


class CommitmentState(StrEnum):
    """Where a request stands."""

    PENDING = "pending"
    REPORTED = "reported"
    GIVEN_UP = "given_up"


@dataclass(frozen=True)
class CommitmentTerms:
    """How a site answers. `same_association`: the report may come on the Association of the request."""

    same_association: bool = True
    give_up_seconds: float = 86_400.0


@dataclass(frozen=True)
class Reference:
    """An instance that somebody wants committed."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class CommitmentRequest:
    """What an N-ACTION asks for."""

    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True)
class Holding:
    """One content that was received under a SOP Instance UID. `on_disk`: its file is there, as long as recorded."""

    sop_class_uid: str
    aside: bool
    purged: bool
    on_disk: bool


def commitment_terms(
    values: Mapping[str, Any], *, place: str
) -> tuple[CommitmentTerms, list[dict[str, Any]]]:
    """The section STORAGECOMMITMENT of a site, and its REQUESTERS (objects of AETITLE, IP and PORT).

    Raises:
        ConfigurationError: a key or value that cannot be understood.
    """
    section, place = object_of(values, "STORAGECOMMITMENT", place=place), f"{place}: STORAGECOMMITMENT"
    same = section.get("SAMEASSOCIATION", True)
    if not isinstance(same, bool):
        raise ConfigurationError(
            "is neither true nor false", place=f"{place}: SAMEASSOCIATION", remedy="write true or false"
        )
    requesters = objects_of(section, "REQUESTERS", place=place)
    unknown = unknown_keys(section, COMMITMENT_KEYS, place=place)
    for one in requesters:
        unknown += unknown_keys(one, REQUESTER_KEYS, place=f"{place}: REQUESTERS")
    if unknown:  # a misspelt requester would wait for its report for ever
        raise ConfigurationError(unknown[0], remedy="mend that key")
    hours = number_of(section, "GIVEUPHOURS", 24.0, place=place)
    return CommitmentTerms(same, hours * 3600.0), requesters


def commitment_request(action_type: int | None, sop_instance_uid: str, asked: Dataset) -> CommitmentRequest:
    """What an N-ACTION asks for (PS3.4 J.3.2.1).

    Raises:
        Reject: another action, or information without a Transaction UID or references.
    """
    if action_type != REQUEST_COMMITMENT:
        raise Reject(NO_SUCH_ACTION, "Storage Commitment knows no such action")
    if sop_instance_uid != WELL_KNOWN_INSTANCE:
        raise Reject(NO_SUCH_INSTANCE, "it is not the well-known instance of Storage Commitment")
    transaction = str(asked.get("TransactionUID") or "")
    if not is_safe_uid_path(transaction):
        raise Reject(INVALID_ARGUMENT_VALUE, "TransactionUID is missing or none")
    references = tuple(
        Reference(
            str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or "")
        )
        for item in asked.get("ReferencedSOPSequence") or ()
    )
    if not references:
        raise Reject(INVALID_ARGUMENT_VALUE, "ReferencedSOPSequence is missing or empty")
    for one in references:
        if not is_safe_uid_path(one.sop_class_uid) or not is_safe_uid_path(one.sop_instance_uid):
            raise Reject(INVALID_ARGUMENT_VALUE, "ReferencedSOPSequence names a UID that is none")
    return CommitmentRequest(transaction, references)


def failure_of(reference: Reference, holdings: Sequence[Holding]) -> FailureReason | None:
    """Why an instance is not committed; None where it is.

    `holdings`: everything that was received under its SOP Instance UID. Where two contents came, nobody can tell
    which one is meant, so that neither is committed.
    """
    kept = [one for one in holdings if not one.purged]
    if not kept:
        return FailureReason.NO_SUCH_OBJECT_INSTANCE
    if any(one.sop_class_uid != reference.sop_class_uid for one in kept):
        return FailureReason.CLASS_INSTANCE_CONFLICT
    if len(kept) > 1 or any(one.aside or not one.on_disk for one in kept):
        return FailureReason.PROCESSING_FAILURE
    return None


def event_information(
    transaction_uid: str, outcome: Sequence[tuple[Reference, FailureReason | None]]
) -> tuple[int, Dataset]:
    """Event Type ID and Event Information of the N-EVENT-REPORT (PS3.4 J.3.3.1).

    No Retrieve AE Title: nobody can retrieve from us.
    """
    from pydicom import Dataset

    committed, failed = [], []
    for reference, failure in outcome:
        item = Dataset()
        item.ReferencedSOPClassUID = reference.sop_class_uid
        item.ReferencedSOPInstanceUID = reference.sop_instance_uid
        if failure is None:
            committed.append(item)
        else:
            item.FailureReason = int(failure)
            failed.append(item)
    report = Dataset()
    report.TransactionUID = transaction_uid
    if committed:
        report.ReferencedSOPSequence = committed
    if failed:
        report.FailedSOPSequence = failed
    return SOME_FAILED if failed else ALL_COMMITTED, report


def next_attempt(attempts: int, *, requested_at: float, now: float, terms: CommitmentTerms) -> float | None:
    """When a report that failed `attempts` times is sent again (seconds since the epoch); None: it is given up."""
    if attempts >= FEWEST_ATTEMPTS and now - requested_at >= terms.give_up_seconds:
        return None
    return now + BACK_OFF_SECONDS[min(max(attempts, 1), len(BACK_OFF_SECONDS)) - 1]
