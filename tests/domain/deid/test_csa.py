"""CSA headers, protocols and GE's blocks: what is planted is gone, what converters need is there."""

from __future__ import annotations

import functools
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.deid.csa import clean_csa, clean_protocol
from fiona_dagster.domain.deid.private import text_in_bytes
from fiona_dagster.domain.siemens_csa import parse, protocol_value
from tests.conftest import need_shared
from tests.domain.deid.safe_copies import convert, copy_safely

PLANTED = [
    "Nordmann^Kari",
    "NORDMANN",
    "20180918",
    "20180918122042.250000",
    "1.3.12.2.1107.5.2.19.45160.2018091812204221515890105",
    "01019012480",
    "Haukeland universitetssjukehus",
    "Bjørn",
]
PROTOCOL = (
    '<XProtocol>\n{\n  <ParamString."PatientName"> { "Nordmann^Kari" }\n}\n'
    "### ASCCONV BEGIN object=MrProtDataImpl@MrProtocolData version=51130001 "
    "converter=%MEASCONST%/ConverterList/Prot_Converter.txt ###\n"
    "ulVersion\t = \t51130001\n"
    'tSequenceFileName\t = \t""%SiemensSeq%\\ep2d_bold""\n'
    'tProtocolName\t = \t""Nordmann""\n'
    'tReferenceImage0\t = \t""1.3.12.2.1107.5.2.19.45160.2018091812204221515890105""\n'
    "sFastImaging.lEchoSpacing\t = \t510\n"
    "sSliceArray.asSlice[0].sPosition.dTra\t = \t-16.5e-1\n"
    'sWipMemBlock.tFree\t = \t""Kari""\n'
    "sWipMemBlock.alFree[3]\t = \t20180918\n"
    "sWipMemBlock.alFree[4]\t = \t7\n"
    "alTE[0]                                  = 30000\n"
    "sCoilSelectMeas.aRxCoilSelectData[0].asList[0].sCoilElementID.ulUniqueKey\t = \t2006308019\n"
    'sCoilSelectMeas.aRxCoilSelectData[0].asList[0].sCoilElementID.tCoilID\t = \t""Head_32""\n'
    "### ASCCONV END ###\n"
    "Nordmann^Kari 20180918\n"
)


