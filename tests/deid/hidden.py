"""Known identifiers where the profile keeps things: only verification can find them. Either they go, or all stays."""

from __future__ import annotations

from tests.deid import objects, pixels
from tests.deid.answer_key import Action, Level
from tests.deid.generator import Author, Study
from tests.deid.words import (
    ACCESSION,
    CLINIC,
    EMAIL,
    FAMILY,
    FNR,
    GIVEN,
    PATIENT_ID,
    PHYSICIAN,
    ROOT,
    STREET,
    TELEPHONE,
    Planting,
)  # fmt: skip

KERNEL, MANUFACTURER, POSITION, SEQUENCE_NAME, TRIGGER = (
    0x00181210,
    0x00080070,
    0x00185100,
    0x00180024,
    0x00181060,
)
STUDY_UID = f"{ROOT}.4"
"""The Study Instance UID of all these studies, of which each is de-identified on its own."""
PLACES: tuple[tuple[str, int, str, bytes, str], ...] = (
    ("family-in-kernel", KERNEL, "SH", FAMILY.encode(), FAMILY),
    ("name-in-manufacturer", MANUFACTURER, "LO", f"{GIVEN} {FAMILY}".encode(), FAMILY),
    ("family-in-position", POSITION, "CS", FAMILY.upper().encode(), FAMILY),
    ("family-in-palette", 0x00281201, "OW", FAMILY.encode() + b"X", FAMILY),
    ("family-in-address-tag", 0x00280009, "AT", FAMILY.encode().ljust(16), FAMILY),
    ("family-in-doubles", 0x00189089, "FD", FAMILY.encode().ljust(24), FAMILY),
    ("family-in-columns", 0x00280011, "US", FAMILY.encode().ljust(16), FAMILY),
    ("family-in-profile", 0x00282000, "OB", b"icc " + FAMILY.encode("utf-16-le"), FAMILY),
    ("family-in-window", 0x00281055, "LO", f"window of {FAMILY}".encode(), FAMILY),
    ("id-in-sequence-name", SEQUENCE_NAME, "SH", f"se_{PATIENT_ID}".encode(), PATIENT_ID),
    ("id-in-trigger", TRIGGER, "DS", PATIENT_ID.encode(), PATIENT_ID),
    ("id-with-blanks", KERNEL, "SH", b"7711 2233", "7711 2233"),
    ("accession-in-kernel", KERNEL, "SH", ACCESSION.lower().encode(), ACCESSION),
    ("physician-in-manufacturer", MANUFACTURER, "LO", b"dr. eisenbarth", PHYSICIAN.split("^", 1)[0]),
    ("clinic-in-window", 0x00281055, "LO", CLINIC.encode(), CLINIC),
    ("street-in-window", 0x00281055, "LO", f"at {STREET}".encode(), STREET),
    ("telephone-in-window", 0x00281055, "LO", TELEPHONE.encode(), TELEPHONE),
    ("day-in-window", 0x00281055, "LO", b"window of 24.12.2019", "24.12.2019"),
    ("english-day-in-window", 0x00281055, "LO", b"December 24, 2019", "December 24, 2019"),
    ("birth-date-in-kernel", KERNEL, "SH", b"03.02.1961", "03.02.1961"),
    ("uid-in-window", 0x00281055, "LO", STUDY_UID.encode(), STUDY_UID),
    ("identity-number-in-window", 0x00281055, "LO", f"x {FNR}".encode(), FNR),
    ("mail-in-window", 0x00281055, "LO", EMAIL.encode(), EMAIL),
)
"""Name, attribute that a copy keeps, its VR, its value, and what of it identifies."""


def known_and_kept() -> list[Study]:
    """A study of one CT for each place."""
    return [_study(*place) for place in PLACES]


def _study(name: str, tag: int, vr: str, value: bytes, planted: str) -> Study:
    study = Study(name, Planting("4"), may_stay=True)

    def plant(level: Level, _: Planting) -> None:
        level.elements = [element for element in level.elements if element.tag != tag]
        level.gone(tag, vr, value, planted)
        pixels.describe(level)

    Author(study).add(name, objects.CT, "CT", [plant], expected="")
    study.key = [row for row in study.key if row.action is Action.TEXT_REMOVED]
    return study
