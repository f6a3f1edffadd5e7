from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import BasicTextSRStorage, CTImageStorage, ExplicitVRLittleEndian

from fiona_dagster.domain.deid.actions import Field, Keep
from fiona_dagster.domain.deid.character_sets import encodings_named
from fiona_dagster.domain.deid.elements import DataSet, find_elements
from fiona_dagster.domain.deid.encoding import EXPLICIT_LITTLE
from fiona_dagster.domain.deid.engine import Deidentifier
from fiona_dagster.domain.deid.profile import Code, Option, Profile
from fiona_dagster.domain.deid.text import decode
from fiona_dagster.domain.deidentification import ReleaseRequest
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.identifiers import is_valid_uid
from fiona_dagster.domain.project import Project
from tests.domain.deid.parsing import cleaned, copy_bytes, reread
from tests.domain.deid.planted import GONE, KEY, PLANTED_TEXT, ct_instance, engine, plant_unknown


def as_file(dataset: Dataset, profile: Profile | None = None, **policy: object) -> bytes:
    return copy_bytes(dataset, engine(profile, **policy))


def copy_of(dataset: Dataset, profile: Profile | None = None, **policy: object) -> FileDataset:
    return dcmread(BytesIO(as_file(dataset, profile, **policy)))


def test_no_planted_value_is_left_in_the_bytes_of_the_copy() -> None:
    content = as_file(ct_instance()).lower()
    left = [value for value in GONE if value.lower().encode() in content]
    assert left == []


def test_what_research_needs_is_still_there() -> None:
    copy = copy_of(ct_instance())
    assert (copy.Modality, copy.KVP, copy.SliceThickness, copy.InstanceNumber) == ("CT", 120, 2.5, 1)
    assert list(copy.ImagePositionPatient) == [-10.5, 0, 3.25]
    assert (copy.ManufacturerModelName, copy.ConvolutionKernel, copy.BodyPartExamined) == (
        "Model 5",
        "B30f",
        "HEAD",
    )
    assert copy.PixelData == bytes(range(32))


@pytest.mark.parametrize("value", [b"\x01\x00", b"\x01\x00\x02\x00", b"", b"\x01\x00\x02"])
def test_binary_numbers_that_are_kept_stay_as_they_stand_and_odd_ones_are_padded(value: bytes) -> None:
    header = b"\x28\x00\x06\x01US"
    content = header + len(value).to_bytes(2, "little") + value
    places, _ = find_elements(content, 0, len(content), EXPLICIT_LITTLE)
    padded = value + b" " * (len(value) % 2)
    copy = engine().clean(DataSet(content, places, EXPLICIT_LITTLE))
    assert header + len(padded).to_bytes(2, "little") + padded in copy.before


def test_sequences_are_cleaned_at_every_depth_and_keep_their_shape() -> None:
    dataset = ct_instance()
    item = copy_of(dataset).ContributingEquipmentSequence[0]
    for _ in range(7):
        assert str(item.PatientName) == "P-001"
        assert "OperatorsName" not in item  # X/Z/D, and type 3 there
        assert item.Manufacturer == "Maker"
        assert item.DeviceUID.startswith("2.25.")
        item = item.PurposeOfReferenceCodeSequence[0]


def test_fionas_conventions_are_written() -> None:
    copy = copy_of(ct_instance())
    assert str(copy.PatientName) == copy.PatientID == copy.ClinicalTrialSubjectID == "P-001"
    assert copy.InstitutionName == copy.ClinicalTrialProtocolID == copy.ClinicalTrialProtocolName == "STUDY_A"
    assert str(copy.ReferringPhysicianName) == copy.ReasonForTheImagingServiceRequest == "EventName:baseline"
    assert copy.ReasonForTheRequestedProcedure == "EventName:baseline"
    assert copy.ClinicalTrialTimePointID == copy.ClinicalTrialTimePointDescription == "baseline"
    for value in (copy.StudyID, copy.AccessionNumber):
        assert len(value) == 16
        assert value.isdigit()
    assert copy.PatientIdentityRemoved == "YES"
    assert copy.LongitudinalTemporalInformationModified == "MODIFIED"
    assert all(len(value) <= 64 for value in copy.DeidentificationMethod)
    codes = [(i.CodeValue, i.CodingSchemeDesignator) for i in copy.DeidentificationMethodCodeSequence]
    assert codes == [("113100", "DCM"), ("113107", "DCM")]


