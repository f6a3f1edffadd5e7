"""What data sets have in common is stepped over; what is found is the same as without."""

from __future__ import annotations

import random
import struct

import pytest

from fiona_dagster.domain.data_set import scan_by
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.familiar_elements import Familiar
from fiona_dagster.domain.reception import InstanceHeader

EXPLICIT = "1.2.840.10008.1.2.1"


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def sequence(tag: int, content: bytes) -> bytes:
    """Of undefined length, with one Item of undefined length."""
    begin = struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + content + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    return begin + item + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def image(number: int, *, patient: bytes = b"Doe^Jane", extra: bytes = b"") -> bytes:
    return b"".join(
        (
            element(0x00080005, b"CS", b"ISO_IR 100"),
            element(0x00080008, b"CS", b"ORIGINAL"),
            element(0x00080018, b"UI", b"1.2.%d" % number),
            element(0x00080020, b"DA", b"20260101"),
            element(0x00080060, b"CS", b"MR"),
            sequence(0x00081140, element(0x00081155, b"UI", b"1.2.3")),
            element(0x00100010, b"PN", patient),
            element(0x00100020, b"LO", b"4711"),
            extra,
            element(0x0020000D, b"UI", b"1.2"),
            element(0x0020000E, b"UI", b"1.2.1"),
            element(0x00200013, b"IS", b"%d" % number),
            element(0x00280010, b"US", b"\x02\x00"),
            struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 8) + bytes(8),
        )
    )


def found(data: bytes, familiar: Familiar | None = None, head: int = 1 << 16) -> InstanceHeader:
    return scan_by(lambda at, count: data[at : at + count], len(data), EXPLICIT, data[:head], familiar)


def test_what_stays_the_same_is_known_from_the_third_data_set_on() -> None:
    familiar = Familiar()
    for number in (1, 2, 3):
        assert found(image(number), familiar) == found(image(number))
    assert [len(stretch.ends) for stretch in familiar.stretches.values()] == [2, 7, 2]


def test_another_value_is_read_and_divides_a_stretch() -> None:
    familiar = Familiar()
    for number in (1, 2, 3):
        found(image(number), familiar)
    for patient in (b"Doe^John", b"Roe^Richard", b"Doe^Jane"):
        assert found(image(4, patient=patient), familiar).patient_name == patient.decode()
    assert sorted(len(stretch.ends) for stretch in familiar.stretches.values()) == [2, 2, 3, 3]


def test_an_element_that_was_not_there_before_is_read() -> None:
    familiar = Familiar()
    for number in (1, 2, 3):
        found(image(number), familiar)
    data = image(4, extra=element(0x00180015, b"CS", b"HEAD") + sequence(0x00180026, b""))
    assert found(data, familiar) == found(data)
    assert found(image(5).replace(element(0x00100020, b"LO", b"4711"), b""), familiar).patient_id == ""


@pytest.mark.parametrize("head", [0, 40, 100, 1 << 16])
def test_the_outcome_never_depends_on_what_came_before(head: int) -> None:
    """Bytes changed, cut and put in at random: the same values, or the same refusal."""
    chance = random.Random(head)
    familiar = Familiar()
    for number in range(1500):
        data = bytearray(image(number % 7, patient=chance.choice((b"A", b"Doe^Jane"))))
        for _ in range(chance.choice((0, 0, 1, 3))):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x20, 0xFE, 0xFF))
        data = data[: chance.choice((len(data), len(data), chance.randrange(len(data))))]
        assert outcome(bytes(data), familiar, head) == outcome(bytes(data), None, head)


def outcome(data: bytes, familiar: Familiar | None, head: int) -> InstanceHeader | int:
    try:
        return found(data, familiar, head)
    except Reject as error:
        return error.status
