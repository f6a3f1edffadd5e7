"""Copies on disk: written aside, with the pixel data copied from file to file and never decoded, and compared with
their originals."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from fiona_dagster.adapters.dicom_files import DEFLATED, InstanceFile, PixelSpan
from fiona_dagster.domain.deid.encoding import header
from fiona_dagster.domain.deid.engine import CleanInstance
from fiona_dagster.domain.deid.method import file_start
from fiona_dagster.domain.errors import Permanent

_CHUNK = 1 << 20
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_UNDEFINED = 0xFFFFFFFF
_CANNOT_SPLICE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""What `copy_file_range` says between file systems, or where one of them does not know it."""
_PIXELS_INSIDE = (0x7FE00010, 0x7FE00008, 0x7FE00009, 0x56000020)


class Pixels(NamedTuple):
    """Pixel Data that is not the original's: `pieces` gives its value of `length` bytes, each time anew."""

    transfer_syntax_uid: str
    vr: str
    length: int
    pieces: Callable[[], Iterator[bytes]]


def write_instance(
    target: Path, clean: CleanInstance, source: InstanceFile, pixels: Pixels | None = None
) -> tuple[str, int]:
    """Write a copy, with the original's pixels or with others; the caller syncs the study's folder when all are there.

    Folders that are missing are made. A file that is there stays whole until the copy takes its place in one step.
    Where none is, the copy is written in its place at once: a part of one, left by a crash, is no copy that was
    verified, and the next run replaces it.

    The pixels are not looked at: verification compares them with the original's.

    Returns:
        SHA-256, in hexadecimal digits, of the file without the value of its Pixel Data, and the file's size in bytes.

    Raises:
        OSError: the disk refuses.
        Permanent: the original ends inside its pixel data.
        Hold: the other pixels cannot be made; no file is left.
    """
    written = target
    try:
        try:
            descriptor = os.open(written, _NEW_FILE, 0o666)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(written, _NEW_FILE, 0o666)
    except FileExistsError:
        written = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
        descriptor = os.open(written, _NEW_FILE, 0o666)
    try:
        try:
            if pixels is None:
                found = _write(descriptor, clean, source)
            else:
                found = _write_pixels(descriptor, clean, source, pixels)
        finally:
            os.close(descriptor)
        if written is not target:
            written.replace(target)
    except BaseException:  # also a kill request must not leave a part behind; it is raised again
        written.unlink(missing_ok=True)
        raise
    return found


def _write(descriptor: int, clean: CleanInstance, source: InstanceFile) -> tuple[str, int]:
    before, pixels, behind = _parts(clean, source)
    if isinstance(pixels, bytes):
        _write_all(descriptor, before + pixels + behind)
        size = len(pixels)
    else:
        _write_all(descriptor, before)
        _splice(source.path, descriptor, pixels)
        _write_all(descriptor, behind)
        size = pixels.end - pixels.start
    return hashlib.sha256(before + behind).hexdigest(), len(before) + size + len(behind)


def _write_pixels(
    descriptor: int, clean: CleanInstance, source: InstanceFile, pixels: Pixels
) -> tuple[str, int]:
    start = file_start(clean.sop_class_uid, clean.sop_instance_uid, pixels.transfer_syntax_uid)
    tag = source.pixels.tag if source.pixels is not None else _PIXELS_INSIDE[0]
    before = start + clean.before + header(tag, pixels.vr, pixels.length, source.dataset.syntax)
    _write_all(descriptor, before)
    written = 0
    for piece in pixels.pieces():
        _write_all(descriptor, piece)
        written += len(piece)
    if written != pixels.length:
        raise Permanent("the masked pixels have another length than the image: tell us of it")
    _write_all(descriptor, clean.behind)
    return hashlib.sha256(before + clean.behind).hexdigest(), len(before) + written + len(clean.behind)


def _splice(path: Path, target: int, span: PixelSpan) -> None:
    """The pixels go from file to file without coming here, where the file system can do that."""
    origin = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        position = span.start
        while position < span.end:
            try:
                copied = os.copy_file_range(origin, target, span.end - position, position)
            except OSError as error:
                if error.errno not in _CANNOT_SPLICE:
                    raise
                copied = 0
            if not copied:
                break
            position += copied
        for piece in _span(origin, position, span.end):
            _write_all(target, piece)
    finally:
        os.close(origin)


