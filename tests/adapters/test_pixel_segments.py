"""Names planted in and around Pixel Data: what could carry them is held, removed or found."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import UID

from fiona_dagster.adapters.pixel_segments import NOBODY_FOLLOWS
from fiona_dagster.adapters.releases import deidentify_study, verify_release
from fiona_dagster.domain.deid import codestreams, pixel_data
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import SourceInstance
from fiona_dagster.domain.verification import QuarantinedStudy, VerifiedStudy
from tests.deid.pixels import items_of, jpeg, jpeg_2000, rle_frame
from tests.domain.deid.planted import KEY, PLANTED_TEXT, ct_instance, request, saved

NAME = PLANTED_TEXT.encode()
SYNTAX = "1.2.840.10008.1.2"
IMPLICIT, EXPLICIT, BIG, DEFLATED = SYNTAX, f"{SYNTAX}.1", f"{SYNTAX}.2", f"{SYNTAX}.1.99"
JPEG, JPEG_LS, JPEG_2000, HTJ2K = (f"{SYNTAX}.4.{number}" for number in (50, 80, 90, 201))
RLE, FRAMES, UNCOMPRESSED, JPEG_XL = f"{SYNTAX}.5", f"{SYNTAX}.8.1", f"{SYNTAX}.1.98", f"{SYNTAX}.4.110"
PIXELS = bytes(range(32))
COMMENT, APP1, COMMENT_2000 = 0xFE, 0xE1, 0x64


def native(syntax: str, pixels: bytes = PIXELS) -> FileDataset:
    dataset = ct_instance()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = pixels
    if syntax == BIG:
        dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
    return dataset


def written(dataset: FileDataset, path: Path) -> Path:
    """Written under another transfer syntax where pydicom does not know this one."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in {FRAMES, UNCOMPRESSED, JPEG_XL}:
        return saved(dataset, path)
    known = JPEG if syntax != JPEG_XL else f"{SYNTAX}.4.201"
    dataset.file_meta.TransferSyntaxUID = UID(known)
    saved(dataset, path)
    path.write_bytes(path.read_bytes().replace(known.encode(), syntax.ljust(len(known), "\0").encode(), 1))
    return path


def encapsulated(syntax: str, *fragments: bytes, table: bytes = b"", frames: int = 1) -> FileDataset:
    dataset = native(syntax, items_of((table, *fragments)))
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    if frames > 1:
        dataset.NumberOfFrames = str(frames)
    return dataset


def outcome(folder: Path, dataset: FileDataset) -> tuple[str, bool, list[bytes]]:
    """Why it was not released, whether the release was verified, and the bytes of the copies."""
    source = SourceInstance(written(dataset, folder / "in.dcm"), 1, str(dataset.SOPInstanceUID))
    asked = request(folder / "out", pixels_are_clean=True)
    study = deidentify_study([source], asked, KEY, Profile())
    result = verify_release(study, [source], asked, KEY, Profile())
    if isinstance(result, QuarantinedStudy):
        failed = [check for check in result.checks if not check.passed]
        assert [check.name for check in failed] == ["no_removed_value_left"], failed
        assert not any(PLANTED_TEXT in place for place in failed[0].places)
    copies = [(asked.folder / one.path).read_bytes() for one in study.released]
    return study.instances[0].reason, isinstance(result, VerifiedStudy), copies


def assert_held(folder: Path, dataset: FileDataset, reason: str) -> None:
    assert outcome(folder, dataset) == (reason, True, [])


def assert_released(folder: Path, dataset: FileDataset) -> bytes:
    reason, verified, copies = outcome(folder, dataset)
    assert (reason, verified, len(copies)) == ("", True, 1)
    return copies[0]


def assert_found(folder: Path, dataset: FileDataset) -> None:
    reason, verified, copies = outcome(folder, dataset)
    assert (reason, verified, len(copies)) == ("", False, 1)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_a_name_behind_native_pixels_is_held(tmp_path: Path, syntax: str) -> None:
    assert_held(tmp_path, native(syntax, PIXELS + NAME.ljust(14)), pixel_data.TOO_LONG)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_native_pixels_that_fill_their_image_are_released(tmp_path: Path, syntax: str) -> None:
    assert PIXELS[:2] in assert_released(tmp_path, native(syntax)) or syntax == DEFLATED


