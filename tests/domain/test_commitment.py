"""What is committed, what is not and why (PS3.4 annex J)."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset

from fiona_dagster.domain.commitment import (
    ALL_COMMITTED,
    SOME_FAILED,
    WELL_KNOWN_INSTANCE,
    CommitmentRequest,
    CommitmentTerms,
    FailureReason,
    Holding,
    Reference,
    commitment_request,
    commitment_terms,
    event_information,
    failure_of,
    next_attempt,
)
from fiona_dagster.domain.errors import ConfigurationError, Reject

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
IMAGE = Reference(CT, "1.2.3.1")


def asked(transaction: str | None = "1.2.9", *references: Reference) -> Dataset:
    """The Action Information of an N-ACTION."""
    information = Dataset()
    if transaction is not None:
        information.TransactionUID = transaction
    items = []
    for one in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.sop_class_uid, one.sop_instance_uid
        items.append(item)
    if items:
        information.ReferencedSOPSequence = items
    return information


def holding(**changes: Any) -> Holding:
    values: dict[str, Any] = {"sop_class_uid": CT, "aside": False, "purged": False, "on_disk": True}
    return Holding(**{**values, **changes})


@pytest.mark.parametrize(
    ("holdings", "failure"),
    [
        ([holding()], None),
        ([], 0x0112),
        ([holding(purged=True)], 0x0112),
        ([holding(sop_class_uid=MR)], 0x0119),
        ([holding(on_disk=False)], 0x0110),
        ([holding(aside=True)], 0x0110),
        ([holding(), holding(aside=True)], 0x0110),
        ([holding(purged=True, aside=True), holding()], None),
    ],
)
def test_only_what_lies_there_alone_under_its_uid_is_committed(
    holdings: list[Holding], failure: int | None
) -> None:
    assert failure_of(IMAGE, holdings) == failure


def test_a_request_names_its_transaction_and_instances() -> None:
    found = commitment_request(1, WELL_KNOWN_INSTANCE, asked("1.2.9", IMAGE))
    assert found == CommitmentRequest("1.2.9", (IMAGE,))


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    ("action", "instance", "transaction", "reference", "status"),
    [
        (2, WELL_KNOWN_INSTANCE, "1.2.9", IMAGE, 0x0123),
        (None, WELL_KNOWN_INSTANCE, "1.2.9", IMAGE, 0x0123),
        (1, "1.2.3", "1.2.9", IMAGE, 0x0112),
        (1, WELL_KNOWN_INSTANCE, None, IMAGE, 0x0115),
        (1, WELL_KNOWN_INSTANCE, "1.2.9", None, 0x0115),
        (1, WELL_KNOWN_INSTANCE, "1.2.9", Reference(CT, "../1"), 0x0115),
        (1, WELL_KNOWN_INSTANCE, "1.2.9", Reference("", "1.2"), 0x0115),
    ],
)
def test_what_cannot_be_answered_is_refused(
    action: int | None, instance: str, transaction: str | None, reference: Reference | None, status: int
) -> None:
    information = asked(transaction, *([reference] if reference else []))
    with pytest.raises(Reject) as refused:
        commitment_request(action, instance, information)
    assert refused.value.status == status


def test_a_report_has_what_is_committed_and_what_is_not_apart() -> None:
    other = Reference(MR, "1.2.3.2")
    kind, report = event_information("1.2.9", [(IMAGE, None), (other, FailureReason.NO_SUCH_OBJECT_INSTANCE)])
    assert (kind, report.TransactionUID) == (SOME_FAILED, "1.2.9")
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == ["1.2.3.1"]
    assert [item.FailureReason for item in report.FailedSOPSequence] == [0x0112]
    kind, report = event_information("1.2.9", [(IMAGE, None)])
    assert kind == ALL_COMMITTED
    assert "FailedSOPSequence" not in report


def test_a_report_is_tried_less_and_less_often_and_given_up_after_a_day() -> None:
    terms = CommitmentTerms()
    now, waits = 0.0, []
    for attempts in range(1, 100):
        again = next_attempt(attempts, requested_at=0.0, now=now, terms=terms)
        if again is None:
            break
        waits.append(again - now)
        now = again
    assert waits[:7] == [10.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 1800.0]
    assert 86_400 <= now < 86_400 + 1800


def test_a_clock_that_jumps_ahead_gives_no_report_up_at_once() -> None:
    assert next_attempt(1, requested_at=0.0, now=1e9, terms=CommitmentTerms()) == 1e9 + 10


def test_a_site_says_who_gets_reports_where() -> None:
    one = {"AETITLE": "CT1", "IP": "10.0.0.1", "PORT": 104}
    section = {"STORAGECOMMITMENT": {"SAMEASSOCIATION": False, "GIVEUPHOURS": 2, "REQUESTERS": [one]}}
    assert commitment_terms(section, place="x") == (
        CommitmentTerms(same_association=False, give_up_seconds=7200.0),
        [one],
    )
    assert commitment_terms({}, place="x") == (CommitmentTerms(), [])


@pytest.mark.parametrize(
    "section",
    [
        {"SAMEASSOCIATION": "no"},
        {"GIVEUPHOURS": -1},
        {"REQUESTER": []},
        {"REQUESTERS": [{"AETITEL": "CT1"}]},
    ],
)
def test_a_section_that_is_not_understood_does_not_load(section: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        commitment_terms({"STORAGECOMMITMENT": section}, place="x")
