"""Frames come out as they were stored, whatever the depth, sign, order of samples or syntax; what cannot, is said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from fiona_dagster.adapters.pixel_frames import Undecodable, decoded_frames, describe
from fiona_dagster.domain.pixels.windowing import view_of
from tests.pixels.images import image_file

_CHANCE = np.random.default_rng(7)


def _noise(dtype: str, *shape: int, below: int = 0) -> npt.NDArray[Any]:
    if dtype.startswith("f"):
        return _CHANCE.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return _CHANCE.integers(limits.min, below or limits.max, shape, dtype=dtype)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_native_frames_of_every_depth_and_sign_come_as_they_are_stored(tmp_path: Path, dtype: str) -> None:
    stored = _noise(dtype, 3, 11, 13)
    path = image_file(tmp_path / "image.dcm", stored)
    assert np.array_equal([frame.stored for frame in decoded_frames(path)], stored)
    assert [frame.index for frame in decoded_frames(path, frames=[2, 0])] == [0, 2]
    assert np.array_equal(next(decoded_frames(path, frames=[2])).stored, stored[2])


@pytest.mark.parametrize("planar", [0, 1])
def test_both_planar_configurations_come_as_rows_columns_and_samples(tmp_path: Path, planar: int) -> None:
    stored = _noise("u1", 2, 8, 10, 3)
    path = image_file(tmp_path / "image.dcm", stored, interpretation="RGB", planar=planar)
    assert np.array_equal([frame.stored for frame in decoded_frames(path)], stored)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless_syntaxes_give_back_every_sample(tmp_path: Path, syntax: str) -> None:
    stored = _noise("u2", 2, 32, 40, below=4096)
    path = image_file(tmp_path / "image.dcm", stored, bits_stored=12, syntax=syntax)
    assert describe(path).transfer_syntax_uid == syntax
    assert np.array_equal([frame.stored for frame in decoded_frames(path)], stored)


def test_a_scan_at_which_the_decoder_had_to_guess_is_no_image(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = io.BytesIO()
    Image.fromarray(_noise("u1", 64, 64)).save(stream, "JPEG")
    whole = stream.getvalue()
    for content in (whole, whole[:2000] + whole[2200:]):
        path = image_file(tmp_path / "image.dcm", np.zeros((1, 64, 64), np.uint8))
        dataset = dcmread(path)
        dataset.PixelData = encapsulate([content])
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.save_as(path)
        if content is whole:
            assert next(decoded_frames(path)).stored.shape == (64, 64)
        else:
            with pytest.raises(Undecodable, match="damaged"):
                next(decoded_frames(path))
    assert capfd.readouterr().err == ""


def test_bits_above_those_stored_are_kept_as_an_overlay_may_stand_there(tmp_path: Path) -> None:
    stored = _noise("u2", 1, 8, 8)
    path = image_file(tmp_path / "image.dcm", stored, bits_stored=12)
    assert np.array_equal(next(decoded_frames(path)).stored, stored[0])


@pytest.mark.parametrize("shape", [(3, 5, 3), (1, 5, 3), (2, 8, 8), (4, 7, 9)])
def test_frames_of_one_bit_come_whole_also_where_they_begin_inside_of_bytes(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    stored = _CHANCE.integers(0, 2, shape).astype("u1")
    packed = np.packbits(stored.reshape(-1), bitorder="little").tobytes()
    path = _edited(
        image_file(tmp_path / "image.dcm", stored),
        BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed + b"\0" * (len(packed) % 2),
    )  # fmt: skip
    assert np.array_equal([frame.stored for frame in decoded_frames(path)], stored)
    last = shape[0] - 1
    assert np.array_equal(next(decoded_frames(path, frames=[last])).stored, stored[last])


def _tables(first: int = 0, step: int = 256) -> dict[str, Any]:
    return {
        f"{colour}PaletteColorLookupTable{part}": value
        for number, colour in enumerate(("Red", "Green", "Blue"))
        for part, value in (
            ("Descriptor", [256, first, 16]),
            ("Data", (np.arange(256, dtype="<u2") * step + (number if step > 1 else 0)).tobytes()),
        )
    }


def test_a_palette_is_read_as_colours(tmp_path: Path) -> None:
    path = image_file(
        tmp_path / "image.dcm", _noise("u1", 1, 8, 8), interpretation="PALETTE COLOR", **_tables()
    )
    palette = describe(path).palette
    assert palette is not None
    assert (palette.first, palette.colours.shape, palette.colours[200].tolist()) == (0, (256, 3), [200] * 3)


@pytest.mark.parametrize(("dtype", "first"), [("u1", 0), ("i2", -20), ("i2", 5)])
@pytest.mark.parametrize("step", [256, 1])
def test_what_a_palette_shows_is_seen_whatever_its_sign_and_the_depth_that_it_says(
    tmp_path: Path, dtype: str, first: int, step: int
) -> None:
    stored = np.full((1, 64, 64), first + 10, dtype=dtype)
    stored[0, 20:40, 30:33] = first + 210
    tables = _tables(first, step)
    path = image_file(tmp_path / "image.dcm", stored, interpretation="PALETTE COLOR", **tables)
    view = view_of(next(decoded_frames(path)), describe(path))
    assert (view[25, 20].tolist(), view[25, 31].tolist()) == ([10] * 3, [210] * 3)


def _edited(path: Path, **attributes: Any) -> Path:
    dataset = dcmread(path)
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"PixelData": None}, "no pixels"),
        ({"NumberOfFrames": 4}, "fewer frames"),
        ({"NumberOfFrames": 1}, "longer than its image"),
        ({"Rows": None}, "Rows"),
        ({"SamplesPerPixel": 2}, "SamplesPerPixel"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette"),
        ({"Rows": 65535, "Columns": 65535}, "512 MB"),
    ],
)
def test_what_cannot_be_decoded_is_said_with_a_reason(
    tmp_path: Path, attributes: dict[str, Any], reason: str
) -> None:
    path = _edited(image_file(tmp_path / "image.dcm", _noise("u1", 2, 8, 8)), **attributes)
    with pytest.raises(Undecodable, match=reason):
        list(decoded_frames(path))


@pytest.mark.parametrize(("frames", "reason"), [(3, "fewer frames"), (1, "more frames")])
def test_frames_of_encapsulated_pixels_are_counted(tmp_path: Path, frames: int, reason: str) -> None:
    path = image_file(tmp_path / "image.dcm", _noise("u1", 2, 8, 8), syntax=RLELossless)
    with pytest.raises(Undecodable, match=reason):
        list(decoded_frames(_edited(path, NumberOfFrames=frames)))


def test_a_damaged_frame_and_an_unknown_syntax_are_undecodable(tmp_path: Path) -> None:
    path = image_file(tmp_path / "image.dcm", _noise("u1", 1, 64, 64), syntax=JPEGLSLossless)
    content = bytearray(path.read_bytes())
    content[-2000:-1000] = b"\xff\xd8" * 500
    (tmp_path / "damaged.dcm").write_bytes(content)
    with pytest.raises(Undecodable, match="damaged"):
        list(decoded_frames(tmp_path / "damaged.dcm"))
    (tmp_path / "unknown.dcm").write_bytes(
        path.read_bytes().replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.99")
    )
    with pytest.raises(Undecodable, match="no decoder"):
        list(decoded_frames(tmp_path / "unknown.dcm"))


def test_a_frame_that_does_not_exist_is_not_asked_for_in_vain(tmp_path: Path) -> None:
    path = image_file(tmp_path / "image.dcm", _noise("u1", 2, 8, 8))
    with pytest.raises(Undecodable, match="does not have"):
        list(decoded_frames(path, frames=[2]))
    assert list(decoded_frames(path, frames=[])) == []
