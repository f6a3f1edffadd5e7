"""DICOM files on disk: read without loading pixel data, written aside with the pixel data copied from file to file.

Nothing here decodes pixels. pydicom's warnings print values, so they are silenced while it reads.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fiona_dagster.domain.errors import Permanent

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

    from fiona_dagster.domain.deid.encoding import Syntax
    from fiona_dagster.domain.deid.engine import CleanInstance

CHUNK = 1 << 20
PIXEL_TAGS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_UNDEFINED = 0xFFFFFFFF
_ENDS_EARLY = " in file "
"""pydicom warns `<what> in file <name>` and goes on where a data set ends early; we do not."""
_SHORTEST_ELEMENT = 8
_PATIENT_ID = 0x00100020
_PIXEL_GROUP, _DELIMITERS = 0x7FE0, 0xFFFE


@dataclass(frozen=True, slots=True)
class PixelSpan:
    """Where the value of Pixel Data lies in a file: bytes `start` to `end`, fragments and delimiter included."""

    tag: int
    vr: str
    start: int
    end: int
    undefined_length: bool


@dataclass(frozen=True)
class InstanceFile:
    """A parsed file. `pixels` is None where there are none, or where `dataset` holds them."""

    path: Path
    dataset: FileDataset
    transfer_syntax_uid: str
    pixels: PixelSpan | None


@contextmanager
def quiet_pydicom() -> Iterator[list[warnings.WarningMessage]]:
    """Keep pydicom's warnings and log lines from everybody: they print the values that they complain of.

    Yields the warnings as they come, for code that must know of one.
    """
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield heard
    finally:
        logger.setLevel(level)


def read_instance(path: Path, *, defer_pixels: bool = True) -> InstanceFile:
    """Parse a DICOM file. A missing preamble is forgiven, a missing SOP Class UID is not.

    Args:
        path: the file.
        defer_pixels: leave Pixel Data in the file and tell where it is; not possible in deflated files, which
            are read whole.

    Raises:
        Permanent: it is no DICOM instance, cannot be read, or ends too early. Never names a value.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with path.open("rb") as stream, quiet_pydicom() as heard:
            try:
                dataset = dcmread(stream, stop_before_pixels=defer_pixels)
            except InvalidDicomError:
                stream.seek(0)
                dataset = dcmread(stream, stop_before_pixels=defer_pixels, force=True)
            if "SOPClassUID" not in dataset and "MediaStorageSOPClassUID" not in dataset.file_meta:
                raise Permanent("not a DICOM instance")
            syntax = str(dataset.file_meta.get("TransferSyntaxUID") or "") or _guessed_syntax(dataset)
            pixels = None
            if syntax == DEFLATED and defer_pixels:
                return read_instance(path, defer_pixels=False)
            if defer_pixels:
                pixels = _find_pixels(stream, little=syntax != EXPLICIT_BIG)
                if pixels is not None:
                    _read_behind(stream, dataset, pixels)
            if pixels is None and syntax != DEFLATED:
                _check_end(dataset, path.stat().st_size)
            if any(_ENDS_EARLY in str(warning.message) for warning in heard):
                raise Permanent("the file ends inside an element: ask the sender for it again")
    except OSError as error:
        if error.errno is None:  # pydicom raises plain OSError for damaged files
            raise Permanent("the file is damaged") from None
        raise Permanent(f"the file cannot be read ({error.strerror})") from None
    except Permanent:
        raise
    except Exception as error:  # noqa: BLE001 — a parser may raise anything, and its message may hold values
        raise Permanent(f"the file is damaged ({type(error).__name__})") from None
    return InstanceFile(path, dataset, syntax, pixels)


def read_patient(path: Path) -> tuple[str, str] | None:
    """Study Instance UID and PatientID as they stand in a file, stripped; None where it cannot be read.

    Only the beginning of the file is read.
    """
    from pydicom.charset import default_encoding
    from pydicom.filereader import read_partial

    from fiona_dagster.domain.deid.admission import STUDY_INSTANCE_UID
    from fiona_dagster.domain.deid.text import decode, encodings_of, first_text

    try:
        with path.open("rb") as stream, quiet_pydicom():
            dataset = read_partial(stream, lambda tag, _vr, _length: tag > STUDY_INSTANCE_UID, force=True)
            value = dataset.get_item(_PATIENT_ID).value if _PATIENT_ID in dataset else b""  # type: ignore[union-attr]
            text = decode(value or b"", "LO", encodings_of(dataset, [default_encoding]))
            patient = (value or b"").decode("latin-1") if text is None else text
            return first_text(dataset, STUDY_INSTANCE_UID), patient.strip(" \0")
    except Exception:  # noqa: BLE001 — a parser may raise anything; such a file fails by itself when it is treated
        return None


def _check_end(dataset: FileDataset, size: int) -> None:
    """Refuse a file that ends inside its last element: the parser takes what is left of it, or nothing."""
    from pydicom.dataelem import RawDataElement

    last = max((dataset.get_item(tag) for tag in dataset.keys()), key=_place, default=None)  # noqa: SIM118
    if isinstance(last, RawDataElement) and last.length != _UNDEFINED:
        left = size - last.value_tell - last.length
        if left < 0 or 0 < left < _SHORTEST_ELEMENT:
            raise Permanent("the file ends inside an element: ask the sender for it again")


def _place(element: Any) -> int:
    return int(getattr(element, "value_tell", None) or getattr(element, "file_tell", None) or 0)


def _guessed_syntax(dataset: FileDataset) -> str:
    implicit, little = dataset.original_encoding
    if implicit:
        return IMPLICIT_LITTLE
    return "1.2.840.10008.1.2.1" if little else EXPLICIT_BIG


