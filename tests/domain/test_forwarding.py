from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.domain.forwarding import ForwardReceipt, confirm, missing

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
