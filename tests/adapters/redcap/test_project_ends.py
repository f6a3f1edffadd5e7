"""The steps of projects' ends in DataTransferProjects, on a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.redcap.client import ATTEMPTS
from fiona_dagster.adapters.redcap.project_ends import ROLE, tell_ends
from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.project_life import STEPS, EndStep
from fiona_dagster.embedded.redcap.faults import Fault
from tests.adapters.redcap.conftest import Hospital

NOTED = "The PI called"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")


@pytest.fixture
def entered(hospital: Hospital) -> Hospital:
    rows = [
        {"record_id": one, "project_name": one, "project_patient_naming": "X"} for one in ("HEART", "LUNGS")
    ]
    hospital.client(ROLE).write_rows([*rows, {"record_id": "old", "project_name": "OLDER"}])
    hospital.client(ROLE).write_rows([{"record_id": "LUNGS", "project_end_request": NOTED}])
    return hospital


def shown(hospital: Hospital, record: str) -> dict[str, str]:
    (row,) = [
        one for one in hospital.client(ROLE).rows(records=[record]) if not one["redcap_repeat_instrument"]
    ]
    return {name: str(value) for name, value in row.items() if name.startswith("project_end_")}


def test_steps_are_shown_one_after_the_other_and_each_once(
    entered: Hospital, ledger: Ledger, record_actions: Callable[[str], int]
) -> None:
    registry = entered.registry()
    assert tell_ends(ledger, registry) == 0
    for number, step in enumerate(STEPS, 1):
        ledger.projects.take_step("HEART", step, "kari", now=1e9 + number, detail=f"remark {number}")
        ledger.projects.take_step("OLDER", EndStep.REQUESTED, "ola", now=1e9)
        assert tell_ends(ledger, registry) == (2 if number == 1 else 1)
        assert shown(entered, "HEART")["project_end_state"] == str(number)
    fields = shown(entered, "HEART")
    assert fields["project_end_delete_sign"].endswith("kari remark 5")
    assert shown(entered, "old")["project_end_request"].endswith(" ola")
    assert shown(entered, "LUNGS")["project_end_request"] == NOTED
    before = record_actions(ROLE)
    assert tell_ends(ledger, entered.registry()) == 0
    assert record_actions(ROLE) == before
    (row,) = entered.client(ROLE).rows(records=["HEART"])
    assert row["project_patient_naming"] == "X"


def test_what_was_called_off_is_erased_and_what_people_wrote_stays(entered: Hospital, ledger: Ledger) -> None:
    registry = entered.registry()
    for name in ("HEART", "LUNGS"):
        ledger.projects.take_step(name, EndStep.REQUESTED, "kari", now=1e9)
    assert tell_ends(ledger, registry) == 2
    for name in ("HEART", "LUNGS"):
        ledger.projects.withdraw_request(name)
    assert tell_ends(ledger, registry) == 2
    assert shown(entered, "HEART")["project_end_state"] == "0"
    assert shown(entered, "HEART")["project_end_request"] == ""
    assert shown(entered, "LUNGS")["project_end_request"] == NOTED
    assert tell_ends(ledger, registry) == 0


def test_a_lost_answer_is_made_up_for_and_an_outage_is_told_later(entered: Hospital, ledger: Ledger) -> None:
    ledger.projects.take_step("HEART", EndStep.REQUESTED, "kari", now=1e9)
    registry = entered.registry()
    registry.client(ROLE)
    entered.server.faults.upcoming(*[Fault.BAD_GATEWAY] * ATTEMPTS)
    with pytest.raises(Transient):
        tell_ends(ledger, registry)
    entered.server.faults.upcoming(Fault.ANSWER_LOST)
    assert tell_ends(ledger, registry) == 1
    assert shown(entered, "HEART")["project_end_state"] == "1"


def test_fields_that_a_site_does_not_have_are_left_out(entered: Hospital, ledger: Ledger) -> None:
    client = entered.client(ROLE)
    client.import_metadata([row for row in client.metadata if row["field_name"] != "project_end_locked"])
    ledger.projects.take_step("HEART", EndStep.REQUESTED, "kari", now=1e9)
    ledger.projects.take_step("HEART", EndStep.LOCKED, "kari", now=1e9)
    assert tell_ends(ledger, entered.registry()) == 1
    assert shown(entered, "HEART")["project_end_state"] == "2"
