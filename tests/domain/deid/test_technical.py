"""Kept technical text: what the standard publishes and scanners write stays, names of anybody do not."""

from __future__ import annotations

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.sr._concepts_dict import concepts

from fiona_dagster.domain.deid import technical
from fiona_dagster.domain.deid.actions import Field
from fiona_dagster.domain.deid.cleaning import KeepTechnical
from fiona_dagster.domain.errors import Hold

KEPT = (
    ("Modality", "ANN"),
    ("ImageType", "MOSAIC"),
    ("ScanOptions", "EPI_GEMS"),
    ("ScanningSequence", "EP"),
    ("PatientOrientation", "LAF"),
    ("BodyPartExamined", "3RDVENTRICLE"),
    ("Manufacturer", "Siemens HealthCare GmbH"),
    ("ManufacturerModelName", "Biograph mCT"),
    ("SoftwareVersions", "MR Software release:15.0_M4_0910.a"),
    ("SoftwareVersions", "GEN:1.8.3.5"),
    ("SoftwareVersions", "e5c3934"),
    ("ConvolutionKernel", "I30f"),
    ("SequenceName", "*tfl3d1_16ns"),
    ("CodeValue", "373098007"),
    ("CodeValue", "44139-4"),
    ("CodeMeaning", "Fluorodeoxyglucose F^18^"),
    ("CodingSchemeDesignator", "NCIt"),
    ("CodingSchemeVersion", "20091021"),
    ("AttenuationCorrectionMethod", "measured,, 0.096000 cm-1,"),
    ("FunctionalGroupPrivateCreator", "Philips MR Imaging DD 005"),
)
GOES = (
    ("Modality", "OLSEN"),
    ("ScanOptions", "OLE"),
    ("ScanOptions", "KARI_OLSEN"),
    ("ScanOptions", "ANN"),
    ("PatientPosition", "RAHAL"),
    ("ConvolutionKernel", "Olsen"),
    ("ConvolutionKernel", "22 85 51 77"),
    ("ConvolutionKernel", "41018100140"),
    ("SoftwareVersions", "22.85.51.77"),
    ("SoftwareVersions", "200012345678"),
    ("ManufacturerModelName", "Amira Olsen"),
    ("CodeValue", "OLSEN"),
    ("CodeValue", "KOLSEN1"),
    ("CodeValue", "373098008"),
    ("CodingSchemeDesignator", "99OLSEN"),
    ("CodingSchemeURL", "http://olsen.example/codes"),
)


def _of(keyword: str, text: str) -> str:
    tag = tag_for_keyword(keyword) or 0
    return technical.cleaned(tag, dictionary_VR(tag), text)


@pytest.mark.parametrize(("keyword", "text"), KEPT)
def test_what_scanners_write_stays(keyword: str, text: str) -> None:
    assert _of(keyword, text) == text


@pytest.mark.parametrize(("keyword", "text"), GOES)
def test_what_may_be_somebody_goes(keyword: str, text: str) -> None:
    assert _of(keyword, text) == ""


@pytest.mark.parametrize(
    ("keyword", "text", "cleaned"),
    [
        ("CodeMeaning", "Kontroll hos Oddvarsen", "Kontroll hos ..."),
        ("FilterType", "Wedge, Olsen", "Wedge, ..."),
        ("DetectorDescription", "sjekket av Olsen\r\n12 cm", "... av ...\r\n12 cm"),
    ],
)
def test_a_part_that_is_known_stays_and_is_clean(keyword: str, text: str, cleaned: str) -> None:
    assert _of(keyword, text) == cleaned
    assert _of(keyword, cleaned) == cleaned


def test_every_code_of_the_standard_is_known_by_its_value() -> None:
    values = {value for keywords in concepts.values() for codes in keywords.values() for value in codes}  # type: ignore[attr-defined]
    unknown = [value for value in values if _of("CodeValue", value) != value]
    assert len(unknown) < len(values) / 1000, sorted(unknown)


@pytest.mark.parametrize(
    ("keyword", "value", "made"),
    [
        ("ScanOptions", b"OLSEN", b""),  # Type 2
        ("ImageType", rb"ORIGINAL\PRIMARY\OLSEN", rb"ORIGINAL\PRIMARY\REMOVED"),
        ("PatientPosition", b"OLSEN ", b"REMOVED"),
        ("AnatomicalOrientationType", b"BIPED ", b"BIPED "),
        ("ManufacturerModelName", "Kåre".encode(), b"REMOVED"),
        ("ManufacturerModelName", b"", b""),
    ],
)
def test_the_type_decides_what_stands_instead(keyword: str, value: bytes, made: bytes) -> None:
    tag = tag_for_keyword(keyword) or 0
    assert KeepTechnical()(Field(tag, dictionary_VR(tag), value, ("utf8",))) == made


def test_an_optional_code_string_that_is_unknown_goes() -> None:
    tag = next(
        t for t in (0x00185101, 0x00181301, 0x00180021, 0x0018106A) if technical.replacement(t) is None
    )
    assert KeepTechnical()(Field(tag, "CS", b"OLSEN ", ("utf8",))) is None


def test_an_instance_that_cannot_be_read_otherwise_is_held() -> None:
    with pytest.raises(Hold, match="PhotometricInterpretation"):
        KeepTechnical()(Field(0x00280004, "CS", b"OLSEN ", ("utf8",)))
