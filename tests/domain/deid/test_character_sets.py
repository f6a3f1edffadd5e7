"""Specific Character Set without pydicom, and what pydicom makes of the same terms and bytes."""

from __future__ import annotations

import codecs
import itertools
import warnings
from collections.abc import Iterator

import pytest
from pydicom.charset import CODES_TO_ENCODINGS, convert_encodings, decode_bytes, python_encoding

from fiona_dagster.domain.deid.character_sets import (
    DEFAULT_ENCODING,
    LATIN,
    decode_extended,
    encodings_named,
)
from fiona_dagster.domain.deid.text import decode

TERMS = sorted(python_encoding)
EVERY_BYTE = [bytes([first]) for first in range(0x80, 0x100)]
MANY_PAIRS = [bytes([first, second]) for first in range(0x81, 0xFF, 7) for second in range(0x30, 0xFF, 11)]
ESCAPED = [
    b"Yamada^Tarou=" + code + b"\x3b\x33\x45\x44" + b"\x1b(B^x=\x1b$B\x3b3" for code in CODES_TO_ENCODINGS
]


@pytest.fixture(autouse=True)
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def same(names: tuple[str, ...] | list[str]) -> list[str]:
    return [codecs.lookup(name).name for name in names]


def misspelled(term: str) -> list[str]:
    return [
        term.replace("_", "-"), term.replace("_", " "), term.replace(" ", "_"), term.replace("_", "").replace(" ", ""),
        term.replace("_", "-").replace(" ", "-"), term.lower(), f" {term} \0",
    ]  # fmt: skip


@pytest.mark.parametrize("term", TERMS)
def test_a_term_alone_and_before_another_has_the_codecs_that_pydicom_gives_it(term: str) -> None:
    for others in [
        (),
        *((other,) for other in TERMS),
        ("ISO 2022 IR 87", "ISO 2022 IR 159"),
        ("ISO_IR 192", "GBK"),
    ]:
        value = [term, *others]
        assert same(encodings_named("\\".join(value).encode())) == same(convert_encodings(value)), value


@pytest.mark.parametrize("term", TERMS)
def test_every_byte_is_read_as_pydicom_reads_it(term: str) -> None:
    encoding = encodings_named(term.encode())[0]
    for value in EVERY_BYTE + MANY_PAIRS:
        try:
            expected: str | None = value.decode(convert_encodings(term)[0])
        except UnicodeDecodeError:
            expected = None
        try:
            found: str | None = value.decode(encoding)
        except UnicodeDecodeError:
            found = None
        assert found == expected, value


@pytest.mark.parametrize("term", [term for term in TERMS if term.startswith("ISO 2022 IR")])
def test_escape_sequences_are_found_among_the_declared_sets(term: str) -> None:
    """pydicom compares names of codecs, so that they have to be the same names."""
    assert encodings_named(f"\\{term}".encode()) == tuple(convert_encodings(["", term]))
    for value in ESCAPED:
        ours = decode_extended(value, encodings_named(f"\\{term}".encode()), {0x5E, 0x3D})
        assert ours == decode_bytes(value, convert_encodings(["", term]), {0x5E, 0x3D})


@pytest.mark.parametrize("term", [*TERMS, "ISO_IR 203"])
def test_a_misspelled_term_means_what_the_right_one_means(term: str) -> None:
    for wrong in misspelled(term):
        assert encodings_named(wrong.encode()) == encodings_named(term.encode()), wrong


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("ISO_IR 203", "prix 5 €"),
        ("UTF-8", "Åse"),
        ("latin1", "Åse"),
        ("windows-1252", "„Åse“"),
        ("ISO 8859-5", "Ирина"),
    ],
)
def test_what_is_no_defined_term_but_known_is_read(term: str, text: str) -> None:
    value = text.encode("iso8859_15" if term == "ISO_IR 203" else term)
    assert decode(value, "LO", encodings_named(term.encode())) == text


@pytest.mark.parametrize(
    "term", ["ISO_IR 999", "nonsense", "\\nonsense", "a\0b", "..", "\xe5\xe6", "ISO 2022 IR"]
)
def test_what_nobody_knows_is_the_default_repertoire(term: str) -> None:
    assert set(encodings_named(term.encode("latin-1"))) == {DEFAULT_ENCODING}


def test_utf_8_is_recognized_where_a_latin_set_is_declared_in_any_spelling() -> None:
    for term in itertools.chain.from_iterable(map(misspelled, ["ISO_IR 100", "ISO_IR 101", "ISO_IR 203"])):
        assert encodings_named(term.encode())[0] in LATIN
        assert decode("Ærø".encode(), "LO", encodings_named(term.encode())) == "Ærø"
