from __future__ import annotations

import pytest

from fiona_dagster.domain.deid.actions import Field, Keep


def kept(vr: str, value: bytes, encoding: str = "utf8") -> bytes | None:
    return Keep()(Field(0x00081090, vr, value, [encoding]))


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b"ORIGINAL\\PRIMARY\\M_FFE\\\\NONE ", None),
        (b"HFS\0", None),
        (b"", None),
        (b"ORIGINAL\\Hallgerdurson\\AXIAL", b"ORIGINAL\\\\AXIAL"),
        (b"Original\\axial ", b"ORIGINAL\\AXIAL"),
        (b"ORIGINAL\\OLA^NORDMANN", b"ORIGINAL\\"),
        (b"ABDOMINALHALLGERDURSON", b""),
        (b"H\0A\0L\0L\0", b""),
        ("ÅSE".encode(), b""),
    ],
)
def test_codes_have_the_repertoire_of_their_vr(value: bytes, left: bytes | None) -> None:
    assert kept("CS", value) == (value if left is None else left)


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("LO", "Nordmannsen".encode("utf-16-le")),
        ("LO", "Nordmannsen".encode("utf-16-be")),
        ("UC", b"a\x01b"),
        ("SH", b"a\nb"),
        ("LT", b"a\x00b"),
        ("ST", b"a\x7fb"),
        ("UI", b"1.2\x1b3"),
        ("LO", "Ø\0r\0e".encode()),
        ("LO", "Ø\x85re".encode()),
    ],
)
def test_text_with_control_characters_is_emptied(vr: str, value: bytes) -> None:
    assert kept(vr, value) == b""


@pytest.mark.parametrize(
    ("vr", "value"),
    [("LO", b"Prisma \0"), ("LT", b"a\r\n\tb\f"), ("UT", b"a\nb"), ("LO", "Øre".encode()), ("OB", b"\0\1\2")],
)
def test_padding_and_lines_of_text_stay(vr: str, value: bytes) -> None:
    assert kept(vr, value) == value
