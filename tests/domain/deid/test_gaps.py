"""Places where something could hide from engine and gate alike."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from pydicom import dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from fiona_dagster.adapters import dicom_files
from fiona_dagster.adapters.dicom_files import read_instance
from fiona_dagster.adapters.releases import SourceInstance, deidentify_study, verify_release
from fiona_dagster.domain.deid.character_sets import encodings_named
from fiona_dagster.domain.deid.elements import TWICE
from fiona_dagster.domain.deid.encoding import EXPLICIT_LITTLE, encode_element, text_element
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.profile import Code, Profile
from fiona_dagster.domain.deid.residuals import ResidualSearch
from fiona_dagster.domain.deid.text import decode
from fiona_dagster.domain.deid.uids import UidMapper
from fiona_dagster.domain.deid.walk import Found
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.verification import QuarantinedStudy
from tests.domain.deid.parsing import bytes_of
from tests.domain.deid.planted import KEY, ct_instance, request, saved

SEARCH = ResidualSearch(OriginalValues(), ())


def test_an_element_that_stands_twice_is_not_believed(tmp_path: Path) -> None:
    """The last would count for one reader, the first for another."""
    kernel = encode_element(text_element(0x00181210, "SH", "Zwingenberger"), EXPLICIT_LITTLE)
    other = encode_element(text_element(0x00181210, "SH", "B30f"), EXPLICIT_LITTLE)
    content = bytes_of(ct_instance())
    assert content.count(other) == 1
    for number, twice in enumerate((kernel + other, other + kernel)):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(content.replace(other, twice))
        with pytest.raises(Permanent, match=TWICE[:30]):
            read_instance(path)


@pytest.mark.parametrize("remembers", [1, 4])
def test_an_element_that_stands_twice_is_found_among_familiar_ones(tmp_path: Path, remembers: int) -> None:
    from fiona_dagster.domain.deid.familiar import Familiar

    familiar = Familiar()
    for number in range(remembers):
        read_instance(saved(ct_instance(number), tmp_path / f"{number}.dcm"), familiar)
    modality = encode_element(text_element(0x00080060, "CS", "CT"), EXPLICIT_LITTLE)
    path = tmp_path / "twice.dcm"
    path.write_bytes(bytes_of(ct_instance()).replace(modality, modality * 2))
    with pytest.raises(Permanent, match=TWICE[:30]):
        read_instance(path, familiar)


def test_the_same_bytes_in_another_character_set_are_another_name(tmp_path: Path) -> None:
    name = "Иванченко".encode("iso8859_5")
    sources = []
    for number, declared in enumerate(("ISO_IR 100", "ISO_IR 144"), 1):
        dataset = ct_instance(number)
        dataset.SpecificCharacterSet = declared
        for tag, vr in ((0x00100010, "PN"), (0x00181210, "SH")):
            value = name if vr == "PN" or number == 2 else b"B30f"
            value += b" " * (len(value) % 2)
            dataset[tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)  # noqa: FBT003
        sources.append(SourceInstance(saved(dataset, tmp_path / f"{number}.dcm"), number, ""))
    asked = request(tmp_path / "out")
    profile = Profile(overrides=((0x00181210, Code.KEEP),))
    study = deidentify_study(sources, asked, KEY, profile)
    assert isinstance(verify_release(study, sources, asked, KEY, profile), QuarantinedStudy)


@pytest.mark.parametrize("value", ["Nordmann".encode("utf-16-le"), b"N\x01o\x02rdmann", b"\0Nordmann\0"])
def test_controls_do_not_hide_letters(value: bytes) -> None:
    assert decode(value, "LO", ("iso8859",)) == "Nordmann"


@pytest.mark.parametrize("term", [b"utf_7", b"utf-7", b"hz", b"idna", b"punycode"])
def test_no_codec_in_which_ascii_letters_mean_others(term: bytes) -> None:
    assert decode(b"+UXFxMA-", "LO", encodings_named(term)) == "+UXFxMA-"
    assert encodings_named(term)[0] == encodings_named(b"")[0]


def test_code_extensions_that_nobody_declared_are_no_text() -> None:
    value = b"\x1b$B;3ED\x1b(B"
    assert decode(value, "LO", encodings_named(b"ISO_IR 100")) is None
    assert decode(value, "LO", encodings_named(b"\\ISO 2022 IR 87")) == "山田"


def test_a_small_file_cannot_inflate_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_files, "MOST_INFLATED", 10_000)
    dataset = ct_instance()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    dcmwrite(tmp_path / "small.dcm", dataset)
    assert read_instance(tmp_path / "small.dcm").pixels is None
    dataset.PixelData = bytes(1 << 20)
    dcmwrite(tmp_path / "bomb.dcm", dataset)
    assert (tmp_path / "bomb.dcm").stat().st_size < len(zlib.compress(bytes(1 << 20))) + 10_000
    with pytest.raises(Permanent, match="inflates to more"):
        read_instance(tmp_path / "bomb.dcm")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", [b"1", b"1.", b"1 ", b"a", b"a ", b"12.", b"@a"])
@pytest.mark.parametrize("vr", ["OW", "UT", "LO", "DS"])
def test_no_long_value_takes_long(piece: bytes, vr: str) -> None:
    """Whatever is said of it."""
    SEARCH.leaks(Found((0x00281201,), vr, vr, piece * (60_000 // len(piece)), ("iso8859",)))


@pytest.mark.parametrize(
    ("vr", "tag"), [("DS", 0x00181041), ("IS", 0x00200013), ("SH", 0x00080100), ("LO", 0x00080104)]
)
def test_an_identity_number_is_found_whoevers_it_is(vr: str, tag: int) -> None:
    assert SEARCH.leaks(Found((tag,), vr, vr, b"01017010170 ", ("iso8859",)))
    assert not SEARCH.leaks(Found((tag,), vr, vr, b"01017010171 ", ("iso8859",)))


def test_no_uid_asks_for_another_use_of_the_key() -> None:
    """A shift of dates must not be readable from the new UID of planted text."""
    import hashlib
    import hmac

    made = UidMapper(KEY)("date-shift\x1fparticipant\x1fP-001")
    digest = hmac.new(KEY, b"date-shift\x1fparticipant\x1fP-001", hashlib.sha256).digest()
    assert made != f"2.25.{int.from_bytes(digest[:16], 'big')}"
