"""Does Pixel Data hold its image and nothing else? Judged by its length and by the tables of its fragments.

Pixels are never decoded: what the Image Pixel module says must fill the value (PS3.5 8.1, 8.2), and every number of
an offset table must name a fragment (PS3.5 A.4, PS3.3 C.7.6.3.1.8). What is longer could carry text behind its image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from struct import Struct
from typing import Literal, NamedTuple

from fiona_dagster.domain.deid.elements import DataSet

FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA = 0x7FE00008, 0x7FE00009, 0x7FE00010
EXTENDED_OFFSETS, EXTENDED_LENGTHS, TOTAL_LENGTH = 0x7FE00001, 0x7FE00002, 0x7FE00003
FRAGMENT_TABLES = frozenset({EXTENDED_OFFSETS, EXTENDED_LENGTHS, TOTAL_LENGTH})
TOO_LONG = "the pixel data is longer than its image"
NOT_DESCRIBED = (
    "the pixel data cannot be understood: Rows, Columns, NumberOfFrames or BitsAllocated is missing"
)
SEVERAL = "several elements of pixel data in one instance"
WRONG_OFFSETS = "the offset table of the pixel data names places where no frame begins"
_NUMBER_OF_FRAMES = 0x00280008
_IMAGE_PIXEL = (0x00280010, 0x00280011, 0x00280100, 0x00280002, _NUMBER_OF_FRAMES, 0x00280004)
"""Rows, Columns, Bits Allocated, Samples per Pixel, Number of Frames, Photometric Interpretation."""
_HALF_COLOUR = frozenset({b"YBR_FULL_422", b"YBR_PARTIAL_422"})
"""Two samples a pixel, as every second one has no colour of its own (PS3.3 C.7.6.3.1.2)."""
_WIDTH = {FLOAT_PIXEL_DATA: 32, DOUBLE_FLOAT_PIXEL_DATA: 64}
_ITEM_HEADER = 8


class Image(NamedTuple):
    """What the Image Pixel module says: pixels of a frame, bits of one with all of its samples, frames."""

    pixels: int
    bits: int
    frames: int

    @property
    def size(self) -> int:
        """Bytes of all frames, which follow each other bit by bit (PS3.5 8.1.1)."""
        return -(-self.pixels * self.bits * self.frames // 8)

    @property
    def frame_size(self) -> int:
        return -(-self.pixels * self.bits // 8)


def image_of(dataset: DataSet, tag: int = PIXEL_DATA) -> Image | None:
    """What a first level says of its pixels; None where that is not enough to know their length."""
    said = tuple([dataset.value(one) for one in _IMAGE_PIXEL])
    return _image(said, tag, "little" if dataset.syntax.little else "big")


@lru_cache(maxsize=256)
def _image(said: tuple[bytes, ...], tag: int, order: Literal["little", "big"]) -> Image | None:
    *numbers, frame_text, interpretation = said
    rows, columns, allocated, samples = (
        int.from_bytes(value, order) if len(value) == 2 else 0 for value in numbers
    )
    bits, frames = _WIDTH.get(tag, allocated), _frames(frame_text)
    if not numbers[-1]:
        samples = 1
    if not (rows and columns and bits and samples and frames):
        return None
    if samples == 3 and interpretation.strip(b" \0").upper() in _HALF_COLOUR:
        samples = 2
    return Image(rows * columns, bits * samples, frames)


def frames_of(dataset: DataSet) -> int:
    """Number of Frames, one where it is absent or empty; 0 where it is no number."""
    return _frames(dataset.value(_NUMBER_OF_FRAMES))


def _frames(text: bytes) -> int:
    text = text.strip(b" \0")
    return int(text) if text.isdigit() else int(not text)


def native_reason(dataset: DataSet, tag: int, length: int) -> str:
    """Why a value of `length` bytes may hold more than the image, or ''. A byte of padding does not count."""
    if not length:
        return ""
    image = image_of(dataset, tag)
    if image is None:
        return NOT_DESCRIBED
    return TOO_LONG if length > image.size + 1 else ""


def offsets_reason(table: bytes, fragments: Sequence[int]) -> str:
    """Why a Basic Offset Table is not one, or ''; `fragments` are the lengths of those behind it (PS3.5 A.4)."""
    offsets = _numbers(table, 4)
    if offsets is None or (offsets and offsets[0] != 0) or not _ascend(offsets):
        return WRONG_OFFSETS
    return "" if set(offsets) <= set(_starts(fragments)) else WRONG_OFFSETS


def fragment_tables_fit(dataset: DataSet, fragments: Sequence[int]) -> bool:
    """Whether the Extended Offset Table, its lengths and the total length say what the fragments are.

    Every frame has one fragment where they stand (PS3.3 C.7.6.3.1.8); a fragment may have a byte of padding.
    """
    offsets = _numbers(dataset.value(EXTENDED_OFFSETS), 8)
    lengths = _numbers(dataset.value(EXTENDED_LENGTHS), 8)
    total = _numbers(dataset.value(TOTAL_LENGTH), 8)
    if offsets is None or lengths is None or total is None:
        return False
    if total and (len(total) > 1 or not sum(fragments) - len(fragments) <= total[0] <= sum(fragments)):
        return False
    if not offsets and not lengths:
        return True
    return (
        offsets == _starts(fragments)
        and len(lengths) == len(fragments)
        and all(size - 1 <= length <= size for length, size in zip(lengths, fragments, strict=True))
    )


def without_fragment_tables(dataset: DataSet) -> DataSet:
    """A first level that has no tables of its fragments: they are no longer needed to read it."""
    places = {tag: place for tag, place in dataset.places.items() if tag not in FRAGMENT_TABLES}
    return replace(dataset, places=places, units=None)


def _numbers(value: bytes, width: Literal[4, 8]) -> list[int] | None:
    """Little endian, as all encapsulated syntaxes are; None where a part of one is left."""
    if len(value) % width:
        return None
    return [one for (one,) in Struct("<L" if width == 4 else "<Q").iter_unpack(value)]


def _ascend(numbers: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(numbers))


def _starts(fragments: Sequence[int]) -> list[int]:
    """Where the items of fragments begin, counted from the first one's."""
    starts, position = [], 0
    for length in fragments:
        starts.append(position)
        position += _ITEM_HEADER + length
    return starts
