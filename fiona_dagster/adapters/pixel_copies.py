"""The pixels of a masked copy, frame by frame: in their own encoding where they are native, decoded otherwise.

Native pixels are masked in their bytes, so that everything else is the original's to the bit. What is compressed is
decoded and written without compression (Explicit VR Little Endian): no encoder can spoil what the decoder gave.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_copies import Pixels
from fiona_dagster.adapters.dicom_files import EXPLICIT_BIG, EXPLICIT_LITTLE_UID
from fiona_dagster.adapters.pixel_frames import decoded_frames
from fiona_dagster.domain.errors import Hold
from fiona_dagster.domain.pixels.masked_attributes import Reencoded
from fiona_dagster.domain.pixels.painting import fill_of, paint, paint_native

if TYPE_CHECKING:
    from fiona_dagster.adapters.dicom_files import InstanceFile, PixelSpan
    from fiona_dagster.domain.pixels.frames import Frame, ImagePixel
    from fiona_dagster.domain.pixels.masks import Masking

_LONGEST = 0xFFFFFFFE
"""Bytes of a value whose length is stated."""
_MOST_OF_BITS = 256 << 20
"""Bytes of one-bit pixels, of which all frames are taken at once: frames of them begin inside of bytes."""


@dataclass(frozen=True, slots=True)
class MaskedPixels:
    """What is written, and how the copy's attributes must tell of it (None where the encoding stays)."""

    pixels: Pixels
    masking: Masking
    reencoded: Reencoded | None


def masked_pixels(file: InstanceFile, image: ImagePixel, masking: Masking) -> MaskedPixels:
    """How the pixels of an original are written with their masks; nothing is written yet.

    Raises:
        Hold: they cannot be masked.
        Undecodable: their first frame cannot be decoded; later ones raise it when they are written.
    """
    span = file.pixels
    if span is None:
        raise Hold(
            "the pixels lie in a deflated data set, where they cannot be masked: ask for them without it"
        )
    if span.undefined_length:
        return _decoded(file, image, masking, span)
    if file.transfer_syntax_uid == EXPLICIT_BIG and not _is_zero_in_any_order(image, masking, span):
        raise Hold(
            "these pixels in big endian cannot be masked: ask the sender for Explicit VR Little Endian"
        )
    pixels = Pixels(
        file.transfer_syntax_uid, span.vr, span.end - span.start, lambda: _native(file, image, masking)
    )
    return MaskedPixels(pixels, masking, None)


def _is_zero_in_any_order(image: ImagePixel, masking: Masking, span: PixelSpan) -> bool:
    """Whether what is written looks the same in both byte orders, and every pixel lies where it would in the other."""
    fill = fill_of(image.photometric_interpretation, image.bits_stored, image.samples_per_pixel)
    in_place = image.bits_allocated in {16, 32, 64} or (image.bits_allocated == 8 and span.vr == "OB")
    return in_place and not masking.overlay_bits and (image.bits_allocated == 8 or not any(fill))


def _native(file: InstanceFile, image: ImagePixel, masking: Masking) -> Iterator[bytes]:
    span = file.pixels
    assert span is not None  # noqa: S101 — asked above
    size, length = _frame_size(image), span.end - span.start
    if image.bits_allocated == 1:
        if length > _MOST_OF_BITS:
            raise Hold("one-bit pixels of more than 256 MB cannot be masked")
        size = length
    descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if image.bits_allocated == 1:
            content = bytearray(_read(descriptor, span.start, length))
            for frame in range(image.number_of_frames):
                paint_native(content, frame, masking, image)
            yield bytes(content)
            return
        for frame in range(image.number_of_frames):
            content = bytearray(_read(descriptor, span.start + frame * size, size))
            paint_native(content, frame, masking, image)
            yield bytes(content)
        behind = image.number_of_frames * size
        yield _read(descriptor, span.start + behind, length - behind)  # padding
    finally:
        os.close(descriptor)


def _frame_size(image: ImagePixel) -> int:
    """Bytes of a native frame of whole bytes (PS3.5 8.2)."""
    samples = image.samples_per_pixel
    if samples == 3 and image.photometric_interpretation in {"YBR_FULL_422", "YBR_PARTIAL_422"}:
        samples = 2
    return image.rows * image.columns * samples * image.bits_allocated // 8


def _read(descriptor: int, start: int, length: int) -> bytes:
    content = os.pread(descriptor, length, start)
    while len(content) < length:
        more = os.pread(descriptor, length - len(content), start + len(content))
        if not more:
            raise Hold("the pixels end before their last frame")
        content += more
    return content


def _decoded(file: InstanceFile, image: ImagePixel, masking: Masking, span: PixelSpan) -> MaskedPixels:
    first = next(iter(decoded_frames(file.path, frames=[0])))
    _check_depth(first, image)
    size = image.rows * image.columns * image.samples_per_pixel * (image.bits_allocated // 8)
    length = size * image.number_of_frames
    if length > _LONGEST:
        raise Hold("the masked pixels are longer than a file without compression can hold")
    interpretation = first.photometric_interpretation.replace(
        "YBR_FULL_422", "YBR_FULL"
    )  # each has its own now
    fill = fill_of(interpretation, image.bits_stored, image.samples_per_pixel)

    def frames() -> Iterator[bytes]:
        for frame in decoded_frames(file.path):
            _check_depth(frame, image)
            if frame.photometric_interpretation != first.photometric_interpretation:
                raise Hold("the frames of the object are of different colour spaces")
            stored = paint(frame.stored, frame.index, masking, fill)
            yield stored.astype(stored.dtype.newbyteorder("<"), copy=False).tobytes()
        if length % 2:
            yield b"\0"

    vr = "OB" if image.bits_allocated <= 8 else "OW"
    pixels = Pixels(EXPLICIT_LITTLE_UID, vr, length + length % 2, frames)
    ratio = length / max(1, span.end - span.start)
    return MaskedPixels(
        pixels, replace(masking, transfer_syntax_uid=EXPLICIT_LITTLE_UID), Reencoded(interpretation, ratio)
    )


def _check_depth(frame: Frame, image: ImagePixel) -> None:
    if image.bits_allocated % 8 or frame.stored.dtype.itemsize * 8 != image.bits_allocated:
        raise Hold("the decoded pixels have another depth than the object says")