def element(name: bytes, *values: bytes, vr: bytes = b"IS", second: bool = True, first: int = 0) -> bytes:
    made = struct.pack("<64si4siii", name, 1, vr, 6, len(values), 77)
    for value in values:
        length = len(value)
        words = (length, length, 77, length) if second else (length + first, 0, 77, 0)
        made += struct.pack("<4i", *words) + value.ljust((length + 3) // 4 * 4, b"\0")
    return made


def header(*elements: bytes, second: bool = True, tail: bytes = b"") -> bytes:
    return (
        (b"SV10\4\3\2\1" if second else b"")
        + struct.pack("<II", len(elements), 77)
        + b"".join(elements)
        + tail
    )


@functools.cache
def planted_header(second: bool) -> bytes:
    made = functools.partial(element, second=second, first=1)
    return header(
        made(b"B_value", b"1000\0Nordmann^Kari"),
        made(b"MosaicRefAcqTimes", b"0.0", b"1450.00000001", b"20180918122042.250000"),
        made(b"ImaCoilString", b"HEA;HEP"),
        made(b"UsedPatientWeight", b"90"),
        made(b"PatientName", *(text.encode() for text in PLANTED)),
        made(b"Nordmann", b"1"),
        made(b"ICE_Dims\0Nordmann^Kari", b"X_1_1_38"),
        made(b"SliceMeasurementDuration", b"NORDMANN"),
        made(b"EchoLinePosition", b"01019012480"),
        made(b"MrPhoenixProtocol", PROTOCOL.encode()),
        second=second,
        tail=b"Nordmann^Kari 20180918",
    )


def holds_nothing_planted(cleaned: bytes) -> bool:
    return not any(
        code in cleaned
        for text in PLANTED
        for code in (text.encode(), text.encode("latin-1"), text.encode("utf-16-le"))
    )


@pytest.mark.parametrize("second", [True, False])
def test_everything_planted_is_blanked_in_place(second: bool) -> None:
    value = planted_header(second)
    cleaned = clean_csa(value)
    assert cleaned is not None
    assert len(cleaned) == len(value)
    assert holds_nothing_planted(cleaned)
    found = parse(cleaned)
    assert found["B_value"] == ["1000"]
    assert found["MosaicRefAcqTimes"] == ["0.0", "1450.00000001"]
    assert found["ImaCoilString"] == ["HEA;HEP"]
    assert found["ICE_Dims"] == ["X_1_1_38"]
    assert {"PatientName", "UsedPatientWeight", "Nordmann"}.isdisjoint(found)
    assert cleaned.index(b"### ASCCONV BEGIN") == value.index(b"### ASCCONV BEGIN")


def test_settings_of_the_protocol_stay_and_names_and_references_go() -> None:
    cleaned = clean_protocol(PROTOCOL.encode()).decode("ascii")
    assert len(cleaned) == len(PROTOCOL)
    assert holds_nothing_planted(cleaned.encode())
    kept = {
        name: protocol_value(cleaned, name) for name in ("alTE[0]", "sFastImaging.lEchoSpacing", "ulVersion")
    }
    assert kept == {"alTE[0]": "30000", "sFastImaging.lEchoSpacing": "510", "ulVersion": "51130001"}
    assert protocol_value(cleaned, "tSequenceFileName") == r"%SiemensSeq%\ep2d_bold"
    assert protocol_value(cleaned, "sSliceArray.asSlice[0].sPosition.dTra") == "-16.5e-1"
    assert protocol_value(cleaned, "sWipMemBlock.alFree[4]") == "7"
    assert "Head_32" in cleaned
    for gone in ("tProtocolName", "tReferenceImage0", "ulUniqueKey", "tFree", "alFree[3]"):
        assert gone not in cleaned


def test_a_protocol_alone_is_cleaned_as_well() -> None:
    assert clean_csa(PROTOCOL.encode()) == clean_protocol(PROTOCOL.encode())


def test_a_sequence_that_a_site_made_loses_its_name() -> None:
    text = b'### ASCCONV BEGIN ###\ntSequenceFileName = ""%CustomerSeq%\\nih_ep2d_bold""\n### ASCCONV END ###'
    assert b"nih" not in clean_protocol(text)


def test_a_begin_mark_with_something_else_in_it_is_written_anew() -> None:
    text = b"### ASCCONV BEGIN object=Nordmann ###\nalTE[0] = 1\n### ASCCONV END ###"
    cleaned = clean_protocol(text)
    assert b"Nordmann" not in cleaned
    assert cleaned.startswith(b"### ASCCONV BEGIN ###")
    assert protocol_value(cleaned.decode(), "alTE[0]") == "1"


def test_a_protocol_without_an_end_keeps_nothing() -> None:
    assert not clean_protocol(PROTOCOL.encode().partition(b"### ASCCONV END")[0]).strip()


def test_terms_that_are_known_are_blanked_among_the_numbers_too() -> None:
    asked = lambda text: "1450" in text or "510" in text  # noqa: E731
    cleaned = clean_csa(planted_header(second=True), asked)
    assert cleaned is not None
    found = parse(cleaned)
    assert found["MosaicRefAcqTimes"] == ["0.0"]
    protocol = found["MrPhoenixProtocol"][0]
    assert protocol_value(protocol, "sFastImaging.lEchoSpacing") == ""
    assert protocol_value(protocol, "alTE[0]") == "30000"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"SV10",
        b"Nordmann^Kari",
        header(),
        header(element(b"B_value", b"1"))[:90],
        header(element(b"B_value", b"1"))[:-20],
        header(element(b"Nord mann", b"1")),
        header(element(b"B_value", b"1", vr=b"Kari")),
        header(element(b"B_value", b"1"))[:-20] + struct.pack("<4i", 4, 10**6, 77, 4) + bytes(4),
        struct.pack("<II", 1001, 77) + bytes(2000),
        b"abcd\x1f\x8b\x08not gzip at all",
    ],
)
def test_what_cannot_be_read_gives_nothing(value: bytes) -> None:
    assert clean_csa(value) is None


def test_words_of_the_layout_cannot_hold_text() -> None:
    value = bytearray(header(element(b"B_value", b"1")))
    for place in (16 + 64, 16 + 72, 16 + 84, 16 + 84 + 8, 16 + 84 + 12):
        hidden = bytearray(value)
        hidden[place : place + 4] = b"Kari"
        assert clean_csa(bytes(hidden)) is None, place


@given(st.integers(0, len(planted_header(second=True)) - 1), st.binary(min_size=1, max_size=12))
def test_no_damage_makes_it_crash_or_lets_a_planted_value_through(place: int, damage: bytes) -> None:
    whole = planted_header(second=True)
    cleaned = clean_csa(whole[:place] + damage + whole[place + len(damage) :])
    assert cleaned is None or holds_nothing_planted(cleaned)


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=255), min_size=4, max_size=20))
def test_text_in_any_element_is_gone(text: str) -> None:
    value = header(
        element(b"B_value", text.encode()),
        element(b"Anything", text.encode()),
        element(
            b"MrPhoenixProtocol", f'### ASCCONV BEGIN ###\nalTE[0] = ""{text}""\n### ASCCONV END ###'.encode()
        ),
    )
    cleaned = clean_csa(value)
    assert cleaned is not None
    if any(c not in "0123456789.eE+-" for c in text):
        assert text.encode() not in cleaned.replace(b"### ASCCONV", b"").replace(b"B_value", b"").replace(
            b"MrPhoenixProtocol", b""
        )


