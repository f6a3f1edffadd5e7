"""What is planted: one fictitious patient, and marks that stand nowhere else, each telling where it was planted.

Identity numbers are those of nobody: their month is raised by 80, as in the Norwegian tax authority's test data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

ROOT = "1.2.826.0.1.3680043.99"
PATIENT_ID, ACCESSION = "77112233", "ACC4711777"
PATIENT = "Zwingenberger^Ottokar"
FAMILY, GIVEN = PATIENT.split("^")
PHYSICIAN, RELATIVE = "Eisenbarth^Kunigunde", "Hildegunn Zwingenberger"
STREET, CLINIC = "Quellgasse 5177", "Waldklinik Hintertupfing"
SITE = "Spitalplatz 8117\r\nObertupfing"
TELEPHONE, EMAIL = "+47 22 85 51 77", "ottokar.zwingen@klinikken.example"
DATES = ("20191224", "20191223", "20180303", "20200102")
TIME = "101112.25"
_FIRST, _SECOND = (3, 7, 6, 1, 8, 9, 4, 5, 2), (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)


def identity_number(day: int, month: int, year: int) -> str:
    """A Norwegian identity number with right check digits (modulo 11 twice); the first that exists that day."""
    for individual in range(100, 500):
        digits = [int(c) for c in f"{day:02d}{month + 80:02d}{year % 100:02d}{individual:03d}"]
        first = -sum(a * b for a, b in zip(digits, _FIRST, strict=True)) % 11
        second = -sum(a * b for a, b in zip([*digits, first], _SECOND, strict=True)) % 11
        if first < 10 and second < 10:
            return "".join(map(str, [*digits, first, second]))
    raise AssertionError("every day has a number")


FNR = identity_number(3, 2, 1961)
FREE_TEXTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (f"Kontroll av {GIVEN} {FAMILY}, f.nr. {FNR}", (GIVEN, FAMILY, FNR)),
    (f"Fnr {FNR[:6]} {FNR[6:]}: smerter", (FNR[:6] + " " + FNR[6:],)),
    (f"ring {TELEPHONE} eller 22855177", (TELEPHONE, "22855177")),
    (f"svar til {EMAIL}", (EMAIL, "klinikken.example")),
    ("forrige 24.12.2019, ny 3. januar 2020", ("24.12.2019", "3. januar 2020")),
    ("seen December 24, 2019 and 2019-12-23", ("December 24, 2019", "2019-12-23")),
    ("op. 24/12-19 og 24.des.2019", ("24/12-19", "24.des.2019")),
    (f"mor: {RELATIVE}, bor {STREET}", ("Hildegunn", FAMILY, STREET)),
    (f"Dr. Eisenbarth ({CLINIC})", ("Eisenbarth", CLINIC)),
    (f"MRN:{PATIENT_ID};ACC={ACCESSION}", (PATIENT_ID, ACCESSION)),
    ("fodt 030261, CT 24-12-2019", ("030261", "24-12-2019")),
    (f"{FAMILY}s MR den 24. desember 2019", (FAMILY, "24. desember 2019")),
    ("24DEC2019 2019.12.24 Dec 24th, 2019", ("24DEC2019", "2019.12.24", "Dec 24th, 2019")),
    (f"PID{PATIENT_ID[:4]}-{PATIENT_ID[4:]} ny CT", (f"{PATIENT_ID[:4]}-{PATIENT_ID[4:]}",)),
    (f"{FAMILY.upper()}_{GIVEN.lower()}_T1", (FAMILY.upper(), GIVEN.lower())),
)
"""Free text in Norwegian and English, and what of it identifies."""
HARMLESS = ("t1_mprage_sag_p2", "T2 TSE axial", "CT Thorax", "DWI b1000 ADC", "MR Caput")
"""Descriptions of which nothing identifies: Clean Descriptors keeps them."""
SOURCES_OF_TEXT: tuple[tuple[int, str], ...] = (
    (0x00081030, "LO"),  # StudyDescription
    (0x0008103E, "LO"),  # SeriesDescription
    (0x00181030, "LO"),  # ProtocolName
    (0x00104000, "LT"),  # PatientComments
    (0x00204000, "LT"),  # ImageComments
    (0x001021B0, "LT"),  # AdditionalPatientHistory
    (0x00102110, "LO"),  # Allergies
    (0x00082111, "ST"),  # DerivationDescription
    (0x00081080, "LO"),  # AdmittingDiagnosesDescription
    (0x00321060, "LO"),  # RequestedProcedureDescription
    (0x00324000, "LT"),  # StudyComments
    (0x00400254, "LO"),  # PerformedProcedureStepDescription
    (0x00401400, "LT"),  # RequestedProcedureComments
    (0x00402400, "LT"),  # ImagingServiceRequestComments
    (0x00380500, "LO"),  # PatientState
    (0x40000010, "LT"),  # Arbitrary, retired
)
"""Attributes in which people write."""


@dataclass
class Planting:
    """Marks and UIDs of one study; the same numbers every time."""

    study: str
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def mark(self) -> str:
        """A word that stands nowhere else."""
        return f"Plantzq{next(self.numbers):05d}"

    def new_uid(self, kind: int = 8) -> str:
        return f"{ROOT}.{self.study}.{kind}.{next(self.numbers)}"

    @property
    def study_uid(self) -> str:
        return f"{ROOT}.{self.study}"

    def series_uid(self, number: int) -> str:
        return f"{ROOT}.{self.study}.5.{number}"

    def frame_of_reference(self) -> str:
        return f"{ROOT}.{self.study}.9"
