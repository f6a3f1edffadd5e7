from __future__ import annotations

import struct

import pytest

from fiona_dagster.domain.deid import codestreams
from fiona_dagster.domain.deid.codestreams import follow_jpeg, follow_jpeg_2000, inflated_end, rle_end
from fiona_dagster.domain.deid.elements import DataSet, find_elements
from fiona_dagster.domain.deid.encoding import Syntax
from fiona_dagster.domain.deid.pixel_data import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    NOT_DESCRIBED,
    PIXEL_DATA,
    TOO_LONG,
    native_reason,
    offsets_reason,
)
from tests.deid.raw import Element, encode
from tests.deid.raw import Syntax as RawSyntax


def described(
    *, bits: int = 16, samples: int = 1, frames: str = "", photometric: str = "MONOCHROME2", big: bool = False
) -> DataSet:
    """An image of 5 by 3 pixels."""
    elements = [
        Element(0x00280002, "US", [samples]),
        Element(0x00280004, "CS", photometric.encode()),
        Element(0x00280008, "IS", frames.encode()),
        Element(0x00280010, "US", [3]),
        Element(0x00280011, "US", [5]),
        Element(0x00280100, "US", [bits]),
    ]
    content = encode(elements, RawSyntax(big=big))
    syntax = Syntax(implicit=False, little=not big)
    places, _ = find_elements(content, 0, len(content), syntax)
    return DataSet(content, places, syntax)


@pytest.mark.parametrize(
    ("dataset", "tag", "size"),
    [
        (described(), PIXEL_DATA, 30),
        (described(big=True), PIXEL_DATA, 30),
        (described(bits=8), PIXEL_DATA, 15),
        (described(bits=8, samples=3, photometric="RGB"), PIXEL_DATA, 45),
        (described(bits=8, samples=3, photometric="YBR_FULL"), PIXEL_DATA, 45),
        (described(bits=8, samples=3, photometric="YBR_FULL_422"), PIXEL_DATA, 30),
        (described(bits=1), PIXEL_DATA, 2),
        (described(bits=1, frames="9"), PIXEL_DATA, 17),
        (described(bits=12), PIXEL_DATA, 23),
        (described(frames="4 "), PIXEL_DATA, 120),
        (described(bits=16), FLOAT_PIXEL_DATA, 60),
        (described(bits=16), DOUBLE_FLOAT_PIXEL_DATA, 120),
    ],
)
def test_native_pixels_have_the_length_of_their_image(dataset: DataSet, tag: int, size: int) -> None:
    assert [native_reason(dataset, tag, length) for length in (0, size - 2, size, size + 1)] == [""] * 4
    assert native_reason(dataset, tag, size + 2) == TOO_LONG


@pytest.mark.parametrize(
    "dataset", [described(bits=0), described(samples=0), described(frames="1A"), described(frames="0")]
)
def test_an_image_that_is_not_described_is_not_released(dataset: DataSet) -> None:
    assert native_reason(dataset, PIXEL_DATA, 2) == NOT_DESCRIBED
    assert native_reason(dataset, PIXEL_DATA, 0) == ""


def test_offsets_begin_at_zero_and_ascend_from_item_to_item() -> None:
    assert offsets_reason(b"", [10, 20]) == ""
    assert offsets_reason(struct.pack("<2L", 0, 18), [10, 20]) == ""
    assert offsets_reason(struct.pack("<2L", 0, 46), [10, 20, 30]) == ""
    for wrong in ([18], [0, 0], [0, 17], [18, 0], [0, 46]):
        assert offsets_reason(struct.pack(f"<{len(wrong)}L", *wrong), [10, 20])
    assert offsets_reason(b"\0\0", [10, 20])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xdb\0\1",
        b"\xff\xd8\xff\xdb\xff\xff",
        b"\xff\xd8\xff\xda\0\2abc",
        b"\xff\xd8\xff\xdb\0\2x",
    ],
)
def test_a_broken_jpeg_has_no_end(content: bytes) -> None:
    assert follow_jpeg(content) is None


