"""Identifiers in every place of a data set in which one can stand, whatever the object type."""

from __future__ import annotations

import struct

from tests.deid.answer_key import DEVICE, INSTITUTION, PATIENT_CHARACTERISTICS, SAFE_PRIVATE, Action, Level
from tests.deid.characters import ASCII, Charset
from tests.deid.raw import Element, Syntax, encode
from tests.deid.words import (
    ACCESSION,
    CLINIC,
    DATES,
    FAMILY,
    FREE_TEXTS,
    GIVEN,
    HARMLESS,
    PATIENT,
    PATIENT_ID,
    PHYSICIAN,
    SITE,
    SOURCES_OF_TEXT,
    STREET,
    TELEPHONE,
    TIME,
    Planting,
)  # fmt: skip

ALL_VRS = (
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF", "OL", "OV", "OW", "PN",
    "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT", "UV",
)  # fmt: skip
"""The 34 VRs of PS3.5 section 6.2."""
_WAY_DOWN = (
    0x52009229, 0x00081140, 0x00082112, 0x00081115, 0x00089124, 0x0040A170, 0x00081250, 0x00081199,
)  # fmt: skip
"""Sequences that a copy keeps, of which each may stand in the one before."""


def identity(
    level: Level, planting: Planting, *, sop_class: str, modality: str, series: int, number: int
) -> str:
    """Patient, study, series and equipment: what every composite object has (PS3.3 A.1.3). Gives the instance's UID."""
    uid = f"{planting.series_uid(series)}.{number}"
    level.keep(0x00080016, "UI", sop_class)
    level.uid(0x00080018, uid)
    level.uid(0x0020000D, planting.study_uid)
    level.uid(0x0020000E, planting.series_uid(series))
    level.keep(0x00080060, "CS", modality)
    level.patient(0x00100010, "PN", PATIENT if level.charset is ASCII else level.charset.sample)
    level.patient(0x00100020, "LO", PATIENT_ID)
    level.gone(0x00100030, "DA", "19610203")
    level.put(0x00100040, "CS", "O")
    level.row(Action.TEXT_RETAINED, 0x00100040, "O", only=frozenset({PATIENT_CHARACTERISTICS}))
    level.gone(0x00101010, "AS", "058Y", unless=PATIENT_CHARACTERISTICS)
    level.row(Action.TEXT_RETAINED, 0x00101010, "058Y", only=frozenset({PATIENT_CHARACTERISTICS}))
    level.gone(0x00101040, "LO", STREET)
    level.gone(0x00102154, "SH", TELEPHONE.replace(" ", ""))
    level.gone(0x00101001, "PN", "Zwingen^Otto\\Ottokarl^Z", "Ottokarl")
    for place, tag in enumerate((0x00080020, 0x00080021, 0x00080022, 0x00080023)):
        level.date(tag, "DA", DATES[place])
    level.date(0x0008002A, "DT", f"{DATES[1]}{TIME}+0100")
    level.keep(0x00080030, "TM", TIME)
    level.gone(0x00080050, "SH", ACCESSION)
    level.row(Action.TEXT_NOTNULL, 0x00080050)
    level.put(0x00200010, "SH", "PLANTEDSTUDYID")
    level.row(Action.TEXT_NOTNULL, 0x00200010)
    level.row(Action.TEXT_REMOVED, 0x00200010, "PLANTEDSTUDYID")
    level.gone(0x00080090, "PN", PHYSICIAN)
    level.gone(0x00081070, "PN", f"{PHYSICIAN}\\{planting.mark()}^X", "Eisenbarth")
    level.gone(0x00080080, "LO", CLINIC)
    level.gone(0x00080081, "ST", SITE, SITE, *SITE.split("\r\n"), unless=INSTITUTION)
    level.row(Action.TEXT_RETAINED, 0x00080081, SITE, only=frozenset({INSTITUTION}))
    for tag, text in ((0x00081010, "STATION-Q9"), (0x00181000, f"SER{next(planting.numbers):06d}")):
        level.gone(tag, "LO" if tag == 0x00181000 else "SH", text, unless=DEVICE)
        level.row(Action.TEXT_RETAINED, tag, text, only=frozenset({DEVICE}))
    level.keep(0x00080070, "LO", "Maker")
    level.keep(0x00081090, "LO", "Model 5")
    level.keep(0x00200011, "IS", str(series))
    level.keep(0x00200013, "IS", str(number))
    level.uid(0x00080014, f"{planting.study_uid}.77")
    return uid


def free_text(level: Level, planting: Planting, shift: int = 0) -> None:
    """People's notes in every attribute that takes them: another note in each object."""
    for place, (tag, vr) in enumerate(SOURCES_OF_TEXT):
        text, planted = FREE_TEXTS[(place + shift) % len(FREE_TEXTS)]
        mark = planting.mark()
        level.gone(tag, vr, f"{text} {mark}"[:64], *planted, *([mark] if len(text) < 50 else []))


def harmless_text(level: Level, shift: int = 0) -> None:
    """Descriptions that Clean Descriptors keeps; without it they go."""
    for place, tag in enumerate((0x00081030, 0x0008103E, 0x00181030)):
        text = HARMLESS[(place + shift) % len(HARMLESS)]
        level.put(tag, "LO", text)
        level.row(Action.TEXT_RETAINED, tag, text, only=frozenset({"clean_descriptors"}))