def test_without_an_event_its_places_are_empty_or_absent() -> None:
    made = Deidentifier(Profile(), ReleaseRequest(Project(name="STUDY_A"), "P", "", __file__), KEY)  # type: ignore[arg-type]
    copy = dcmread(BytesIO(copy_bytes(ct_instance(), made)))
    assert copy.ReferringPhysicianName == ""
    assert "ReasonForTheImagingServiceRequest" not in copy
    assert "ReasonForTheRequestedProcedure" not in copy
    assert "ClinicalTrialTimePointID" not in copy


def test_an_empty_accession_number_gets_one_from_the_study() -> None:
    first, second = ct_instance(1), ct_instance(2)
    first.AccessionNumber = second.AccessionNumber = ""
    numbers = {copy_of(first).AccessionNumber, copy_of(second).AccessionNumber}
    assert len(numbers) == 1
    assert len(numbers.pop()) == 16
    assert copy_of(ct_instance(1, study="1.2.3")).StudyID != copy_of(first).StudyID


def test_references_follow_the_instances_that_they_name() -> None:
    first, second = copy_of(ct_instance(1)), copy_of(ct_instance(2))
    assert second.SourceImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert first.StudyInstanceUID == second.StudyInstanceUID


def test_the_same_input_gives_the_same_bytes_and_another_key_other_uids() -> None:
    assert as_file(ct_instance()) == as_file(ct_instance())
    other = Deidentifier(Profile(), engine().request, b"x" * 32).clean(reread(ct_instance()))
    assert other.sop_instance_uid != cleaned(ct_instance()).sop_instance_uid


def test_dates_move_together_and_times_stay() -> None:
    copy = copy_of(ct_instance(), date_mode="per_project", date_shift_days=42)
    assert copy.StudyDate == copy.SeriesDate == "20200204"
    assert copy.AcquisitionDateTime == "20200204101112.5+0100"
    assert copy.StudyTime == "101112.5"
    assert copy.PatientBirthDate == ""


@pytest.mark.parametrize(
    ("mode", "study_date", "study_time", "stated"),
    [
        ("keep", "20191224", "101112.5", "UNMODIFIED"),
        ("year", "20190101", "", "MODIFIED"),
        ("remove", "", "", "REMOVED"),
    ],
)
def test_the_projects_date_mode_decides(mode: str, study_date: str, study_time: str, stated: str) -> None:
    copy = copy_of(ct_instance(), date_mode=mode)
    assert (copy.StudyDate, copy.StudyTime) == (study_date, study_time)
    assert copy.LongitudinalTemporalInformationModified == stated
    assert copy.PatientBirthDate == ""


def test_options_keep_what_their_columns_say() -> None:
    options = frozenset({Option.RETAIN_PATIENT_CHARACTERISTICS, Option.RETAIN_DEVICE_IDENTITY})
    copy = copy_of(ct_instance(), Profile(options=options))
    assert (copy.PatientSex, copy.PatientAge, copy.DeviceSerialNumber) == ("M", "058Y", "SERIAL-8812")
    assert {i.CodeValue for i in copy.DeidentificationMethodCodeSequence} >= {"113108", "113109"}
    basic = copy_of(ct_instance())
    assert basic.PatientSex == ""
    assert "PatientAge" not in basic
    assert "DeviceSerialNumber" not in basic


