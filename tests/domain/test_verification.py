from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deid.walk import walk
from fiona_dagster.domain.deidentification import DeidentifiedInstance, DeidentifiedStudy
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.verification import (
    CHECKS,
    MAXIMUM_PLACES,
    Findings,
    QuarantinedStudy,
    VerifiedStudy,
    conclude,
    recall,
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
