from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from fiona_dagster.adapters.received_files import read_instance
from fiona_dagster.domain.data_set import scan
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.reception import InstanceHeader

IMPLICIT, EXPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)


def sample(**attributes: object) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.1", "1.2.2"
    dataset.Modality, dataset.PatientID, dataset.StudyDate = "MR", "P1", "20240131"
    inner = Dataset()
    inner.PatientID = "not the patient's"
    inner.ReferencedSOPSequence = Sequence([Dataset(), Dataset()])
    dataset.ReferencedStudySequence = Sequence([inner])
    dataset.ReferencedStudySequence.is_undefined_length = True
    inner.is_undefined_length_sequence_item = True
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.add_new(0x7FE00010, "OW", bytes(64))
    return dataset


def encoded(dataset: Dataset, syntax: str) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = syntax != BIG, syntax == IMPLICIT
    write_dataset(stream, dataset)
    data = bytes(stream.getvalue())
    if syntax == DEFLATED:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        data = packer.compress(data) + packer.flush()
    return data


def scanned(data: bytes, syntax: str = EXPLICIT) -> InstanceHeader:
    return scan(io.BytesIO(data), len(data), syntax)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_the_header_is_read_in_every_encoding(syntax: str) -> None:
    found = scanned(encoded(sample(), syntax), syntax)
    assert found == InstanceHeader(
        "1.2.1", "1.2.2", "1.2.3", "1.2.840.10008.5.1.4.1.1.4", modality="MR", patient_id="P1",
        study_date="20240131",
    )  # fmt: skip


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_a_data_set_that_was_cut_anywhere_is_never_complete(syntax: str) -> None:
    data = encoded(sample(), syntax)
    boundaries = 0
    for length in range(1, len(data)):
        try:
            found = scanned(data[:length], syntax)
        except Reject:
            continue
        boundaries += 1
        assert "7FE0" not in str(found)
    # A cut between two elements (or after a zero, as padding) cannot be seen from the data set itself.
    assert boundaries < 2 * len(sample())


@pytest.mark.parametrize(
    ("charset", "name", "raw"),
    [
        ("ISO_IR 100", "Bjørk^Åse", "Bjørk^Åse".encode("latin-1")),
        ("ISO_IR 192", "Bjørk^Åse", "Bjørk^Åse".encode()),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        ("NO SUCH SET", "Doe^Jane", b"Doe^Jane"),
    ],
)
def test_texts_are_decoded_by_the_specific_character_set(charset: str, name: str, raw: bytes) -> None:
    data = b""
    for tag, vr, value in (
        (0x00080005, b"CS", charset.encode()),
        (0x00080018, b"UI", b"1.2.3"),
        (0x00100010, b"PN", raw),
    ):
        padded = value + b" " * (len(value) % 2)
        data += struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(padded)) + padded
    assert scanned(data).patient_name == name


def test_control_characters_do_not_reach_the_ledger() -> None:
    raw = b"AB\x00\x1bCD "
    data = struct.pack("<HH2sH", 0x10, 0x20, b"LO", len(raw) + 1) + raw + b"\0"
    assert scanned(data).patient_id == "ABCD"


def test_zeros_after_the_last_element_are_padding() -> None:
    data = encoded(sample(), EXPLICIT)
    assert scanned(data + bytes(37)) == scanned(data)


def test_sequences_without_end_are_refused_instead_of_followed_for_ever() -> None:
    start = struct.pack("<HHL", 0x0008, 0x1110, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    uid = struct.pack("<HHL", 0x0008, 0x0018, 6) + b"1.2.3\0"
    with pytest.raises(Reject):
        scanned(uid + start * 100_000, IMPLICIT)


@given(st.binary(max_size=400))
def test_any_bytes_are_answered_with_a_header_or_a_refusal(data: bytes) -> None:
    for syntax in (IMPLICIT, EXPLICIT, BIG, DEFLATED):
        refusal = None
        try:
            scanned(data, syntax)
        except Reject as error:
            refusal = error.status
        assert refusal in (None, Status.CANNOT_UNDERSTAND, Status.CANNOT_UNDERSTAND_NOT_DICOM)


def packaged() -> list[str]:
    folder = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent
    return sorted(path.name for path in folder.glob("*.dcm"))


CUT = {"MR_truncated.dcm", "rtplan_truncated.dcm"}
NO_FILE_META = {
    "ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "no_meta.dcm", "no_meta_group_length.dcm", "rtstruct.dcm",
    "meta_missing_tsyntax.dcm",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in packaged() if name not in CUT | NO_FILE_META])
def test_the_scan_agrees_with_pydicom(name: str) -> None:
    path = Path(str(get_testdata_file(name, download=False)))
    _, found = read_instance(path)
    expected = dcmread(path)
    for keyword, value in (
        ("SOPInstanceUID", found.sop_instance_uid),
        ("StudyInstanceUID", found.study_instance_uid),
        ("SeriesInstanceUID", found.series_instance_uid),
        ("SOPClassUID", found.sop_class_uid),
        ("Modality", found.modality),
        ("PatientID", found.patient_id),
        ("PatientName", found.patient_name),
        ("StudyDate", found.study_date),
        ("Manufacturer", found.manufacturer),
        ("InstitutionName", found.institution_name),
    ):
        assert value == str(expected.get(keyword) or "").strip(), keyword


@pytest.mark.parametrize("name", sorted(CUT))
def test_packaged_files_that_were_cut_are_refused(name: str) -> None:
    with pytest.raises(Reject):
        read_instance(Path(str(get_testdata_file(name, download=False))))
