"""Four accounts joined: every planted difference is named, none is invented, and what is unknown is not judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fiona_dagster.domain.reconciliation import (
    NEXT_ACTIONS,
    Accounts,
    ArchivedStudy,
    ExpectedStudy,
    Kind,
    LedgerTransfer,
    ReceivedStudy,
    RegisteredRow,
    RegisteredTransfer,
    differences,
)
from fiona_dagster.domain.registration import TransferStatus
from fiona_dagster.domain.transfer import TransferState

WHEN = "2026-01-01 10:00"


def agreeing(number: int = 3) -> Accounts:
    """A hospital in which all four accounts agree."""
    names = [str(one) for one in range(1, number + 1)]
    transfers = [
        LedgerTransfer(
            int(n), f"t{n}", f"k{n}", "HEART", f"H{n}", "", TransferState.DELIVERED, WHEN, (f"9.{n}",)
        )
        for n in names
    ]
    told = [
        RegisteredTransfer(
            f"t{n}", "HEART", f"H{n}", "", TransferStatus.DONE, WHEN, pending=False, copies=(f"9.{n}",)
        )
        for n in names
    ]
    return Accounts(
        [
            ReceivedStudy(f"k{n}", f"1.{n}", 3, registered=True, routed=True, accession_number=f"A{n}")
            for n in names
        ],
        transfers,
        {f"9.{n}": 2 for n in names},
        {f"9.{n}" for n in names},
        {
            f"1.{n}": RegisteredRow(f"1.{n}", 3, ours=True, transfers=(row,))
            for n, row in zip(names, told, strict=True)
        },
        {f"9.{n}": ArchivedStudy(f"9.{n}", "HEART", 2) for n in names},
    )


def row(a: Accounts, **changes: Any) -> Accounts:
    assert a.registered
    return replace(a, registered={**a.registered, "1.1": replace(a.registered["1.1"], **changes)})


def told(a: Accounts, **changes: Any) -> Accounts:
    assert a.registered
    (first,) = a.registered["1.1"].transfers
    return row(a, transfers=(replace(first, **changes),))


def without(mapping: object, key: str) -> dict[str, Any]:
    assert isinstance(mapping, dict)
    return {name: value for name, value in mapping.items() if name != key}


def first(a: Accounts, **changes: Any) -> Accounts:
    return replace(a, transfers=[replace(a.transfers[0], **changes), *a.transfers[1:]])


def archived(a: Accounts, uid: str, project: str = "HEART", images: int | None = 2) -> Accounts:
    return replace(a, archived={**(a.archived or {}), uid: ArchivedStudy(uid, project, images)})


PENDING = RegisteredTransfer("", "BRAIN", "B1", "", TransferStatus.REQUESTED, WHEN, pending=True)
PLANTED: dict[Kind, Callable[[Accounts], Accounts]] = {
    Kind.NOT_REGISTERED: lambda a: replace(a, registered=without(a.registered, "1.1")),
    Kind.NOT_RECEIVED: lambda a: replace(
        a, registered={**(a.registered or {}), "1.8": RegisteredRow("1.8", 3, ours=True)}
    ),
    Kind.OTHER_COUNT: lambda a: row(a, images=2),
    Kind.UNANSWERED: lambda a: row(a, transfers=((a.registered or {})["1.1"].transfers[0], PENDING)),
    Kind.NEVER_CAME: lambda a: replace(a, expected=[ExpectedStudy("5", "HEART", "A9", "")]),
    Kind.UNASSIGNED: lambda a: replace(
        a,
        studies=[*a.studies, ReceivedStudy("k7", "1.7", 1, registered=True, routed=True)],
        registered={**(a.registered or {}), "1.7": RegisteredRow("1.7", 1, ours=True)},
    ),
    Kind.NOT_RELEASED: lambda a: told(first(a, state=TransferState.HELD), status=TransferStatus.FAILED),
    Kind.TRANSFER_MISSING: lambda a: row(a, transfers=()),
    Kind.OTHER_STATUS: lambda a: told(a, status=TransferStatus.FAILED),
    Kind.OTHER_COPY: lambda a: told(a, copies=("9.1", "9.9")),
    Kind.NOT_IN_PACS: lambda a: replace(a, archived=without(a.archived, "9.1"), gone={"9.1"}),
    Kind.FEWER_IN_PACS: lambda a: archived(a, "9.1", images=1),
    Kind.MORE_IN_PACS: lambda a: archived(a, "9.1", images=3),
    Kind.OTHER_PROJECT: lambda a: archived(a, "9.1", project="BRAIN"),
    Kind.RETIRED_IN_PACS: lambda a: told(
        first(a, state=TransferState.RETIRED), status=TransferStatus.CANCELLED
    ),
    Kind.STRANGER_IN_PACS: lambda a: archived(a, "7.7"),
}


def test_where_the_accounts_agree_nothing_is_invented() -> None:
    assert differences(agreeing()) == []


@pytest.mark.parametrize("kind", Kind)
def test_each_planted_difference_is_named_once_and_alone(kind: Kind) -> None:
    found = differences(PLANTED[kind](agreeing()))
    assert [one.kind for one in found] == [kind]
    assert found[0].owner
    assert found[0].next_action == NEXT_ACTIONS[kind][1]
    assert not any(uid in str(found[0]) for uid in ("1.1", "9.1", "7.7", "H1", "A1"))


def test_what_is_worked_on_is_not_judged() -> None:
    for kind in set(Kind) - {Kind.NOT_RECEIVED, Kind.NEVER_CAME, Kind.STRANGER_IN_PACS}:
        accounts = replace(PLANTED[kind](agreeing()), unsettled={"k1", "k7"})
        assert differences(accounts) == [], kind


def test_an_account_that_was_not_read_is_unknown_not_empty() -> None:
    accounts = archived(agreeing(), "7.7")
    assert differences(replace(accounts, registered=None)) == []  # who knows what FIONA sent there
    assert differences(replace(accounts, archived=None)) == []


def test_a_study_that_the_archive_neither_shows_nor_denies_is_not_called_gone() -> None:
    assert differences(replace(agreeing(), archived={})) == []


def test_what_fiona_registered_and_sent_before_us_is_no_difference() -> None:
    a = agreeing()
    old = RegisteredTransfer("", "HEART", "H9", "", None, WHEN, pending=False, copies=("8.8",))
    accounts = replace(
        a,
        registered={**(a.registered or {}), "1.9": RegisteredRow("1.9", None, ours=False, transfers=(old,))},
    )
    assert differences(archived(accounts, "8.8")) == []


def test_a_request_of_the_last_minutes_and_one_that_was_answered_may_wait() -> None:
    accounts = PLANTED[Kind.UNANSWERED](agreeing())
    assert differences(replace(accounts, settled_minute=WHEN)) == []
    answered = replace(accounts.transfers[0], id=9, transfer_key="t9", project="BRAIN", participant="B1",
                       state=TransferState.REQUESTED, copies=())  # fmt: skip
    assert differences(replace(accounts, transfers=[*accounts.transfers, answered])) == []


def test_copies_of_two_transfers_under_one_study_are_counted_together() -> None:
    a = agreeing(1)
    second = replace(a.transfers[0], id=2, transfer_key="t2", event="2")
    both = RegisteredTransfer(
        "t2", "HEART", "H1", "2", TransferStatus.DONE, WHEN, pending=False, copies=("9.1",)
    )
    accounts = row(
        replace(a, transfers=[*a.transfers, second]),
        transfers=(*(a.registered or {})["1.1"].transfers, both),
    )
    assert differences(accounts) == []
    taken_back = first(accounts, state=TransferState.RETIRED)
    assert [one.kind for one in differences(taken_back)] == [
        Kind.OTHER_STATUS
    ]  # the study stays for the other one
