"""The whole way over real sockets: scanner, gateway as processes, research PACS, SFTP server, REDCap.

Once with DCMTK as the scanner, Orthanc and OpenSSH, once with the embedded ones. One gateway takes all the studies;
every test looks at one promise, at the destinations themselves.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterEventType, DagsterInstance, RunsFilter
from pydicom import dcmread

from fiona_dagster.adapters.dicom_scu import send
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.adapters.reconciliation import discrepancies
from fiona_dagster.domain.transfer import Balance, Transfer, TransferState
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.embedded.scanner import EmbeddedScanner
from fiona_dagster.settings import DicomPeer
from tests.conftest import need_program
from tests.journeys.processes import (
    RunningGateway,
    embedded_destinations,
    real_destinations,
    running_processes,
)

pytestmark = [pytest.mark.journey, pytest.mark.timeout(600)]

SETTLED_SECONDS = 400.0
COUPLED, LATE, UNCOUPLED = "ct-thorax", "mr-head", "cr-uncoupled"
ROUTED_AE, ROUTED_ID = "STROKE", "STROKE-017"
Push = Callable[[Sequence[Path], DicomPeer], None]


@dataclass
class Journey:
    """What happened, after everything has settled."""

    gateway: RunningGateway
    samples: dict[str, SampleStudy]
    routed: tuple[Path, ...]

    def study(self, name: str) -> StudyRecord:
        return self.gateway.ledger.studies.find(self.samples[name].study_instance_uid)[0]

    @property
    def routed_study(self) -> StudyRecord:
        return self.gateway.ledger.studies.find(str(header(self.routed[0]).StudyInstanceUID))[0]

    def transfers(self) -> dict[str, Transfer]:
        """Every transfer, by how its study came to it and the participant."""
        return {f"{one.source} {one.participant}": one for one in self.gateway.ledger.transfers.all()}

    def originals(self) -> list[Path]:
        files = [path for one in self.samples.values() for path in (*one.files, *one.late)]
        return [*files, *self.routed]


def header(path: Path | io.BytesIO) -> Any:
    return dcmread(path, stop_before_pixels=True)


def by_dcmtk(paths: Sequence[Path], peer: DicomPeer) -> None:
    """DCMTK as the scanner: storescu, or dcmsend, which proposes a compressed file's own Transfer Syntax too."""
    compressed = any(header(path).file_meta.TransferSyntaxUID.is_compressed for path in paths)
    program = [need_program("dcmsend"), "-dn"] if compressed else [need_program("storescu")]
    command = [
        *program,
        "-aet",
        "SCANNER",
        "-aec",
        peer.ae_title,
        peer.host,
        str(peer.port),
        *map(str, paths),
    ]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


def by_our_scu(paths: Sequence[Path], peer: DicomPeer) -> None:
    send(paths, peer, "SCANNER").raise_for_failures()