def ge_block(text: str) -> bytes:
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    member = packed.compress(text.encode()) + packed.flush()
    member = member[:3] + b"\x08" + member[4:10] + b"Ex27018Nordmann\0" + member[10:]
    return struct.pack("<I", len(member)) + member


def test_the_protocol_block_of_ge_keeps_its_timing_and_loses_texts_and_its_file_name() -> None:
    text = (
        'SEDESC "Nordmann Kari"\nSLICEORDER "1"\nIOPT "EPI, FMRI"\nPSEQ "Gradient Echo"\nNOSLC "15"\nTR "5000.0"\n'
        'PDGMUID "1.2.840.113819.3.1109952946424919"\nTE "20180918122042"\nPLANE "Kari"\n'
    )
    value = ge_block(text)
    cleaned = clean_csa(value)
    assert cleaned is not None
    assert cleaned == clean_csa(value)
    assert len(cleaned) % 2 == 0
    assert b"Nordmann" not in cleaned
    (length,) = struct.unpack_from("<I", cleaned)
    lines = zlib.decompress(cleaned[4 : 4 + length], 31).decode().split("\n")
    assert [line for line in lines if line] == [
        'SLICEORDER "1"',
        'IOPT "EPI, FMRI"',
        'PSEQ "Gradient Echo"',
        'NOSLC "15"',
        'TR "5000.0"',
    ]
    assert lines.index('SLICEORDER "1"') == 1
    assert text_in_bytes(cleaned)
    assert not any("Nordmann" in found for found in text_in_bytes(cleaned))
    assert clean_csa(value[:-9]) is None
    asked = clean_csa(value, lambda text: text == "15")
    assert asked is not None
    assert b"NOSLC" not in zlib.decompress(asked[4 : 4 + struct.unpack_from("<I", asked)[0]], 31)


def test_the_user_data_of_ge_keep_three_flags_only() -> None:
    value = bytearray(b"Nordmann^Kari 20180918 " * 80)
    struct.pack_into("<H", value, 24, 100)
    struct.pack_into("<f", value, 100, 28.0)
    struct.pack_into("<H", value, 100 + 0x4C + 0x3A, 0xFFFF)
    struct.pack_into("<H", value, 100 + 0x4C + 0x30, 0x0004)
    struct.pack_into("<H", value, 100 + 0x0394 + 0x4C - 0x8C, 2)
    cleaned = clean_csa(bytes(value))
    assert cleaned is not None
    assert len(cleaned) == len(value)
    assert [place for place, byte in enumerate(cleaned) if byte] == [24, 102, 103, 224, 235, 952]
    assert text_in_bytes(cleaned) == []
    struct.pack_into("<f", value, 100, 400.0)
    assert clean_csa(bytes(value)) is None


def plant(value: bytes) -> bytes:
    """Names, dates and UIDs into a real header, where it has room for them: elements, protocol lines and the end."""
    found = bytearray(value)
    for before, after in (
        (b'tProtocolName\t = \t""', b"Nordmann"),
        (b"<XProtocol>", b"Nordmann^Kari 20180918"),
        (b"PatReinPattern\0", b"Nordmann"),
    ):
        place = found.find(before)
        if place >= 0:
            place += len(before)
            found[place : place + len(after)] = after
    if value.startswith(b"SV10") and len(value) > 20:
        found += b"Nordmann^Kari 20180918 1.3.12.2.1107.5.2.19.45160.2018091812204221515890105  "
    return bytes(found)


SERIES = [
    "dcm_qa_nih/In/20180918Si/mr_0003",
    "dcm_qa_nih/In/20180918Si/mr_0005",
    "dcm_qa_nih/In/20180918GE/mr_0004",
    "dcm_qa_enh/In/Siemens/XA10",
    "dcm_qa_enh/In/Philips",
]
LOST_BY_DESIGN = {"BidsGuess", "PulseSequenceDetails"}
"""Made from the file name of a sequence that the site wrote itself."""


@pytest.mark.parametrize("name", SERIES)
def test_dcm2niix_makes_the_same_of_a_safe_copy(name: str, tmp_path: Path) -> None:
    source = need_shared("corpus", *name.split("/"))
    copies = tmp_path / "in"
    copies.mkdir()
    for number, path in enumerate(sorted(p for p in source.rglob("*") if p.is_file())):
        copy_safely(path, copies / f"{number}.dcm", plant)
    before, after = convert(source, tmp_path / "before"), convert(copies, tmp_path / "after")
    assert before.volumes
    assert after.volumes == before.volumes
    assert after.gradients == before.gradients
    for sidecar, values in before.sidecars.items():
        lost = {key for key, value in values.items() if after.sidecars[sidecar].get(key) != value}
        assert lost <= LOST_BY_DESIGN
    for path in copies.iterdir():
        data = path.read_bytes()
        assert not any(text.encode() in data for text in ("Nordmann", "Kari 2018"))
