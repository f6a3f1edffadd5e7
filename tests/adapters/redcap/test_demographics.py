"""Sex, birth date and age of participants, from a research project's own REDCap on a real server, up to an export."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.adapters.redcap.demographics import read_demographics
from fiona_dagster.adapters.redcap.provision import provision_project
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.adapters.redcap.registry import RedcapRegistry
from fiona_dagster.assets import exports
from fiona_dagster.domain.deid.dates import DateShift, shift_days
from fiona_dagster.domain.errors import ConfigurationError, Forbidden
from fiona_dagster.domain.exports.demographics import Demographics
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import NATIVE, ExportProfile
from fiona_dagster.domain.project import Project
from tests.adapters.redcap.conftest import PLENTY, Hospital

KEY = b"k" * 32
RAM_MS = ExportProfile(ExportType.RAM_MS)
PROJECT = Project("HEARTS", dates_may_be_restored=True)


@pytest.fixture
def hearts(hospital: Hospital) -> RedcapProject:
    limit, server = RateLimit(hospital.folder / ".calls", PLENTY), hospital.server
    provision_project(
        server.url, server.super_token, hospital.tokens, limit, role="ProjectTemplate", title="HEARTS"
    )
    project = hospital.client("HEARTS")
    event = "event_1_arm_1"
    project.write_rows(
        [
            {
                "record_id": "P001",
                "redcap_event_name": event,
                "first_name": "P001",
                "sex": "0",
                "dob": "1950-02-03",
            },
            {"record_id": "17", "redcap_event_name": event, "first_name": "P002", "sex": "1", "age": "45"},
        ]
    )
    return project


def test_a_participant_is_found_by_record_or_by_first_name(hearts: RedcapProject) -> None:
    assert read_demographics(hearts, "P001") == Demographics("F", "19500203")
    assert read_demographics(hearts, "P002") == Demographics("M", age="045Y")
    assert read_demographics(hearts, "P003") == Demographics()


@dataclass
class Gateway:
    """What an export asks the gateway for."""

    asked: Project
    registry: RedcapRegistry | None = None

    def project(self, _name: str) -> Project:
        return self.asked


@dataclass
class Moved:
    project: str = "HEARTS"
    participant: str = "P001"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "release_key", lambda _gateway, _transfer: KEY)


def context(
    profile: ExportProfile, project: Project, registry: RedcapRegistry | None = None
) -> exports.ExportContext:
    return exports.export_context(Gateway(project, registry), Moved(), profile)  # type: ignore[arg-type]


@pytest.mark.usefixtures("hearts")
def test_ram_ms_gets_demographics_and_the_way_back_of_exactly_the_dates_that_moved(
    hospital: Hospital,
) -> None:
    found = context(RAM_MS, PROJECT, hospital.registry())
    assert found.demographics == Demographics("F", "19500203")
    assert found.birth_dates_may_leave
    moved = DateShift(shift_days(PROJECT, "P001", KEY)).value("DA", "20200101")
    assert found.restore is not None
    assert (moved != "20200101", found.restore("DA", moved)) == (True, "20200101")
    shifted = found.shifted("1.2.840.10008.5.1.4.1.1.2")
    assert shifted(0x00080020, "DA", ())
    assert not shifted(0x00100030, "DA", ())
    assert "1950" not in found.digest


def test_dates_stay_where_the_project_may_not_or_need_not(hospital: Hospital) -> None:
    with pytest.raises(Forbidden):
        context(RAM_MS, replace(PROJECT, dates_may_be_restored=False))
    assert context(RAM_MS, replace(PROJECT, date_mode="keep")).restore is None
    assert context(NATIVE, PROJECT) == exports.ExportContext()


def test_a_project_that_asks_for_demographics_has_to_have_a_redcap() -> None:
    assert context(RAM_MS, PROJECT).demographics == Demographics()
    with pytest.raises(ConfigurationError, match="project_token_ref"):
        context(replace(NATIVE, demographics=True), PROJECT)
