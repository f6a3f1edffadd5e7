"""Auto-ID and the coupling list, with the ledger and a real REDCap."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.redcap.auto_ids import participant_of, tell_auto_ids
from fiona_dagster.adapters.redcap.coupling_list import add_entries, remove_expired
from fiona_dagster.domain.auto_id import fiona_hash
from fiona_dagster.domain.coupling import CouplingEntry
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.project import Project
from fiona_dagster.embedded.redcap.faults import Fault
from tests.adapters.redcap.conftest import Hospital

HEARTS = Project("HEARTS", participant_pattern=r"H\d", auto_id_ae_title="HEARTAUTO")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")


def test_patients_named_at_once_get_one_name_each_and_keep_it_until_none_is_left(
    hospital: Hospital, ledger: Ledger
) -> None:
    registry = hospital.registry()
    add_entries(
        registry, [CouplingEntry("", "HEARTS", "h7", "", "A1")], when="2026-03-01 10:00", who="me", batch="b"
    )

    def named(patient: int) -> str:
        return participant_of(ledger, registry, HEARTS, f"patient {patient}", b"key", now=1.0)

    with ThreadPoolExecutor(6) as pool:  # every patient has two studies in the batch
        given = list(pool.map(named, [n // 2 for n in range(18)]))
    assert given[::2] == given[1::2]
    assert sorted(set(given)) == [f"H{n}" for n in range(10) if n != 7]  # the coupling list has h7
    with pytest.raises(Permanent, match="room for 10 names"):
        named(99)
    assert tell_auto_ids(ledger, registry) == 9
    assert tell_auto_ids(ledger, registry) == 0
    rows = hospital.client("AutoID").rows()
    assert sorted(one["autoid_value"] for one in rows) == sorted(set(given))
    assert not any("patient" in value for one in rows for value in map(str, one.values()))


def test_a_ledger_that_is_new_and_a_site_that_comes_from_fiona_go_on_with_the_names_given(
    hospital: Hospital, tmp_path: Path
) -> None:
    registry = hospital.registry()
    hospital.client("AutoID").write_rows([
        {"record_id": "1", "autoid_project_name": "HEARTS", "autoid_hash": fiona_hash("P1"), "autoid_value": "H5"},
        {"record_id": "2", "autoid_project_name": "LUNGS", "autoid_hash": fiona_hash("P2"), "autoid_value": "H6"},
    ])  # fmt: skip
    first, second = (Ledger(f"sqlite:///{tmp_path}/{name}.sqlite") for name in ("one", "two"))
    assert participant_of(first, registry, HEARTS, "P1", b"key", now=1.0) == "H5"
    new = participant_of(first, registry, HEARTS, "P2", b"key", now=1.0)
    tell_auto_ids(first, registry)
    assert participant_of(second, registry, HEARTS, "P2", b"key", now=1.0) == new


def test_entries_are_added_once_whatever_is_lost_and_expired_ones_deleted(hospital: Hospital) -> None:
    registry = hospital.registry()
    entries = [CouplingEntry("", "HEARTS", f"H{n}", "Baseline", f"A{n}") for n in range(5)]
    hospital.server.faults.upcoming(Fault.BAD_GATEWAY, Fault.ANSWER_LOST)
    numbers = add_entries(registry, entries, when="2026-03-01 10:00", who="me", batch="b")
    assert numbers == ["1", "2", "3", "4", "5"]
    assert add_entries(registry, entries, when="2026-03-01 10:00", who="me", batch="b") == numbers
    later = add_entries(registry, entries[:1], when="2026-03-20 10:00", who=secrets.token_hex(4), batch="c")
    assert later == ["6"]
    assert remove_expired(registry, day="2026-03-16") == 5
    assert [(one.record_id, one.participant) for one in registry.coupling_entries()] == [("6", "H0")]


def test_an_entry_that_somebody_saves_meanwhile_is_not_written_into(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would send one patient's study under another's participant."""
    registry = hospital.registry()
    client = registry.client("CouplingList")
    rows, theirs = client.rows, CouplingEntry("", "HEARTS", "H1", "Baseline", "A1")
    reads: list[int] = []

    def rows_and_then_somebody_saves(*arguments: Any, **options: Any) -> Any:
        found = rows(*arguments, **options)
        reads.append(len(found))
        if len(reads) == 1:
            add_entries(hospital.registry(), [theirs], when="2026-03-01 10:00", who="you", batch="a")
        return found

    monkeypatch.setattr(client, "rows", rows_and_then_somebody_saves)
    monkeypatch.setattr(
        registry, "lock_file", lambda name: hospital.registry().lock_file(name).with_name("else")
    )
    ours = CouplingEntry("", "HEARTS", "H2", "Baseline", "", study_instance_uid="1.2.3")
    add_entries(registry, [ours], when="2026-03-01 10:00", who="me", batch="b")
    held = {
        (one.accession_number, one.study_instance_uid, one.participant) for one in registry.coupling_entries()
    }
    assert held == {("A1", "", "H1"), ("", "1.2.3", "H2")}
