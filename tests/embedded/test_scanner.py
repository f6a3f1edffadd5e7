from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fiona_dagster.adapters.dicom_scu import count_instances, query_instances
from fiona_dagster.domain.errors import Transient
from fiona_dagster.embedded.pacs import EmbeddedPacs
from fiona_dagster.embedded.pacs_faults import Faults
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.embedded.scanner import EmbeddedScanner
from fiona_dagster.settings import DicomPeer
from tests.conftest import free_port, need_program
from tests.peers import HOST

US = "TESTSCU"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleStudy]:
    return {study.name: study for study in write_samples(tmp_path_factory.mktemp("samples"))}


def test_a_scanner_tells_how_many_instances_its_studies_have(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    with EmbeddedScanner(tmp_path, list(samples.values())) as scanner:
        for study in samples.values():
            assert count_instances(scanner.peer, US, study.study_instance_uid) == study.instance_count
        assert count_instances(scanner.peer, US, "1.2.3") is None


def test_a_study_is_pushed_over_several_associations_and_its_late_part_afterwards(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["mr-head"]
    with (
        EmbeddedScanner(tmp_path / "scanner", [study]) as scanner,
        EmbeddedPacs(tmp_path / "pacs") as pacs,
    ):
        reports = scanner.push(study, pacs.peer, associations=2)
        assert [len(one.stored) for one in reports] == [6, 5]
        assert count_instances(pacs.peer, US, study.study_instance_uid) == 11
        (late,) = scanner.push(study, pacs.peer, "late")
        assert len(late.stored) == 3
        assert query_instances(pacs.peer, US, study.study_instance_uid) == scanner.index.sop_instance_uids()


def test_damaged_and_changed_instances_are_pushed_as_they_are(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    with (
        EmbeddedScanner(tmp_path / "scanner", list(samples.values())) as scanner,
        EmbeddedPacs(tmp_path / "pacs") as pacs,
    ):
        scanner.push(samples["mr-same-uid"], pacs.peer)
        (changed,) = scanner.push(samples["mr-same-uid"], pacs.peer, "other content")
        (corrupt,) = scanner.push(samples["ct-corrupt"], pacs.peer, "corrupt")
    assert [one.status for one in changed.outcomes] == [0x0110]
    assert [one.status for one in corrupt.outcomes] == [0xC000, 0xC000]
    assert scanner.push(samples["ct-thorax"], pacs.peer, "corrupt") == []


def test_c_move_sends_a_study_again(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    study = samples["sr-report"]
    with EmbeddedPacs(tmp_path / "pacs", ae_title="FIONA") as receiver:
        peers = {"FIONA": receiver.peer}
        with EmbeddedScanner(tmp_path / "scanner", [study], known_peers=peers) as scanner:
            command = [need_program("movescu"), "-S", "-aem", "FIONA", "-aec", scanner.ae_title]
            keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study.study_instance_uid}"]
            subprocess.run([*command, HOST, str(scanner.port), *keys], check=True, timeout=60)
        assert receiver.index.sop_instance_uids() == scanner_uids(study)


def scanner_uids(study: SampleStudy) -> frozenset[str]:
    from fiona_dagster.adapters.dicom_scu import read_stored_instance

    return frozenset(read_stored_instance(path).sop_instance_uid for path in study.files)


def test_a_scanner_without_a_receiver_says_so(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    nobody = DicomPeer("NOBODY", HOST, free_port())
    with (
        EmbeddedScanner(tmp_path, list(samples.values())) as scanner,
        pytest.raises(Transient, match="no connection"),
    ):
        scanner.push(samples["ct-thorax"], nobody)


def test_a_scanner_whose_queries_fail_gives_no_count(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    study = samples["ct-thorax"]
    with (
        EmbeddedScanner(tmp_path, [study], faults=Faults(query_status=0xC000)) as scanner,
        pytest.raises(Transient),
    ):
        count_instances(scanner.peer, US, study.study_instance_uid)
