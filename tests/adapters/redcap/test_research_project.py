"""Participants, events and imaging rows in a research project's own REDCap, on a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.adapters.redcap.provision import provision_project
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.adapters.redcap.research_project import ImagingRow, ResearchProjectWriter
from fiona_dagster.domain.errors import ConfigurationError, Permanent
from fiona_dagster.embedded.redcap.faults import Fault
from tests.adapters.redcap.conftest import PLENTY, Hospital


@pytest.fixture
def hearts(hospital: Hospital) -> RedcapProject:
    """A research project of its own, with a second event and a value that a person entered."""
    limit = RateLimit(hospital.folder / ".calls", PLENTY)
    server = hospital.server
    provision_project(
        server.url, server.super_token, hospital.tokens, limit, role="ProjectTemplate", title="HEARTS"
    )
    project = hospital.client("HEARTS")
    project.import_events([{"event_name": "Follow up", "arm_num": "1"}])
    forms = [*project.export_instrument_event_mappings()]
    forms += [{"arm_num": 1, "unique_event_name": "follow_up_arm_1", "form": "basic_demography_form"}]
    project.import_instrument_event_mappings(forms)
    return hospital.client("HEARTS")


def row(participant: str, number: int, event: str = "Follow up", **more: str) -> ImagingRow:
    fields = {
        "img_study_instance_uid": f"2.25.{number}",
        "img_study_date": "20250102",
        "img_num_files": "3",
        **more,
    }
    return ImagingRow(participant, event, fields)


def writer(hospital: Hospital, project: RedcapProject | None = None) -> ResearchProjectWriter:
    return ResearchProjectWriter(project or hospital.client("HEARTS"), hospital.folder / "hearts.writing")


def imaging(project: RedcapProject) -> list[tuple[str, str, int, str]]:
    return sorted(
        (r["record_id"], r["redcap_event_name"], r["redcap_repeat_instance"], r["img_study_instance_uid"])
        for r in project.rows()
        if r["redcap_repeat_instrument"] == "imaging"
    )


def test_a_participant_gets_its_events_and_a_row_for_each_study_once(
    hospital: Hospital, hearts: RedcapProject
) -> None:
    rows = [row("H001", 1), row("H001", 2, "Event 1"), row("H002", 3, "Never planned")]
    done = writer(hospital).populate(rows)
    assert done.unknown_events == {"Never planned"}
    assert imaging(hearts) == [
        ("H001", "event_1_arm_1", 1, "2.25.1"),
        ("H001", "event_1_arm_1", 2, "2.25.2"),
        ("H002", "event_1_arm_1", 1, "2.25.3"),
    ]
    stored = hearts.rows()
    people = {
        (r["record_id"], r["redcap_event_name"]): r["last_name"]
        for r in stored
        if not r["redcap_repeat_instrument"]
    }
    assert people == {
        ("H001", "event_1_arm_1"): "H001",
        ("H001", "follow_up_arm_1"): "H001",
        ("H002", "event_1_arm_1"): "H002",
    }
    assert {r["img_event_name"] for r in stored if r["redcap_repeat_instrument"]} == {
        "Follow up",
        "Event 1",
        "Never planned",
    }
    assert writer(hospital).populate(rows).rows_written == 0


def test_what_people_entered_stays_and_only_these_participants_are_read(
    hospital: Hospital, hearts: RedcapProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer(hospital).populate([row("H001", 1)])
    place = {"record_id": "H001", "redcap_event_name": "event_1_arm_1"}
    hearts.write_rows([
        {**place, "sex": "1"},
        {**place, "redcap_repeat_instrument": "imaging", "redcap_repeat_instance": 1, "img_qc_note": "moved"},
        {"record_id": "H777", "redcap_event_name": "event_1_arm_1", "first_name": "H777"},
    ])  # fmt: skip
    client, asked = hospital.client("HEARTS"), []
    rows = client.rows

    def noted(**options: Any) -> list[dict[str, Any]]:
        found = rows(**options)
        asked.append({one["record_id"] for one in found})
        return found

    monkeypatch.setattr(client, "rows", noted)
    writer(hospital, client).populate([row("H001", 1, img_num_files="4"), row("H001", 2)])
    assert asked == [{"H001"}, {"H001"}]
    one = next(r for r in hearts.rows() if r["img_study_instance_uid"] == "2.25.1")
    assert (one["img_qc_note"], one["img_num_files"]) == ("moved", "4")


def test_two_runs_at_once_and_a_lost_answer_end_with_each_study_once(
    hospital: Hospital, hearts: RedcapProject
) -> None:
    hospital.server.faults.upcoming(Fault.ANSWER_LOST, Fault.BAD_GATEWAY)
    parts = [[row("H001", n) for n in range(8)], [row("H001", n) for n in range(4, 12)]]
    with ThreadPoolExecutor(2) as pool:
        # each with a lock of its own, as two gateways have
        made = [
            ResearchProjectWriter(hospital.client("HEARTS"), hospital.folder / f"{n}.writing") for n in (1, 2)
        ]
        list(pool.map(lambda pair: pair[0].populate(pair[1]), zip(made, parts, strict=True)))
    found = sorted((uid for *_, uid in imaging(hearts) if uid), key=lambda uid: int(uid[5:]))
    assert found == [f"2.25.{n}" for n in range(12)]


def test_a_study_that_is_there_twice_keeps_its_first_row(hospital: Hospital, hearts: RedcapProject) -> None:
    place = {"record_id": "H001", "redcap_event_name": "event_1_arm_1", "redcap_repeat_instrument": "imaging"}
    hearts.write_rows(
        [{**place, "redcap_repeat_instance": n, "img_study_instance_uid": "2.25.1"} for n in (1, 2)]
    )
    writer(hospital).populate([row("H001", 1)])
    assert [one[2:] for one in imaging(hearts) if one[3]] == [(1, "2.25.1")]


def test_a_project_without_imaging_and_a_token_of_another_one_are_refused(
    hospital: Hospital, hearts: RedcapProject
) -> None:
    with pytest.raises(Permanent, match="no instrument `imaging`"):
        writer(hospital, hospital.client("Routing"))
    registry = hospital.registry()
    assert registry.research_project("HEARTS").info["project_title"] == "HEARTS"
    other = f"file:{hospital.tokens / 'Routing.token'}"
    with pytest.raises(ConfigurationError, match="LUNGS: the token belongs to another project"):
        registry.research_project("LUNGS", other)
    number = int(hearts.info["project_id"])
    assert registry.research_project("LUNGS", f"file:{hospital.tokens / 'HEARTS.token'}", number)
    assert Path(registry.lock_file("project-HEARTS")).parent == hospital.folder
