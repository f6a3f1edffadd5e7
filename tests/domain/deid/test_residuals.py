from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from fiona_dagster.domain.deid.elements import DataSet
from fiona_dagster.domain.deid.notation import fold
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.residuals import ResidualSearch
from fiona_dagster.domain.deid.walk import Found, walk
from tests.domain.deid.parsing import reread


def original() -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = "Bjørnstad^Åse Marie", "010190 12345"
    dataset.OtherPatientNames = "山田^太郎"
    dataset.AccessionNumber, dataset.StudyDate = "HUS-998877", "20191224"
    dataset.PatientBirthDate = "19900101"
    dataset.InstitutionName, dataset.StationName = "Haukeland universitetssykehus", "AVANTO3"
    dataset.PatientTelephoneNumbers = "+47 55 97 50 00"
    dataset.StudyInstanceUID, dataset.SOPClassUID = "1.2.826.0.1.77", "1.2.840.10008.5.1.4.1.1.2"
    dataset.add_new(0x00091001, "PN", "Hemmelig^Lege")
    dataset.preamble = b"\0" * 128  # type: ignore[attr-defined]
    return dataset


def in_file(dataset: Dataset) -> DataSet:
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    return reread(FileDataset("", dataset, file_meta=meta, preamble=b"\0" * 128))


def search(**switches: bool) -> ResidualSearch:
    values = OriginalValues()
    values.gather(walk(in_file(original())))
    return ResidualSearch(values, {"P-001", "REMOVED", "Lege"}, **switches)


def leaks(keyword: str, value: object, **switches: bool) -> bool:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    setattr(dataset, keyword, value)
    looking = search(**switches)
    return any(looking.leaks(found) for found in walk(in_file(dataset)))


def raw_leaks(keyword: str, value: bytes) -> bool:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    vr = dictionary_VR(tag)
    return SEARCH.leaks(Found((tag,), vr, vr, value, ["iso8859"]))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SegmentLabel", "BJØRNSTAD"),
        ("SegmentLabel", "bjornstad left"),
        ("SegmentLabel", "Bjoernstad2"),
        ("SegmentLabel", "lesion_aase"),
        ("SegmentLabel", "山田様"),
        ("SequenceName", "for Hemmelig"),
        ("ConvolutionKernel", "01019012345"),
        ("SegmentLabel", "id 010190-12345"),
        ("SegmentLabel", "HUS-998877/1"),
        ("SegmentLabel", "seen 24.12.2019"),
        ("SegmentLabel", "seen 24 Dec 2019"),
        ("SegmentLabel", "December 24, 2019"),
        ("SegmentLabel", "t20191224x"),
        ("SegmentLabel", "2019-12-24"),
        ("SegmentLabel", "12/24/2019"),
        ("SegmentLabel", "born 1.1.1990"),
        ("SegmentLabel", "at haukeland  Universitetssykehus"),
        ("SegmentLabel", "call 55975000"),
        ("SegmentLabel", "AVANTO3"),
        ("SegmentLabel", "uid 1.2.826.0.1.77 here"),
        ("FrameOfReferenceUID", "1.2.826.0.1.77"),
        ("ICCProfile", b"..Bjornstad.."),
        ("ICCProfile", b".1.2.826.0.1.77\0"),
        ("BodyPartExamined", "AASE"),
    ],
)
def test_an_original_value_is_found_in_any_spelling(keyword: str, value: object) -> None:
    assert leaks(keyword, value)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SegmentLabel", "liver"),
        ("SegmentLabel", "marietta"),  # not the word Marie
        ("SegmentLabel", "P-001"),
        ("SegmentLabel", "20191225"),
        ("SegmentLabel", "1.2.826.0.1.778"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"),
        ("ManufacturerModelName", "AVANTO3"),  # stations are called by their model
        ("SliceThickness", "12345"),
        ("StudyDate", "20191224"),  # dates are compared one by one
        ("PixelData", b"\0" * 20),
    ],
)
def test_what_is_no_original_value_is_no_leak(keyword: str, value: object) -> None:
    assert not leaks(keyword, value)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RelatedGeneralSOPClassUID", b"Bjornstad Aase"),
        ("SOPClassesInStudy", b"1.2.3\\HUS-998877"),
        ("ContextUID", b"1.2.3.1019012345"),
        ("KVP", b"1019012345.0"),
        ("KVP", b"+01019012345 "),
        ("KVP", b"1019012345E0"),
        ("KVP", b"1.019012345e+9"),
        ("KVP", b"10190.12345"),
        ("KVP", b"19900101"),
        ("KVP", b"120\\19900101.00"),
        ("SeriesNumber", b"010190\\12345"),
    ],
)
def test_an_original_value_is_found_in_uids_and_numbers(keyword: str, value: bytes) -> None:
    assert raw_leaks(keyword, value)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ContextUID", b"2.25.101901234510190123451019012345"),
        ("ContextUID", b"1.2.840.10008.6.1.308"),
        ("KVP", b"1.0190123451"),
        ("KVP", b"19900102"),
        ("KVP", b"1990.0101"),
        ("KVP", b"1990"),
        ("KVP", b"1E9999"),
        ("KVP", b"."),
    ],
)
def test_other_uids_and_numbers_are_no_leak(keyword: str, value: bytes) -> None:
    assert not raw_leaks(keyword, value)


