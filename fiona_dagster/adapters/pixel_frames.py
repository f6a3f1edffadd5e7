"""The frames of an object, decoded one after the other; never more than one is held here.

pydicom's decoders do it, with GDCM, OpenJPEG and CharLS behind them. What they complain of is kept from everybody.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fiona_dagster.adapters.dicom_files import InstanceFile, quiet_pydicom, read_instance
from fiona_dagster.adapters.expendable import ended_after
from fiona_dagster.adapters.image_pixel import Undecodable, image_pixel_of
from fiona_dagster.adapters.native_complaints import native_complaints
from fiona_dagster.domain.deid.pixel_data import EXTENDED_LENGTHS, EXTENDED_OFFSETS
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.pixels.frames import Frame, ImagePixel, Stored
from fiona_dagster.domain.pixels.unused_bits import says_something, unused_bits

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import Decoder

__all__ = ["Undecodable", "decoded_frames", "describe"]

MOST_BYTES = 1 << 29
"""Of one decoded frame: a larger one would not fit beside what is made of it."""
DECODING_SECONDS = 300.0
"""Beyond them the decoder of one frame is taken to hang."""
_HALF_COLOUR = "YBR_FULL_422"
_DAMAGED = "the pixel data is damaged: a frame cannot be decoded"
_MISSING = "the pixel data has fewer frames than NumberOfFrames says"
_EXCESS = "the pixel data has more frames than NumberOfFrames says"
_LITTLE_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"})
_LOSSLESS_SIGNED = ("1.2.840.10008.1.2.4.8", "1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")
"""JPEG-LS and JPEG 2000: their codestreams say for themselves how many bits a sample has."""


def describe(path: Path) -> ImagePixel:
    """What the object at `path` says of its pixels; nothing is decoded.

    Raises:
        Undecodable: it is no DICOM file, has no pixels, or what it says of them is no image.
    """
    return image_pixel_of(_instance(path))


def decoded_frames(path: Path, *, frames: Iterable[int] | None = None) -> Iterator[Frame]:
    """Every frame, or those of the given indices (counted from 0), in ascending order.

    Raises:
        Undecodable: a frame cannot be decoded, is missing, or does not have the size that the object states; there
            are more or fewer frames than it states.
    """
    instance = _instance(path)
    image = image_pixel_of(instance)
    wanted = None if frames is None else sorted(set(frames))
    if wanted is not None and wanted and not 0 <= wanted[0] <= wanted[-1] < image.number_of_frames:
        raise Undecodable("a frame was asked for that the object does not have")
    decoder = _decoder(image)
    _check_size(instance, image, encapsulated=decoder.is_encapsulated)
    with _pixels_of(instance) as source:
        yield from _decode(decoder, source, image, wanted, _options(instance, image))


def uses_unused_bits(path: Path, image: ImagePixel, *, besides: int = 0) -> bool:
    """Whether any frame has something in bits that are not stored, apart from the bits `besides` (of overlays).

    Raises:
        Undecodable: a frame cannot be decoded.
    """
    if not unused_bits(image) & ~besides:
        return False
    return any(says_something(frame.stored, image, besides) for frame in decoded_frames(path))


def _instance(path: Path) -> InstanceFile:
    try:
        return read_instance(path)
    except Permanent as error:
        raise Undecodable(str(error)) from None


def _decoder(image: ImagePixel) -> Decoder:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    nobody = f"no decoder for the transfer syntax {image.transfer_syntax_uid}"
    try:
        decoder = get_decoder(UID(image.transfer_syntax_uid))
    except NotImplementedError:
        raise Undecodable(nobody) from None
    if decoder.is_encapsulated and not decoder.is_available:
        raise Undecodable(nobody)
    return decoder


def _pixels_of(instance: InstanceFile) -> BinaryIO:
    """A stream that stands at the first byte of the pixel data's value."""
    if instance.pixels is None:
        tag = next(tag for tag in (0x7FE00010, 0x7FE00008, 0x7FE00009) if tag in instance.dataset)
        return io.BytesIO(instance.dataset.value(tag))
    stream = instance.path.open("rb")
    stream.seek(instance.pixels.start)
    return stream


