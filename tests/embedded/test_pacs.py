"""The embedded PACS with DCMTK's and Orthanc's clients, and pynetdicom's for what those lack."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt

from fiona_dagster.adapters.dicom_scu import (
    count_instances,
    peer_from_text,
    query_instances,
    read_stored_instance,
    send,
)
from fiona_dagster.embedded.pacs import EmbeddedPacs
from fiona_dagster.embedded.pacs_commitment import STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE
from fiona_dagster.embedded.pacs_faults import Faults
from fiona_dagster.embedded.pacs_responses import leave_responses_to_the_sender
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.settings import DicomPeer
from tests.conftest import free_port, need_program
from tests.peers import HOST, orthanc, storescp

US = "TESTSCU"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleStudy]:
    return {study.name: study for study in write_samples(tmp_path_factory.mktemp("samples"))}


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, samples: dict[str, SampleStudy]
) -> Iterator[tuple[EmbeddedPacs, Path]]:
    """A PACS with all samples, and the folder of a storescp that it may move to as DEST."""
    folder = tmp_path_factory.mktemp("pacs")
    with (
        storescp(folder / "moved", "+xa", "+B", ae_title="DEST") as destination,
        EmbeddedPacs(folder / "home", known_peers={"DEST": destination}) as pacs,
    ):
        for study in samples.values():
            assert not send([*study.files, *study.late], pacs.peer, US).failed
        yield pacs, folder / "moved"


def dcmtk(program: str, pacs: EmbeddedPacs, *options: str) -> str:
    command = [need_program(program), *options, "-aet", US, "-aec", pacs.ae_title, HOST, str(pacs.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def find(pacs: EmbeddedPacs, folder: Path, level: str, *keys: str, root: str = "-S") -> list[Dataset]:
    folder.mkdir()
    chosen = [part for key in (f"QueryRetrieveLevel={level}", *keys) for part in ("-k", key)]
    dcmtk("findscu", pacs, root, "-X", "-od", str(folder), *chosen)
    return [dcmread(path) for path in sorted(folder.iterdir())]


def data_sets(paths: list[Path]) -> set[bytes]:
    return {path.read_bytes()[read_stored_instance(path).offset :] for path in paths}


def test_dcmtk_stores_and_echoes(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        dcmtk("echoscu", pacs)
        command = [need_program("storescu"), "-R", "-aec", pacs.ae_title, HOST, str(pacs.port)]
        subprocess.run([*command, *map(str, samples["ct-thorax"].files)], check=True, timeout=60)
        assert len(pacs.index) == 12


def test_what_was_stored_is_on_disk_byte_for_byte_and_there_after_a_restart(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["us-heart"]
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        send(study.files, pacs.peer, US)
    kept = [path for path in (tmp_path / "pacs" / "instances").rglob("*") if path.is_file()]
    assert data_sets(kept) == data_sets(list(study.files))
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        assert count_instances(pacs.peer, US, study.study_instance_uid) == 4


def test_study_level_answers_carry_counts_modalities_and_names_in_utf_8(
    tmp_path: Path, filled: tuple[EmbeddedPacs, Path]
) -> None:
    (answer,) = find(
        filled[0], tmp_path / "found", "STUDY", "PatientName=*jørn", "SpecificCharacterSet=ISO_IR 192",
        "StudyDate=20030101-20031231", "ModalitiesInStudy", "NumberOfStudyRelatedInstances",
        "NumberOfStudyRelatedSeries", "PatientComments=unknown",
    )  # fmt: skip
    assert str(answer.PatientName) == "Værøy^Jørn"
    assert sorted(answer.ModalitiesInStudy) == ["CT", "SEG"]
    assert answer.NumberOfStudyRelatedInstances == 4
    assert answer.NumberOfStudyRelatedSeries == 2
    assert answer.PatientComments == ""
    assert answer.RetrieveAETitle == "RESEARCHPACS"


def test_queries_match_by_list_wildcard_modality_and_level(
    tmp_path: Path, filled: tuple[EmbeddedPacs, Path], samples: dict[str, SampleStudy]
) -> None:
    pacs, _ = filled
    two = [samples["ct-thorax"].study_instance_uid, samples["mr-head"].study_instance_uid]
    by_list = find(pacs, tmp_path / "1", "STUDY", "StudyInstanceUID=" + "\\".join(two))
    assert {one.StudyInstanceUID for one in by_list} == set(two)
    assert len(find(pacs, tmp_path / "2", "STUDY", "ModalitiesInStudy=MR", "StudyInstanceUID")) == 2
    assert len(find(pacs, tmp_path / "3", "STUDY", "AccessionNumber=HUS240000?", "StudyInstanceUID")) == 8
    series = find(
        pacs, tmp_path / "4", "SERIES", f"StudyInstanceUID={two[1]}", "SeriesInstanceUID",
        "NumberOfSeriesRelatedInstances",
    )  # fmt: skip
    assert sorted(int(one.NumberOfSeriesRelatedInstances) for one in series) == [3, 11]
    image = find(
        pacs, tmp_path / "5", "IMAGE", f"StudyInstanceUID={two[0]}", "SOPInstanceUID", "InstanceNumber=7"
    )
    assert [one.InstanceNumber for one in image] == [7]


def test_patient_root_answers_at_patient_level(tmp_path: Path, filled: tuple[EmbeddedPacs, Path]) -> None:
    keys = ("PatientID", "PatientSex=F", "NumberOfPatientRelatedInstances")
    answers = find(filled[0], tmp_path / "found", "PATIENT", *keys, root="-P")
    assert sorted(int(one.NumberOfPatientRelatedInstances) for one in answers) == [2, 3, 7, 14]


def test_a_query_without_a_level_that_exists_is_refused(
    tmp_path: Path, filled: tuple[EmbeddedPacs, Path]
) -> None:
    output = dcmtk("findscu", filled[0], "-v", "-S", "-k", "QueryRetrieveLevel=ROOM", "-k", "PatientID")
    assert "Error: DataSetDoesNotMatchSOPClass" in output or "0xa900" in output.lower()


@pytest.mark.parametrize(
    "name", ["ct-thorax", "mr-head", "us-heart", "sr-report", "seg-liver", "mr-same-uid"]
)
def test_c_move_brings_a_study_to_a_known_peer_byte_for_byte(
    name: str, filled: tuple[EmbeddedPacs, Path], samples: dict[str, SampleStudy]
) -> None:
    pacs, moved = filled
    study = samples[name]
    before = set(moved.iterdir())
    dcmtk(
        "movescu", pacs, "-S", "-aem", "DEST", "-k", "QueryRetrieveLevel=STUDY",
        "-k", f"StudyInstanceUID={study.study_instance_uid}",
    )  # fmt: skip
    assert data_sets(list(set(moved.iterdir()) - before)) == data_sets([*study.files, *study.late])


def test_c_move_to_a_peer_that_nobody_named_is_refused(
    filled: tuple[EmbeddedPacs, Path], samples: dict[str, SampleStudy]
) -> None:
    pacs, _ = filled
    command = [
        need_program("movescu"),
        "-v",
        "-S",
        "-aem",
        "ELSEWHERE",
        "-aec",
        pacs.ae_title,
        HOST,
        str(pacs.port),
    ]
    keys = [
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        f"StudyInstanceUID={samples['ct-thorax'].study_instance_uid}",
    ]
    done = subprocess.run([*command, *keys], capture_output=True, text=True, timeout=60, check=False)
    assert "MoveDestinationUnknown" in done.stdout + done.stderr


def test_c_get_returns_a_study_over_the_same_association(
    tmp_path: Path, filled: tuple[EmbeddedPacs, Path], samples: dict[str, SampleStudy]
) -> None:
    study = samples["ct-thorax"]
    (tmp_path / "got").mkdir()
    dcmtk(
        "getscu", filled[0], "-S", "+B", "-od", str(tmp_path / "got"), "-k", "QueryRetrieveLevel=STUDY",
        "-k", f"StudyInstanceUID={study.study_instance_uid}",
    )  # fmt: skip
    got = {one.SOPInstanceUID: one for one in map(dcmread, (tmp_path / "got").iterdir())}
    # getscu asks for Implicit VR Little Endian first: the elements are the same, their encoding is not
    assert all(got[one.SOPInstanceUID] == one for one in map(dcmread, study.files))
    assert len(got) == 12


def test_the_same_instance_again_is_accepted_and_other_content_is_refused(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["mr-same-uid"]
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        send(study.files, pacs.peer, US)
        again = send(study.files, pacs.peer, US)
        other = send(study.other_content, pacs.peer, US)
        kept = list((tmp_path / "pacs" / "instances").rglob("*.dcm"))
        assert len(pacs.index) == 7
    assert not again.failed
    assert [one.status for one in other.outcomes] == [0x0110]
    assert data_sets(kept) == data_sets(list(study.files))


def test_damaged_instances_are_refused_and_not_shown(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        report = send(samples["ct-corrupt"].corrupt, pacs.peer, US)
        assert [one.status for one in report.outcomes] == [0xC000, 0xC000]
        assert len(pacs.index) == 0


def test_a_pacs_that_drops_answers_success_but_its_query_tells(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["ct-thorax"]
    with EmbeddedPacs(tmp_path / "pacs", faults=Faults(drop_every=4)) as pacs:
        report = send(study.files, pacs.peer, US)
        present = query_instances(pacs.peer, US, study.study_instance_uid)
    assert not report.failed
    lost = {one.sop_instance_uid for one in report.outcomes[3::4]}
    assert present == {one.sop_instance_uid for one in report.outcomes} - lost


def test_storage_commitment_reports_over_the_same_association(
    filled: tuple[EmbeddedPacs, Path], samples: dict[str, SampleStudy]
) -> None:
    held = dcmread(samples["ct-thorax"].files[0])
    kind, report = commit(filled[0].peer, held.SOPClassUID, [held.SOPInstanceUID])
    assert kind == 1
    assert [one.ReferencedSOPInstanceUID for one in report.ReferencedSOPSequence] == [held.SOPInstanceUID]
    assert "FailedSOPSequence" not in report


def test_storage_commitment_names_what_it_does_not_hold(
    filled: tuple[EmbeddedPacs, Path], samples: dict[str, SampleStudy]
) -> None:
    held = dcmread(samples["ct-thorax"].files[0])
    kind, report = commit(filled[0].peer, held.SOPClassUID, [held.SOPInstanceUID, "1.2.3"])
    assert kind == 2
    assert [one.ReferencedSOPInstanceUID for one in report.ReferencedSOPSequence] == [held.SOPInstanceUID]
    assert [(one.ReferencedSOPInstanceUID, one.FailureReason) for one in report.FailedSOPSequence] == [
        ("1.2.3", 0x0112)
    ]


def commit(peer: DicomPeer, sop_class_uid: str, sop_instance_uids: list[str]) -> tuple[int, Dataset]:
    """Ask for commitment and wait for the report: event type and event information."""
    request = Dataset()
    request.TransactionUID = "1.2.3.4"
    request.ReferencedSOPSequence = []
    for uid in sop_instance_uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, uid
        request.ReferencedSOPSequence.append(item)
    received: list[tuple[int, Dataset]] = []
    reports: queue.Queue[tuple[int, Dataset]] = queue.Queue()

    def receive(event: Any) -> tuple[int, None]:
        received.append((event.event_type, event.event_information))
        return 0x0000, None

    def answered(_: Any) -> None:
        """The next PDU after a report is our response to it: only then may the Association be released."""
        if received:
            reports.put(received.pop())

    ae = AE(US)
    ae.add_requested_context(STORAGE_COMMITMENT)
    association = ae.associate(
        peer.host, peer.port, ae_title=peer.ae_title, ext_neg=[build_role(STORAGE_COMMITMENT, scu_role=True)],
        evt_handlers=[
            (evt.EVT_N_EVENT_REPORT, receive),
            (evt.EVT_PDU_SENT, answered),
            (evt.EVT_ESTABLISHED, leave_responses_to_the_sender),
        ],
    )  # fmt: skip
    assert association.is_established
    try:
        status, _ = association.send_n_action(request, 1, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE)
        assert status.Status == 0x0000
        return reports.get(timeout=20)
    finally:
        association.release()


def test_orthanc_stores_and_has_its_storage_commitment_reported(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    port = free_port()
    research = DicomPeer("RESEARCHPACS", HOST, port)
    with orthanc(tmp_path / "orthanc", modalities={"research": research}) as clinical:
        peers = {"ORTHANC": clinical.peer}
        with EmbeddedPacs(tmp_path / "pacs", port=port, known_peers=peers) as pacs:
            send(samples["ct-thorax"].files, clinical.peer, US)
            (study,) = clinical.get("/studies")
            answer = clinical.post(
                "/modalities/research/store", {"Resources": [study], "StorageCommitment": True}
            )
            assert len(pacs.index) == 12
            transaction = answer["StorageCommitmentTransactionUID"]
            report = clinical.settled(f"/storage-commitment/{transaction}")
            assert report["Status"] == "Success"
            assert len(report["Success"]) == 12


def test_the_module_runs_on_its_own_and_ends_on_sigterm(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    command = [sys.executable, "-m", "fiona_dagster.embedded.pacs", "--folder", str(tmp_path / "pacs")]
    process = subprocess.Popen(
        [*command, "--ae-title", "ALONE", "--peer", "DEST@127.0.0.1:104"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("listening on 127.0.0.1:")
        peer = peer_from_text(f"ALONE@{line.removeprefix('listening on ')}")
        assert not send(samples["sr-report"].files, peer, US).failed
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