def _write_all(descriptor: int, piece: bytes) -> None:
    written = os.write(descriptor, piece)
    while written < len(piece):  # a full disk takes a part first
        written += os.write(descriptor, memoryview(piece)[written:])


def _parts(clean: CleanInstance, source: InstanceFile) -> tuple[bytes, bytes | PixelSpan, bytes]:
    """A copy: what stands before the value of Pixel Data, that value or its place in the original, what is behind."""
    syntax_uid, span = source.transfer_syntax_uid, source.pixels
    start = file_start(clean.sop_class_uid, clean.sop_instance_uid, syntax_uid)
    if syntax_uid == DEFLATED:
        return start + _deflated(clean.before), b"", b""
    if span is None:
        return start + clean.before, b"", b""
    length = _UNDEFINED if span.undefined_length else span.end - span.start
    start += clean.before + header(span.tag, span.vr, length, source.dataset.syntax)
    content = source.dataset.content
    was_read = span.end <= len(content)  # with the header
    return start, content[span.start : span.end] if was_read else span, clean.behind


def _deflated(content: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    made = machine.compress(content) + machine.flush()
    return made + b"\0" * (len(made) % 2)


class PixelValue(NamedTuple):
    """The value of Pixel Data: where it lies in a file; what was read of it, and of a second one behind it.

    Float and Double Float Pixel Data and Spectroscopy Data count as pixels.
    """

    path: Path
    span: PixelSpan | None
    inside: tuple[bytes, ...]


def pixel_value(file: InstanceFile) -> PixelValue:
    """Pixel Data of a file; what was read is told by its SHA-256."""
    part = file.behind if file.pixels else file.dataset
    values = (part.value(tag) for tag in _PIXELS_INSIDE)
    return PixelValue(file.path, file.pixels, tuple(hashlib.sha256(value).digest() for value in values))


class CopySums(NamedTuple):
    """What was found in a copy's file: SHA-256 of it without the value of Pixel Data and of the whole, in hexadecimal
    digits; whether that value is the original's."""

    header_sha256: str
    sha256: str
    same_pixels: bool


def examine_copy(copy: InstanceFile, original: PixelValue) -> CopySums:
    """Read a copy's file once, from its first byte to its last, beside the pixels of its original.

    Values of Pixel Data are compared bit by bit; where one has none, neither may have any.

    Raises:
        Permanent: a file ends too early, or cannot be read.
    """
    mine = pixel_value(copy)
    try:
        descriptor = os.open(copy.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _examined(descriptor, copy.size, mine, original)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Permanent(f"the file cannot be read ({error.strerror})") from None


def _examined(descriptor: int, size: int, mine: PixelValue, original: PixelValue) -> CopySums:
    span, its = mine.span, original.span
    header_sum = hashlib.sha256()
    for piece in _span(descriptor, 0, size if span is None else span.start):
        header_sum.update(piece)
    if span is None:
        whole = header_sum.hexdigest()
        return CopySums(whole, whole, its is None and mine.inside == original.inside)
    sum_of_all = header_sum.copy()
    theirs = span_bytes(original.path, its) if its is not None and _alike(span, its) else None
    same = theirs is not None and mine.inside == original.inside
    for piece in _span(descriptor, span.start, span.end):
        sum_of_all.update(piece)
        same = same and theirs is not None and piece == next(theirs)
    for piece in _span(descriptor, span.end, size):
        header_sum.update(piece)
        sum_of_all.update(piece)
    return CopySums(header_sum.hexdigest(), sum_of_all.hexdigest(), same)


def _alike(one: PixelSpan, other: PixelSpan) -> bool:
    return (one.tag, one.end - one.start) == (other.tag, other.end - other.start)


def span_bytes(path: Path, span: PixelSpan) -> Iterator[bytes]:
    """The bytes of a span, in pieces."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield from _span(descriptor, span.start, span.end)
    finally:
        os.close(descriptor)


def _span(descriptor: int, position: int, end: int) -> Iterator[bytes]:
    while position < end:
        piece = os.pread(descriptor, min(_CHUNK, end - position), position)
        if not piece:
            raise Permanent("the file ends inside its pixel data: ask the sender for it again")
        position += len(piece)
        yield piece
