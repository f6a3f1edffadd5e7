"""Registration, transfers and reading through the real client and a real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fiona_dagster.adapters.redcap import incoming
from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.domain.classification import ClassifiedSeries
from fiona_dagster.domain.errors import ConfigurationError, Transient
from fiona_dagster.domain.registration import (
    StudyRegistration,
    StudyStatus,
    TransferRow,
    TransferStatus,
    patient_hash,
)
from fiona_dagster.embedded.redcap.faults import Fault
from tests.adapters.redcap.conftest import Hospital

Actions = Callable[[str], int]


def series(number: int, study: str = "1.2.3", **more: Any) -> ClassifiedSeries:
    return ClassifiedSeries(f"{study}.{number}", "MR", ("T1",), 10, series_number=str(number), **more)


def study(uid: str = "1.2.3", numbers: range = range(1, 4)) -> StudyRegistration:
    return StudyRegistration(
        study_instance_uid=uid, institution="Ward", sender_ae_title="SCANNER", addressed_ae_title="FIONA",
        patient_name_hash=patient_hash("Nansen^Fridtjof", b"key"), patient_id_hash=patient_hash("10106112345", b"key"),
        description="MR Caput", study_date="20260102", study_time="101112.5", accession_number="ACC1",
        arrival_date="2026-01-02 10:20", series=tuple(series(number, uid) for number in numbers),
    )  # fmt: skip


def transfer(**changes: Any) -> TransferRow:
    row = TransferRow(
        "1.2.3", "BRAIN1", "B001", "baseline", "key1", TransferStatus.REQUESTED,
        requested_date="2026-01-02 10:30", requested_by="list", source="coupling", rule="CouplingList 1",
    )  # fmt: skip
    return replace(row, **changes)


def instances(hospital: Hospital, form: str, column: str, record: str = "1.2.3") -> dict[int, str]:
    rows = hospital.client("Incoming").rows(records=[record], forms=[form])
    return {r["redcap_repeat_instance"]: r[column] for r in rows if r["redcap_repeat_instrument"] == form}


def base(hospital: Hospital, record: str = "1.2.3") -> dict[str, Any]:
    return hospital.client("Incoming").rows(records=[record])[0]


class TestRegistration:
    def test_a_study_gets_its_row_and_one_a_series(self, hospital: Hospital) -> None:
        receipt = hospital.registry().register([study()])
        assert (receipt.rows_written, receipt.rows_unchanged) == (4, 0)
        assert receipt.studies[0].instances == {"1.2.3.1": 1, "1.2.3.2": 2, "1.2.3.3": 3}
        row = base(hospital)
        assert row["study_patient_id"] == patient_hash("10106112345", b"key")
        assert (row["study_date"], row["study_time"], row["study_num_files"]) == ("20260102", "101112", "30")

    def test_doing_it_again_changes_nothing(self, hospital: Hospital, record_actions: Actions) -> None:
        hospital.registry().register([study()])
        before = record_actions("Incoming")
        receipt = hospital.registry().register([study()])
        assert (receipt.rows_written, receipt.rows_unchanged) == (0, 4)
        assert record_actions("Incoming") == before
        assert receipt.studies[0].instances["1.2.3.3"] == 3

    def test_late_series_take_the_next_numbers_and_known_ones_keep_theirs(self, hospital: Hospital) -> None:
        registry = hospital.registry()
        registry.register([study(numbers=range(2, 4))])
        registry.register([study(numbers=range(1, 5))])
        assert instances(hospital, "series", "series_instance_uid") == {
            1: "1.2.3.2", 2: "1.2.3.3", 3: "1.2.3.1", 4: "1.2.3.4",
        }  # fmt: skip

    def test_series_that_were_cleaned_up_here_keep_their_instance_there(self, hospital: Hospital) -> None:
        registry = hospital.registry()
        registry.register([study(numbers=range(1, 4))])
        registry.register([study(numbers=range(9, 10))])
        assert instances(hospital, "series", "series_instance_uid")[4] == "1.2.3.9"
        assert instances(hospital, "series", "series_instance_uid")[1] == "1.2.3.1"

    def test_the_first_arrival_and_a_later_status_stay(self, hospital: Hospital) -> None:
        registry = hospital.registry()
        registry.register([study()])
        hospital.client("Incoming").write_rows([{"study_instance_uid": "1.2.3", "study_status": "5"}])
        registry.register([replace(study(numbers=range(1, 6)), arrival_date="2026-02-02 10:00")])
        assert base(hospital)["study_arrival_date"] == "2026-01-02 10:20"
        assert base(hospital)["study_status"] == str(int(StudyStatus.IGNORED))

    def test_many_studies_go_in_batches(self, hospital: Hospital) -> None:
        studies = [study(f"1.2.{number}") for number in range(120)]
        receipt = hospital.registry().register(studies)
        assert receipt.rows_written == 480
        assert len(receipt.studies) == 120
        assert hospital.registry().register(studies).rows_unchanged == 480

    def test_identical_series_in_one_go_are_safe(self, hospital: Hospital) -> None:
        hospital.registry().register([])
        one = study()
        hospital.registry().register([one, one])
        assert len(instances(hospital, "series", "series_instance_uid")) == 3

    def test_a_lost_answer_does_not_double_anything(
        self, hospital: Hospital, record_actions: Actions
    ) -> None:
        registry = hospital.registry()
        registry.register([study("9.9")])
        before = record_actions("Incoming")
        read = (Fault.BAD_GATEWAY, Fault.HTML_IN_200, None)
        write = (Fault.ANSWER_LOST, Fault.ANSWER_LOST, None)
        hospital.server.faults.upcoming(*read, *write, Fault.ANSWER_LOST)
        registry.register([study()])
        assert list(instances(hospital, "series", "series_instance_uid")) == [1, 2, 3]
        assert record_actions("Incoming") == before + 1

    def test_an_outage_is_transient_and_work_goes_on_afterwards(self, hospital: Hospital) -> None:
        registry = hospital.registry()
        registry.register([study("9.9")])
        hospital.server.faults.upcoming(*[Fault.BAD_GATEWAY] * 4)
        with pytest.raises(Transient):
            registry.register([study()])
        assert registry.register([study()]).rows_written == 4

    def test_two_processes_at_once_lose_nothing(self, hospital: Hospital) -> None:
        program = (
            "import sys, json; from pathlib import Path;"
            "from tests.adapters.redcap.test_registry import study;"
            "from fiona_dagster.adapters.redcap.registry import RedcapRegistry;"
            "from fiona_dagster.settings import RedcapSettings;"
            "from tests.adapters.redcap.conftest import follow;"
            "url, tokens, state, first = json.loads(sys.argv[1]);"
            "registry = RedcapRegistry(RedcapSettings(url, tokens, calls_per_minute=100000), follow, Path(state));"
            "[registry.register([study(numbers=range(first, first + n))]) for n in range(1, 7)]"
        )
        import json

        settings = hospital.settings()
        running = []
        for first in (1, 4):
            given = [settings.url, dict(settings.tokens), str(hospital.folder / ".calls"), first]
            running.append(subprocess.Popen([sys.executable, "-c", program, json.dumps(given)]))
        assert [one.wait(timeout=120) for one in running] == [0, 0]
        found = instances(hospital, "series", "series_instance_uid")
        wanted = {f"1.2.3.{number}" for first in (1, 4) for number in range(first, first + 6)}
        assert sorted(found.values()) == sorted(wanted)
        assert sorted(found) == list(range(1, len(wanted) + 1))

    def test_a_foreign_writer_on_our_number_is_noticed_and_repaired(
        self, hospital: Hospital, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = hospital.registry()
        registry.register([study(numbers=range(1, 2))])
        foreign = hospital.client("Incoming")
        write = RedcapProject.write_rows

        def overwritten(project: RedcapProject, rows: Any, **options: Any) -> int:
            count = write(project, rows, **options)
            if rows:
                monkeypatch.setattr(RedcapProject, "write_rows", write)
                place = {"redcap_repeat_instrument": "series", "redcap_repeat_instance": 2}
                foreign.write_rows([{"study_instance_uid": "1.2.3", **place, "series_instance_uid": "7.7"}])
            return count

        monkeypatch.setattr(RedcapProject, "write_rows", overwritten)
        registry.register([study(numbers=range(1, 3))])
        assert instances(hospital, "series", "series_instance_uid") == {1: "1.2.3.1", 2: "7.7", 3: "1.2.3.2"}

    def test_a_series_that_is_there_twice_keeps_its_first_instance(self, hospital: Hospital) -> None:
        registry = hospital.registry()
        registry.register([study(numbers=range(1, 3))])
        place = {"redcap_repeat_instrument": "series", "redcap_repeat_instance": 7}
        hospital.client("Incoming").write_rows(
            [
                {
                    "study_instance_uid": "1.2.3",
                    **place,
                    "series_instance_uid": "1.2.3.1",
                    "series_modality": "MR",
                }
            ]
        )
        registry.register([study(numbers=range(1, 3))])
        assert instances(hospital, "series", "series_instance_uid") == {1: "1.2.3.1", 2: "1.2.3.2", 7: ""}
        assert registry.register([study(numbers=range(1, 3))]).rows_written == 0

    def test_a_server_that_keeps_nothing_is_given_up(
        self, hospital: Hospital, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = hospital.registry()
        registry.client("Incoming")
        monkeypatch.setattr(RedcapProject, "write_rows", lambda _self, rows, **_: len(rows))
        with pytest.raises(Transient, match="does not keep"):
            registry.register([study()])

    def test_an_older_dictionary_is_written_as_far_as_it_goes(self, hospital: Hospital) -> None:
        client = hospital.client("Incoming")
        client.import_metadata([row for row in client.metadata if row["field_name"] != "study_num_files"])
        receipt = hospital.registry().register([study()])
        assert receipt.rows_written == 4
        assert hospital.registry().register([study()]).rows_written == 0

    def test_no_column_holds_the_patient(self, hospital: Hospital) -> None:
        hospital.registry().register([study()])
        text = str(hospital.client("Incoming").rows())
        assert "Nansen" not in text
        assert "10106112345" not in text
        assert incoming.STUDIES_AT_ONCE == 50


class TestTransfers:
    def test_a_request_becomes_pending_and_then_done(
        self, hospital: Hospital, record_actions: Actions
    ) -> None:
        registry = hospital.registry()
        registry.register([study()])
        assert registry.record_transfer([transfer()]) == 2
        pending = registry.pending_transfers()
        assert [(p.project, p.participant, p.event, p.instance) for p in pending] == [
            ("BRAIN1", "B001", "baseline", 1)
        ]
        assert registry.pending_transfers("1.2.3") == pending
        assert registry.pending_transfers("1.2.4") == []
        done = transfer(
            status=TransferStatus.DONE, transfer_date="2026-01-02 10:31", mapped_uid="2.25.7",
            pixels_redacted=True, active_seconds=3.6, num_files=30,
        )  # fmt: skip
        assert registry.record_transfer([done]) == 2
        before = record_actions("Incoming")
        assert registry.record_transfer([done]) == 0
        assert record_actions("Incoming") == before
        assert registry.pending_transfers() == []
        row = hospital.client("Incoming").rows(records=["1.2.3"], forms=["transfers"])[-1]
        assert (row["transfer_error___1"], row["transfer_error___3"]) == ("0", "1")
        assert (row["transfer_active_proc_time"], row["transfers_complete"]) == ("4", "2")
        assert base(hospital)["study_status"] == str(int(StudyStatus.TRANSFERRED))

    def test_requesting_again_makes_it_pending_again(self, hospital: Hospital) -> None:
        registry = hospital.registry()
        registry.record_transfer([transfer(status=TransferStatus.DONE, transfer_date="2026-01-02 10:31")])
        place = {
            "study_instance_uid": "1.2.3",
            "redcap_repeat_instrument": "transfers",
            "redcap_repeat_instance": 1,
        }
        again = {**place, "transfer_requested_date": "2026-01-03 09:00", "transfer_requested_by": "kari"}
        hospital.client("Incoming").write_rows([again])
        assert registry.pending_transfers()[0].requested_by == "kari"
        registry.record_transfer([transfer(status=TransferStatus.DONE, transfer_date="2026-01-02 10:31")])
        assert registry.pending_transfers()[0].requested_date == "2026-01-03 09:00"

    def test_a_request_made_by_hand_is_taken_over_and_not_doubled(self, hospital: Hospital) -> None:
        place = {
            "study_instance_uid": "1.2.3",
            "redcap_repeat_instrument": "transfers",
            "redcap_repeat_instance": 4,
        }
        by_hand = {"transfer_requested_date": "2026-01-03 09:00", "transfer_project_name": "BRAIN1",
                   "transfer_name": "B001", "transfer_event_name": "baseline"}  # fmt: skip
        hospital.client("Incoming").write_rows([{**place, **by_hand}])
        registry = hospital.registry()
        registry.record_transfer([transfer(status=TransferStatus.RUNNING)])
        assert instances(hospital, "transfers", "transfer_key") == {4: "key1"}
        registry.record_transfer([transfer(transfer_key="key2", event="later")])
        assert instances(hospital, "transfers", "transfer_event_name") == {4: "baseline", 5: "later"}

    def test_several_transfers_of_several_studies_at_once(self, hospital: Hospital) -> None:
        rows = [
            transfer(study_instance_uid=f"1.{one}", transfer_key=f"{one}.{two}", project=f"PROJ{two}")
            for one in range(3)
            for two in range(2)
        ]
        registry = hospital.registry()
        assert registry.record_transfer(rows) == 9
        assert registry.record_transfer(rows) == 0
        assert instances(hospital, "transfers", "transfer_project_name", "1.2") == {1: "PROJ0", 2: "PROJ1"}

    def test_a_failure_is_told_with_its_messages(self, hospital: Hospital) -> None:
        failed = transfer(
            status=TransferStatus.FAILED, transfer_date="2026-01-02 10:31", send_failed=True,
            messages=("the archive refused",),
        )  # fmt: skip
        hospital.registry().record_transfer([failed])
        row = hospital.client("Incoming").rows(records=["1.2.3"], forms=["transfers"])[-1]
        assert (row["transfer_error___2"], row["transfers_complete"]) == ("1", "1")
        assert row["transfer_error_message"] == '["the archive refused"]'


class TestReading:
    def test_coupling_entries_are_read_and_marked_once(
        self, hospital: Hospital, record_actions: Actions
    ) -> None:
        hospital.client("CouplingList").write_rows(
            [{"record_id": "0", "cl_accessionnumber": "ACC1 ", "cl_projectname": "BRAIN1", "cl_subjectid": "B001",
              "cl_eventname": "baseline", "cl_date": "2026-01-01 10:00"}]
        )  # fmt: skip
        registry = hospital.registry()
        entry = registry.coupling_entries()[0]
        assert (entry.record_id, entry.accession_number, entry.participant) == ("0", "ACC1", "B001")
        assert registry.mark_coupling_used(["0", "77"], "1.2.3", "2026-01-02 10:30") == 1
        before = record_actions("CouplingList")
        assert registry.mark_coupling_used(["0"], "1.2.9", "2026-01-03 10:30") == 0
        assert registry.mark_coupling_used([], "1.2.9", "2026-01-03 10:30") == 0
        assert record_actions("CouplingList") == before

    def test_routing_rules_are_read(self, hospital: Hospital) -> None:
        hospital.client("Routing").write_rows(
            [{"record_id": "mr", "routing_active": "1", "routing_dest_project": "BRAIN1", "routing_priority": "3",
              "routing_incoming_aetitle": "BRAIN", "routing_allowed_patientid": "B\\d+"},
             {"record_id": "off", "routing_active": "0", "routing_dest_project": "HEART1"}]
        )  # fmt: skip
        rules = hospital.registry().routing_rules()
        assert [(rule.record_id, rule.active, rule.priority) for rule in rules] == [
            ("mr", True, 3),
            ("off", False, 0),
        ]
        assert rules[0].allowed_patient_id == "B\\d+"

    def test_fionas_dropdown_of_projects_counts_by_its_label(self, hospital: Hospital) -> None:
        client = hospital.client("Routing")
        rows = [dict(row) for row in client.metadata]
        for row in rows:
            if row["field_name"] == "routing_dest_project":
                row.update(field_type="dropdown", select_choices_or_calculations="1, BRAIN1 | 2, HEART1")
        client.import_metadata(rows)
        client.write_rows([{"record_id": "x", "routing_active": "1", "routing_dest_project": "2"}])
        assert [rule.project for rule in hospital.registry().routing_rules()] == ["HEART1"]

    def test_a_bad_project_costs_only_itself(self, hospital: Hospital) -> None:
        client = hospital.client("DataTransferProjects")
        place = {"redcap_repeat_instrument": "destinations", "redcap_repeat_instance": 1}
        client.write_rows(
            [{"record_id": "BRAIN1", "project_name": "BRAIN1", "project_patient_naming": "B\\d+",
              "project_active": "1", "project_features___2": "1"},
             {"record_id": "BRAIN1", **place, "dest_name": "out", "dest_url": "sftp://me@host:2222/in"},
             {"record_id": "BROKEN", "project_name": "BROKEN", "project_patient_naming": "(", "project_active": "1"}]
        )  # fmt: skip
        found = hospital.registry().projects()
        assert [project.name for project in found.projects] == ["BRAIN1"]
        assert found.projects[0].drop_secondary_capture
        assert found.projects[0].destinations[0].port == 2222
        assert len(found.problems) == 1
        assert "BROKEN" in found.problems[0]

    def test_the_token_of_another_project_is_noticed_before_anything_is_written(
        self, hospital: Hospital
    ) -> None:
        incoming_token = hospital.tokens / "Incoming.token"
        incoming_token.write_text((hospital.tokens / "Routing.token").read_text())
        with pytest.raises(ConfigurationError, match="exchange the token"):
            hospital.registry().register([study()])

    def test_a_role_without_a_token_says_what_to_add(self, hospital: Hospital) -> None:
        (hospital.tokens / "CouplingList.token").unlink()
        with pytest.raises(ConfigurationError, match="no token for CouplingList"):
            hospital.registry().coupling_entries()
