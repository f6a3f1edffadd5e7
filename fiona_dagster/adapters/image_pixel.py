"""The Image Pixel module as an object states it (PS3.3 C.7.6.3), its palette and its window."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fiona_dagster.adapters.dicom_files import quiet_pydicom
from fiona_dagster.domain.deid.pixel_data import frames_of
from fiona_dagster.domain.errors import Hold
from fiona_dagster.domain.pixels.frames import ImagePixel, Palette

if TYPE_CHECKING:
    from fiona_dagster.adapters.dicom_files import InstanceFile
    from fiona_dagster.domain.deid.elements import DataSet

_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_SAMPLES, _INTERPRETATION, _PLANAR, _ROWS, _COLUMNS = (
    0x00280002,
    0x00280004,
    0x00280006,
    0x00280010,
    0x00280011,
)
_ALLOCATED, _STORED, _HIGH, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_CENTER, _WIDTH, _INTERCEPT, _SLOPE = 0x00281050, 0x00281051, 0x00281052, 0x00281053
_PALETTE = (
    *(0x00281101, 0x00281102, 0x00281103),
    *(0x00281201, 0x00281202, 0x00281203),
    *(0x00281221, 0x00281222, 0x00281223),
)
"""Descriptors, tables, segmented tables of red, green and blue (PS3.3 C.7.9)."""


class Undecodable(Hold):
    """Pixels that cannot be read here; `reason` is fit for the ledger: it holds no value of the object."""


def image_pixel_of(instance: InstanceFile) -> ImagePixel:
    """What an object says of its pixels.

    Raises:
        Undecodable: it has none, or what it says of them is no image.
    """
    dataset = instance.dataset
    keyword = _keyword(instance)
    numbers = {tag: _number(dataset, tag) for tag in (_ROWS, _COLUMNS, _SAMPLES, _PLANAR, _SIGNED)}
    allocated = _FLOAT_BITS.get(keyword) or _number(dataset, _ALLOCATED)
    stored = _FLOAT_BITS.get(keyword) or _number(dataset, _STORED) or allocated
    interpretation = dataset.value(_INTERPRETATION).strip(b" \0").decode("latin-1").upper()
    samples = numbers[_SAMPLES] or 1
    frames = frames_of(dataset)
    if not (numbers[_ROWS] and numbers[_COLUMNS] and frames and allocated and stored <= allocated):
        raise Undecodable("Rows, Columns, NumberOfFrames, BitsAllocated or BitsStored is missing or wrong")
    if allocated not in {1, 8, 16, 32, 64} or samples not in {1, 3}:
        raise Undecodable("BitsAllocated or SamplesPerPixel is none that can be decoded")
    return ImagePixel(
        transfer_syntax_uid=instance.transfer_syntax_uid,
        pixel_keyword=keyword,
        rows=numbers[_ROWS],
        columns=numbers[_COLUMNS],
        number_of_frames=frames,
        samples_per_pixel=samples,
        photometric_interpretation=interpretation or ("RGB" if samples == 3 else "MONOCHROME2"),
        planar_configuration=numbers[_PLANAR],
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=_number(dataset, _HIGH) or stored - 1,
        pixel_representation=numbers[_SIGNED],
        palette=_palette(dataset, numbers[_SIGNED]) if interpretation == "PALETTE COLOR" else None,
        window=_window(dataset),
    )


def _keyword(instance: InstanceFile) -> str:
    if instance.pixels is not None:
        return _KEYWORDS.get(instance.pixels.tag, "PixelData")
    for tag, keyword in _KEYWORDS.items():
        if tag in instance.dataset:
            return keyword
    raise Undecodable("the object has no pixels")


def _number(dataset: DataSet, tag: int) -> int:
    value = dataset.value(tag)
    return int.from_bytes(value, "little" if dataset.syntax.little else "big") if len(value) == 2 else 0


def _decimal(dataset: DataSet, tag: int) -> float | None:
    """The first value of a DS, None where it is no finite number."""
    try:
        number = float(dataset.value(tag).split(b"\\")[0].strip(b" \0"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _window(dataset: DataSet) -> tuple[float, float] | None:
    """The first window in stored values: it is given behind the rescaling (PS3.3 C.11.2.1.2)."""
    center, width = _decimal(dataset, _CENTER), _decimal(dataset, _WIDTH)
    slope, intercept = _decimal(dataset, _SLOPE) or 1.0, _decimal(dataset, _INTERCEPT) or 0.0
    if center is None or width is None or width < 1:
        return None
    return (center - intercept) / slope, width / abs(slope)


def _palette(dataset: DataSet, pixel_representation: int) -> Palette:
    """The colours of an object, segmented tables expanded.

    The first value that is mapped has the sign of the pixels (PS3.3 C.7.6.3.1.5). Tables that say 16 bits and hold
    fewer are taken by what they hold: shown by what they say, all of their colours would be black.

    Raises:
        Undecodable: it has none that can be understood.
    """
    from pydicom.dataset import Dataset
    from pydicom.pixels.processing import apply_color_lut

    little = dataset.syntax.little
    tables = Dataset()
    try:
        with quiet_pydicom():
            for tag in _PALETTE[:3]:
                raw = np.frombuffer(dataset.value(tag), "<u2" if little else ">u2")
                tables.add_new(tag, "US", [int(number) for number in raw])
            for tag in _PALETTE[3:]:
                if value := dataset.value(tag):
                    # pydicom takes tables as little endian whatever the data set's order
                    raw = np.frombuffer(value, "<u2" if little else ">u2").astype("<u2")
                    tables.add_new(tag, "OW", raw.tobytes())
            descriptor = tables[_PALETTE[0]].value
            entries, first = descriptor[0] or 1 << 16, descriptor[1]
            colours = apply_color_lut(np.arange(first, first + entries), tables)
    except Exception:  # noqa: BLE001 - pydicom raises anything at a damaged table
        raise Undecodable("the palette of the image is missing or damaged") from None
    if pixel_representation and first >= 1 << 15:
        first -= 1 << 16
    if colours.dtype.itemsize > 1:
        colours = colours >> max(0, int(colours.max()).bit_length() - 8)
    return Palette(first, np.ascontiguousarray(colours[:, :3], dtype=np.uint8))