def test_zeros_behind_native_pixels_are_padding(tmp_path: Path) -> None:
    assert_released(tmp_path, native(EXPLICIT, PIXELS + bytes(128)))


def test_pixels_without_a_size_are_held(tmp_path: Path) -> None:
    dataset = native(EXPLICIT, NAME.ljust(32))
    del dataset.Rows
    assert_held(tmp_path, dataset, pixel_data.NOT_DESCRIBED)


@pytest.mark.parametrize(("keyword", "width"), [("FloatPixelData", 4), ("DoubleFloatPixelData", 8)])
def test_a_name_behind_numbers_with_a_point_is_held(tmp_path: Path, keyword: str, width: int) -> None:
    dataset = native(EXPLICIT)
    del dataset.PixelData
    setattr(dataset, keyword, bytes(16 * width))
    assert_released(tmp_path / "right", dataset)
    setattr(dataset, keyword, bytes(16 * width) + NAME.ljust(16))
    assert_held(tmp_path / "long", dataset, pixel_data.TOO_LONG)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG])
def test_a_second_element_of_pixels_is_held(tmp_path: Path, syntax: str) -> None:
    dataset = encapsulated(syntax, jpeg(b"\x10" * 40)) if syntax == JPEG else native(syntax)
    dataset.FloatPixelData = NAME.ljust(64)
    assert_held(tmp_path, dataset, pixel_data.SEVERAL)


def test_the_same_element_of_pixels_once_more_is_not_released(tmp_path: Path) -> None:
    dataset = native(EXPLICIT)
    del dataset[0xFFFCFFFC]
    path = saved(dataset, tmp_path / "in.dcm")
    second = struct.pack("<HH2s2xL", 0x7FE0, 0x0010, b"OW", 32) + NAME.ljust(32)
    path.write_bytes(path.read_bytes() + second)
    source = SourceInstance(path, 1, str(dataset.SOPInstanceUID))
    study = deidentify_study([source], request(tmp_path / "out"), KEY, Profile())
    assert study.counts()["released"] == 0


def with_table(frames: tuple[bytes, ...], offsets: bytes, lengths: bytes) -> FileDataset:
    dataset = encapsulated(JPEG, *frames, frames=len(frames))
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    return dataset


def test_extended_offsets_stay_only_where_they_name_the_frames(tmp_path: Path) -> None:
    frames = (jpeg(b"\x10" * 40), jpeg(b"\x11" * 50))
    lengths = struct.pack("<2Q", *map(len, frames))
    right = struct.pack("<2Q", 0, 8 + len(frames[0]))
    assert right in assert_released(tmp_path / "right", with_table(frames, right, lengths))
    for number, (offsets, sizes) in enumerate(
        (
            (NAME.ljust(16), lengths),
            (right, NAME.ljust(16)),
            (right, lengths + NAME.ljust(16)),
            (NAME, lengths),
        )
    ):
        copy = assert_released(tmp_path / str(number), with_table(frames, offsets, sizes))
        assert NAME not in copy
        assert b"\xe0\x7f\x01\x00" not in copy
        assert b"\xe0\x7f\x02\x00" not in copy


def test_extended_offsets_of_native_pixels_are_removed(tmp_path: Path) -> None:
    dataset = native(EXPLICIT)
    dataset.ExtendedOffsetTable = NAME.ljust(16)
    assert NAME not in assert_released(tmp_path, dataset)


