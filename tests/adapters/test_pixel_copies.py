"""Pixels outside of the boxes are the originals', in every encoding of the corpus; inside there is one value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless

from fiona_dagster.adapters.dicom_copies import write_instance
from fiona_dagster.adapters.dicom_files import EXPLICIT_LITTLE_UID, InstanceFile, quiet_pydicom, read_instance
from fiona_dagster.adapters.pixel_copies import masked_pixels
from fiona_dagster.adapters.pixel_frames import describe
from fiona_dagster.adapters.pixel_gate import PixelGate
from fiona_dagster.domain.deid.elements import PIXEL_TAGS
from fiona_dagster.domain.deid.engine import CleanInstance
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.errors import FionaError, Hold
from fiona_dagster.domain.pixels.frames import ImagePixel
from fiona_dagster.domain.pixels.masked_attributes import follow
from fiona_dagster.domain.pixels.masks import Mask, Masking, settled
from fiona_dagster.domain.project import Project
from tests.conftest import need_shared
from tests.domain.deid.planted import ct_instance, saved

GATE = PixelGate(OriginalValues(), Project(name="STUDY_A"))


def boxes(image: ImagePixel) -> tuple[Mask, ...]:
    """A corner in all frames, an odd place in the first frame alone, and the last pixel of the last frame."""
    last, rows, columns = image.number_of_frames - 1, image.rows, image.columns
    found = [Mask(0, last, 0, 0, max(1, columns // 3), max(1, rows // 7))]
    if rows > 8 and columns > 8:
        found.append(Mask(0, 0, columns // 2 | 1, rows // 2 | 1, columns // 5 | 1, rows // 5 | 1))
    found.append(Mask(last, last, columns - 1, rows - 1, 1, 1))
    return settled(found, image)


def masked(path: Path, target: Path, masking: Masking, image: ImagePixel) -> Masking:
    """Write a copy that is the original but for its masks."""
    file = read_instance(path)
    made = masked_pixels(file, image, masking)
    before = follow(level(file), file.dataset.syntax, made.masking, image, made.reencoded)
    clean = CleanInstance(before, b"", "1.2.840.10008.5.1.4.1.1.7", "1.2.3", "1.2.4", "1.2.5", "OT")
    write_instance(target, clean, file, made.pixels)
    return made.masking


def level(file: InstanceFile) -> bytes:
    places = file.dataset.places
    return b"".join(file.dataset.content[places[tag][0] : places[tag][2]] for tag in sorted(places))


def test_everything_outside_of_the_boxes_is_the_originals_on_the_whole_corpus(tmp_path: Path) -> None:
    proven: dict[str, int] = {}
    held: dict[str, int] = {}
    wrong = []
    for path in sorted(need_shared("corpus").rglob("*")):
        if not path.is_file():
            continue
        with quiet_pydicom():
            try:
                file = read_instance(path)
                image = describe(path)
                if file.pixels is None and PIXEL_TAGS.isdisjoint(file.dataset.places):
                    continue
                target = tmp_path / "copy.dcm"
                masking = masked(path, target, Masking("test", boxes=boxes(image)), image)
            except FionaError as error:
                held[str(error)] = held.get(str(error), 0) + 1
                continue
            if not GATE.only_masked(path, target, masking):
                wrong.append(path.name)
            syntax = image.transfer_syntax_uid
            proven[syntax] = proven.get(syntax, 0) + 1
            target.unlink()
    assert wrong == []
    assert sum(proven.values()) > 700, (proven, held)
    assert len(proven) > 5, (proven, held)


def grey(rows: int = 16, columns: int = 20, *, bits: int = 16, signed: bool = False) -> FileDataset:
    dataset = ct_instance()
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = rows, columns, bits
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    values = np.arange(1, rows * columns + 1).astype(f"u{bits // 8}")
    dataset.PixelData = values.tobytes()
    return dataset


def test_the_gate_sees_one_pixel_that_changed_outside_and_one_that_shines_through_inside(
    tmp_path: Path,
) -> None:
    path = saved(grey(), tmp_path / "in.dcm")
    image = describe(path)
    masking = masked(path, tmp_path / "out.dcm", Masking("x", boxes=(Mask(0, 0, 2, 3, 5, 4),)), image)
    assert GATE.only_masked(path, tmp_path / "out.dcm", masking)
    span = read_instance(tmp_path / "out.dcm").pixels
    assert span is not None
    content = (tmp_path / "out.dcm").read_bytes()
    for row, column in ((0, 0), (3, 7), (3, 2), (6, 6), (15, 19)):
        at = span.start + 2 * (row * 20 + column)
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        (tmp_path / "changed.dcm").write_bytes(changed)
        assert not GATE.only_masked(path, tmp_path / "changed.dcm", masking), (row, column)
    assert not GATE.only_masked(path, tmp_path / "out.dcm", replace(masking, boxes=()))


def test_native_pixels_change_in_their_boxes_alone_and_the_attributes_tell_of_it(tmp_path: Path) -> None:
    dataset = grey(signed=True)
    dataset.SmallestImagePixelValue = 1
    path = saved(dataset, tmp_path / "in.dcm")
    masked(path, tmp_path / "out.dcm", Masking("x", boxes=(Mask(0, 0, 2, 3, 5, 4),)), describe(path))
    copy = dcmread(tmp_path / "out.dcm")
    expected = dataset.pixel_array.copy()
    expected[3:7, 2:7] = 0
    assert (copy.pixel_array == expected).all()
    assert (copy.BurnedInAnnotation, copy.ImageType[0]) == ("NO", "DERIVED")
    assert copy.DerivationDescription == "Burned-in text masked"
    assert "SmallestImagePixelValue" not in copy
    assert "LossyImageCompression" not in copy


def test_the_bits_of_an_embedded_overlay_are_cleared_and_no_others(tmp_path: Path) -> None:
    dataset = grey()
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.PixelData = (np.arange(320, dtype="u2") | 0x5000).tobytes()
    path = saved(dataset, tmp_path / "in.dcm")
    masking = masked(path, tmp_path / "out.dcm", Masking("x", overlay_bits=0x4000), describe(path))
    pixels = read_instance(tmp_path / "out.dcm").pixels
    assert pixels is not None
    stored = np.frombuffer((tmp_path / "out.dcm").read_bytes()[pixels.start : pixels.end], "<u2")
    assert (stored == (np.arange(320) | 0x1000)).all()
    assert GATE.only_masked(path, tmp_path / "out.dcm", masking)


def test_what_is_compressed_is_written_without_compression_and_says_that_it_lost_something(
    tmp_path: Path,
) -> None:
    dataset = grey(bits=8)
    dataset.compress(RLELossless)
    path = saved(dataset, tmp_path / "in.dcm")
    masking = masked(
        path, tmp_path / "out.dcm", Masking("x", boxes=(Mask(0, 0, 0, 0, 3, 3),)), describe(path)
    )
    assert masking.transfer_syntax_uid == EXPLICIT_LITTLE_UID
    copy = dcmread(tmp_path / "out.dcm")
    assert copy.file_meta.TransferSyntaxUID == EXPLICIT_LITTLE_UID
    assert copy.pixel_array[:3, :3].max() == 0
    assert (copy.pixel_array[3:] == dataset.pixel_array[3:]).all()
    assert "LossyImageCompression" not in copy  # RLE loses nothing


def test_frames_that_end_early_leave_no_copy(tmp_path: Path) -> None:
    dataset = grey()
    dataset.NumberOfFrames = "2"
    path = saved(dataset, tmp_path / "in.dcm")
    image = replace(describe(saved(grey(), tmp_path / "one.dcm")), number_of_frames=2)
    with pytest.raises(Hold):
        masked(path, tmp_path / "out" / "copy.dcm", Masking("x", boxes=(Mask(0, 1, 0, 0, 3, 3),)), image)
    assert not (tmp_path / "out" / "copy.dcm").exists()