def named(name: bytes, value: str, vr: str = "SH", encodings: tuple[str, ...] = ("iso8859",)) -> bool:
    """Whether `value` in a copy leaks a study's PatientName, whose bytes and character set are given."""
    values = OriginalValues()
    values.gather([Found((0x00100010,), "PN", "PN", name, encodings)])
    kernel = Found((0x00181210,), vr, vr, value.encode(), ["utf8"])
    return ResidualSearch(values, set()).leaks(kernel)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"Zwyxabc^Quentinor", "ZwyxabcQuentinor"),
        (b"Zwyxabc^Quentinor", "Zwyxabcs"),
        (b"Zwyxabc^Quentinor", "preQUENTINORpost7"),
        (b"Zwyxabc^Quentinor", "Z\u200bwyxabc"),
        (b"Li^An", "LI AN"),
        (b"Li^An", "an, li"),
        (b"Li^An", "LiAn"),
        (b"Li^An", "LI_AN"),
        (b"LI AN", "an li"),
        (b"Li^An^Bo", "AN-BO LI"),
        (b"Moe^Ole Jo", "olejomoe"),
        ("王^小東".encode(), "王小東"),
    ],
)
def test_whole_names_and_long_parts_of_names_are_found(name: bytes, value: str) -> None:
    assert named(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"Li^An", "xlian liana"),
        (b"Li^An", "li x an"),
        (b"Contra^Bo", "contrast"),  # vocabulary
        (b"Marie^Bo", "marietta"),
        (b"A^B", "ab"),
    ],
)
def test_other_words_are_no_names(name: bytes, value: str) -> None:
    assert not named(name, value)


@pytest.mark.parametrize("declared", ["iso8859", "latin_1", "utf8", "iso_ir_144"])
@pytest.mark.parametrize("written", ["utf-8", "latin-1"])
def test_a_name_is_found_whatever_character_set_is_declared(declared: str, written: str) -> None:
    assert named("Bjørnstjerne^Åge".encode(written), "Bjørnstjerne", encodings=(declared,))
    assert named("Bjørnstjerne^Åge".encode(written), "AAGE", encodings=(declared,))


def test_a_name_that_was_encoded_twice_is_found() -> None:
    twice = "Bjørnstjerne".encode().decode("latin-1")
    assert named("Bjørnstjerne^Åge".encode(), twice, encodings=("utf8",))
    assert named(f"{twice}^Per".encode(), "Bjørnstjerne", encodings=("utf8",))


@pytest.mark.parametrize(
    ("keyword", "name", "found"),
    [
        ("ContentCreatorName", "Achieva", False),  # in every image of some scanners
        ("ContentCreatorName", "Achieva Nordmann", True),
        ("ContentCreatorName", "Signa", True),  # also a name
        ("OperatorsName", "Achieva", True),
        ("PatientName", "Achieva", True),
    ],
)
def test_a_scanner_that_calls_itself_the_creator_is_no_person(keyword: str, name: str, found: bool) -> None:
    dataset = original()
    setattr(dataset, keyword, name)
    values = OriginalValues()
    values.gather(walk(in_file(dataset)))
    model = Found((0x00081090,), "LO", "LO", name.encode(), ("utf8",))
    assert ResidualSearch(values, ()).leaks(model) is found


def test_what_the_profile_retains_is_not_searched() -> None:
    assert not leaks("SegmentLabel", "2019-12-24", dates=False)
    assert not leaks("FrameOfReferenceUID", "1.2.826.0.1.77", uids=False)


@pytest.mark.filterwarnings("ignore:Found unknown escape sequence")
@given(st.text(max_size=60))
def test_any_text_can_be_searched(text: str) -> None:
    found = Found((0x00620005,), "LO", "LO", text.encode("utf-8", "replace"), ["utf8"])
    assert isinstance(SEARCH.leaks(found), bool)


SEARCH = search()


@given(st.text(max_size=40))
def test_folding_is_stable(text: str) -> None:
    assert fold(fold(text)) == fold(text)