def test_the_gate_finds_a_name_in_extended_offsets(tmp_path: Path) -> None:
    frames = (jpeg(b"\x10" * 40),)
    dataset = with_table(frames, bytes(8), struct.pack("<Q", len(frames[0])))
    source = SourceInstance(saved(dataset, tmp_path / "in.dcm"), 1, str(dataset.SOPInstanceUID))
    asked = request(tmp_path / "out")
    study = deidentify_study([source], asked, KEY, Profile())
    copy = asked.folder / study.released[0].path
    content = copy.read_bytes()
    copy.write_bytes(
        content.replace(
            b"\xe0\x7f\x01\x00OV\0\0\x08\0\0\0" + bytes(8), b"\xe0\x7f\x01\x00OV\0\0\x08\0\0\0" + NAME[:8]
        )
    )
    assert copy.read_bytes() != content
    result = verify_release(study, [source], asked, KEY, Profile())
    assert isinstance(result, QuarantinedStudy)
    assert "no_removed_value_left" in {check.name for check in result.checks if not check.passed}


def test_a_basic_offset_table_names_fragments(tmp_path: Path) -> None:
    frames = (jpeg(b"\x10" * 40), jpeg(b"\x11" * 50))
    right = struct.pack("<2L", 0, 8 + len(frames[0]))
    assert_released(tmp_path / "right", encapsulated(JPEG, *frames, table=right, frames=2))
    for number, table in enumerate(
        (NAME.ljust(16), struct.pack("<L", 4), bytes(8), right[:6], struct.pack("<2L", 0, 9))
    ):
        dataset = encapsulated(JPEG, *frames, table=table, frames=2)
        assert_held(tmp_path / str(number), dataset, pixel_data.WRONG_OFFSETS)


@pytest.mark.parametrize("syntax", [JPEG, JPEG_LS, JPEG_2000, HTJ2K])
def test_a_name_behind_a_compressed_frame_is_held(tmp_path: Path, syntax: str) -> None:
    make = jpeg_2000 if syntax in {JPEG_2000, HTJ2K} else jpeg
    assert_released(tmp_path / "right", encapsulated(syntax, make(b"\x10" * 40)))
    for number, fragments in enumerate(
        (
            (make(b"\x10" * 40, behind=NAME),),
            (make(b"\x10" * 40, behind=NAME + b"\xff\xd9"),),
            (make(b"\x10" * 40), NAME),
            (make(b"\x10" * 40), make(b"\x10" * 40, (COMMENT, NAME))),
        )
    ):
        assert_held(tmp_path / str(number), encapsulated(syntax, *fragments), codestreams.BEYOND)


@pytest.mark.parametrize("syntax", [JPEG, JPEG_2000])
def test_a_frame_without_an_end_or_a_beginning_is_held(tmp_path: Path, syntax: str) -> None:
    whole = jpeg_2000(b"\x10" * 40) if syntax == JPEG_2000 else jpeg(b"\x10" * 40)
    for number, fragment in enumerate((whole[:-2] + NAME, NAME + whole, NAME)):
        assert_held(tmp_path / str(number), encapsulated(syntax, fragment), codestreams.NOT_FOLLOWED)


TEXTS = {
    "name": NAME,
    "exif": b"Exif\0\0II*\0" + bytes(7) + NAME + b"\0\xff",
    "xmp": b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta dc:creator="' + NAME.lower() + b'"/>',
    "number": b"id 13097248022",
    "mail": b"kari.nordmann@example.org",
    "wide": PLANTED_TEXT.encode("utf-16-le"),
    "other": b"Patient: Kari Nordmann",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("marker", [COMMENT, APP1, 0xEF])
@pytest.mark.parametrize("syntax", [JPEG, JPEG_LS])
def test_text_in_a_segment_of_jpeg_is_found(tmp_path: Path, syntax: str, marker: int, text: bytes) -> None:
    assert_found(tmp_path, encapsulated(syntax, jpeg(b"\x10" * 40, (marker, text))))


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if NAME.lower() in text.lower()])
@pytest.mark.parametrize("syntax", [JPEG, JPEG_LS])
def test_a_value_of_the_originals_is_found_in_a_table_of_jpeg(tmp_path: Path, syntax: str, name: str) -> None:
    """Tables are numbers: they are searched for the study's own values alone."""
    marker, text = 0xDB, TEXTS[name]
    assert_found(tmp_path, encapsulated(syntax, jpeg(b"\x10" * 40, (marker, text))))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("syntax", [JPEG_2000, HTJ2K])
