from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pynetdicom import evt

from fiona_dagster.cli.send import send
from fiona_dagster.embedded.pacs import EmbeddedPacs
from fiona_dagster.embedded.pacs_faults import Faults
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from tests.cli.test_main import run as run_as_called
from tests.conftest import free_port
from tests.peers import HOST, storescp


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleStudy]:
    return {study.name: study for study in write_samples(tmp_path_factory.mktemp("samples"))}


def run(*arguments: object, environment: dict[str, str] | None = None) -> tuple[Result, dict[str, Any]]:
    result = CliRunner().invoke(send, [str(one) for one in arguments], env=environment)
    return result, json.loads(result.stdout) if result.stdout else {}


def folder(study: SampleStudy) -> Path:
    return study.files[0].parent


def test_folders_are_sent_whole_and_counted(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    with storescp(tmp_path / "received", "+xa", ae_title="PACS") as peer:
        result, summary = run(folder(samples["ct-thorax"]), folder(samples["mr-head"]), "--to", peer)
    assert result.exit_code == 0
    assert summary == {
        "to": str(peer), "studies": 2, "instances": 26, "stored": 26, "failed": 0, "skipped": 0,
    }  # fmt: skip
    assert len(list((tmp_path / "received").iterdir())) == 26


def test_one_association_is_opened_for_each_study(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    callers: list[str] = []
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        pacs._server.bind(evt.EVT_ACCEPTED, lambda event: callers.append(event.assoc.requestor.ae_title))
        run(folder(samples["sr-report"]), folder(samples["seg-liver"]), "--to", pacs.peer, "--calling", "ME")
    assert callers == ["ME", "ME"]


def test_what_is_not_dicom_is_listed_and_fails(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(folder(samples["sr-report"]), mixed)
    (mixed / "readme.txt").write_text("hello")
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        result, summary = run(mixed, "--to", pacs.peer)
    assert result.exit_code == 1
    assert (summary["stored"], summary["failed"], summary["skipped"]) == (2, 0, 1)
    assert "readme.txt: not a DICOM file" in " ".join(result.stderr.split())


def test_a_file_is_sent_once_however_often_it_is_named(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    one = samples["ct-thorax"].files[0]
    (tmp_path / "link.dcm").symlink_to(one)
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        _, summary = run(one, one, tmp_path / "link.dcm", "--to", pacs.peer)
    assert summary["instances"] == 1


def test_failures_are_counted_by_reason_and_name_no_patient(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["ct-thorax"]
    with EmbeddedPacs(tmp_path / "pacs", faults=Faults(refuse_status=0xA700)) as pacs:
        result, summary = run(folder(study), "--to", pacs.peer)
    assert result.exit_code == 1
    assert (summary["stored"], summary["failed"]) == (0, 12)
    assert "12 not stored: the peer answered 0xA700" in " ".join(result.stderr.split())
    for value in (study.patient_id, "Ødegård", study.study_instance_uid, study.accession_number):
        assert value not in result.output


def test_our_own_receiver_is_the_default(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    with EmbeddedPacs(tmp_path / "pacs", ae_title="OURS") as pacs:
        config = {"DATADIR": str(tmp_path), "DICOMPORT": pacs.port, "DICOMAETITLE": "OURS"}
        (tmp_path / "config.json").write_text(json.dumps(config))
        result, summary = run(
            folder(samples["sr-report"]), environment={"FIONA_CONFIG": str(tmp_path / "config.json")}
        )
    assert result.exit_code == 0
    assert summary["to"] == f"OURS@{HOST}:{pacs.port}"


def test_nobody_listening_fails_with_what_to_check(samples: dict[str, SampleStudy]) -> None:
    result, summary = run(folder(samples["sr-report"]), "--to", f"NOBODY@{HOST}:{free_port()}")
    assert result.exit_code == 1
    assert summary["failed"] == 2
    assert "check that it runs" in " ".join(result.stderr.split())


def test_values_that_are_not_as_they_should_be_are_not_printed(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    dataset = dcmread(samples["sr-report"].files[0])
    dataset.SpecificCharacterSet = "ISO-IR 100 Zwingenberger"
    dataset.save_as(tmp_path / "a.dcm")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result, _ = run("--to", f"FIONA@{HOST}:{free_port()}", tmp_path / "a.dcm")
    assert "not stored: no connection" in result.stderr
    assert [str(one.message) for one in told] == []


def test_a_receiver_that_is_written_wrongly_is_refused(samples: dict[str, SampleStudy]) -> None:
    called = run_as_called("send", str(folder(samples["sr-report"])), "--to", "PACS:104")
    assert called.returncode == 2
    (line,) = called.stderr.splitlines()
    assert "write AE@host:port" in line


def test_a_folder_without_dicom_is_a_failure(tmp_path: Path) -> None:
    result, summary = run(tmp_path, "--to", f"NOBODY@{HOST}:1")
    assert result.exit_code == 1
    assert summary["instances"] == 0
