"""Headers are read without pixels; what cannot be read is an error of ours without a value of the image."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from fiona_dagster.adapters.dicom_headers import read_header, read_series, series_instance_uid
from fiona_dagster.domain.errors import Permanent, Reject, Transient
from tests.conftest import need_shared


def instance(path: Path, *, preamble: bool = True, series: str = "1.2.3") -> Path:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = CTImageStorage, "1.2.3.4", series
    ds.PatientName = "Nordmann^Ola"
    ds.Rows = ds.Columns = 2
    ds.BitsAllocated = 16
    private = ds.private_block(0x0029, "OURS", create=True)
    private.add_new(0x01, "LO", "kept")
    ds.PixelData = bytes(8)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if preamble:
        ds.save_as(path, enforce_file_format=True)
    else:
        ds.save_as(path, implicit_vr=False, little_endian=True)
    return path


def test_pixels_are_left_out_and_private_attributes_kept(tmp_path: Path) -> None:
    ds = read_header(instance(tmp_path / "a"))
    assert "PixelData" not in ds
    assert ds.private_block(0x0029, "OURS")[0x01].value == "kept"


def test_only_the_wanted_attributes_are_read(tmp_path: Path) -> None:
    ds = read_header(instance(tmp_path / "a"), {0x00280010})
    assert ds.Rows == 2
    assert "PatientName" not in ds


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    assert read_header(instance(tmp_path / "a", preamble=False)).Rows == 2


@pytest.mark.parametrize("content", [b"", b"no dicom at all, only text " * 40, b"\x00" * 128 + b"DICM"])
def test_what_is_no_dicom_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(Reject, match="no DICOM file"):
        read_header(tmp_path / "a")


def test_an_instance_of_no_series_is_rejected(tmp_path: Path) -> None:
    assert series_instance_uid(instance(tmp_path / "a")) == "1.2.3"
    with pytest.raises(Reject, match="Series Instance UID"):
        series_instance_uid(instance(tmp_path / "b", series=""))


def test_a_file_that_is_gone_is_a_permanent_error_and_a_folder_a_transient_one(tmp_path: Path) -> None:
    with pytest.raises(Permanent):
        read_header(tmp_path / "none")
    with pytest.raises(Transient):
        read_header(tmp_path)


def test_a_series_is_read_one_by_one(tmp_path: Path) -> None:
    paths = [instance(tmp_path / "a"), tmp_path / "none"]
    headers = read_series(paths, {0x00280010})
    assert next(headers).Rows == 2
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
