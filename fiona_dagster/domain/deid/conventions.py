"""FIONA's conventions: where a copy says whose it is, for which project and event (fiona-behaviour 4.1)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from fiona_dagster.domain.deid.encoding import Element, text_element
from fiona_dagster.domain.deid.named_profiles import body_parts
from fiona_dagster.domain.deid.participants import form_problem
from fiona_dagster.domain.deid.uids import fiona_digest
from fiona_dagster.domain.deidentification import ReleaseRequest
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.project import Project, is_writable

EVENT_PREFIX = "EventName:"
UNKNOWN_BODY_PART = "BODYPART"
_REASON_FOR_THE_IMAGING_SERVICE_REQUEST = 0x00402001
_REASON_FOR_THE_REQUESTED_PROCEDURE = 0x00401002
_BODY_PART_EXAMINED = 0x00180015
_LONGEST = 64


def _digits(digest: bytes) -> str:
    return str(int.from_bytes(digest[:16], "big")).zfill(39)[-16:]


def study_id(new_study_instance_uid: str) -> str:
    """StudyID of 16 digits; never empty, because archives merge studies of one day that have none."""
    return _digits(hashlib.sha256(new_study_instance_uid.encode()).digest())


def accession_number(key: bytes, original: str) -> str:
    """AccessionNumber of 16 digits, keyed, so that it cannot be found by trying all numbers."""
    return _digits(hmac.new(key, f"accession\x1f{original}".encode(), hashlib.sha256).digest())


def made_study_id(project: Project, original_study_uid: str, new_study_uid: str) -> str:
    """StudyID of a copy, by the project's scheme."""
    if project.uid_scheme == "keyed":
        return study_id(new_study_uid)
    return fiona_digest(original_study_uid + project.name, project)[:16]


def made_accession(project: Project, key: bytes, original: str, original_study_uid: str) -> str:
    """AccessionNumber of a copy; where the original's is empty, it is made from the study instead, so that archives
    neither merge nor refuse the copies.
    """
    if original:
        return _accession_in(project, key, original)
    return accession_number(key, f"study\x1f{original_study_uid}")


def _accession_in(project: Project, key: bytes, original: str) -> str:
    """In FIONA's scheme the digest of the number as it is padded in the file: who tries all numbers finds it."""
    if project.uid_scheme == "keyed":
        return accession_number(key, original)
    return fiona_digest(original + " " * (len(original) % 2), project)[:16]


def pseudonyms(request: ReleaseRequest, key: bytes) -> dict[int, tuple[Callable[[str], str], str]]:
    """Attributes whose value is made anew at any depth, with what it is made into."""

    def participant(_: str) -> str:
        return request.participant

    def accession(text: str) -> str:
        if request.made_of is not None and text == request.made_of.accession:
            return text
        return _accession_in(request.project, key, text)

    made: dict[int, tuple[Callable[[str], str], str]] = {
        0x00100010: (participant, "the participant"),
        0x00100020: (participant, "the participant"),
        0x00080050: (accession, "a number of 16 digits"),
    }
    profile = request.project.profile
    if profile.standard_body_parts and _BODY_PART_EXAMINED not in dict(profile.overrides):
        made[_BODY_PART_EXAMINED] = (
            standard_body_part,
            f"{UNKNOWN_BODY_PART} where it is no code of PS3.16 annex L",
        )
    return made


def standard_body_part(text: str) -> str:
    """A Body Part Examined that PS3.16 annex L has, else FIONA's word for any other."""
    return text if text in body_parts() else UNKNOWN_BODY_PART


def root_elements(
    request: ReleaseRequest,
    key: bytes,
    *,
    new_study_uid: str,
    accession: str,
    original_study_uid: str,
    had_reason: bool,
) -> list[Element]:
    """Elements of the data set's first level that say whose copy this is.

    Args:
        request: project, participant and event.
        key: the project's key.
        new_study_uid: Study Instance UID of the copy.
        accession: the original's AccessionNumber, '' where it has none.
        original_study_uid: Study Instance UID of the original.
        had_reason: whether the original has ReasonForTheRequestedProcedure, the event's third place.
    """
    project = request.project
    known = (request.made_of.study_id, request.made_of.accession) if request.made_of else ("", "")
    number = known[1] or made_accession(project, key, accession, original_study_uid)
    event = f"{EVENT_PREFIX}{request.event}" if request.event else ""
    elements = [
        text_element(0x00100010, "PN", request.participant),
        text_element(0x00100020, "LO", request.participant),
        text_element(0x00080090, "PN", event if project.event_in_referring_physician else ""),
        text_element(
            0x00200010,
            "SH",
            known[0] or made_study_id(project, original_study_uid, new_study_uid),
        ),
        text_element(0x00080050, "SH", number),
        text_element(0x00120010, "LO", project.name),
        text_element(0x00120020, "LO", project.name),
        text_element(0x00120021, "LO", project.name),
        text_element(0x00120030, "LO", ""),
        text_element(0x00120031, "LO", ""),
        text_element(0x00120040, "LO", request.participant),
    ]
    if project.project_in_institution_name:
        elements.append(text_element(0x00080080, "LO", project.name))
    if event:
        elements += [
            text_element(_REASON_FOR_THE_IMAGING_SERVICE_REQUEST, "LO", event),
            text_element(0x00120050, "LO", request.event),
            text_element(0x00120051, "ST", request.event),
        ]
        if had_reason:
            elements.append(text_element(_REASON_FOR_THE_REQUESTED_PROCEDURE, "LO", event))
    return elements


def check_request(request: ReleaseRequest) -> None:
    """Refuse names that do not fit where the conventions write them.

    Raises:
        ConfigurationError: the participant, project or event is too long, has a backslash or a control or invisible
            character, or is a step in a path; participant or event identifies by its form; the participant is
            not by the naming rule.
    """
    problem = request.project.participant_problem(request.participant)
    if problem:
        raise ConfigurationError(problem, place="participant", remedy="choose another participant")
    longest_event = _LONGEST - len(EVENT_PREFIX)
    for place, text, longest in (
        ("project", request.project.name, _LONGEST),
        ("event", request.event, longest_event),
    ):
        if not is_writable(text, longest):
            raise ConfigurationError(
                f"the {place} does not fit a DICOM LO",
                place=place,
                remedy=f"use at most {longest} characters, no backslash or invisible one, no '.' or '..' as a step",
            )
    problem = form_problem(request.event, "event")
    if problem:
        raise ConfigurationError(problem, place="event", remedy="choose another event")
