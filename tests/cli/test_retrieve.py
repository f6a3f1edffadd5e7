from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from fiona_dagster.adapters.ledger.schema import audit
from fiona_dagster.adapters.retrieval import Retriever
from fiona_dagster.adapters.retrieval_work import active_sources
from fiona_dagster.cli.retrieve import retrieve
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.retrieval import RetrievalState
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from tests.adapters.test_retrieval import House, house, uids


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleStudy]:
    return {study.name: study for study in write_samples(tmp_path_factory.mktemp("samples"))}


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(retrieve, [*arguments, "--config", str(folder / "config.json")])


def test_a_study_is_asked_for_by_accession_number_fetched_and_shown(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["sr-report"]
    with house(tmp_path, [list(samples.values())]) as one:
        result = run(tmp_path, "--accession", study.accession_number, "--now")
        one.recorded()
        assert (result.exit_code, result.stderr) == (0, "")
        assert "1 studies asked for, 0 of them" in result.output
        assert one.here(study) == uids(study)
        assert study.accession_number not in result.output
        with one.ledger.read() as connection:
            assert connection.execute(select(audit.c.action, audit.c.subject)).all() == [
                ("retrieve", "1 studies")
            ]
        shown = run(tmp_path)
        assert "1 active" in shown.output
        assert "2 instances were sent, to be seen at the next look" in shown.output
        assert study.study_instance_uid not in shown.output


def test_what_is_named_is_fetched_at_once_and_nothing_else_is_looked_at(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study, other = samples["sr-report"], next(one for one in samples.values() if one.name != "sr-report")
    with house(tmp_path, [list(samples.values())]) as one:
        one.ask(other)
        result = run(tmp_path, study.study_instance_uid, "--now")
        one.recorded()
        assert result.exit_code == 0
        assert "looked at 1 studies" in result.output
        assert "1 active\n" in result.output, "what it waits for, though that is no failure"
        assert "0 finished" not in result.output
        assert (one.here(study), one.here(other)) == (uids(study), set())
        assert one.account(other).source == ""


def test_what_no_source_has_is_said_and_is_a_failure(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    with house(tmp_path, [[samples["sr-report"]]]):
        unknown = run(tmp_path, "9.9.9", "--now")
        number = run(tmp_path, "--accession", "nobody's")
    assert (unknown.exit_code, number.exit_code) == (1, 1)
    assert "the source shows no instance of it" in unknown.output
    assert "no source shows a study of --accession" in number.stderr


def test_a_source_that_the_gateway_looks_at_now_is_named(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["sr-report"]
    with house(tmp_path, [[study]]) as one:
        (source,) = active_sources(one.site)
        with Retriever(one.ledger, one.settings, one.site, source)._alone():
            result = run(tmp_path, study.study_instance_uid, "--now")
    assert result.exit_code == 0
    assert "looked at 0 studies" in result.output
    assert "is looking there now" in result.output


def test_a_study_that_ended_is_looked_for_again_and_nothing_found_is_a_failure(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["sr-report"]
    with house(tmp_path, [[study]]) as one:
        one.push(*study.files, *study.late)
        for _ in range(2):
            one.look()
        assert one.account(study).state is RetrievalState.FINISHED
        assert run(tmp_path, one.ledger.studies.all()[0].key).exit_code == 0
        assert one.account(study).state is RetrievalState.ACTIVE
        assert run(tmp_path, "--patient", "nobody").exit_code == 1
        wild = run(tmp_path, "--patient", "*")
        assert isinstance(wild.exception, ConfigurationError)


def test_a_site_without_a_source_says_what_to_configure(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    with house(tmp_path, []) as one:
        assert isinstance(one, House)
        result = run(tmp_path, "1.2.3")
    assert isinstance(result.exception, ConfigurationError)
    assert "give SCANNERIP or OTHERSCANNER a RETRIEVE" in str(result.exception)