def nested(level: Level, planting: Planting, depth: int = 8, *, charset: Charset = ASCII) -> None:
    """Sequences in each other with an identifier of each kind on every level; lengths defined and undefined in turn."""
    for step, tag in enumerate(_WAY_DOWN[:depth]):
        level = level.item(tag, undefined=step % 2 == 0, charset=charset if step == 3 else None)
        level.keep(0x00281052, "DS", f"-{step}.5")
        level.patient(0x00100020, "LO", PATIENT_ID)
        level.gone(0x00081050, "PN", PHYSICIAN if level.charset is ASCII else level.charset.sample)
        level.gone(0x00204000, "LT", planting.mark())
        level.date(0x00080023, "DA", DATES[step % 4])
        level.uid(0x00080018, planting.new_uid())
        level.put(0x00290010, "LO", "PLANTED NESTED")
        level.gone(0x00291001, "LO", planting.mark())
        level.gone(0x00310001, "UN", planting.mark().encode())


def private(level: Level, planting: Planting) -> None:
    """Private elements of every VR: with a known creator, an unknown one, and none."""
    level.put(0x00190010, "LO", "SIEMENS MR HEADER")
    level.put(0x00430010, "LO", "GEMS_PARM_01")
    level.gone(0x00530010, "LO", planting.mark())
    for block in (0x00191000, 0x00531000, 0x00751000):
        for number, vr in enumerate(ALL_VRS):
            tag = block | (number + 0x60)
            if vr == "SQ":
                inner = level.item(tag, undefined=block == 0x00531000)
                mark = planting.mark()
                inner.gone(0x00100010, "PN", f"{mark}^{GIVEN}", mark)
                inner.gone(0x00191001, "LO", planting.mark())
            else:
                level.gone(tag, vr, planting.mark().encode().ljust(16))
    level.keep(0x0019100C, "IS", "1000", only=SAFE_PRIVATE)  # B_value, PS3.15 table E.3.10-1
    level.keep(0x00431039, "IS", r"1000\8\0\0", only=SAFE_PRIVATE)
    level.gone(0x00190011, "LO", "PLANTED TWICE")
    level.gone(0x00191101, "LO", planting.mark())
    level.gone(0x00090005, "LO", planting.mark())


def unknown(level: Level, planting: Planting) -> None:
    """UN with text, with sequences of both lengths, and tags that the standard does not know."""
    level.gone(0x00081048, "PN", f"{FAMILY}^{planting.mark()}", declared="UN")
    level.gone(0x00321032, "PN", f"{planting.mark()}^X", declared="UN")
    level.gone(0x0008FFFE, "LO", planting.mark())
    level.gone(0x00099901, "UN", planting.mark().encode())
    level.gone(0x7001FF02, "OB", planting.mark().encode() * 3)
    inside = encode([Element(0x00100010, "PN", f"{planting.mark()}^X".encode())], Syntax(explicit=False))
    level.gone(0x0015FF01, "UN", struct.pack("<HHL", 0xFFFE, 0xE000, len(inside)) + inside)
    for undefined, tag in ((False, 0x00081140), (True, 0x00082112)):
        if any(e.tag == tag for e in level.elements):
            continue
        item = level.item(tag, declared="UN", undefined=undefined)
        item.gone(0x00081050, "PN", f"{planting.mark()}^Un")
        item.uid(0x00081155, planting.new_uid())
        item.gone(0x00204000, "LT", planting.mark())


def wrong(level: Level, planting: Planting) -> None:
    """Values that are not what their VR says, padding that nobody asks for, several values in one."""
    level.gone(0x00181063, "DS", planting.mark())  # FrameTime
    level.gone(0x00180087, "DS", planting.mark())  # MagneticFieldStrength
    level.gone(0x00080031, "TM", planting.mark()[:16])
    level.gone(0x00080024, "DA", planting.mark())
    level.gone(0x0008002D, "DT", planting.mark())
    level.gone(0x0008010C, "UI", planting.mark())
    level.gone(0x00100021, "LO", f"{planting.mark()}\\{planting.mark()}\\{PATIENT_ID}", PATIENT_ID)
    level.gone(0x00101000, "LO", f"  {PATIENT_ID}  ", PATIENT_ID, pad=b"\0\0\0\0")
    level.gone(0x00081060, "PN", f"{FAMILY}^{GIVEN}=\u00a0=".replace("\u00a0", ""), FAMILY, pad=b"    \0 ")
    level.gone(0x00401001, "SH", planting.mark()[:16], pad=b" \0\0")


def wrong_vr(level: Level, planting: Planting) -> None:
    """Text where the dictionary knows numbers; only explicit VR can say so."""
    level.gone(0x00181310, "US", f"{planting.mark()}", declared="LO")
    level.gone(0x00280034, "IS", f"{planting.mark()}", declared="UT")


def structure(level: Level, planting: Planting) -> None:
    """Overlays, curves, icon image, group lengths, what stands behind the pixels."""
    level.put(0x60000010, "US", [4])
    level.put(0x60000011, "US", [4])
    level.gone(0x60003000, "OW", planting.mark().encode() * 2)
    level.gone(0x60000022, "LO", planting.mark())
    level.gone(0x60004000, "LT", planting.mark())
    level.gone(0x601E3000, "OB", planting.mark().encode() * 2)
    level.gone(0x50002500, "LO", planting.mark())
    level.gone(0x50023000, "OW", planting.mark().encode() * 2)
    level.gone(0x500A2610, "UN", planting.mark().encode())
    level.put(0x00100000, "UL", [12])
    icon = level.item(0x00880200)
    icon.gone(0x7FE00010, "OW", planting.mark().encode() * 2)
    icon.gone(0x00104000, "LT", planting.mark())
    level.gone(0xFFFCFFFC, "OB", planting.mark().encode() * 2)
    signatures = level.item(0xFFFAFFFA)
    signatures.gone(0x04000110, "OB", planting.mark().encode() * 3)
    signatures.gone(0x04000115, "OB", f"{FAMILY} {planting.mark()}".encode(), FAMILY)
