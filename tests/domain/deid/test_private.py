"""The safe list of private attributes: what is on it and why, whose an element is, and what its value must be."""

from __future__ import annotations

import csv
import gzip
import json
import re
import struct
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.deid import private
from fiona_dagster.domain.deid.private import (
    PrivateBlocks,
    SafeRow,
    canonical,
    creators_needed,
    fits,
    is_creator_tag,
    safe_creators,
    safe_private,
    text_in_bytes,
)
from fiona_dagster.domain.deid.table import rows
from fiona_dagster.domain.deid.tables import generate_safe_private
from tests.conftest import need_shared

STANDARD = rows(f"safe_private_{private.SAFE_EDITION}.csv")
ADDITIONS = rows("safe_private_additions.csv")
MR = "SIEMENS MR HEADER"


def row(creator: str, tag: int) -> SafeRow:
    found = safe_private(creator, tag)
    assert found is not None, (creator, f"{tag:08X}")
    return found


def test_the_table_of_the_standard_is_whole() -> None:
    assert len(STANDARD) == 479
    assert len({line["creator"] for line in STANDARD}) == 20
    assert {line["source"] for line in STANDARD} == {f"PS3.15 table E.3.10-1 {private.SAFE_EDITION}"}


@pytest.mark.parametrize("table", [STANDARD, ADDITIONS], ids=["standard", "additions"])
def test_every_line_is_sound_and_names_its_source(table: list[dict[str, str]]) -> None:
    keys = [(line["creator"].upper(), line["tag"]) for line in table]
    assert len(set(keys)) == len(keys)
    for line in table:
        assert re.fullmatch(r"[0-9A-F]{3}[13579BDF]00[0-9A-F]{2}", line["tag"]), line
        assert line["action"] in {"keep", "date", "uid", "clean", "csa", "remove"}, line
        assert line["source"], line
        assert line["reason"] or table is STANDARD or line["source"].startswith("PS3.15"), line
        assert line["creator"] == line["creator"].strip()
        re.compile(line["pattern"])


def test_every_addition_gives_its_reason() -> None:
    assert [line for line in ADDITIONS if not line["reason"]] == []


def test_free_text_without_a_form_is_never_kept_as_it_is() -> None:
    texts = {"LO", "SH", "ST", "LT", "UC", "UT"}
    kept = [line for line in [*STANDARD, *ADDITIONS] if line["vr"] in texts and line["action"] == "keep"]
    assert kept
    assert all(line["pattern"] for line in kept)


def test_bytes_are_cleaned_or_removed_and_never_kept() -> None:
    opaque = [line for line in [*STANDARD, *ADDITIONS] if line["vr"] not in private._NUMBERS | private._TEXTS]
    assert {line["action"] for line in opaque if line["vr"][:1] in {"O", ""}} == {"remove", "csa"}
    assert {line["action"] for line in opaque if line["vr"] == "UI"} == {"uid"}
    assert {line["action"] for line in opaque if line["vr"] == "DT"} == {"date"}


def test_an_attribute_is_known_by_its_creator() -> None:
    found = row(MR, 0x0019000C)
    assert (found.vr, found.action, found.meaning) == ("IS", "keep", "B Value")
    assert safe_private("GEMS_ACQU_01", 0x0019000C) is None
    assert safe_private("", 0x0019000C) is None
    assert safe_private(MR, 0x0019100C) is None


@pytest.mark.parametrize("creator", ["SIEMENS MR HEADER ", " SIEMENS MR HEADER\0", "Siemens MR Header"])
def test_blanks_and_case_of_a_creator_do_not_count(creator: str) -> None:
    assert safe_private(creator, 0x0019000C) is row(MR, 0x0019000C)


@pytest.mark.parametrize("creator", ["SIEMENS  MR HEADER", "SIEMENS MR HEADER 1", "SIEMENS", "MR HEADER"])
def test_another_creator_is_another_one(creator: str) -> None:
    assert safe_private(creator, 0x0019000C) is None


