from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.domain.forwarding import (
    ForwardReceipt,
    GivenCopy,
    changed,
    confirm,
    difference,
    leftovers,
    missing,
    strangers,
)

UIDS = st.frozensets(st.sampled_from([f"1.2.{n}" for n in range(8)]))


def decide(
    released: frozenset[str], after: frozenset[str], before: frozenset[str] = frozenset()
) -> ForwardReceipt:
    return confirm(
        transfer_id=7, revision=2, destination="PACS@host:104", released=released,
        present_before=before, present_after=after, at=12.5,
    )  # fmt: skip


def test_only_what_the_destination_lacks_is_missing() -> None:
    assert missing(frozenset({"1", "2", "3"}), frozenset({"2", "9"})) == {"1", "3"}


def test_a_receipt_tells_what_was_there_what_was_sent_and_what_is_confirmed() -> None:
    receipt = decide(frozenset({"1", "2", "3"}), frozenset({"1", "2", "3", "9"}), frozenset({"1", "9"}))
    assert receipt == ForwardReceipt(
        transfer_id=7, revision=2, destination="PACS@host:104",
        total=3, already_there=1, sent=2, confirmed=3, confirmed_at=12.5,
    )  # fmt: skip


def test_a_destination_that_lacks_one_instance_is_not_reached_and_no_uid_is_named() -> None:
    with pytest.raises(Transient, match=r"PACS@host:104 does not show 1 of 2 instances") as caught:
        decide(frozenset({"1.2.3", "1.2.4"}), frozenset({"1.2.3"}))
    assert "1.2.4" not in str(caught.value)


def test_an_empty_release_reaches_nothing() -> None:
    with pytest.raises(Permanent, match="nothing was released"):
        decide(frozenset(), frozenset({"1"}))


@given(released=UIDS, before=UIDS, after=UIDS)
def test_a_destination_is_reached_exactly_when_it_shows_a_superset(
    released: frozenset[str], before: frozenset[str], after: frozenset[str]
) -> None:
    try:
        receipt = decide(released, after, before)
    except (Transient, Permanent):
        assert not released or released - after
    else:
        assert released <= after
        assert receipt.total == receipt.confirmed == receipt.already_there + receipt.sent == len(released)


def given(transfer_id: int = 7, sha256: str = "a", study: str = "2.25") -> GivenCopy:
    return GivenCopy(transfer_id, sha256, study, over_another=False)


def test_what_was_not_given_for_this_transfer_is_a_strangers() -> None:
    known = {"1": given(), "2": given(8), "4": given(8)}
    assert strangers({"1", "2", "3"}, {"1", "2", "3", "4"}, known, 7) == {"2", "3"}


def test_a_copy_has_changed_when_its_file_is_not_known_to_be_the_one_that_was_accepted() -> None:
    known = {"1": given(), "2": given(sha256="old"), "3": given(sha256=""), "9": given()}
    released = {"1": "a", "2": "new", "3": "a", "4": "a"}
    assert changed(released, {"1", "2", "3"}, known) == {"2", "3"}


def test_what_is_sent_again_over_another_counts_as_sent() -> None:
    receipt = confirm(
        transfer_id=7, revision=2, destination="PACS", released=frozenset({"1", "2", "3"}),
        present_before=frozenset({"1", "2"}), present_after=frozenset({"1", "2", "3"}), at=1.0,
        sent_again=frozenset({"2"}), note="look",
    )  # fmt: skip
    assert (receipt.already_there, receipt.sent, receipt.confirmed, receipt.note) == (1, 2, 3, "look")


def test_what_is_not_released_any_more_is_told_by_its_study() -> None:
    known = {"1": given(), "2": given(), "8": given(study="2.26"), "9": given(study="2.26")}
    assert leftovers({"1"}, known) == {"2.25": {"2"}, "2.26": {"8", "9"}}


def test_a_difference_is_told_with_what_to_do() -> None:
    assert difference("PACS", replaced=0, left=0) == ""
    both = difference("PACS", replaced=2, left=1)
    assert "2 changed instance(s)" in both
    assert "1 instance(s) that are not released any more: delete them there" in both