def _check_size(instance: InstanceFile, image: ImagePixel, *, encapsulated: bool) -> None:
    samples = 2 if image.photometric_interpretation == _HALF_COLOUR else image.samples_per_pixel
    pixels = image.rows * image.columns
    if pixels * image.samples_per_pixel * max(8, image.bits_allocated) // 8 > MOST_BYTES:
        raise Undecodable(f"a frame of more than {MOST_BYTES >> 20} MB is not read")
    if encapsulated:
        return
    bits = pixels * samples * image.bits_allocated * image.number_of_frames
    stated = -(-bits // 8)
    span = instance.pixels
    length = len(_pixels_of(instance).read()) if span is None else span.end - span.start
    if length < stated:
        raise Undecodable(_MISSING)
    if length > stated + 1:
        raise Undecodable("the pixel data is longer than its image")


def _options(instance: InstanceFile, image: ImagePixel) -> dict[str, Any]:
    options: dict[str, Any] = {
        "rows": image.rows,
        "columns": image.columns,
        "number_of_frames": image.number_of_frames,
        "samples_per_pixel": image.samples_per_pixel,
        "photometric_interpretation": image.photometric_interpretation,
        "bits_allocated": image.bits_allocated,
        "bits_stored": image.bits_stored,
        "pixel_keyword": image.pixel_keyword,
        "pixel_representation": image.pixel_representation,
        "pixel_vr": instance.pixels.vr if instance.pixels else "OW",
    }
    if image.samples_per_pixel > 1:
        options["planar_configuration"] = image.planar_configuration
    if not image.transfer_syntax_uid.startswith(_LOSSLESS_SIGNED):
        options["correct_unused_bits"] = False
    offsets = instance.dataset.value(EXTENDED_OFFSETS), instance.dataset.value(EXTENDED_LENGTHS)
    if all(offsets):
        options["extended_offsets"] = offsets
    return options


def _decode(
    decoder: Decoder, source: BinaryIO, image: ImagePixel, wanted: list[int] | None, options: dict[str, Any]
) -> Iterator[Frame]:
    """Frames as they come; all of them are counted where all are wanted."""
    if wanted is not None and not wanted:
        return
    shape: tuple[int, ...] = (image.rows, image.columns)
    if image.samples_per_pixel > 1:
        shape += (image.samples_per_pixel,)
    if image.bits_allocated == image.samples_per_pixel == 1 and image.transfer_syntax_uid in _LITTLE_NATIVE:
        arrays = _bits(source, image, wanted)
    else:
        arrays = decoder.iter_array(source, indices=wanted, raw=True, **options)
    numbers = count() if wanted is None else iter(wanted)
    done = 0
    while (decoded := _next(arrays, is_encapsulated=decoder.is_encapsulated)) is not None:
        stored, properties = decoded
        if wanted is None and done == image.number_of_frames:
            raise Undecodable(_EXCESS)
        if stored.shape != shape:
            raise Undecodable("a frame is not of the size that the object states")
        yield Frame(next(numbers), stored, str(properties["photometric_interpretation"]))
        done += 1
    if done < (image.number_of_frames if wanted is None else len(wanted)):
        raise Undecodable(_MISSING)


def _bits(
    source: BinaryIO, image: ImagePixel, wanted: list[int] | None
) -> Iterator[tuple[Stored, dict[str, Any]]]:
    """Native frames of one bit, which begin inside of bytes (PS3.5 8.1.1): pydicom takes each from a byte's start."""
    start, size = source.tell(), image.rows * image.columns
    for frame in range(image.number_of_frames) if wanted is None else wanted:
        whole, inside = divmod(frame * size, 8)
        source.seek(start + whole)
        packed = np.frombuffer(source.read(-(-(inside + size) // 8)), np.uint8)
        bits = np.unpackbits(packed, bitorder="little")[inside : inside + size]
        stored = bits.reshape(image.rows, image.columns)
        yield stored, {"photometric_interpretation": image.photometric_interpretation}


def _next(
    arrays: Iterator[tuple[Any, dict[str, Any]]], *, is_encapsulated: bool
) -> tuple[Stored, dict[str, Any]] | None:
    """The next one; whatever a decoder raises or complains of is said without its words, which may hold values."""
    listening = native_complaints() if is_encapsulated else nullcontext(lambda: False)
    with quiet_pydicom(), listening as complained, ended_after(DECODING_SECONDS):
        try:
            stored, properties = next(arrays)
        except StopIteration:
            return None
        except Exception:  # noqa: BLE001 - native decoders raise anything at damaged pixels
            raise Undecodable(_DAMAGED) from None
    if complained():  # it went on, and another decoder may show something else there
        raise Undecodable(_DAMAGED)
    return np.asarray(stored), properties