def test_no_two_creators_anywhere_differ_in_case_alone_where_the_list_has_one() -> None:
    from pydicom._private_dict import private_dictionaries

    known = {creator.upper() for creator in safe_creators()}
    for creator, attributes in private_dictionaries.items():
        folded = creator.strip().upper()
        if folded in known and creator not in safe_creators():
            same = next(name for name in safe_creators() if name.upper() == folded)
            theirs = {k: v[0] for k, v in attributes.items()}
            ours = {k: v[0] for k, v in private_dictionaries.get(same, {}).items()}
            assert all(theirs[key] == ours[key] for key in theirs.keys() & ours.keys()), creator


def test_what_the_standard_lists_as_bytes_is_removed() -> None:
    assert safe_private("Philips ST80i", 0x00250001) is None
    assert safe_private("HOLOGIC, Inc.", 0x7E010012) is None


def test_our_form_narrows_what_the_standard_lists() -> None:
    ratio = row("GEMS_PARM_01", 0x00430027)
    assert fits(ratio, "SH", b"0.984:1 ")
    assert not fits(ratio, "SH", b"Nordmann")


@pytest.mark.parametrize(
    ("creator", "tag", "vr", "value"),
    [
        (MR, 0x0019000C, "IS", b"1000"),
        (MR, 0x0019000C, "UN", b"1000 "),
        (MR, 0x0019000E, "FD", struct.pack("<3d", 0.1, -0.7, 0.5)),
        (MR, 0x0019000E, "UN", struct.pack("<3d", 0.1, -0.7, 0.5)),
        (MR, 0x0019000B, "DS", b"1.5E-10"),
        (MR, 0x0019000D, "CS", b"DIRECTIONAL "),
        (MR, 0x0051000B, "LO", b"128p*128"),
        (MR, 0x0051000B, "SH", b"72*72 "),
        (MR, 0x0051000E, "SH", b"Tra>Cor(-6.2)"),
        (MR, 0x0051000E, "SH", b"Tra>Cor(-6.2)>Sag(1.0)"),
        (MR, 0x0051000F, "LO", b"HEA;HEP"),
        (MR, 0x0051000F, "LO", b"T:HE1-4"),
        ("GEMS_PARM_01", 0x00430039, "IS", b"1000001000\\8\\0\\0"),
        ("GEMS_ACQU_01", 0x0019009C, "LO", b"epiRT"),
        ("SIEMENS CSA HEADER", 0x00290010, "OB", b"SV10"),
        ("NQHeader", 0x00990002, "UI", b"1.2.3"),
        ("GEMS_PETD_01", 0x0009000D, "DT", b"20180918"),
        ("Philips Imaging DD 001", 0x2001005F, "SQ", b""),
        (MR, 0x0019000C, "IS", b""),
    ],
)
def test_a_value_that_is_what_the_list_says_fits(creator: str, tag: int, vr: str, value: bytes) -> None:
    assert fits(row(creator, tag), vr, value)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x0019000C, "IS", b"Nordmann"),
        (0x0019000C, "UN", b"Nordmann"),
        (0x0019000C, "LO", b"1000"),
        (0x0019000C, "SQ", b""),
        (0x0019000C, "IS", b"01019012480"),
        (0x0019000C, "IS", b"20180918"),
        (0x0019000B, "DS", b"20180918122042.25"),
        (0x0019000C, "IS", b"1000\\Kari"),
        (0x0019000C, "IS", "1000Ø".encode()),
        (0x0019000E, "FD", b"Nordmann^Kari 20180918  "),
        (0x0019000E, "FD", b"1234567"),
        (0x0019000E, "UN", b"Nordmann"),
        (0x0019000D, "CS", b"Nordmann"),
        (0x0051000B, "LO", b"Nordmann"),
        (0x0051000F, "LO", b"Nordmann^Kari"),
    ],
)
def test_a_value_that_is_something_else_does_not_fit(tag: int, vr: str, value: bytes) -> None:
    assert not fits(row(MR, tag), vr, value)


