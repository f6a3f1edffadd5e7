from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.retention import (
    DiskUse,
    ExportStanding,
    Leftover,
    PartitionStanding,
    StudyStanding,
    TransferStanding,
    choose_delivered,
    choose_expired,
    choose_exports,
    choose_leftovers,
    choose_studies,
    partitions_to_retire,
    reasons,
    why_study_stays,
)
from fiona_dagster.domain.transfer import TransferState

NOW = 1_000_000.0
DONE = TransferStanding("PROJ1", TransferState.DELIVERED, confirmed_revision=2, delivered_revision=2)
STUDY = StudyStanding("20260101-000000000001", "1.2.3", NOW - 90_000, 5, 5, (DONE,), 2, True, "", 100)  # noqa: FBT003
FULL, HALF = DiskUse(95, 5), DiskUse(50, 50)


def test_a_study_that_is_confirmed_everywhere_may_go() -> None:
    assert why_study_stays(STUDY, now=NOW) is None


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (replace(STUDY, last_received_at=NOW - 60), "less than an hour"),
        (replace(STUDY, arrived_count=4), "late images"),
        (replace(STUDY, revision=0), "not arrived"),
        (replace(STUDY, held_reason="no coupling entry"), "waits for a person"),
        (replace(STUDY, aside_count=1), "other content"),
        (replace(STUDY, ended=False), "being worked on"),
        (replace(STUDY, transfers=()), "went nowhere"),
        (replace(STUDY, transfers=(replace(DONE, state=TransferState.FAILED),)), "is failed"),
        (replace(STUDY, transfers=(replace(DONE, state=TransferState.FORWARDED),)), "is forwarded"),
        (
            replace(STUDY, transfers=(replace(DONE, confirmed_revision=1),)),
            "not confirmed by the research PACS",
        ),
        (replace(STUDY, transfers=(replace(DONE, delivered_revision=1),)), "not delivered"),
        (replace(STUDY, transfers=(replace(DONE, unconfirmed_instances=1),)), "1 of its instances"),
        (
            replace(STUDY, transfers=(DONE, replace(DONE, project="PROJ2", state=TransferState.HELD))),
            "PROJ2 is held",
        ),
    ],
)
def test_whatever_is_unconfirmed_stays_with_its_reason(standing: StudyStanding, reason: str) -> None:
    assert reason in (why_study_stays(standing, now=NOW) or "")
    decision = choose_studies([standing], FULL, now=NOW)[0]
    assert not decision.delete
    assert reason in decision.reason


def test_a_copy_taken_back_is_missing_nowhere_but_alone_it_is_no_delivery() -> None:
    gone = TransferStanding("PROJ1", TransferState.RETIRED, 0, 0)
    there = replace(STUDY.transfers[0], project="PROJ2")
    assert why_study_stays(replace(STUDY, transfers=(gone, there)), now=NOW) is None
    assert "went nowhere else" in (why_study_stays(replace(STUDY, transfers=(gone,)), now=NOW) or "")
    assert why_study_stays(replace(STUDY, transfers=(gone,), given_up=True), now=NOW) is None


def test_a_person_may_give_up_a_held_study_but_not_one_that_is_still_arriving() -> None:
    held = replace(STUDY, held_reason="no rule", transfers=(), ended=False, given_up=True)
    assert why_study_stays(held, now=NOW) is None
    assert why_study_stays(replace(held, last_received_at=NOW), now=NOW) is not None


def test_the_oldest_go_first_and_only_until_the_disk_is_at_the_limit() -> None:
    studies = [
        replace(STUDY, study_key=str(n), last_received_at=NOW - 90_000 + n, bytes=10) for n in (3, 1, 2)
    ]
    decisions = choose_studies(studies, DiskUse(95, 5), now=NOW, limit_percent=80)
    assert [(d.name, d.delete) for d in decisions] == [("1", True), ("2", True), ("3", False)]
    assert decisions[2].reason == "the disk is not above 80 %"
    assert reasons(decisions, deleted=True) == {"confirmed everywhere": 2}


def test_nothing_goes_below_the_limit() -> None:
    assert not choose_studies([STUDY], HALF, now=NOW)[0].delete
    assert not choose_studies([STUDY], DiskUse(80, 20), now=NOW)[0].delete


