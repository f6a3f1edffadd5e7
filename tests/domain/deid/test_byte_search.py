from __future__ import annotations

import datetime as dt
import gzip
import random
import struct

import pytest

from fiona_dagster.domain.deid.byte_search import ByteSearch

SEARCH = ByteSearch(
    {"bjornstad", "aase marie", "maelum", "haukeland", "山田", "山田太郎", "hus998877", "li"},
    uids={"1.2.826.0.1.77"},
    dates={dt.date(1990, 1, 1), dt.date(2019, 12, 24)},
    numbers={"55975000", "1019012345"},
)
AROUND = bytes(range(256))
NOBODYS = "01819012012"
"""An identity number with right check digits of a month that nobody was born in (month + 80)."""


def found(value: bytes) -> bool:
    return SEARCH.finds(AROUND + b"\0" + value + b"\0\1" + AROUND)


@pytest.mark.parametrize("code", ["utf-8", "latin-1", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["Bjørnstad", "BJØRNSTAD", "af Haukeland", "Mælum", "MÆLUM"])
def test_a_name_is_found_with_its_accents_in_every_encoding(text: str, code: str) -> None:
    assert found(text.encode(code))


@pytest.mark.parametrize(
    "value",
    [
        "Bjo\u0308rnstad".encode(),
        "山田太郎".encode(),
        "山田太郎".encode("utf-16-be"),
        "山田".encode(),
        b"HUS998877",
        b"19900101",
        b"20191224101112",
        b"1990-01-01",
        b"01.01.1990",
        b"taken 24/12/2019, 10:11",
        "24.12.2019".encode("utf-16-le"),
        b"55 97 50 00",
        b"+4755975000",
        b"01019012345",
        b"010190 12345",
        NOBODYS.encode(),
        b"somebody@hospital.no",
        b"..1.2.826.0.1.77",
        gzip.compress("Åse, Bjørnstad".encode() * 9, mtime=0),
        gzip.compress(b"on 24.12.2019 " * 9, mtime=0),
    ],
)
def test_what_identifies_is_found_in_bytes(value: bytes) -> None:
    assert found(value)


@pytest.mark.parametrize(
    "value",
    [
        b"Li",  # two letters stand everywhere
        b"19900102",
        b"1.1.90",
        b"1990 1 1",
        b"0.19900101",
        b"0." + NOBODYS.encode(),
        NOBODYS.encode() + b".5",
        b"55975001",
        b"0.55975000",
        b"a@b.cd",
        b"1.2.826.0.1.778",
        "ø".encode() * 40,
    ],
)
def test_what_does_not_identify_is_left_alone(value: bytes) -> None:
    assert not found(value)


def test_tables_of_numbers_raise_no_alarm() -> None:
    chance = random.Random(11)
    assert not SEARCH.finds(chance.randbytes(2_000_000))
    assert not SEARCH.finds(struct.pack("<100000h", *(int(chance.gauss(0, 300)) for _ in range(100_000))))
    assert not SEARCH.finds(b" ".join(b"%.11f" % chance.random() for _ in range(20_000)))
    assert not SEARCH.finds(b"\0\0".join(b"%d" % chance.randrange(10**7) for _ in range(20_000)))
