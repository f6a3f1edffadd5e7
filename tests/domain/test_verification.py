from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from fiona_dagster.domain.deid.dates import DateShift
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.profile import Code, Profile
from fiona_dagster.domain.deid.walk import Found, walk
from fiona_dagster.domain.deidentification import DeidentifiedInstance, DeidentifiedStudy
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.verification import (
    CHECKS,
    MAXIMUM_PLACES,
    Findings,
    QuarantinedStudy,
    VerifiedStudy,
    conclude,
    expected_dates,
    profile_problem,
    recall,
    reference_uids,
    uid_problems,
    written_values,
)
from tests.domain.deid.parsing import reread
from tests.domain.deid.planted import ct_instance, request

ONE = DeidentifiedInstance(
    1, "1.2.3", "released", path="2.25.1/CT.2.25.2.dcm", sop_instance_uid="2.25.2", sha256="ab"
)
HELD = DeidentifiedInstance(2, "1.2.4", "held", "object type without a tested handler")
STUDY = DeidentifiedStudy("2.25.9", (ONE, HELD), "Basic Profile", "digest")
ASKED = request(Path("folder"))
RULES = Profile().rules("", "per_participant")


def found(tag: int, vr: str, value: bytes) -> Found:
    return Found((tag,), vr, vr, value, ["utf8"])


def test_a_study_without_problems_is_verified_and_shows_only_what_is_released() -> None:
    outcome = conclude(STUDY, ASKED, Findings(), revision=2)
    assert isinstance(outcome, VerifiedStudy)
    assert outcome.instances == (ONE,)
    assert (outcome.study_instance_uid, outcome.project, outcome.event) == ("2.25.9", "STUDY_A", "baseline")
    assert (outcome.profile_name, outcome.method_digest, outcome.revision) == ("Basic Profile", "digest", 2)
    assert [check.name for check in outcome.checks] == list(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_any_problem_keeps_the_study(name: str) -> None:
    findings = Findings()
    findings.add(name, "SegmentSequence.SegmentLabel")
    outcome = conclude(STUDY, ASKED, findings, revision=1)
    assert isinstance(outcome, QuarantinedStudy)
    assert [(c.name, c.found, c.places) for c in outcome.checks if not c.passed] == [
        (name, 1, ("SegmentSequence.SegmentLabel",))
    ]
    assert outcome.reason == f"verification failed: {name}"


def test_places_are_counted_all_and_shown_some() -> None:
    findings = Findings()
    for number in range(100):
        findings.add("valid_uids", f"place {number}")
        findings.add("valid_uids", f"place {number}")
    check = next(c for c in findings.checks() if c.name == "valid_uids")
    assert (check.found, len(check.places), len(set(check.places))) == (200, MAXIMUM_PLACES, MAXIMUM_PLACES)


def test_only_the_verified_manifest_is_recalled() -> None:
    assert recall(STUDY, ASKED, verified_manifest=STUDY.manifest_sha256, revision=4).revision == 4
    other = replace(STUDY, instances=(replace(ONE, sha256="cd"), HELD))
    with pytest.raises(Permanent):
        recall(other, ASKED, verified_manifest=STUDY.manifest_sha256, revision=4)


@pytest.mark.parametrize(
    ("tag", "vr", "value", "problem"),
    [
        (0x00080060, "CS", b"CT", None),
        (0x00081030, "LO", b"x", "StudyDescription is there"),
        (0x00081070, "PN", b"x", "OperatorsName is not empty"),
        (0x00081070, "PN", b"", None),
        (0x00181000, "LO", b"123", "DeviceSerialNumber is not a dummy"),
        (0x00181000, "LO", b"REMOVED", None),
        (0x00091001, "LO", b"x", "00091001 is there"),
        (0x00020016, "AE", b"x", "SourceApplicationEntityTitle is there"),
        (0x00020010, "UI", b"1.2.840.10008.1.2", None),
        (0x00120060, "LO", b"x", "ClinicalTrialCoordinatingCenterName is there"),
    ],
)
def test_the_profile_is_checked_from_the_other_side(
    tag: int, vr: str, value: bytes, problem: str | None
) -> None:
    assert profile_problem(found(tag, vr, value), RULES) == problem


def test_inside_a_sequence_that_should_be_gone_nothing_may_stand() -> None:
    inside = Found((0x00400275, 0x00080060), "CS", "CS", b"CT", ["utf8"])  # RequestAttributesSequence
    assert (
        profile_problem(inside, Profile().rules("", "keep")) == "RequestAttributesSequence.Modality is there"
    )


def test_an_override_counts_as_the_profile() -> None:
    profile = Profile(overrides=((0x00081030, Code.KEEP),))
    assert profile_problem(found(0x00081030, "LO", b"x"), profile.rules("", "keep")) is None


def test_dates_of_a_copy_are_the_moved_ones() -> None:
    values = OriginalValues()
    values.gather(walk(reread(ct_instance())))
    allowed = expected_dates(values, DateShift(42))
    assert "20200204" in allowed
    assert "20191224" not in allowed


def test_uids_are_checked_value_by_value() -> None:
    assert uid_problems(found(0x00080018, "UI", b"1.2.3\0")) == []
    assert uid_problems(found(0x00081155, "UI", b"1.2.3\\1.02.3")) == ["ReferencedSOPInstanceUID"]


def test_references_are_those_outside_of_what_is_removed() -> None:
    dataset = ct_instance()
    gone, item = Dataset(), Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3.4.5"
    gone.ReferencedStudySequence = [item]
    dataset.RequestAttributesSequence = [gone]
    named = {uid for found in walk(reread(dataset)) for uid in reference_uids(found, RULES)}
    assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID in named
    assert "1.2.3.4.5" not in named
    assert dataset.StudyInstanceUID not in named


def test_what_we_write_ourselves_is_known() -> None:
    assert {"P-001", "STUDY_A", "EventName:baseline", "REMOVED", "YES", "113100"} <= written_values(
        Profile(), ASKED
    )


def test_the_walk_sees_every_level_and_unknown_sequences() -> None:
    seen = {one.keyword for one in walk(reread(ct_instance()))}
    assert "00091001" in seen or any(name.startswith("0009") for name in seen)
    deepest = ".".join(
        ["ContributingEquipmentSequence", *["PurposeOfReferenceCodeSequence"] * 7, "PatientName"]
    )
    assert deepest in seen