@pytest.fixture(scope="module", params=["embedded", "real"])
def journey(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    folder = tmp_path_factory.mktemp("journey")
    real = request.param == "real"
    for program in ("storescu", "dcmsend", "Orthanc", "sshd") if real else ():
        need_program(program)
    wanted = (COUPLED, LATE, UNCOUPLED)
    samples = {one.name: one for one in write_samples(folder / "samples") if one.name in wanted}
    routed = pseudonymous(samples[COUPLED].files[:3], folder / "routed")
    destinations = real_destinations if real else embedded_destinations
    with (
        EmbeddedScanner(folder / "scanner", list(samples.values())) as scanner,
        destinations(folder) as reached,
        running_processes(
            folder, reached,
            projects=[
                {"project_name": "BRAINAGE", "project_patient_naming": r"BA-\d{3}"},
                {"project_name": "STROKE", "project_patient_naming": r"STROKE-\d{3}"},
                {"project_name": "HEART", "project_patient_naming": r"H\d+", "project_features___1": "1"},
            ],
            coupling=[
                {"cl_accessionnumber": samples[name].accession_number, "cl_projectname": "BRAINAGE",
                 "cl_subjectid": f"BA-00{number}"}
                for number, name in enumerate((COUPLED, LATE), start=1)
            ],
            routing=[{"record_id": "stroke", "routing_dest_project": "STROKE",
                      "routing_incoming_aetitle": ROUTED_AE, "routing_allowed_patientid": r"STROKE-\d{3}"}],
            pages=False,
            SCANNERIP="127.0.0.1", SCANNERPORT=scanner.port, SCANNERAETITLE=scanner.ae_title,
            INCOMPLETESECONDS=0,  # one study goes on before its late images
        ) as gateway,
    ):  # fmt: skip
        made = Journey(gateway, samples, routed)
        travel(made, by_dcmtk if real else by_our_scu)
        yield made


def pseudonymous(originals: Sequence[Path], folder: Path) -> tuple[Path, ...]:
    """A study that a research scanner made under a pseudonym: no accession number, no name."""
    folder.mkdir()
    made = []
    for number, original in enumerate(originals, start=1):
        data_set = dcmread(original)
        data_set.PatientID = data_set.PatientName = ROUTED_ID
        data_set.AccessionNumber = ""
        data_set.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.77"
        data_set.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.77.1"
        data_set.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.77.1.{number}"
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        made.append(folder / f"{number}.dcm")
        data_set.save_as(made[-1], enforce_file_format=True)
    return tuple(made)


def travel(journey: Journey, push: Push) -> None:
    """Send everything, the late images once the first revision was delivered, and assign what nothing claims."""
    gateway, samples = journey.gateway, journey.samples
    for name in (LATE, UNCOUPLED, COUPLED):
        push(samples[name].files, gateway.receiver)
    push(journey.routed, DicomPeer(ROUTED_AE, gateway.receiver.host, gateway.receiver.port))
    open_points = {"late", "assign"}

    def settled() -> bool:
        by_name = journey.transfers()
        first = by_name.get("coupling BA-002")
        if "late" in open_points and first is not None and first.state == TransferState.DELIVERED:
            open_points.remove("late")
            push(samples[LATE].late, gateway.receiver)
        studies = {one.study_instance_uid: one for one in gateway.ledger.studies.all()}
        waiting = studies.get(samples[UNCOUPLED].study_instance_uid)
        if "assign" in open_points and waiting is not None and waiting.held_reason:
            open_points.remove("assign")
            gateway.fiona(
                "assign", samples[UNCOUPLED].accession_number, "--project", "HEART", "--participant", "H12"
            )
        return (
            not open_points
            and len(by_name) == 4
            and all(one.state == TransferState.DELIVERED for one in by_name.values())
            and journey.study(LATE).routed_revision == 2
        )

    gateway.wait_for(settled, SETTLED_SECONDS, lambda: f"{gateway.ledger.transfers.all()}")


def test_every_study_came_to_its_project_by_the_way_meant_for_it(journey: Journey) -> None:
    by_name = {name: one.project for name, one in journey.transfers().items()}
    assert by_name == {
        "coupling BA-001": "BRAINAGE",
        "coupling BA-002": "BRAINAGE",
        f"routing {ROUTED_ID}": "STROKE",
        "assign H12": "HEART",
    }


def test_the_conservation_law_holds_and_status_says_so(journey: Journey) -> None:
    sent = len(journey.originals())
    said = json.loads(journey.gateway.fiona("status", "--json"))
    assert said["conservation"] == {
        "holds": True, "received": sent, "released": sent, "held": 0, "excluded": 0, "failed": 0
    }  # fmt: skip
    assert said["transfers"] == {"delivered": 4}
    assert said["open_associations"] == 0
    assert set(said["receivers"].values()) == {"answers"}
    assert discrepancies(journey.gateway.ledger, journey.gateway.settings) == []


def test_the_research_pacs_has_every_released_instance_and_no_other(journey: Journey) -> None:
    files = [header(io.BytesIO(content)) for content in journey.gateway.destinations.pacs_files()]
    ledger = journey.gateway.ledger
    released = [row for one in ledger.transfers.all() for row in ledger.transfers.release_rows(one.id)]
    assert len(files) == len(released) == len(journey.originals())
    assert {str(one.SOPInstanceUID) for one in files} == {row.sop_instance_uid for row in released}


def test_no_identifier_of_a_patient_is_in_any_file_of_the_research_pacs(journey: Journey) -> None:
    words = identifiers(journey)
    assert len(words) > len(journey.originals())
    for content in journey.gateway.destinations.pacs_files():
        assert found_in(content, words) == []


def test_no_identifier_of_a_patient_is_in_a_package_a_log_or_dagsters_storage(journey: Journey) -> None:
    words = identifiers(journey)
    gateway = journey.gateway
    logs = [*gateway.config_file.parents[2].glob("logs/*.log"), *gateway.settings.layout.logs.rglob("*")]
    kept = [path for path in gateway.settings.layout.dagster_home.rglob("*") if path.is_file()]
    assert logs
    assert kept
    for path in [*logs, *kept, *gateway.destinations.packages.iterdir()]:
        if path.is_file():
            assert found_in(path.read_bytes() + path.name.encode(), words) == [], path.name


def identifiers(journey: Journey) -> set[str]:
    """What the gateway must not let out: names, ids, accession numbers and UIDs. Parts of names of three letters
    and less are left out, since they stand in any pixel data.
    """
    words: set[str] = set()
    for sample in journey.samples.values():
        name = sample.patient_name
        words |= {name, sample.patient_id, sample.accession_number}
        words |= {part for part in name.replace("^", " ").split() if len(part) > 3}
    for path in journey.originals():
        original = header(path)
        words |= {
            str(original.StudyInstanceUID),
            str(original.SeriesInstanceUID),
            str(original.SOPInstanceUID),
        }
    return words


def found_in(content: bytes, words: set[str]) -> list[str]:
    """Those of `words` that occur in `content`, in Latin-1 or UTF-8, whatever their case."""
    text = content.decode("latin-1").casefold()
    spellings = {word: {word.casefold(), word.encode().decode("latin-1").casefold()} for word in words}
    return [word for word, ways in spellings.items() if any(way in text for way in ways)]


def test_every_package_is_on_the_sftp_server_with_its_md5(journey: Journey) -> None:
    folder = journey.gateway.destinations.packages
    packages = sorted(folder.glob("*.zip"))
    assert [path.name.split("_2.25.")[0] for path in packages] == [
        "BRAINAGE_BA-001_Baseline", "BRAINAGE_BA-002_Baseline", "HEART_H12_", f"STROKE_{ROUTED_ID}_"
    ]  # fmt: skip
    counts = []
    for path in packages:
        listed = path.with_name(f"{path.name}.md5").read_text().split()[0]
        assert listed == hashlib.md5(path.read_bytes()).hexdigest()
        counts.append(sum(name.endswith(".dcm") for name in zipfile.ZipFile(path).namelist()))
    assert counts == [12, 14, 3, 3]
    assert list(folder.glob(".*")) == []


def test_late_images_followed_as_a_second_revision_of_the_same_copy(journey: Journey) -> None:
    study, ledger = journey.study(LATE), journey.gateway.ledger
    (transfer,) = ledger.transfers.of_study(study.key)
    assert (study.revision, transfer.revision, transfer.packaged_revision) == (2, 2, 2)
    assert ledger.transfers.balance(transfer.id) == Balance(14, released=14)
    assert len({row.study_instance_uid for row in ledger.transfers.release_rows(transfer.id)}) == 1


def test_the_scanner_was_asked_how_many_instances_a_study_has_and_the_check_shows_it(
    journey: Journey,
) -> None:
    assert shown_checks(journey, journey.study(COUPLED).key) == [(12, 12, True)]
    assert shown_checks(journey, journey.study(LATE).key) == [(11, 14, False), (14, 14, True)]
    assert shown_checks(journey, journey.routed_study.key)[0][1] == "no source knows the study or answers"


def shown_checks(journey: Journey, study_key: str) -> list[tuple[object, object, bool]]:
    """Received, expected and verdict of `complete_at_source`, oldest first, as Dagster's pages show them."""
    shown = []
    with DagsterInstance.from_config(str(journey.gateway.settings.layout.dagster_home)) as instance:
        runs = instance.get_runs(RunsFilter(tags={"fiona/study": study_key, "fiona/phase": "intake"}))
        for run in reversed(runs):
            for log in instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION):
                assert log.dagster_event is not None
                check = log.dagster_event.asset_check_evaluation_data
                if check.check_name != "complete_at_source":
                    continue
                values = {name: value.value for name, value in check.metadata.items()}
                shown.append((values["received"], values["expected"], check.passed))
    return shown


def test_redcap_knows_every_transfer_and_no_patient(journey: Journey) -> None:
    for name, projects in ((COUPLED, ["BRAINAGE"]), (LATE, ["BRAINAGE"]), (UNCOUPLED, ["HEART"])):
        sample = journey.samples[name]
        rows = journey.gateway.incoming(sample.study_instance_uid)
        transfers = [row for row in rows if row.get("redcap_repeat_instrument") == "transfers"]
        assert [row["transfer_project_name"] for row in transfers] == projects
        assert {row["transfer_status"] for row in transfers} <= {"3", "4"}
        series = [row for row in rows if row.get("redcap_repeat_instrument") == "series"]
        uids = {str(header(path).SeriesInstanceUID) for path in (*sample.files, *sample.late)}
        assert len(series) == len(uids)
        patient = {sample.patient_id, *sample.patient_name.replace("^", " ").split()}
        assert found_in(json.dumps(rows, ensure_ascii=False).encode(), patient) == []