@pytest.mark.parametrize(
    "end",
    [
        b"",
        b"\xff\x90\0\x0a\0\0\0\0\0\0\0\1",
        b"\xff\x90\0\x0a\0\0\0\0\0\0\0\1\xff\x93abc",
        b"\xff\x90\0\x0a\0\0\0\0\0\1\0\1\xff\x93\xff\xd9",
        b"\xff\x90\0\x0b\0\0\0\0\0\1\0\1\0\xff\x93\xff\xd9",
        b"\xff\x90\0\x0a\0\0\0\0\0\x0c\0\1\xff\x93\xff\xd9",
    ],
)
def test_a_broken_jpeg_2000_has_no_end(end: bytes) -> None:
    assert follow_jpeg_2000(b"\xff\x4f\xff\x51\0\4ab" + end) is None


def test_tile_parts_are_followed_by_their_lengths() -> None:
    part = b"\xff\x90\0\x0a\0\0\0\0\0\x12\0\1\xff\x93\xff\xd9ab"
    found = follow_jpeg_2000(b"\xff\x4f\xff\x51\0\4ab" + 2 * part + b"\xff\xd9tail")
    assert found is not None
    assert found.end == 8 + 2 * 18 + 2


def test_runs_of_rle_are_followed() -> None:
    header = struct.pack("<16L", 1, 64, *[0] * 14)
    assert rle_end(header + b"\x02abc\xfea\x80tail", 6) == 64 + 6
    assert rle_end(header + b"\x02ab", 6) is None
    assert rle_end(header[:60], 6) is None
    assert rle_end(struct.pack("<16L", 16, 64, *[0] * 14), 6) is None


@pytest.mark.parametrize("behind", [b"", b"\0", b"\x7f", b"\x80\x80\x80", b"\x80\xff"])
def test_a_last_segment_of_rle_may_have_runs_behind_its_plane_that_stand_for_nothing(behind: bytes) -> None:
    header = struct.pack("<16L", 1, 64, *[0] * 14)
    frame = header + b"\x02abc\xfea" + behind
    assert rle_end(frame, 6) == len(frame)


@pytest.mark.parametrize(
    "behind", [b"\x80\x03Nora", b"\x03Nora", b"\x05Nora", b"\xffN", b"Nora", b"\xffNora"]
)
def test_text_behind_the_plane_of_a_last_segment_is_behind_its_end(behind: bytes) -> None:
    header = struct.pack("<16L", 1, 64, *[0] * 14)
    assert rle_end(header + b"\x02abc\xfea" + behind, 6) == 64 + 6


def test_a_large_plane_of_rle_is_followed_run_by_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codestreams, "_LARGEST_DECODED_PLANE", 4)
    header = struct.pack("<16L", 1, 64, *[0] * 14)
    assert rle_end(header + b"\x02abc\xfea\0", 6) == 64 + 6


def test_a_frame_that_is_not_deflated_has_no_end() -> None:
    assert inflated_end(b"Zwingenberger", 32) is None
    assert inflated_end(b"", 32) is None


@pytest.mark.parametrize(
    "text", ["Nordmann^Ola", "operator Lie, tlf 90812345", "a@example.org", "Patient name: Hansen, Kari"]
)
def test_a_comment_identifies_by_its_form(text: str) -> None:
    assert codestreams.identifies(text.encode("latin-1"), lambda _: False)


@pytest.mark.parametrize(
    "text",
    ["LEAD Technologies Inc. V1.01", "gd-jpeg v1.0 (using IJG JPEG v62), quality = 75", "Kakadu-v7.10.2",
     "Intel(R) JPEG Library, version [2.0.16.48]", "Lavc58.54.100", "Aware ver. 3.10.2 20111208"],
)  # fmt: skip
def test_what_encoders_write_does_not(text: str) -> None:
    assert not codestreams.identifies(text.encode("latin-1"), lambda _: False)
