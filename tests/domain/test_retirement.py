"""What counts as gone, and what a person must do."""

from __future__ import annotations

import pytest

from fiona_dagster.domain.delivery import beside
from fiona_dagster.domain.retirement import (
    Cause,
    CopyReceipt,
    Outcome,
    is_settled,
    package_receipt,
    pacs_receipt,
)
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import Transfer, TransferState, state_for_request


@pytest.mark.parametrize(("found", "removed", "outcome", "words"), [
    (10, True, Outcome.GONE, "not there when looked for"),
    (10, False, Outcome.PERSON, "its owner must"),
    (11, False, Outcome.PERSON, "another file"),
    (None, True, Outcome.PERSON, "whoever took it must delete it"),
])  # fmt: skip
def test_a_package_is_gone_only_when_it_was_there_and_is_not_any_more(
    found: int | None, removed: bool, outcome: Outcome, words: str
) -> None:
    said, detail = package_receipt(found=found, recorded=10, removed=removed)
    assert said is outcome
    assert words in detail


@pytest.mark.parametrize(("shown", "noted", "refused", "outcome", "words"), [
    (0, False, "", Outcome.GONE, "none of 5"),
    (2, True, "", Outcome.PERSON, "took the rejection note and still shows"),
    (5, False, "", Outcome.PERSON, "REJECTIONNOTES"),
    (5, False, "it refuses", Outcome.PERSON, "it refuses"),
])  # fmt: skip
def test_an_archives_copies_are_gone_only_when_it_shows_none(
    shown: int, noted: bool, refused: str, outcome: Outcome, words: str
) -> None:
    said, detail = pacs_receipt(given=5, shown=shown, noted=noted, refused=refused)
    assert said is outcome
    assert words in detail


def test_what_did_not_answer_is_tried_again_and_what_is_left_to_a_person_is_not() -> None:
    gone, person, later = (CopyReceipt(1, "pacs", "A", one) for one in Outcome)
    assert is_settled([gone, person])
    assert not is_settled([gone, later])


def test_titles_and_reasons_are_there_for_every_cause() -> None:
    assert {one.note_title[0] for one in Cause} == {"113038", "113039"}
    assert all(one.reason for one in Cause)


@pytest.mark.parametrize(("source", "state"), [
    ("coupling", TransferState.RETIRED), ("routing", TransferState.RETIRED), ("resend", TransferState.RETIRED),
    ("assign", TransferState.REQUESTED),
])  # fmt: skip
def test_a_retired_transfer_comes_back_only_by_a_persons_assignment(
    source: str, state: TransferState
) -> None:
    known = Transfer(1, "k", "20260101-000000000000", "P1234", "A", "", "coupling", TransferState.RETIRED, "", 1, 1,
                     0, 1, 0.0, "", 0.0, "")  # type: ignore[arg-type] # fmt: skip
    request = TransferRequest("P1234", "A", "", source)
    assert state_for_request(known, request, study_revision=2) is state


def test_what_lies_beside_a_package_is_named_after_it() -> None:
    assert beside("a_native.zip") == ("a_native.zip.md5", "a_native.md5sum", "a_native.json")