@pytest.mark.parametrize(
    "keyword",
    ["RelatedGeneralSOPClassUID", "SOPClassesInStudy", "FrameOfReferenceUID", "ReferencedSOPClassUID"],
)
@pytest.mark.parametrize("profile", [Profile(), Profile(options=frozenset({Option.RETAIN_UIDS}))])
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_only_uids_stand_where_uids_belong(keyword: str, profile: Profile) -> None:
    dataset = ct_instance()
    tag = tag_for_keyword(keyword)
    assert tag is not None
    value = b"1.2.840.10008.5.1.4.1.1.2\\Zwingenberger Ottokar\\1.02.77112233\\1.2.840.10008.99887711"
    dataset[tag] = RawDataElement(Tag(tag), "UI", len(value), value, 0, False, True)  # noqa: FBT003
    registered, *others = copy_of(dataset, profile)[tag].value
    assert registered == CTImageStorage
    assert len(others) == 3
    assert all(is_valid_uid(uid) for uid in others)
    assert "77112233" not in "".join(others)
    assert ("1.2.840.10008.99887711" in others) == bool(profile.options)


@pytest.mark.parametrize("declared", [None, "ISO_IR 100", "ISO_IR 192"])
def test_utf_8_is_read_as_that_whatever_latin_set_is_declared(declared: str | None) -> None:
    dataset = ct_instance()
    del dataset.SpecificCharacterSet
    if declared:
        dataset.SpecificCharacterSet = declared
    value = "høyre ".encode()
    dataset[0x00080070] = RawDataElement(Tag(0x00080070), "LO", len(value), value, 0, False, True)  # noqa: FBT003
    assert copy_of(dataset).Manufacturer == "høyre"


def test_retained_uids_stay() -> None:
    copy = copy_of(ct_instance(), Profile(options=frozenset({Option.RETAIN_UIDS})))
    assert copy.SOPInstanceUID == ct_instance().SOPInstanceUID


def test_an_override_is_followed() -> None:
    tag = 0x0008103E
    dataset = ct_instance()
    dataset.SeriesDescription = "t1 sag"
    assert "SeriesDescription" not in copy_of(dataset)
    assert copy_of(dataset, Profile(overrides=((tag, Code.KEEP),))).SeriesDescription == "t1 sag"


def test_text_in_any_character_set_becomes_utf_8() -> None:
    dataset = ct_instance()
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.SequenceName = "脳"
    copy = copy_of(dataset, Profile(overrides=((0x00180024, Code.KEEP),)))
    assert copy.SpecificCharacterSet == "ISO_IR 192"
    assert copy.SequenceName == "脳"


def test_no_escape_sequence_stays_in_chinese_text() -> None:
    value = b"Zhang^San=\x1b$)A" + "张^\x1b$)A三".encode("gb2312")
    assert decode(value, "PN", encodings_named(b"\\ISO 2022 IR 58")) == "Zhang^San=张^三"


def test_text_that_is_not_text_in_its_character_set_is_emptied() -> None:
    assert Keep()(Field(0x00180024, "SH", b"\xff\xfeab", ["utf8"])) == b""
    assert Keep()(Field(0x00180024, "SH", "Øre".encode(), ["iso2022_jp"])) == "Øre".encode()


def test_a_sequence_that_comes_as_unknown_is_entered() -> None:
    inner = Dataset()
    inner.PatientName, inner.CodeValue = PLANTED_TEXT, "T-A0100"
    buffer = BytesIO()
    from pydicom.filebase import DicomIO
    from pydicom.filewriter import write_sequence_item

    stream = DicomIO(buffer)
    stream.is_implicit_VR = stream.is_little_endian = True
    write_sequence_item(stream, inner, ["utf8"])
    dataset = ct_instance()
    plant_unknown(dataset, 0x00082218, buffer.getvalue())  # AnatomicRegionSequence
    copy = copy_of(dataset)
    assert copy.AnatomicRegionSequence[0].CodeValue == "T-A0100"
    assert PLANTED_TEXT.encode() not in as_file(dataset)


@pytest.mark.filterwarnings("ignore:VR lookup failed")
def test_a_sequence_that_cannot_be_parsed_is_removed() -> None:
    dataset = ct_instance()
    plant_unknown(dataset, 0x00082218, b"\xfe\xff\x00\xe0\xff\x00\x00\x00Zwingen ")
    assert PLANTED_TEXT[:7].encode() not in as_file(dataset)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00280010, "LT", "Zwingenberger"),  # Rows as text
        (0x00080060, "PN", "Zwingenberger"),  # Modality as a name
        (0x00180050, "LO", "Zwingenberger"),  # SliceThickness as text
    ],
)
def test_a_value_in_a_vr_that_its_attribute_cannot_have_does_not_pass(tag: int, vr: str, value: str) -> None:
    dataset = ct_instance()
    del dataset[tag]
    dataset.add_new(tag, vr, value)
    assert b"Zwingenberger" not in as_file(dataset)


