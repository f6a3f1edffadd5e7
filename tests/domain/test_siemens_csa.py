"""CSA headers: both layouts, and nothing from what is no CSA header."""

from __future__ import annotations

import struct

import pytest

from fiona_dagster.domain.siemens_csa import parse, protocol_value


def header(elements: dict[str, list[bytes]], *, second: bool) -> bytes:
    made = (b"SV10\4\3\2\1" if second else b"") + struct.pack("<II", len(elements), 77)
    first = len(next(iter(elements.values())))
    for name, values in elements.items():
        made += struct.pack("<64si4siii", name.encode(), 1, b"IS\0\0", 6, len(values), 77)
        for value in values:
            length = len(value)
            words = (length, length, 77, length) if second else (length + first, 0, 77, 0)
            made += struct.pack("<4i", *words) + value.ljust((length + 3) // 4 * 4, b"\0")
    return made


@pytest.mark.parametrize("second", [True, False])
def test_both_layouts_give_names_and_values(second: bool) -> None:
    made = header({"B_value": [b"1000\0"], "Direction": [b"0.5", b"0", b"-1"], "Empty": [b""]}, second=second)
    assert parse(made) == {"B_value": ["1000"], "Direction": ["0.5", "0", "-1"], "Empty": []}


@pytest.mark.parametrize("cut", [0, 7, 12, 60, 110, 130])
def test_a_header_that_is_cut_off_gives_nothing(cut: int) -> None:
    assert parse(header({"B_value": [b"1000"], "More": [b"1"]}, second=True)[:cut]) == {}


def test_a_length_beyond_the_header_gives_nothing() -> None:
    made = bytearray(header({"B_value": [b"1000"]}, second=True))
    made[-16:-12] = struct.pack("<i", 10**6)
    assert parse(bytes(made)) == {}


def test_a_value_of_the_protocol_is_found_by_its_whole_name() -> None:
    text = '### ASCCONV BEGIN ###\nsSliceArray.lSizeOther = 9\nx = ""a""\nsSliceArray.lSize\t = \t35'
    assert protocol_value(text, "x") == "a"
    assert protocol_value(text, "absent") == ""
    assert protocol_value("\nsSliceArray.lSize\t = \t35", "sSliceArray.lSize") == "35"
