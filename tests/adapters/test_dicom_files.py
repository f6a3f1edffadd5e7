from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from fiona_dagster.adapters.dicom_copies import (
    CopySums,
    examine_copy,
    pixel_value,
    write_instance,
)
from fiona_dagster.adapters.dicom_files import quiet_pydicom, read_instance
from fiona_dagster.domain.errors import Permanent
from tests.domain.deid.planted import GONE, ct_instance, engine, saved


def in_syntax(path: Path, syntax: str) -> Path:
    dataset = ct_instance()
    dataset.file_meta.TransferSyntaxUID = syntax
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    if syntax == JPEGBaseline8Bit:
        dataset.PixelData = encapsulate([b"\xff\xd8 one \xff\xd9", b"\xff\xd8 two! \xff\xd9"])
        dataset["PixelData"].is_undefined_length = True
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset.save_as(path, enforce_file_format=True)
        return path
    dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    return path


def written(source: Path, target: Path) -> Path:
    file = read_instance(source)
    write_instance(target, engine().clean(file.dataset, file.behind), file)
    return target


SYNTAXES = ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEGBaseline8Bit,
            DeflatedExplicitVRLittleEndian]  # fmt: skip


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_copy_is_read_in_the_syntax_of_its_original_with_its_pixels(tmp_path: Path, syntax: str) -> None:
    source = in_syntax(tmp_path / "source.dcm", syntax)
    copy = dcmread(written(source, tmp_path / "copy.dcm"))
    assert copy.file_meta.TransferSyntaxUID == syntax
    assert copy.PixelData == dcmread(source).PixelData
    assert copy.Rows == 4
    assert list(copy.ImagePositionPatient) == [-10.5, 0, 3.25]
    original, made = (read_instance(tmp_path / name) for name in ("source.dcm", "copy.dcm"))
    assert examine_copy(made, pixel_value(original)).same_pixels
    if syntax != DeflatedExplicitVRLittleEndian:
        content = (tmp_path / "copy.dcm").read_bytes().lower()
        assert [value for value in GONE if value.lower().encode() in content] == []


def test_nothing_of_the_file_meta_and_preamble_is_left(tmp_path: Path) -> None:
    source = saved(ct_instance(), tmp_path / "source.dcm")
    assert b"PLANTED preamble" in source.read_bytes()
    copy = dcmread(written(source, tmp_path / "copy.dcm"))
    assert copy.preamble == b"\0" * 128
    assert copy.file_meta.MediaStorageSOPInstanceUID == copy.SOPInstanceUID
    assert {e.keyword for e in copy.file_meta} == {
        "FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID",
        "MediaStorageSOPInstanceUID", "TransferSyntaxUID", "ImplementationClassUID", "ImplementationVersionName",
    }  # fmt: skip


def test_a_failed_write_leaves_no_part(tmp_path: Path) -> None:
    source = saved(large_instance(), tmp_path / "in" / "source.dcm")
    file = read_instance(source)
    clean = engine().clean(file.dataset)
    source.write_bytes(source.read_bytes()[:400])
    (tmp_path / "out").mkdir()
    with pytest.raises(Permanent):
        write_instance(tmp_path / "out" / "copy.dcm", clean, file)
    assert list((tmp_path / "out").iterdir()) == []


def large_instance() -> FileDataset:
    """Its pixels are not read with its header."""
    dataset = ct_instance()
    dataset.Rows = dataset.Columns = 256
    dataset.PixelData = bytes(256 * 256 * 2)
    return dataset


def without_pixels() -> FileDataset:
    dataset = ct_instance()
    del dataset.PixelData
    return dataset


@pytest.mark.parametrize("make", [ct_instance, large_instance, without_pixels])
def test_the_sum_of_a_written_file_is_that_of_all_but_its_pixels(
    tmp_path: Path, make: Callable[[], FileDataset]
) -> None:
    file = read_instance(saved(make(), tmp_path / "source.dcm"))
    clean = engine().clean(file.dataset, file.behind)
    header_sum, size = write_instance(tmp_path / "copy.dcm", clean, file)
    copy, content = read_instance(tmp_path / "copy.dcm"), (tmp_path / "copy.dcm").read_bytes()
    span = copy.pixels
    around = content if span is None else content[: span.start] + content[span.end :]
    assert (hashlib.sha256(around).hexdigest(), len(content)) == (header_sum, size)
    sums = examine_copy(copy, pixel_value(file))
    assert sums == CopySums(header_sum, hashlib.sha256(content).hexdigest(), same_pixels=True)


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, 0])
def test_where_the_file_system_cannot_splice_the_pixels_are_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    file = read_instance(saved(large_instance(), tmp_path / "source.dcm"))
    clean = engine().clean(file.dataset, file.behind)
    found = write_instance(tmp_path / "spliced.dcm", clean, file)
    splice, calls = os.copy_file_range, []

    def refused(origin: int, target: int, count: int, position: int) -> int:
        calls.append(position)
        if len(calls) == 1:
            return splice(origin, target, 1000, position)
        if code:
            raise OSError(code, os.strerror(code))
        return 0

    monkeypatch.setattr("fiona_dagster.adapters.dicom_copies.os.copy_file_range", refused)
    assert write_instance(tmp_path / "read.dcm", clean, file) == found
    assert len(calls) == 2
    assert (tmp_path / "read.dcm").read_bytes() == (tmp_path / "spliced.dcm").read_bytes()


def test_a_full_disk_is_not_taken_for_a_file_system_that_cannot_splice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = read_instance(saved(large_instance(), tmp_path / "source.dcm"))
    clean = engine().clean(file.dataset, file.behind)
    monkeypatch.setattr("fiona_dagster.adapters.dicom_copies.os.copy_file_range", full)
    with pytest.raises(OSError, match="No space"):
        write_instance(tmp_path / "copy.dcm", clean, file)
    assert not list(tmp_path.glob("*copy.dcm*"))


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused_without_its_values(tmp_path: Path, keep: float) -> None:
    source = saved(ct_instance(), tmp_path / "source.dcm")
    content = source.read_bytes()[: -16 - 12]  # without the padding behind the pixels
    source.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(Permanent) as refused:
        engine().clean(read_instance(source).dataset)
    assert "Zwingenberger" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"plain text, nothing more", b"\0" * 200, b"\0" * 128 + b"DICM"])
def test_what_is_no_instance_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(Permanent):
        read_instance(path)


def test_a_missing_file_is_told_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot be read"):
        read_instance(tmp_path / "absent")


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    source = saved(ct_instance(), tmp_path / "source.dcm")
    source.write_bytes(source.read_bytes()[132:])
    assert read_instance(source).dataset.value(0x00080060) == b"CT"


def test_a_delimiter_that_is_missing_is_damage(tmp_path: Path) -> None:
    source = in_syntax(tmp_path / "source.dcm", JPEGBaseline8Bit)
    content = source.read_bytes()
    end = content.rindex(b"\xfe\xff\xdd\xe0")
    source.write_bytes(content[:end])
    with pytest.raises(Permanent, match="pixel data"):
        read_instance(source)


def test_warnings_that_print_values_do_not_come_out(recwarn: pytest.WarningsRecorder) -> None:
    dataset = Dataset()
    with quiet_pydicom() as heard:
        dataset.add_new(0x00080018, "UI", "Zwingenberger")
    assert heard
    assert not recwarn.list