def test_a_number_that_is_none_is_emptied() -> None:
    dataset = ct_instance()
    content = BytesIO()
    dataset.save_as(content, enforce_file_format=False)
    broken = content.getvalue().replace(b"120 ", b"Otto", 1)
    assert dcmread(BytesIO(copy_bytes(broken, engine()))).KVP is None


def test_structured_reports_lose_text_and_names_and_keep_codes_and_numbers() -> None:
    copy = copy_of(structured_report())
    text, name, date, number, uid = copy.ContentSequence
    assert text.TextValue == "REMOVED"
    assert str(name.PersonName) == "Removed"
    assert date.Date not in {"20191224", ""}
    assert number.MeasuredValueSequence[0].NumericValue == 4.5
    assert uid.UID.startswith("2.25.")
    assert text.ConceptNameCodeSequence[0].CodeMeaning == "Finding"
    assert str(copy.VerifyingObserverSequence[0].VerifyingObserverName) == "Removed"


def structured_report() -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = BasicTextSRStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    report = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    report.SOPClassUID, report.SOPInstanceUID, report.Modality = BasicTextSRStorage, "1.2.3.4.5", "SR"
    report.StudyInstanceUID, report.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    report.PatientName = "Zwingenberger^Ottokar"
    observer = Dataset()
    observer.VerifyingObserverName, observer.VerificationDateTime = "Eisenbarth", "20191224"
    report.VerifyingObserverSequence = [observer]
    items = []
    for kind in ("TEXT", "PNAME", "DATE", "NUM", "UIDREF"):
        item, concept = Dataset(), Dataset()
        concept.CodeValue, concept.CodingSchemeDesignator, concept.CodeMeaning = "121071", "DCM", "Finding"
        item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = "CONTAINS", kind, [concept]
        items.append(item)
    items[0].TextValue = "Mr Zwingenberger feels well"
    items[1].PersonName = "Eisenbarth^J"
    items[2].Date = "20191224"
    value = Dataset()
    value.NumericValue = "4.5"
    items[3].MeasuredValueSequence = [value]
    items[4].UID = "1.2.3.4.9"
    report.ContentSequence = items
    return report


@pytest.mark.parametrize("participant", ["", " P", "a\\b", "x" * 65])
def test_a_participant_that_does_not_fit_is_refused(participant: str) -> None:
    with pytest.raises(ConfigurationError):
        Deidentifier(Profile(), ReleaseRequest(Project(name="STUDY_A"), participant, "", __file__), KEY)  # type: ignore[arg-type]


def test_an_event_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Deidentifier(Profile(), ReleaseRequest(Project(name="STUDY_A"), "P", "e" * 60, __file__), KEY)  # type: ignore[arg-type]


def test_every_action_describes_itself() -> None:
    made = engine()
    rules = made.profile.rules("", "per_participant")
    described = {made.actions.of(rules.code(tag, vr), tag, vr).describe() for tag, vr in SAMPLES}
    assert len(described) == len(SAMPLES)
    assert all(described)


SAMPLES = (
    (0x00080060, "CS"),  # kept
    (0x00081030, "LO"),  # removed
    (0x00100030, "DA"),  # emptied
    (0x00181000, "LO"),  # replaced
    (0x00080018, "UI"),  # mapped
    (0x00080020, "DA"),  # moved
    (0x00100010, "PN"),  # the participant
    (0x00080050, "SH"),  # the accession number
)


def test_elements_are_written_once_and_in_order() -> None:
    content = cleaned(ct_instance()).before
    places, end = find_elements(content, 0, len(content), EXPLICIT_LITTLE)
    assert list(places) == sorted(places)
    assert [place[0] for place in places.values()][1:] == [place[2] for place in places.values()][:-1]
    assert end == len(content)