@given(
    st.lists(
        st.builds(
            TransferStanding,
            project=st.just("PROJ1"),
            state=st.sampled_from(TransferState),
            confirmed_revision=st.integers(0, 3),
            delivered_revision=st.integers(0, 3),
            unconfirmed_instances=st.integers(0, 1),
        ),
        max_size=3,
    ),
    st.integers(0, 3),
    st.integers(4, 5),
    st.booleans(),
    st.sampled_from(["", "held"]),
)
def test_no_full_disk_ever_deletes_what_is_not_confirmed(
    transfers: list[TransferStanding], revision: int, arrived: int, ended: bool, held: str
) -> None:
    study = replace(
        STUDY,
        transfers=tuple(transfers),
        revision=revision,
        arrived_count=arrived,
        ended=ended,
        held_reason=held,
    )
    if choose_studies([study], DiskUse(100, 0), now=NOW)[0].delete:
        assert transfers
        assert revision
        assert arrived == study.instance_count
        assert ended
        assert not held
        standing = [t for t in transfers if t.state is not TransferState.RETIRED]
        assert standing
        assert all(
            t.state is TransferState.DELIVERED
            and min(t.confirmed_revision, t.delivered_revision) >= revision
            and not t.unconfirmed_instances
            for t in standing
        )


def test_disk_use_is_counted_as_df_does() -> None:
    assert DiskUse(95, 5).percent == 95.0
    assert DiskUse(0, 0).percent == 0.0
    assert DiskUse(95, 5).bytes_above(80) == 15


def test_packages_go_above_ninety_percent_oldest_first_when_every_destination_confirmed() -> None:
    packages = [
        ExportStanding("new", 10, 3.0, pending=0, confirmed=1),
        ExportStanding("pending", 10, 1.0, pending=1, confirmed=1),
        ExportStanding("nowhere", 10, 0.0, pending=0, confirmed=0),
        ExportStanding("old", 10, 2.0, pending=0, confirmed=2),
    ]
    gone = [d.name for d in choose_exports(packages, DiskUse(95, 5)) if d.delete]
    assert gone == ["old"]
    assert not [d for d in choose_exports(packages, DiskUse(90, 10)) if d.delete]


def test_unfinished_work_goes_after_a_thousand_minutes() -> None:
    old, young = NOW - 60_001, NOW - 59_999
    found = [
        Leftover("tmp_a", 1, old), Leftover("tmp_b", 1, young), Leftover(".a.zip.12345678.part", 1, old),
        Leftover("a.zip", 1, old),
    ]  # fmt: skip
    assert [d.name for d in choose_leftovers(found, now=NOW)] == [".a.zip.12345678.part", "tmp_a"]


def test_keys_retire_some_days_after_the_end_and_never_before_it() -> None:
    partitions = [
        PartitionStanding("open", None),
        PartitionStanding("recent", NOW - 86_400),
        PartitionStanding("old", NOW - 3 * 86_400),
    ]
    retired = partitions_to_retire(partitions, now=NOW, keep_days=2, cap=100)
    assert [d.name for d in retired] == ["old"]


def test_above_the_cap_the_longest_ended_keys_retire_then_the_waiting_ones_and_no_busy_one() -> None:
    partitions = [PartitionStanding("busy", None), PartitionStanding("waits", NOW - 9, waits=True)]
    partitions += [PartitionStanding(f"ended{n}", NOW - n) for n in range(3)]
    retired = partitions_to_retire(partitions, now=NOW, keep_days=2, cap=3)
    assert [d.name for d in retired] == ["ended2", "ended1"]
    assert [d.name for d in partitions_to_retire(partitions, now=NOW, keep_days=2, cap=0)] == [
        "ended2",
        "ended1",
        "ended0",
        "waits",
    ]


def test_a_study_that_waited_long_for_a_person_loses_its_key_and_makes_room_under_the_cap() -> None:
    partitions = [PartitionStanding("waits", NOW - 3 * 86_400, waits=True), PartitionStanding("ended", NOW)]
    retired = partitions_to_retire(partitions, now=NOW, keep_days=2, cap=1)
    assert [(d.name, d.reason) for d in retired] == [("waits", "waits for a person, more than 2 days ago")]


def test_packages_move_aside_when_confirmed_and_go_by_age_unless_they_are_asked_for_again() -> None:
    day = 86_400.0
    packages = [
        ExportStanding("fresh", 10, 0.0, pending=0, confirmed=2, confirmed_at=1.0),
        ExportStanding("half", 10, 0.0, pending=1, confirmed=1, confirmed_at=1.0),
        ExportStanding("nowhere", 10, 0.0, pending=0, confirmed=0),
        ExportStanding("old", 10, 0.0, pending=0, confirmed=1, confirmed_at=1.0, delivered=True),
        ExportStanding("again", 10, 0.0, pending=1, confirmed=1, confirmed_at=1.0, delivered=True),
        ExportStanding("young", 10, 0.0, pending=0, confirmed=1, confirmed_at=25 * day, delivered=True),
    ]
    assert choose_delivered(packages) == ("fresh",)
    gone = [one.name for one in choose_expired(packages, now=31 * day, keep_days=30) if one.delete]
    assert gone == ["old"]
    assert not [one for one in choose_expired(packages, now=1e9, keep_days=0) if one.delete]