@given(st.text(min_size=1, max_size=16).filter(lambda text: any(c.isalpha() and c not in "eE" for c in text)))
def test_no_text_fits_where_a_number_belongs(text: str) -> None:
    for code in ("utf-8", "utf-16-le"):
        assert not fits(row(MR, 0x0019000C), "UN", text.encode(code))


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz^ 0123456789", min_size=8))
def test_no_text_of_eight_letters_fits_where_binary_numbers_belong(text: str) -> None:
    value = text.encode()
    assert not fits(row(MR, 0x0019000E), "FD", value)
    assert not fits(row(MR, 0x00190012), "SL", value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"\1\2Nordmann\0\xff", ["Nordmann"]),
        (b"\xffNord\0", []),
        ("\x01Bjørn Ås\x02".encode(), ["Bjørn Ås"]),
        ("\x01Bjørnsen\x02".encode("latin-1"), ["Bjørnsen"]),
        (b"\xff\xfe" + "Nordmann".encode("utf-16-le") + b"\xff\xff", ["Nordmann"]),
        (b"Nordmann\0Nordmann\0", ["Nordmann"]),
        (b"", []),
        (bytes(1000), []),
    ],
)
def test_text_inside_of_bytes_is_found(value: bytes, found: list[str]) -> None:
    assert text_in_bytes(value) == found


def test_text_is_found_within_gzip_also_where_it_ends_early() -> None:
    packed = gzip.compress(b"SEDESC " + b"Nordmann " * 40, mtime=0)
    assert any("Nordmann" in text for text in text_in_bytes(b"\0\1\2\3" + packed))
    assert any("Nordmann" in text for text in text_in_bytes(b"\0\1\2\3" + packed[:-4]))
    assert not any("Nordmann" in text for text in text_in_bytes(b"\x1f\x8b\x08" + packed[12:]))


@given(
    st.binary(max_size=64),
    st.text(alphabet="abcdefghijklmnopqrstuvwxyzæøå", min_size=5),
    st.binary(max_size=64),
)
def test_text_is_found_wherever_it_stands(before: bytes, text: str, after: bytes) -> None:
    found = text_in_bytes(before + b"\0" + text.encode() + b"\0" + after)
    assert any(text in one for one in found)


def test_the_block_number_is_taken_out_of_a_tag() -> None:
    assert canonical(0x0019100C) == canonical(0x0019FF0C) == 0x0019000C
    assert [
        tag for tag in (0x00190010, 0x001900FF, 0x0019000F, 0x00190100, 0x00180010) if is_creator_tag(tag)
    ] == [
        0x00190010,
        0x001900FF,
    ]


def test_a_creator_owns_the_blocks_that_it_reserves() -> None:
    blocks = PrivateBlocks()
    blocks.seen(0x00190010, b"SIEMENS MR HEADER ")
    blocks.seen(0x00190011, b"Other")
    blocks.seen(0x00190012, b"SIEMENS MR HEADER ")
    assert blocks.creator_of(0x0019100C) == blocks.creator_of(0x0019120C) == MR
    assert blocks.creator_of(0x0019110C) == "Other"
    assert blocks.row(0x0019120C) is row(MR, 0x0019000C)
    assert blocks.row(0x0019110C) is None


@pytest.mark.parametrize("tag", [0x0019130C, 0x0051100C, 0x0019000C, 0x00190001, 0x00190000, 0x00190110])
def test_an_element_without_a_creator_belongs_to_nobody(tag: int) -> None:
    blocks = PrivateBlocks()
    blocks.seen(0x00190010, MR.encode())
    assert blocks.creator_of(tag) is None
    assert blocks.row(tag) is None


def test_a_creator_that_comes_late_does_not_own_what_came_before() -> None:
    blocks = PrivateBlocks()
    assert blocks.creator_of(0x0019100C) is None
    blocks.seen(0x00190010, MR.encode())
    assert blocks.creator_of(0x0019100D) == MR


