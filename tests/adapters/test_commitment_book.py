"""An archive that reports late what it commits to: the transfer waits, is woken, and only what failed goes again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fiona_dagster.adapters.dicom_scu import SendReport, read_stored_instance
from fiona_dagster.adapters.dicom_scu.commitment import Book, NoCommitmentError
from fiona_dagster.adapters.dicom_scu.sending import outcome_of
from fiona_dagster.domain.commitment import Reference
from fiona_dagster.domain.errors import NotOffered
from fiona_dagster.domain.forwarding import SendingState, Unconfirmed
from fiona_dagster.domain.image_destinations import Confirm
from fiona_dagster.domain.transfer import TransferState
from fiona_dagster.embedded.samples import SampleStudy
from tests.adapters.test_dicom_scu import copies
from tests.adapters.test_forwarding import Bench, bench, samples, verified

__all__ = ["bench", "samples"]


@dataclass
class LateArchive:
    """Accepts everything, reports later; `shows` None: it cannot be queried."""

    confirm: Confirm
    shows: set[str] | None = None
    key: str = "LATE"
    name: str = "late"
    sent: list[str] = field(default_factory=list)
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def instances(self, study_instance_uid: str) -> frozenset[str]:
        if self.shows is None:
            raise NotOffered("no queries")
        return frozenset(self.shows)

    def count(self, study_instance_uid: str) -> int:
        return len(self.instances(study_instance_uid))

    def committed(self, references: Sequence[Reference], book: Book | None = None) -> frozenset[str]:
        assert book is not None
        uids = tuple(one.sop_instance_uid for one in references)
        self.asked.append((f"2.25.{len(self.asked) + 1}", uids))
        book.ask(*self.asked[-1])
        raise NoCommitmentError("it will call back", silent=True)

    def send(
        self, paths: Sequence[Path], *, progress: Callable[..., None], stop: Callable[[], bool]
    ) -> SendReport:
        outcomes = tuple(outcome_of(read_stored_instance(one), 0) for one in paths)
        for one in outcomes:
            progress(one)
            self.sent.append(one.sop_instance_uid)
            if self.shows is not None:
                self.shows.add(one.sop_instance_uid)
        return SendReport(outcomes)

    def check(self) -> str:
        return ""


@pytest.mark.parametrize("shows", [None, set()])
def test_a_transfer_waits_for_a_late_report_and_sends_again_what_it_fails_alone(
    bench: Bench, samples: dict[str, SampleStudy], tmp_path: Path, shows: set[str] | None
) -> None:
    copy = verified(copies(samples["sr-report"].files[0], tmp_path / "copies", 4))
    late = LateArchive(Confirm.COMMITMENT, None if shows is None else set())
    with pytest.raises(Unconfirmed, match="not yet reported"):
        bench.bring(copy, late)
    with pytest.raises(Unconfirmed, match="not yet reported"):
        bench.bring(copy, late)
    assert len(late.sent) == 4
    (transaction, uids), *more = late.asked
    assert not more
    bench.time[0] += 100
    assert bench.ledger.asked_commitments.report(transaction, uids[:3], {uids[3]: 0x0110}, now=bench.now())
    waiting = bench.ledger.sendings.of_transfer(bench.transfer.id)[late.key]
    assert (waiting.state, waiting.next_at) == (SendingState.WAITING, bench.now())
    with pytest.raises(Unconfirmed):
        bench.bring(copy, late)
    assert late.sent[4:] == [uids[3]]
    assert late.asked[1][1] == (uids[3],)
    assert bench.ledger.asked_commitments.report(late.asked[1][0], [uids[3]], {}, now=bench.now())
    receipt = bench.bring(copy, late)
    assert (receipt.confirmed, receipt.confirmed_by, len(late.sent)) == (4, "commitment", 5)


def test_a_report_that_fails_what_a_query_had_confirmed_opens_the_transfer_again(
    bench: Bench, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    copy = verified(copies(samples["sr-report"].files[0], tmp_path / "copies", 3))
    late = LateArchive(Confirm.BEST, set())
    assert bench.bring(copy, late).confirmed_by == "query"
    bench.ledger.transfers.set_state(
        bench.transfer.id, TransferState.FORWARDED, now=bench.now(), run_id="r", revision=1, reason="",
        generation=bench.transfer.generation,
    )  # fmt: skip
    transaction, uids = late.asked[0]
    assert bench.ledger.asked_commitments.report(transaction, uids, {uids[0]: 0x0112}, now=bench.now())
    assert bench.state(late) is SendingState.WAITING
    assert bench.ledger.transfers.get(bench.transfer.id).state is TransferState.REQUESTED
    assert bench.bring(copy, late).confirmed == 3
    assert late.sent[3:] == [uids[0]]


def test_copies_that_were_made_anew_are_not_covered_by_an_old_promise(
    bench: Bench, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    copy = verified(copies(samples["sr-report"].files[0], tmp_path / "copies", 2))
    late = LateArchive(Confirm.COMMITMENT, set())
    with pytest.raises(Unconfirmed):
        bench.bring(copy, late)
    assert bench.ledger.asked_commitments.report(*late.asked[0], {}, now=bench.now())
    assert late.shows is not None
    late.shows.clear()  # somebody deleted them there before the next attempt
    bench.time[0] += 10
    with pytest.raises(Unconfirmed):
        bench.bring(copy, late)
    assert (len(late.sent), len(late.asked)) == (4, 2)
