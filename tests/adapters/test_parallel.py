"""Work that is shared between processes gives what one process gives, and says what went wrong."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fiona_dagster.adapters import parallel
from fiona_dagster.adapters.expendable import ended_after
from fiona_dagster.adapters.parallel import LEAST, run_each, run_parts, split
from fiona_dagster.adapters.releases import SourceInstance, deidentify_study, verify_release
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.errors import Hold, Permanent, Transient
from fiona_dagster.domain.verification import QuarantinedStudy, VerifiedStudy
from tests.domain.deid.planted import KEY, ct_instance, request, saved


@pytest.mark.parametrize(
    ("count", "workers", "parts"), [(0, 4, 1), (10, 4, 1), (4 * LEAST, 4, 4), (5 * LEAST, 2, 2)]
)
def test_positions_are_split_evenly_without_loss(count: int, workers: int, parts: int) -> None:
    made = split(count, workers)
    assert len(made) == parts
    assert [position for part in made for position in part] == list(range(count))
    assert max(map(len, made)) - min(map(len, made)) <= 1


def tell(done: Callable[[], None], number: int) -> tuple[int, int]:
    done()
    return number, os.getpid()


def fail(_done: Callable[[], None], how: str) -> None:
    if how == "hold":
        raise Hold("the reason")
    if how == "value":
        raise ValueError("Zwingenberger")
    if how == "gone":
        os._exit(9)


def test_results_keep_the_order_of_the_parts_and_every_instance_is_told() -> None:
    told: list[int] = []
    results = run_parts(tell, [(number,) for number in range(3)], lambda: told.append(1))
    assert [number for number, _ in results] == [0, 1, 2]
    assert len({process for _, process in results} | {os.getpid()}) == 4
    assert len(told) == 3


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [("hold", Hold, "the reason"), ("value", Permanent, r"\(ValueError\)$"), ("gone", Transient, "lost")],
)
def test_what_goes_wrong_in_a_worker_is_told_without_values(
    how: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        run_parts(fail, [("fine",), (how,)])
    assert "Zwingenberger" not in str(raised.value)


def hangs(folder: Path) -> Callable[[str], str]:
    """Does not come back from an item, until it is ended."""

    def treat(item: str) -> str:
        with ended_after(60.0 if item == "fine" else 0.1):
            if item == "hang":
                (folder / str(os.getpid())).touch()
                signal.sigwait(set())  # for ever, and deaf to Python
        return item

    return treat


def test_what_does_not_come_back_in_time_costs_its_process_and_no_other_item(tmp_path: Path) -> None:
    told: list[int] = []
    made = run_each(hangs, (tmp_path,), ["fine", "hang", "fine"], 1, lambda: told.append(1))
    assert made == ["fine", None, "fine"]
    assert len(told) == 3
    assert len(list(tmp_path.iterdir())) == 1, "it would hang again"


def test_a_process_that_nobody_gave_up_is_never_ended() -> None:
    before = signal.getitimer(signal.ITIMER_REAL)[0]  # pytest's own limit, where it has one
    with ended_after(100_000.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= before


def treats(folder: Path) -> Callable[[str], tuple[str, int]]:
    """Does what an item says, once where a file is to tell that it was done; prints as libraries do."""

    def treat(item: str) -> tuple[str, int]:
        print("a library complains")
        what, _, name = item.partition(" ")
        if what in {"crash", "crash-once"} and not (folder / name).exists():
            if what == "crash-once":
                (folder / name).touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        fail(lambda: None, what)
        return item, os.getpid()

    return treat


@pytest.mark.parametrize("workers", [1, 2])
def test_what_ends_its_process_twice_costs_no_other(tmp_path: Path, workers: int) -> None:
    items = ["fine", "crash x", "good", "crash-once y", "crash z", "last"]
    made = run_each(treats, (tmp_path,), items, workers)
    assert [one and one[0] for one in made] == ["fine", None, "good", "crash-once y", None, "last"]
    assert os.getpid() not in {one[1] for one in made if one}


def test_a_worker_goes_on_with_the_next(tmp_path: Path) -> None:
    made = run_each(treats, (tmp_path,), ["a", "b", "c"], 1)
    assert len({one[1] for one in made if one}) == 1
    assert run_each(treats, (tmp_path,), [], 1) == []


@pytest.mark.parametrize(
    ("how", "error", "message"), [("hold", Hold, "the reason"), ("value", Permanent, r"\(ValueError\)$")]
)
def test_what_an_item_raises_is_told_without_values(
    tmp_path: Path, how: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        run_each(treats, (tmp_path,), ["fine", how, "never"], 1)
    assert "Zwingenberger" not in str(raised.value)


def test_shared_between_processes_a_release_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "LEAST", 2)
    sources = [
        SourceInstance(saved(ct_instance(number), tmp_path / "in" / f"{number}.dcm"), number, "")
        for number in range(6)
    ]
    (tmp_path / "in" / "broken.dcm").write_bytes(sources[0].path.read_bytes()[:700])
    sources.insert(3, SourceInstance(tmp_path / "in" / "broken.dcm", 99, ""))
    alone, shared = request(tmp_path / "alone"), request(tmp_path / "shared")
    one = deidentify_study(sources, alone, KEY, Profile())
    told: list[tuple[int, int]] = []
    two = deidentify_study(
        sources, shared, KEY, Profile(), lambda count, whole: told.append((count, whole)), workers=3
    )
    assert one == two
    assert told == [(count, 7) for count in range(1, 8)]
    assert one.counts() == {"released": 6, "held": 0, "excluded": 0, "failed": 1}
    first = verify_release(one, sources, alone, KEY, Profile())
    second = verify_release(two, sources, shared, KEY, Profile(), workers=3)
    assert isinstance(first, VerifiedStudy)
    assert isinstance(second, VerifiedStudy)
    assert (first.study, first.checks) == (second.study, second.checks)


def test_a_leak_in_another_part_than_its_original_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "LEAST", 1)
    first, second = ct_instance(1), ct_instance(2)
    first.AccessionNumber, second.AcquisitionNumber = "53112847", 53112847
    sources = [
        SourceInstance(saved(one, tmp_path / "in" / f"{number}.dcm"), number, "")
        for number, one in enumerate((first, second))
    ]
    asked = request(tmp_path / "out")
    study = deidentify_study(sources, asked, KEY, Profile(), workers=2)
    outcome = verify_release(study, sources, asked, KEY, Profile(), workers=2)
    assert isinstance(outcome, QuarantinedStudy)
    assert [check.places for check in outcome.checks if not check.passed] == [
        ("AcquisitionNumber has an original value",)
    ]
