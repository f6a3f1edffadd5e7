"""What a modality may say of its procedure steps, and what it is answered (PS3.4 annex F)."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset

from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.procedures import (
    ProcedureChange,
    ProcedureState,
    created_procedure,
    procedure_change,
    state_after,
)


def step(**changes: Any) -> Dataset:
    """The Attribute List of an N-CREATE; `changes` by keyword, None takes one away."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = "1.2.3"
    attributes = Dataset()
    values: dict[str, Any] = {
        "ScheduledStepAttributesSequence": [scheduled],
        "PatientName": "Doe^Jane",
        "PerformedProcedureStepID": "P1",
        "PerformedStationAETitle": "CT1",
        "PerformedProcedureStepStartDate": "20240131",
        "PerformedProcedureStepStartTime": "101500",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "Modality": "CT",
        **changes,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(attributes, keyword, value)
    return attributes


def made(series: str, *images: str, keyword: str = "ReferencedImageSequence") -> Dataset:
    """An item of Performed Series Sequence."""
    item = Dataset()
    item.SeriesInstanceUID = series
    references = []
    for image in images:
        reference = Dataset()
        reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        reference.ReferencedSOPInstanceUID = image
        references.append(reference)
    setattr(item, keyword, references)
    return item


def status_of(mpps_uid: str, attributes: Dataset) -> int:
    with pytest.raises(Reject) as refused:
        created_procedure(mpps_uid, attributes)
    assert "Doe" not in str(refused.value)
    return refused.value.status


def test_a_step_is_known_by_its_study_station_and_modality_and_by_nothing_of_the_patient() -> None:
    created = created_procedure("1.2.9", step())
    assert created.study_instance_uids == ("1.2.3",)
    assert (created.station, created.modality, created.expected) == ("CT1", "CT", {})
    assert "Doe" not in repr(created)


@pytest.mark.parametrize(
    "keyword",
    ["ScheduledStepAttributesSequence", "PerformedProcedureStepID", "PerformedStationAETitle", "Modality",
     "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "PerformedProcedureStepStatus"],
)  # fmt: skip
def test_what_the_standard_demands_is_demanded(keyword: str) -> None:
    assert status_of("1.2.9", step(**{keyword: None})) == 0x0120
    assert status_of("1.2.9", step(**{keyword: [] if keyword.endswith("Sequence") else ""})) == 0x0121


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_step_begins_in_progress_and_names_studies_that_can_be() -> None:
    assert status_of("1.2.9", step(PerformedProcedureStepStatus="COMPLETED")) == 0x0106
    assert status_of("1.2.9", step(PerformedProcedureStepStatus="LATER")) == 0x0106
    assert status_of("1.2.9", step(ScheduledStepAttributesSequence=[Dataset()])) == 0x0120
    hostile = Dataset()
    hostile.add_new("StudyInstanceUID", "UI", "../etc")
    assert status_of("1.2.9", step(ScheduledStepAttributesSequence=[hostile])) == 0x0106
    assert status_of("1.2/9", step()) == 0x0117


def test_the_series_name_images_and_other_objects_once_each() -> None:
    change = procedure_change(
        step(
            PerformedProcedureStepStatus="COMPLETED",
            PerformedSeriesSequence=[
                made("1.5", "1.5.1", "1.5.2", "1.5.1"),
                made("1.6", "1.6.1", keyword="ReferencedNonImageCompositeSOPInstanceSequence"),
                made("1.7"),
                made("1.5", "1.5.3"),
            ],
        )
    )
    assert change == ProcedureChange(
        ProcedureState.COMPLETED, {"1.5": ("1.5.1", "1.5.2", "1.5.3"), "1.6": ("1.6.1",)}
    )


def test_a_change_without_a_word_about_state_or_series_leaves_both() -> None:
    assert procedure_change(Dataset()) == ProcedureChange(None, None)
    assert state_after(ProcedureState.IN_PROGRESS, ProcedureChange(None, None)) is ProcedureState.IN_PROGRESS


def test_values_that_cannot_be_are_refused() -> None:
    for attributes, status in (
        (step(PerformedProcedureStepStatus=""), 0x0121),
        (step(PerformedProcedureStepStatus="DONE"), 0x0106),
        (step(PerformedSeriesSequence=[made("1.5", "")]), 0x0106),
        (step(PerformedSeriesSequence=[made("", "1.5.1")]), 0x0106),
    ):
        with pytest.raises(Reject) as refused:
            procedure_change(attributes)
        assert refused.value.status == status


@pytest.mark.parametrize("state", [ProcedureState.COMPLETED, ProcedureState.DISCONTINUED])
def test_a_step_that_has_ended_is_changed_no_more(state: ProcedureState) -> None:
    with pytest.raises(Reject) as refused:
        state_after(state, ProcedureChange(ProcedureState.IN_PROGRESS, None))
    assert refused.value.status == 0x0110
