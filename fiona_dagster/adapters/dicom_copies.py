"""Copies on disk: written aside, with the pixel data copied from file to file and never decoded, and compared with
their originals."""

from __future__ import annotations

import hashlib
import os
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fiona_dagster.adapters.dicom_files import DEFLATED, InstanceFile, PixelSpan
from fiona_dagster.domain.deid.encoding import header
from fiona_dagster.domain.deid.engine import CleanInstance
from fiona_dagster.domain.deid.method import file_start
from fiona_dagster.domain.errors import Permanent

_CHUNK = 1 << 20
_UNDEFINED = 0xFFFFFFFF
_PIXELS_INSIDE = (0x7FE00010, 0x7FE00008, 0x7FE00009, 0x56000020)


def write_instance(
    target: Path, clean: CleanInstance, source: InstanceFile, *, digest: bool = True
) -> tuple[str, int]:
    """Write a copy aside and rename it into place; the caller syncs the study's folder when all are there.

    Returns:
        SHA-256 of the file in hexadecimal digits ('' where it is not wanted), and its size in bytes.

    Raises:
        OSError: the disk refuses.
    """
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            write = _write_hashed if digest else _splice
            found = write(descriptor, clean, source)
        finally:
            os.close(descriptor)
        aside.replace(target)
    except BaseException:  # also a kill request must not leave a part behind; it is raised again
        aside.unlink(missing_ok=True)
        raise
    return found


def _write_hashed(descriptor: int, clean: CleanInstance, source: InstanceFile) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(clean, source):
        _write_all(descriptor, piece)
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size


def _splice(descriptor: int, clean: CleanInstance, source: InstanceFile) -> tuple[str, int]:
    """The pixels go from file to file without coming here."""
    pixels, size = source.pixels, 0
    for piece in _pieces(clean, source, pixels=False):
        if piece or pixels is None:
            _write_all(descriptor, piece)
        else:
            origin = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _copy_range(origin, descriptor, pixels)
            finally:
                os.close(origin)
            size += pixels.end - pixels.start
        size += len(piece)
    return "", size


def _copy_range(origin: int, target: int, span: PixelSpan) -> None:
    position = span.start
    while position < span.end:
        copied = os.copy_file_range(origin, target, span.end - position, position)
        if not copied:
            raise Permanent("the file ends inside its pixel data: ask the sender for it again")
        position += copied


def _write_all(descriptor: int, piece: bytes) -> None:
    written = os.write(descriptor, piece)
    while written < len(piece):  # a full disk takes a part first
        written += os.write(descriptor, memoryview(piece)[written:])


def _pieces(clean: CleanInstance, source: InstanceFile, *, pixels: bool = True) -> Iterator[bytes]:
    """The bytes of a copy; an empty piece stands for the pixels where they are not wanted."""
    syntax_uid, span = source.transfer_syntax_uid, source.pixels
    start = file_start(clean.sop_class_uid, clean.sop_instance_uid, syntax_uid)
    if syntax_uid == DEFLATED:
        yield start + _deflated(clean.before)
        return
    if span is None:
        yield start + clean.before
        return
    length = _UNDEFINED if span.undefined_length else span.end - span.start
    start += clean.before + header(span.tag, span.vr, length, source.dataset.syntax)
    if span.end <= len(source.dataset.content):  # it was read with the header
        yield start + source.dataset.content[span.start : span.end] + clean.behind
        return
    yield start
    if pixels:
        yield from span_bytes(source.path, span)
    else:
        yield b""
    if clean.behind:
        yield clean.behind


def _deflated(content: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    made = machine.compress(content) + machine.flush()
    return made + b"\0" * (len(made) % 2)


@dataclass(frozen=True, slots=True)
class PixelValue:
    """The value of Pixel Data: where it lies in a file, or the values themselves where it was read.

    Float and Double Float Pixel Data and Spectroscopy Data count as pixels.
    """

    path: Path
    span: PixelSpan | None
    inside: tuple[bytes, ...]


def pixel_value(file: InstanceFile) -> PixelValue:
    """Pixel Data of a file; what is long and was read is told by its SHA-256."""
    values = () if file.pixels else (file.dataset.value(tag) for tag in _PIXELS_INSIDE)
    return PixelValue(file.path, file.pixels, tuple(hashlib.sha256(value).digest() for value in values))


def same_pixels(one: PixelValue, other: PixelValue) -> bool:
    """Whether two values of Pixel Data are equal, bit by bit; where there are none, whether neither has any."""
    if one.span is None or other.span is None:
        return one.span is other.span and one.inside == other.inside
    if one.span.tag != other.span.tag or one.span.end - one.span.start != other.span.end - other.span.start:
        return False
    pairs = zip(span_bytes(one.path, one.span), span_bytes(other.path, other.span), strict=True)
    return all(mine == its for mine, its in pairs)


def span_bytes(path: Path, span: PixelSpan) -> Iterator[bytes]:
    """The bytes of a span, in pieces."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        position = span.start
        while position < span.end:
            piece = os.pread(descriptor, min(_CHUNK, span.end - position), position)
            if not piece:
                raise Permanent("the file ends inside its pixel data: ask the sender for it again")
            position += len(piece)
            yield piece
    finally:
        os.close(descriptor)
