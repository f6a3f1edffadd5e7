"""Headers are read without pixels; what cannot be read is an error of ours without a value of the image."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from fiona_dagster.adapters import dicom_headers
from fiona_dagster.adapters.dicom_headers import read_header, read_series, series_instance_uid
from fiona_dagster.domain import series_json
from fiona_dagster.domain.attribute_values import element_value
from fiona_dagster.domain.errors import Permanent, Reject, Transient
from fiona_dagster.domain.reception import Peer
from fiona_dagster.domain.rules.evaluation import image_sources, view
from fiona_dagster.domain.rules.ruleset import default_rules
from tests.conftest import need_shared

ROWS, PRIVATE = 0x00280010, 0x00511001


def instance(path: Path, *, preamble: bool = True, series: str = "1.2.3", comment: str = "") -> Path:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = CTImageStorage, "1.2.3.4", series
    ds.TextValue = comment  # UT, (0040,A160)
    ds.PatientName = "Nordmann^Ola"
    ds.Rows = ds.Columns = 2
    ds.BitsAllocated = 16
    private = ds.private_block(0x0051, "OURS", create=True)
    private.add_new(0x01, "LO", "kept")
    ds.PixelData = bytes(8)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if preamble:
        ds.save_as(path, enforce_file_format=True)
    else:
        ds.save_as(path, implicit_vr=False, little_endian=True)
    return path


def test_the_wanted_attributes_are_read_private_ones_too_and_no_others(tmp_path: Path) -> None:
    header = read_header(instance(tmp_path / "a"), {ROWS, PRIVATE})
    assert (element_value(header, ROWS), element_value(header, PRIVATE)) == (2, "kept")
    assert element_value(header, 0x00100010) is None
    assert element_value(header, 0x7FE00010) is None


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    assert element_value(read_header(instance(tmp_path / "a", preamble=False), {ROWS}), ROWS) == 2


def test_an_attribute_beyond_the_first_piece_of_the_file_is_found(tmp_path: Path) -> None:
    header = read_header(instance(tmp_path / "a", comment="x" * 100_000), {PRIVATE})
    assert element_value(header, PRIVATE) == "kept"


@pytest.mark.parametrize("content", [b"", b"no dicom at all, only text " * 40, b"\x00" * 128 + b"DICM"])
def test_what_is_no_dicom_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(Reject, match="no DICOM file"):
        read_header(tmp_path / "a", {ROWS})


def test_an_instance_of_no_series_is_rejected(tmp_path: Path) -> None:
    assert series_instance_uid(instance(tmp_path / "a")) == "1.2.3"
    with pytest.raises(Reject, match="Series Instance UID"):
        series_instance_uid(instance(tmp_path / "b", series=""))


def test_a_file_that_is_gone_is_a_permanent_error_and_a_folder_a_transient_one(tmp_path: Path) -> None:
    with pytest.raises(Permanent):
        read_header(tmp_path / "none", {ROWS})
    with pytest.raises(Transient):
        read_header(tmp_path, {ROWS})


def test_a_series_is_read_one_by_one(tmp_path: Path) -> None:
    paths = [instance(tmp_path / "a"), tmp_path / "none"]
    headers = read_series(paths, {ROWS})
    assert element_value(next(headers), ROWS) == 2
    with pytest.raises(Permanent):
        next(headers)


def test_every_file_of_the_corpus_is_read_or_rejected_without_a_warning() -> None:
    read = rejected = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in sorted(need_shared("corpus").rglob("*")):
            if path.is_file() and "dcm_qa_nih" not in path.parts:
                try:
                    series_instance_uid(path)
                    read += 1
                except Reject:
                    rejected += 1
    assert read > 200
    assert rejected > 5


def test_our_own_walk_and_pydicom_see_the_same_in_every_file_of_the_corpus() -> None:
    rules, peer = default_rules(), Peer("A", "B", "")
    sources = image_sources(rules)
    wanted = frozenset((0x00080005, 0x00080016, *rules.tags))
    compared = left_to_pydicom = 0
    for path in sorted(need_shared("corpus").rglob("*")):
        if not path.is_file() or ("20180918GE" in path.parts and not path.name.endswith("00001.dcm")):
            continue
        own = dicom_headers._scan(path, wanted)
        try:
            theirs = dicom_headers._by_pydicom(path, wanted)
        except (Reject, OSError):
            assert own is None, path.name
            continue
        if own is None:
            left_to_pydicom += 1
            continue
        compared += 1
        fields = series_json.image_fields(theirs, peer)
        assert series_json.image_fields(own, peer) == fields, path.name
        assert view(own, fields, sources) == view(theirs, fields, sources), path.name
    assert compared > 250
    assert left_to_pydicom < 20