def test_a_block_that_two_claim_belongs_to_nobody_and_stays_so() -> None:
    blocks = PrivateBlocks()
    blocks.seen(0x00190010, MR.encode())
    blocks.seen(0x00190010, b"Other")
    assert blocks.creator_of(0x0019100C) is None
    blocks.seen(0x00190010, MR.encode())
    assert blocks.creator_of(0x0019100C) is None


@pytest.mark.parametrize(
    "value", [b"", b"  \0", b"SIEMENS MR HEADER\\Other", "SIEMENS MR HEADÉR".encode(), b"A\x1bB"]
)
def test_what_is_no_creator_owns_nothing(value: bytes) -> None:
    blocks = PrivateBlocks()
    blocks.seen(0x00190010, value)
    assert blocks.creator_of(0x0019100C) is None


@pytest.mark.parametrize("group", [0x0001, 0x0007, 0xFFFF, 0x0018])
def test_groups_that_the_standard_does_not_give_away_have_no_creators(group: int) -> None:
    blocks = PrivateBlocks()
    blocks.seen(group << 16 | 0x10, MR.encode())
    assert blocks.creator_of(group << 16 | 0x100C) is None


def test_a_creator_stays_only_with_something_of_its_block() -> None:
    blocks = PrivateBlocks()
    for tag in (0x00190010, 0x00190011, 0x00510010):
        blocks.seen(tag, MR.encode())
    blocks.stays(0x0019110C)
    blocks.stays(0x0019110D)
    blocks.stays(0x0019200C)
    assert blocks.creators_that_stay() == {0x00190011}
    assert creators_needed([0x0019110C, 0x00080005, 0x0019000C]) == {0x00190011}


HTML = """<a id="table_E.3.10-1" shape="rect"></a><table><thead><tr><th>Data Element</th></tr></thead><tbody>
<tr><td><p>(0019,xx0C)</p></td><td><p>SIEMENS MR
  HEADER</p></td><td>IS</td><td>1</td><td>B Value</td></tr>
<tr><td>(0119,xx01)</td><td>SIEMENS Ultrasound SC2000</td><td>OB</td><td>1</td><td>Bytes</td></tr>
<tr><td>(0119,xx11)</td><td>SIEMENS Ultrasound SC2000</td><td></td><td>1</td><td>Time</td></tr>
</tbody></table><table><tr><td>(0019,xx0C)</td><td>x</td><td>IS</td><td>1</td><td>behind</td></tr></table>"""


def test_the_table_is_made_from_the_standards_own_page() -> None:
    made = generate_safe_private.rows_from(HTML, "2026d")
    assert [(line["creator"], line["tag"], line["vr"], line["action"]) for line in made] == [
        (MR, "0019000C", "IS", "keep"),
        ("SIEMENS Ultrasound SC2000", "01190001", "OB", "remove"),
        ("SIEMENS Ultrasound SC2000", "01190011", "", "remove"),
    ]
    assert made[0]["source"] == "PS3.15 table E.3.10-1 2026d"


def _json(**changes: str) -> str:
    line = {"tag": "(0019,xx0c)", "private_creator": MR, "vr": "LO", "vm": "1", "meaning": "x"}
    return json.dumps({"rows": [line | changes]})