def test_text_in_a_comment_of_jpeg_2000_is_found(tmp_path: Path, syntax: str, text: bytes) -> None:
    assert_found(tmp_path, encapsulated(syntax, jpeg_2000(b"\x10" * 40, (COMMENT_2000, b"\0\1" + text))))


def test_text_between_two_scans_and_in_a_tile_is_found(tmp_path: Path) -> None:
    scan, comment = jpeg(b"\x10" * 40)[2:-2], b"\xff\xfe" + struct.pack(">H", len(NAME) + 2) + NAME
    assert_found(tmp_path / "scan", encapsulated(JPEG, b"\xff\xd8" + scan + comment + scan + b"\xff\xd9"))
    tile = jpeg_2000(b"\x10" * 40).replace(b"\xff\x93", b"\xff\x64" + comment[2:] + b"\xff\x93")
    assert_found(tmp_path / "tile", encapsulated(JPEG_2000, tile))


def test_text_in_a_frame_of_two_fragments_is_found(tmp_path: Path) -> None:
    whole = jpeg(b"\x10" * 40, (COMMENT, NAME + b"\0"))
    assert_found(tmp_path, encapsulated(JPEG, whole[:12], whole[12:]))


@pytest.mark.parametrize(
    "comment",
    [
        b"LEAD Technologies Inc. V1.01\0",
        b"JPEG Encoder Copyright 1998, James R. Weeks and BioElectroMech.",
        b"CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90\n",
        b"Created by OpenJPEG version 2.5.0",
        b"Kakadu-v7.3.3",
        b"JasPer Version 1.701.0",
        b"MITRA_DICOM_STANDARD",
    ],
)
def test_comments_of_encoders_hold_nothing_back(tmp_path: Path, comment: bytes) -> None:
    assert_released(tmp_path / "jpeg", encapsulated(JPEG, jpeg(b"\x10" * 40, (COMMENT, comment))))
    both = jpeg_2000(b"\x10" * 40, (COMMENT_2000, b"\0\1" + comment))
    assert_released(tmp_path / "jpeg-2000", encapsulated(JPEG_2000, both))


def test_a_name_around_a_frame_in_rle_is_held(tmp_path: Path) -> None:
    frame = rle_frame(PIXELS)
    assert_released(tmp_path / "right", encapsulated(RLE, frame))
    assert_held(tmp_path / "behind", encapsulated(RLE, frame + NAME), codestreams.BEYOND)
    assert_held(tmp_path / "extra", encapsulated(RLE, frame, NAME), codestreams.BEYOND)
    header = frame[:12] + NAME.ljust(52) + frame[64:]
    assert_held(tmp_path / "header", encapsulated(RLE, header), codestreams.NOT_FOLLOWED)
    two = encapsulated(RLE, frame, frame, NAME, frames=2)
    assert_held(tmp_path / "third", two, codestreams.BEYOND)


def test_a_name_behind_frames_of_other_syntaxes_is_held(tmp_path: Path) -> None:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = machine.compress(PIXELS) + machine.flush()
    assert_released(tmp_path / "deflated", encapsulated(FRAMES, deflated))
    assert_held(tmp_path / "behind", encapsulated(FRAMES, deflated + NAME), codestreams.BEYOND)
    assert_released(tmp_path / "plain", encapsulated(UNCOMPRESSED, PIXELS))
    assert_held(tmp_path / "longer", encapsulated(UNCOMPRESSED, PIXELS, NAME), pixel_data.TOO_LONG)


@pytest.mark.parametrize("boxed", [b"", b"\0\0\0\x0cJXL \r\n\x87\n"])
def test_jpeg_xl_is_held_because_nobody_knows_where_it_ends(boxed: bytes, tmp_path: Path) -> None:
    frame = boxed + b"\xff\x0a" + b"\x19" * 40
    assert_held(tmp_path, encapsulated(JPEG_XL, frame), NOBODY_FOLLOWS)
