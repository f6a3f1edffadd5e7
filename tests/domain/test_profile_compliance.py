"""What may stand in a copy, asked from the other side than the engine does; and that both agree."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from fiona_dagster.domain.deid.dates import DateShift
from fiona_dagster.domain.deid.elements import DataSet, find_elements
from fiona_dagster.domain.deid.encoding import (
    EXPLICIT_LITTLE,
    Element,
    Syntax,
    encode_element,
)
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.private import SAFE_EDITION, SafeRow, safe_private
from fiona_dagster.domain.deid.profile import Code, Option, Profile
from fiona_dagster.domain.deid.table import rows
from fiona_dagster.domain.deid.walk import Found, walk
from fiona_dagster.domain.profile_compliance import (
    expected_dates,
    profile_problem,
    reference_uids,
    uid_problems,
)
from tests.domain.deid.parsing import reread
from tests.domain.deid.planted import ct_instance, engine

IMPLICIT_LITTLE = Syntax(implicit=True, little=True)
RULES = Profile().rules("", "per_participant")
TEXTS = ("CS", "LO", "LT", "SH", "ST")
SAFE = Profile(options=frozenset({Option.RETAIN_SAFE_PRIVATE, Option.CLEAN_DESCRIPTORS}))
VALUES = (
    b"+LPH ", b"HEA;HEP ", b"T:HEA;LEE ", b"IMAGE NUM 4 ", b"BI_CUBIC", b"OLSEN ", b"OLSEN\\MR", b"MR\\OLSEN ",
    b"Olsen ", b"Head Olsen", b"FoV 230*230 ", b"1.5/3.0 ", b"12/03/1985", b"X_1_1_1_41", b"17038512345 ", b"TG/s1 ",
    b"LEE ", b"p2", b"\xc3\xb8l ", b"...", b"REMOVED ", b"NONE", b" ", b"",
)  # fmt: skip


def found(tag: int, vr: str, value: bytes) -> Found:
    return Found((tag,), vr, vr, value, ["utf8"])


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


def safe_rows() -> list[SafeRow]:
    """Private attributes with text that may stay."""
    listed = [one for name in (SAFE_EDITION, "additions") for one in rows(f"safe_private_{name}.csv")]
    found = {
        (one["creator"], one["tag"]): safe_private(one["creator"], int(one["tag"], 16)) for one in listed
    }
    return [row for row in found.values() if row is not None and row.vr in TEXTS]


def through_the_engine(syntax: Syntax, declared: str, value: bytes) -> list[Found]:
    """What stays of `value` in every private attribute with text, each in an item of its own."""
    items = []
    for row in safe_rows():
        tag = row.tag | 0x1000
        creator = Element(tag >> 16 << 16 | 0x10, "LO", row.creator.encode())
        items.append([creator, Element(tag, declared or row.vr, value)])
    sequence = Element(0x00082112, "SQ", items)  # SourceImageSequence
    made = engine(SAFE).clean(_data_set(encode_element(sequence, syntax), syntax))
    return list(walk(_data_set(made.before, syntax)))


def _data_set(content: bytes, syntax: Syntax) -> DataSet:
    places, _ = find_elements(content, 0, len(content), syntax)
    return DataSet(content, places, syntax)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(
    ("syntax", "declared"),
    [(EXPLICIT_LITTLE, ""), (EXPLICIT_LITTLE, "LO"), (EXPLICIT_LITTLE, "UN"), (IMPLICIT_LITTLE, "")],
)
def test_what_the_engine_leaves_of_private_text_may_stand(
    syntax: Syntax, declared: str, value: bytes
) -> None:
    rules = SAFE.rules("", "per_participant")
    left = through_the_engine(syntax, declared, value)
    problems = [profile_problem(one, rules, lambda text: text) for one in left]
    assert [problem for problem in problems if problem] == []


def test_notations_of_a_scanner_stay_and_names_do_not() -> None:
    stays = {
        value: {one.value.strip() for one in through_the_engine(EXPLICIT_LITTLE, "", value)}
        for value in VALUES
    }
    for value in (
        b"+LPH ",
        b"HEA;HEP ",
        b"IMAGE NUM 4 ",
        b"BI_CUBIC",
        b"FoV 230*230 ",
        b"X_1_1_1_41",
        b"TG/s1 ",
    ):
        assert value.strip() in stays[value]
    for value in (b"T:HEA;LEE ", b"OLSEN ", b"Olsen ", b"LEE ", b"12/03/1985", b"17038512345 "):
        assert value.strip() not in stays[value]


def test_private_text_that_nobody_cleaned_is_found() -> None:
    path, creators = (0x00082112, 0x00291018), ("", "SIEMENS CSA HEADER")
    rules = SAFE.rules("", "per_participant")
    for declared in ("CS", "UN", ""):
        one = Found(path, declared or "UN", declared, b"OLSEN", ["utf8"], creators)
        assert profile_problem(one, rules) == "SourceImageSequence.00291018 is not what the safe list says"