def test_text_and_uids_of_the_standards_list_are_not_kept_as_they_are() -> None:
    assert generate_safe_private.rows_from(_json(), "2026d")[0]["action"] == "clean"
    assert generate_safe_private.rows_from(_json(vr="UI"), "2026d")[0]["action"] == "uid"
    assert generate_safe_private.rows_from(_json(vr="DT"), "2026d")[0]["action"] == "date"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("<html></html>", "does not have"),
        (_json(tag="0019,0C"), "is not the tag"),
        (_json(vr="PN"), "is not a VR"),
        (json.dumps({"rows": json.loads(_json())["rows"] * 2}), "twice"),
    ],
)
def test_a_source_that_is_not_understood_makes_no_table(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate_safe_private.rows_from(source, "2026d")


def test_the_generator_asks_for_an_edition() -> None:
    assert generate_safe_private.main(["source.html", "newest"]) == 2


CONTRADICTED = {
    ("GEMS_PARM_01", "0043007C"): "a delay, needed for slice timing",
    ("GEMS_PARM_01", "004300A3"): "a technique",
    ("GEMS_PARM_01", "004300A4"): "a technique, in one of its known spellings",
    ("GEMS_PARM_01", "004300A5"): "a duration",
    ("GEMS_PARM_01", "004300B2"): "numbers",
    ("GEMS_PARM_01", "004300B7"): "numbers",
    ("GEMS_PARM_01", "0043002A"): "cleaned to three flags",
    ("GEMS_SERS_01", "0025001B"): "cleaned line by line",
    ("Philips MR Imaging DD 006", "20050096"): "a counter",
    ("SIEMENS CSA HEADER", "00290008"): "a constant",
    ("SIEMENS CSA HEADER", "00290010"): "cleaned element by element",
    ("SIEMENS CSA HEADER", "00290018"): "a constant",
    ("SIEMENS CSA HEADER", "00290020"): "cleaned element by element",
    ("SIEMENS MR HEADER", "00190008"): "a constant",
    ("SIEMENS MR HEADER", "0051000C"): "numbers, in their one form",
    ("SIEMENS MR HEADER", "0051000E"): "an orientation, in its one form",
    ("SIEMENS MR HEADER", "00510011"): "a factor, in its one form",
    ("SIEMENS MR HEADER", "00510012"): "a position, in its one form",
    ("SIEMENS MR HEADER", "00510017"): "a thickness, in its one form",
    ("SIEMENS MR SDI 02", "0021008A"): "a counter",
    ("SIEMENS MR SDS 01", "00210019"): "cleaned line by line",
    ("SIEMENS MR SDS 01", "0021005C"): "defined terms",
}
"""Additions that a public knowledge base removes always, and why they may stay nevertheless."""


def test_additions_contradict_a_public_knowledge_base_only_where_a_reason_is_given() -> None:
    path = need_shared("data", "private_tags_tcia.csv")
    advice: dict[tuple[str, str], set[str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for line in csv.DictReader(stream):
            parts = re.findall(r'\(([0-9a-f]{4}),"?([^"]*?)"*,([0-9a-f]{2})\)', line["element_sig_pattern"])
            if parts:
                group, creator, number = parts[-1]
                key = creator.strip().upper(), f"{group}00{number}".upper()
                advice.setdefault(key, set()).add(line["private_disposition"].strip().lower())
    known = [line for line in ADDITIONS if (line["creator"].upper(), line["tag"]) in advice]
    assert len(known) > 150
    removed = {
        (line["creator"], line["tag"])
        for line in known
        if "k" not in advice[line["creator"].upper(), line["tag"]]
        and "d" in advice[line["creator"].upper(), line["tag"]]
        and line["vr"] != "SQ"
    }
    assert removed == set(CONTRADICTED)


@pytest.mark.parametrize("folder", ["20180918Si/mr_0005", "20180918GE/mr_0004"])
def test_real_values_fit_the_list(folder: str) -> None:
    source = need_shared("corpus", "dcm_qa_nih", "In", *folder.split("/"))
    path: Path = next(p for p in sorted(source.rglob("*")) if p.is_file())
    dataset, blocks, seen = pydicom.dcmread(path), PrivateBlocks(), 0
    for tag in sorted(dataset.keys()):
        element = dataset.get_item(tag)
        assert element is not None
        if is_creator_tag(tag):
            blocks.seen(tag, element.value if isinstance(element.value, bytes) else element.value.encode())
            continue
        found = blocks.row(tag)
        if found is not None and found.action != "clean":
            seen += 1
            assert fits(found, element.VR or "UN", element.value or b""), found
    assert seen > 25
