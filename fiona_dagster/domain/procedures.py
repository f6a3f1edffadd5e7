"""Modality Performed Procedure Steps: what a modality says it is doing, and which instances it made (PS3.4 annex F).

Of a step only what arrival needs is kept: no patient, no order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.identifiers import is_safe_uid_path, modality_code

if TYPE_CHECKING:
    from pydicom import Dataset

INVALID_ATTRIBUTE_VALUE = 0x0106
NO_LONGER_UPDATED = 0x0110
"""A step that has ended is changed no more: Processing Failure, with the Error ID behind it (PS3.4 F.7.2.2.4)."""
NO_LONGER_UPDATED_ERROR = 0xA710
DUPLICATE_INSTANCE, NO_SUCH_INSTANCE = 0x0111, 0x0112
INVALID_INSTANCE = 0x0117
MISSING_ATTRIBUTE, MISSING_VALUE = 0x0120, 0x0121
NOT_AUTHORISED = 0x0124
RESOURCE_LIMITATION = 0x0213

MOST_STUDIES = 32
"""Studies that one step may name; a group of requested procedures has a few."""

_CREATED_WITH = (
    "ScheduledStepAttributesSequence", "PerformedProcedureStepID", "PerformedStationAETitle",
    "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "PerformedProcedureStepStatus", "Modality",
)  # fmt: skip
"""Type 1 for the SCU in N-CREATE (PS3.4 table F.7.2-1)."""


class ProcedureState(StrEnum):
    """Performed Procedure Step Status (0040,0252); the last two are final."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"

    @property
    def is_final(self) -> bool:
        return self is not ProcedureState.IN_PROGRESS


@dataclass(frozen=True)
class Procedure:
    """A Performed Procedure Step as it stands.

    `expected`: SOP Instance UIDs by Series Instance UID, images and others. Times are ours, in seconds since the
    epoch: when we heard that it began, and that it ended.
    """

    mpps_uid: str
    state: ProcedureState
    station: str
    modality: str
    expected: Mapping[str, tuple[str, ...]] = field(repr=False)
    started_at: float
    ended_at: float | None


@dataclass(frozen=True)
class CreatedProcedure:
    """What an N-CREATE says."""

    mpps_uid: str
    study_instance_uids: tuple[str, ...]
    station: str
    modality: str
    expected: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ProcedureChange:
    """What an N-SET says; None where it leaves something as it is."""

    state: ProcedureState | None
    expected: Mapping[str, tuple[str, ...]] | None


def steps_are_enabled(control: str | None) -> bool:
    """Whether FIONA's control file lets steps in: its second character is not `0` (fiona-behaviour 1.3).

    `control` is the file's content, None where there is no file.
    """
    return control is None or control.lstrip()[1:2] != "0"


def created_procedure(mpps_uid: str, attributes: Dataset) -> CreatedProcedure:
    """What the Attribute List of an N-CREATE says (PS3.4 F.7.2.1).

    Raises:
        Reject: an attribute or value is missing, or it cannot begin in this state.
    """
    if not is_safe_uid_path(mpps_uid):
        raise Reject(INVALID_INSTANCE, "the SOP Instance UID of the step is none")
    for keyword in _CREATED_WITH:
        if keyword not in attributes:
            raise Reject(MISSING_ATTRIBUTE, f"{keyword} is missing")
        if attributes[keyword].is_empty:
            raise Reject(MISSING_VALUE, f"{keyword} has no value")
    if _state(attributes) is not ProcedureState.IN_PROGRESS:
        raise Reject(INVALID_ATTRIBUTE_VALUE, "a step begins IN PROGRESS")
    studies = dict.fromkeys(
        str(item.get("StudyInstanceUID") or "") for item in attributes.ScheduledStepAttributesSequence
    )
    if not all(studies):
        raise Reject(MISSING_ATTRIBUTE, "StudyInstanceUID is missing in ScheduledStepAttributesSequence")
    if not all(map(is_safe_uid_path, studies)) or len(studies) > MOST_STUDIES:
        raise Reject(INVALID_ATTRIBUTE_VALUE, "a StudyInstanceUID is none, or there are too many")
    return CreatedProcedure(
        mpps_uid,
        tuple(studies),
        str(attributes.PerformedStationAETitle).strip()[:16],
        modality_code(str(attributes.Modality)),
        _expected(attributes) or {},
    )


def procedure_change(attributes: Dataset) -> ProcedureChange:
    """What the Modification List of an N-SET says (PS3.4 F.7.2.2).

    Attributes that an N-SET may not change are passed over: modalities send them again. A step that ends without a
    word about its series is taken: its study then has no count to wait for.

    Raises:
        Reject: a value that cannot be.
    """
    state = None
    if "PerformedProcedureStepStatus" in attributes:
        if attributes["PerformedProcedureStepStatus"].is_empty:
            raise Reject(MISSING_VALUE, "PerformedProcedureStepStatus has no value")
        state = _state(attributes)
    return ProcedureChange(state, _expected(attributes))


def state_after(state: ProcedureState, change: ProcedureChange) -> ProcedureState:
    """The state in which a change leaves a step.

    Raises:
        Reject: it has ended before.
    """
    if state.is_final:
        raise Reject(NO_LONGER_UPDATED, "Performed Procedure Step Object may no longer be updated")
    return change.state or state


def _state(attributes: Dataset) -> ProcedureState:
    written = str(attributes.PerformedProcedureStepStatus).strip()
    for state in ProcedureState:
        if written == state.name.replace("_", " "):
            return state
    raise Reject(
        INVALID_ATTRIBUTE_VALUE,
        "PerformedProcedureStepStatus is none of IN PROGRESS, COMPLETED, DISCONTINUED",
    )


def _expected(attributes: Dataset) -> dict[str, tuple[str, ...]] | None:
    """SOP Instance UIDs by Series Instance UID; None where Performed Series Sequence is absent."""
    if "PerformedSeriesSequence" not in attributes:
        return None
    expected: dict[str, tuple[str, ...]] = {}
    for series in attributes.PerformedSeriesSequence or ():
        series_uid = str(series.get("SeriesInstanceUID") or "")
        referenced = [
            str(item.get("ReferencedSOPInstanceUID") or "")
            for keyword in ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")
            for item in series.get(keyword) or ()
        ]
        if not referenced:
            continue  # of a series without references (PS3.4 F.7.2.2.2 allows it) nothing is known
        if not all(map(is_safe_uid_path, (series_uid, *referenced))):
            raise Reject(INVALID_ATTRIBUTE_VALUE, "PerformedSeriesSequence names a UID that is none")
        expected[series_uid] = tuple(dict.fromkeys((*expected.get(series_uid, ()), *referenced)))
    return expected
