"""Compressed frames in boxes: followed to their end, what is no image is text, what is packed is not followed."""

from __future__ import annotations

import struct

import pytest

from fiona_dagster.domain.deid.boxes import (
    JP2_START,
    begins_jpeg_2000,
    follow_boxed_jpeg_2000,
)
from fiona_dagster.domain.deid.codestreams import follow_jpeg_2000

J2K = b"\xff\x4f\xff\x51\0\4ab\xff\x64\0\6\0\1ok\xff\x90\0\x0a\0\0\0\0\0\x0e\0\1\xff\x93\xff\xd9"
TEXT = b"<p>Zwingenberger</p>"


def box(kind: bytes, content: bytes, *, long: bool = False) -> bytes:
    if long:
        return struct.pack(">L4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">L4s", len(content) + 8, kind) + content


HEADER = box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"jp2h", box(b"ihdr", b"\0" * 14) + box(b"colr", b"\1\0\0"))


def test_a_codestream_in_boxes_has_the_segments_that_it_has_alone() -> None:
    bare = follow_jpeg_2000(J2K)
    assert bare is not None
    frame = follow_boxed_jpeg_2000(JP2_START + HEADER + box(b"jp2c", J2K))
    assert frame is not None
    assert frame.texts == bare.texts
    assert frame.end == len(JP2_START + HEADER + box(b"jp2c", J2K))
    assert follow_boxed_jpeg_2000(J2K) == bare


@pytest.mark.parametrize("kind", [b"xml ", b"uuid", b"lbl ", b"what"])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("long", [False, True])
def test_what_is_no_image_is_text(kind: bytes, *, inside: bool, long: bool) -> None:
    more = box(kind, TEXT, long=long)
    more = box(b"asoc", more) if inside else more
    jp2 = follow_boxed_jpeg_2000(JP2_START + HEADER + more + box(b"jp2c", J2K))
    assert jp2 is not None
    assert TEXT in jp2.texts


@pytest.mark.parametrize(
    "content",
    [
        JP2_START,
        JP2_START + HEADER,
        JP2_START + HEADER + box(b"jp2c", J2K) + box(b"jp2c", J2K),
        JP2_START + HEADER + box(b"jp2c", J2K + b"Zwingenberger"),
        JP2_START + HEADER + box(b"jp2c", J2K[:-2]),
        JP2_START + box(b"asoc", box(b"jp2c", J2K)) + box(b"jp2c", J2K),
        JP2_START + HEADER + box(b"brob", TEXT) + box(b"jp2c", J2K),
        JP2_START + HEADER + box(b"jxlc", TEXT) + box(b"jp2c", J2K),
        JP2_START + b"\0\0\xff\xffjp2c" + J2K,
    ],
)
def test_broken_boxes_of_jpeg_2000_are_not_followed(content: bytes) -> None:
    assert follow_boxed_jpeg_2000(content) is None


def test_what_stands_behind_the_last_box_is_behind_the_frame() -> None:
    whole = JP2_START + HEADER + box(b"jp2c", J2K)
    frame = follow_boxed_jpeg_2000(whole + b"Zwingen")
    assert frame is not None
    assert frame.end == len(whole)


def test_boxes_in_boxes_end() -> None:
    deep = TEXT
    for _ in range(2000):
        deep = box(b"asoc", deep)
    assert follow_boxed_jpeg_2000(JP2_START + HEADER + deep + box(b"jp2c", J2K)) is None


def test_a_frame_begins_with_its_signature() -> None:
    assert begins_jpeg_2000(J2K)
    assert begins_jpeg_2000(JP2_START)
    assert not begins_jpeg_2000(TEXT)
