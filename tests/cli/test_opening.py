from __future__ import annotations

import json
from pathlib import Path

import pytest

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.cli.opening import open_gateway, whoami
from fiona_dagster.domain.errors import ConfigurationError
from tests.factories import received


def config(tmp_path: Path, **content: object) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"DATADIR": str(tmp_path / "data"), **content}))
    return file


def new_ledger(file: Path) -> Ledger:
    file.parent.mkdir()
    return Ledger(f"sqlite:///{file}")


def test_where_no_gateway_ever_ran_nothing_is_made_and_the_way_is_shown(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"there is no ledger in .*data — run `fiona up` first; or name another",
    ):
        open_gateway(config(tmp_path))
    assert not (tmp_path / "data").exists()


def test_the_ledger_of_the_data_directory_is_opened(tmp_path: Path) -> None:
    new_ledger(tmp_path / "data" / "ledger.sqlite").reception.record([(received(), None)])
    assert len(open_gateway(config(tmp_path)).ledger.studies.all()) == 1


def test_a_ledger_elsewhere_is_looked_for_there(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere" / "book.sqlite"
    url = f"sqlite:///{file}"
    with pytest.raises(ConfigurationError, match="there is no ledger"):
        open_gateway(config(tmp_path, LEDGER=url))
    new_ledger(file).reception.record([(received(), None)])
    assert len(open_gateway(config(tmp_path, LEDGER=url)).ledger.studies.all()) == 1


def test_a_study_is_named_by_key_uid_or_accession_number_if_that_names_one(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "data" / "ledger.sqlite")
    for uid in ("1.2.3", "1.2.4"):
        ledger.reception.record([(received(uid, accession_number="ACC", patient_id=uid[-1]), None)])
    gateway = open_gateway(config(tmp_path))
    key = gateway.study("1.2.3").key
    assert gateway.study(key).key == key
    for text, problem in (("ACC", "2 studies are known"), ("9.9", "no study is known")):
        with pytest.raises(ConfigurationError, match=problem) as caught:
            gateway.study(text)
        assert text not in str(caught.value)


def test_what_needs_images_is_refused_where_they_were_cleaned_up(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "data" / "ledger.sqlite")
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    gateway = open_gateway(config(tmp_path))
    assert gateway.study_with_images(key).key == key
    ledger.studies.purge(key, [one.id for one in ledger.studies.instances(key)], now=1.0)
    with pytest.raises(ConfigurationError, match="cleaned up"):
        gateway.study_with_images(key)


def test_a_project_that_cannot_be_used_is_told_and_costs_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_ledger(tmp_path / "data" / "ledger.sqlite")
    projects = tmp_path / "projects.yaml"
    projects.write_text(
        "projects:\n  - {project_name: GOOD1}\n  - {project_name: BAD01, deid_date_mode: 9}\n"
    )
    assert set(open_gateway(config(tmp_path, PROJECTS=str(projects))).projects()) == {"GOOD1"}
    assert "deid_date_mode of BAD01 is 9" in capsys.readouterr().err


def test_the_operator_has_a_name_even_where_the_machine_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert whoami()
    monkeypatch.setattr("getpass.getuser", lambda: (_ for _ in ()).throw(KeyError("uid")))
    assert whoami() == "unknown"