def _find_pixels(stream: BinaryIO, *, little: bool) -> PixelSpan | None:
    """The element at the stream's position, which is Pixel Data of some kind or the end of the file."""
    order = "<" if little else ">"
    start = stream.read(8)
    if len(start) < 8:
        return None
    group, element, length = struct.unpack(order + "HHL", start)
    if group != _PIXEL_GROUP:
        raise Permanent("the file is damaged")
    vr = start[4:6].decode("ascii", "replace")
    if vr in {"OB", "OW", "OF", "OD", "UN"}:  # no even 32-bit length begins with these letters
        length = struct.unpack(order + "L", stream.read(4))[0]
    else:
        vr = "OW"
    begin = stream.tell()
    size = os.fstat(stream.fileno()).st_size
    end = _end_of_fragments(stream, order) if length == _UNDEFINED else begin + length
    if end > size:
        raise Permanent("the file ends inside its pixel data: ask the sender for it again")
    return PixelSpan(group << 16 | element, vr, begin, end, length == _UNDEFINED)


def _end_of_fragments(stream: BinaryIO, order: str) -> int:
    """Position behind the sequence delimiter of encapsulated Pixel Data (PS3.5 A.4)."""
    while True:
        item = stream.read(8)
        if len(item) < 8:
            raise Permanent("the file ends inside its pixel data: ask the sender for it again")
        group, element, length = struct.unpack(order + "HHL", item)
        if (group, element) == (0xFFFE, 0xE0DD):
            return stream.tell()
        if (group, element) != (0xFFFE, 0xE000) or length == _UNDEFINED:
            raise Permanent("the fragments of the pixel data are damaged")
        stream.seek(length, os.SEEK_CUR)


def _read_behind(stream: BinaryIO, dataset: FileDataset, pixels: PixelSpan) -> None:
    """Elements behind Pixel Data (padding, signatures) join the data set, to be treated like all others."""
    from pydicom.filereader import read_dataset

    stream.seek(pixels.end)
    if not stream.read(1):
        return
    stream.seek(pixels.end)
    implicit, little = dataset.original_encoding
    behind = read_dataset(stream, bool(implicit), bool(little))
    if any(tag.group == _DELIMITERS for tag in behind.keys()):  # noqa: SIM118 — iterating converts values
        raise Permanent("the fragments of the pixel data are damaged")
    for tag in list(behind.keys()):
        dataset[tag] = behind.get_item(tag)


def write_instance(target: Path, clean: CleanInstance, source: InstanceFile) -> tuple[str, int]:
    """Write a copy aside, sync it and rename it into place; the caller syncs the folder.

    Returns:
        SHA-256 of the file in hexadecimal digits, and its size in bytes.

    Raises:
        OSError: the disk refuses.
    """
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with aside.open("xb") as stream:
            for piece in _pieces(clean, source):
                stream.write(piece)
                digest.update(piece)
                size += len(piece)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(target)
    except BaseException:  # also a kill request must not leave a part behind; it is raised again
        aside.unlink(missing_ok=True)
        raise
    return digest.hexdigest(), size


def _pieces(clean: CleanInstance, source: InstanceFile) -> Iterator[bytes]:
    from fiona_dagster.domain.deid.encoding import encode_elements, header
    from fiona_dagster.domain.deid.method import file_start

    syntax_uid, pixels = source.transfer_syntax_uid, source.pixels
    syntax = syntax_of(syntax_uid)
    yield file_start(clean.sop_class_uid, clean.sop_instance_uid, syntax_uid)
    if syntax_uid == DEFLATED:
        yield _deflated(encode_elements(clean.elements, syntax))
        return
    if pixels is None:
        yield encode_elements(clean.elements, syntax)
        return
    yield encode_elements((e for e in clean.elements if e.tag < pixels.tag), syntax)
    length = _UNDEFINED if pixels.undefined_length else pixels.end - pixels.start
    yield header(pixels.tag, pixels.vr, length, syntax)
    yield from span_bytes(source.path, pixels)
    yield encode_elements((e for e in clean.elements if e.tag > pixels.tag), syntax)


def syntax_of(transfer_syntax_uid: str) -> Syntax:
    """How the elements of a data set in this transfer syntax are encoded."""
    from fiona_dagster.domain.deid.encoding import Syntax

    return Syntax(implicit=transfer_syntax_uid == IMPLICIT_LITTLE, little=transfer_syntax_uid != EXPLICIT_BIG)


def _deflated(content: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    made = machine.compress(content) + machine.flush()
    return made + b"\0" * (len(made) % 2)


def span_bytes(path: Path, span: PixelSpan) -> Iterator[bytes]:
    """The bytes of a span, in pieces."""
    with path.open("rb") as stream:
        stream.seek(span.start)
        left = span.end - span.start
        while left:
            piece = stream.read(min(CHUNK, left))
            if not piece:
                raise Permanent("the file ends inside its pixel data: ask the sender for it again")
            left -= len(piece)
            yield piece


def pixel_digest(file: InstanceFile) -> str:
    """SHA-256 of the value of Pixel Data as it stands in the file, '' where there is none.

    Float and Double Float Pixel Data and Spectroscopy Data count as pixels.
    """
    digest = hashlib.sha256()
    if file.pixels is not None:
        for piece in span_bytes(file.path, file.pixels):
            digest.update(piece)
        return digest.hexdigest()
    for tag in (*PIXEL_TAGS, 0x56000020):
        if tag in file.dataset:
            value = file.dataset.get_item(tag).value  # type: ignore[union-attr]
            digest.update(value if isinstance(value, bytes) else b"")
            return digest.hexdigest()
    return ""


def file_digest(path: Path) -> str:
    """SHA-256 of a whole file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
