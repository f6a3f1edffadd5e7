"""The profile FIONA against FIONA's list: every departure is intended, and has its reason here."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from fiona_dagster.domain.deid.codes import TEXT_VRS, Code, Option
from fiona_dagster.domain.deid.conventions import pseudonyms, root_elements, standard_body_part
from fiona_dagster.domain.deid.dictionary import standard_vr
from fiona_dagster.domain.deid.named_profiles import NAMES, body_parts, fiona_profile, named_profile
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deid.profile_checks import Wishes, profile_of
from fiona_dagster.domain.deid.table import annex_e, rows
from fiona_dagster.domain.deid.written import is_written_by_us
from fiona_dagster.domain.deidentification import ReleaseRequest
from fiona_dagster.domain.project import Project
from tests.conftest import need_shared

MR = "1.2.840.10008.5.1.4.1.1.4"
KEY = b"k" * 32
AE_TITLE = (
    "an AE title names a machine in the hospital's network; Retain Device Identity has it cleaned, not kept"
)
VALID_SR = "removing it breaks the report: what it holds is cleaned item by item"
TYPE = "it is required where it stands: a dummy, or nothing in a Type 2, keeps the object valid"
DEPARTURES = {
    "ScheduledStudyLocationAETitle": (Code.REMOVE, AE_TITLE),
    "ScheduledStationAETitle": (Code.REMOVE, AE_TITLE),
    "PerformedStationAETitle": (Code.REMOVE, AE_TITLE),
    "PersonIdentificationCodeSequence": (Code.REPLACE, TYPE),
    "VerifyingOrganization": (Code.REPLACE, TYPE),
    "VerifyingObserverName": (Code.REPLACE, TYPE),
    "VerifyingObserverIdentificationCodeSequence": (Code.EMPTY, TYPE),
    "PersonName": (Code.REPLACE, TYPE),
    "VerifyingObserverSequence": (Code.KEEP, VALID_SR),
    "ContentSequence": (Code.KEEP, VALID_SR),
    "ReferencedSOPClassUID": (Code.UID, "registered UIDs stay, others are nobody's SOP Class"),
    "BodyPartExamined": (
        Code.TECHNICAL,
        "standard codes stay, anything else becomes BODYPART: see the conventions",
    ),
    "RadiopharmaceuticalInformationSequence": (Code.KEEP, "FIONA's 'process': entered"),
}


def departure(tag: int, vr: str, action: str, code: Code) -> str | None:
    """The reason why we do otherwise; None where we do the same."""
    if action.startswith("hashuid"):
        same = code is Code.UID
    elif action.startswith("incrementdate") or (action == "keep" and vr == "TM"):
        same = code is Code.DATE  # times stay in the modes that move dates
    else:
        same = action == code.value or (action == "keep" and code is Code.TECHNICAL)
    if same:
        return None
    row = annex_e().get(tag)
    if action == "keep" and code is Code.CLEAN and vr in TEXT_VRS and row and "C" in row.options.values():
        return "FIONA declares Clean Descriptors and Retain Patient Characteristics: free text is cleaned"
    keyword = keyword_for_tag(tag)
    assert DEPARTURES.get(keyword, (None, ""))[0] is code, f"{keyword}: FIONA {action}, ours {code}"
    return DEPARTURES[keyword][1]


def test_every_row_of_fionas_list_has_the_same_outcome_or_an_intended_other_one() -> None:
    rules = fiona_profile().rules(MR, "per_project")
    same, departed = 0, set()
    with need_shared("data", "fiona_anonymizer_rules.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            tag = int(row["group"] + row["element"], 16)
            keyword = keyword_for_tag(tag)
            if tag >> 16 & 1:
                # removed by FIONA, written by it, or moved (SIEMENS MED PT): what is not on the safe list goes
                creator = row["name_or_private_creator"]
                assert rules.private(creator, tag & 0xFFFF00FF, "UN") is Code.REMOVE
            elif is_written_by_us(keyword):
                assert row["action"] not in {"keep", "remove", "incrementdate"}
            elif departure(
                tag, standard_vr(tag) or "", row["action"], rules.code(tag, standard_vr(tag) or "")
            ):
                departed.add(keyword)
            else:
                same += 1
    assert set(DEPARTURES) <= departed
    assert same > 180


def test_removed_means_removed_in_sequences_too() -> None:
    rules = fiona_profile().rules(MR, "per_project")
    step = tag_for_keyword("ScheduledProcedureStepSequence") or 0
    assert rules.code(0x00081010, "SH", (step,)) is Code.REMOVE
    assert rules.code(0x00400275, "SQ") is Code.REMOVE


def test_the_rows_of_the_shipped_table_are_attributes_once_each() -> None:
    keywords = [row["keyword"] for row in rows("fiona.csv")]
    assert all(tag_for_keyword(keyword) for keyword in keywords)
    assert len(set(keywords)) == len(keywords)


def test_each_row_of_the_shipped_table_changes_something() -> None:
    without = Profile(options=fiona_profile().options)
    for tag, code in fiona_profile().overrides:
        assert without.code(tag, standard_vr(tag) or "", "per_project") is not code


@pytest.mark.parametrize("name", NAMES)
def test_a_named_profile_is_one_that_could_have_been_written(name: str) -> None:
    profile = named_profile(name)
    assert profile is not None
    assert profile_of(profile, Wishes()) == profile


def test_another_name_is_none() -> None:
    assert named_profile("ps3.15") is None


def test_fiona_declares_what_it_does() -> None:
    assert fiona_profile().options == {
        Option.CLEAN_DESCRIPTORS, Option.RETAIN_PATIENT_CHARACTERISTICS,
        Option.RETAIN_DEVICE_IDENTITY, Option.RETAIN_SAFE_PRIVATE,
    }  # fmt: skip


def request(**policy: object) -> ReleaseRequest:
    return ReleaseRequest(Project(name="STUDY_A", **policy), "P001", "baseline", __file__)  # type: ignore[arg-type]


def test_body_parts_that_the_standard_does_not_know_become_fionas_word() -> None:
    assert {"BRAIN", "ABDOMEN", "CHEST"} <= body_parts()
    assert standard_body_part("BRAIN") == "BRAIN"
    assert standard_body_part("OLA NORDMANN") == "BODYPART"
    assert 0x00180015 in pseudonyms(request(profile=fiona_profile()), KEY)
    assert 0x00180015 not in pseudonyms(request(), KEY)
    overridden = replace(fiona_profile(), overrides=((0x00180015, Code.REMOVE),))
    assert 0x00180015 not in pseudonyms(request(profile=overridden), KEY)


def written(**policy: object) -> dict[int, str]:
    elements = root_elements(
        request(**policy), KEY, new_study_uid="2.25.1", accession=str(policy and "1234567"),
        original_study_uid="1.2.3", had_reason=False,
    )  # fmt: skip
    return {element.tag: bytes(element.value).decode().strip() for element in elements}  # type: ignore[arg-type]


def test_the_numbers_of_fionas_scheme_follow_from_the_originals() -> None:
    made = written(uid_scheme="fiona")
    import hashlib

    def digits(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest().translate(str.maketrans("abcdef", "012345"))[:16]

    assert made[0x00200010] == digits("1.2.3STUDY_A")
    assert made[0x00080050] == digits("1234567 ")
    assert made[0x00080050] != written(uid_scheme="keyed")[0x00080050]


def test_an_empty_accession_number_is_made_from_the_study_in_every_scheme() -> None:
    elements = root_elements(
        request(uid_scheme="fiona"), KEY, new_study_uid="2.25.1", accession="",
        original_study_uid="1.2.3", had_reason=False,
    )  # fmt: skip
    made = {element.tag: element.value for element in elements}
    assert made[0x00080050] != b"4310244298521214"  # FIONA's constant, by which archives merge studies


def test_a_project_may_leave_institution_and_referring_physician_alone() -> None:
    plain = written(uid_scheme="keyed")
    assert (plain[0x00080080], plain[0x00080090]) == ("STUDY_A", "EventName:baseline")
    bare = written(project_in_institution_name=False, event_in_referring_physician=False)
    assert 0x00080080 not in bare
    assert bare[0x00080090] == ""
