from __future__ import annotations

import hashlib
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

from fiona_dagster.adapters.dicom_copies import pixel_value, same_pixels, write_instance
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
    assert same_pixels(*(pixel_value(read_instance(tmp_path / name)) for name in ("source.dcm", "copy.dcm")))
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


@pytest.mark.parametrize("digest", [True, False])
def test_a_failed_write_leaves_no_part(tmp_path: Path, digest: bool) -> None:
    source = saved(large_instance(), tmp_path / "in" / "source.dcm")
    file = read_instance(source)
    clean = engine().clean(file.dataset)
    source.write_bytes(source.read_bytes()[:400])
    (tmp_path / "out").mkdir()
    with pytest.raises(Permanent):
        write_instance(tmp_path / "out" / "copy.dcm", clean, file, digest=digest)
    assert list((tmp_path / "out").iterdir()) == []


def large_instance() -> FileDataset:
    """Its pixels are not read with its header."""
    dataset = ct_instance()
    dataset.Rows = dataset.Columns = 256
    dataset.PixelData = bytes(256 * 256 * 2)
    return dataset


@pytest.mark.parametrize("make", [ct_instance, large_instance])
def test_a_copy_is_the_same_with_and_without_its_digest(
    tmp_path: Path, make: Callable[[], FileDataset]
) -> None:
    file = read_instance(saved(make(), tmp_path / "source.dcm"))
    clean = engine().clean(file.dataset, file.behind)
    digest, size = write_instance(tmp_path / "one.dcm", clean, file)
    assert write_instance(tmp_path / "two.dcm", clean, file, digest=False) == ("", size)
    content = (tmp_path / "one.dcm").read_bytes()
    assert (tmp_path / "two.dcm").read_bytes() == content
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (digest, size)


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
