"""Objects that carry documents, signals or slides: released only when somebody can look inside of them."""

from __future__ import annotations

import zlib

from tests.deid import csa, pixels
from tests.deid.answer_key import SAFE_PRIVATE, Action, Level
from tests.deid.words import (
    CLINIC,
    DATES,
    EMAIL,
    FAMILY,
    FNR,
    GIVEN,
    PATIENT,
    PATIENT_ID,
    PHYSICIAN,
    Planting,
)  # fmt: skip

_PAGE = (
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
    b"/Resources<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>"
)


def pdf_bytes(text: str, title: str) -> bytes:
    """A PDF of one page, its text in a compressed stream, its title in the document information."""
    stream = zlib.compress(f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode())
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        _PAGE,
        b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Title(%s)/Author(%s)>>" % (title.encode(), PHYSICIAN.encode()),
    ]
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj" % number + content + b"endobj\n"
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % n for n in offsets)
    return bytes(out + b"trailer<</Size 6/Root 1 0 R/Info 5 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start)


def pdf(level: Level, planting: Planting) -> None:
    mark = planting.mark()
    level.gone(0x00420010, "ST", f"{FAMILY} {mark}", FAMILY, mark)
    level.put(0x00420012, "LO", "application/pdf")
    document = pdf_bytes(f"{GIVEN} {FAMILY} {FNR} {mark}", f"{mark} {FAMILY}")
    level.gone(0x00420011, "OB", document, FAMILY, mark, FNR)


def cda(level: Level, planting: Planting) -> None:
    mark = planting.mark()
    level.put(0x00420012, "LO", "text/XML")
    document = (
        f'<ClinicalDocument><recordTarget><id extension="{PATIENT_ID}"/><name><given>{GIVEN}</given>'
        f"<family>{FAMILY}</family></name></recordTarget><text>{mark} {EMAIL}</text></ClinicalDocument>"
    )
    level.gone(0x00420011, "OB", document.encode(), FAMILY, GIVEN, PATIENT_ID, mark, EMAIL)


def ecg(level: Level, planting: Planting) -> None:
    """A waveform with an annotation that names somebody."""
    annotation = level.item(0x0040B020)
    annotation.gone(0x00700006, "ST", f"{FAMILY} {planting.mark()}", FAMILY)
    group = level.item(0x54000100)
    group.put(0x003A0005, "US", [1])
    group.put(0x54001010, "OW", bytes(64))
    level.gone(0x0040A160, "UT", planting.mark())


def slide(level: Level, planting: Planting) -> None:
    """A whole slide's label image: its pixels are the identifier."""
    level.put(0x00080008, "CS", r"ORIGINAL\PRIMARY\LABEL\NONE")
    level.gone(0x22000005, "LT", planting.mark())
    level.gone(0x22000002, "UT", f"{PATIENT_ID} {planting.mark()}", PATIENT_ID)
    level.gone(0x00400512, "LO", planting.mark())
    pixels.describe(level, samples=3, photometric="RGB", bits=8)
    level.put(0x7FE00010, "OB", bytes(48))
    level.row(Action.PIXELS_HIDDEN, 0x7FE00010)


def siemens(level: Level, planting: Planting) -> None:
    """CSA image and series headers: names, dates and UIDs beside what dcm2niix reads."""
    marks = [planting.mark() for _ in range(3)]
    image = csa.csa2(
        [
            ("B_value", "IS", ["1000"]),
            ("DiffusionGradientDirection", "FD", ["0.5", "-0.5", "0.70710678"]),
            ("MosaicRefAcqTimes", "FD", ["0.0", "52.5", "105.0"]),
            ("ImaRelTablePosition", "IS", ["0", "0", "0"]),
            ("ReferencedImageUID", "UI", [planting.new_uid()]),
            ("PatientName", "PN", [PATIENT]),
            ("UsedPatientWeight", "IS", ["77"]),
        ]
    )
    protocol = f'### ASCCONV BEGIN ###\nsProtocol.tName = "{marks[0]}"\ntReferringPhysician = "{PHYSICIAN}"\n'
    series = csa.csa2(
        [
            ("MrPhoenixProtocol", "UN", [f"<XProtocol>\n{protocol}### ASCCONV END ###"]),
            ("PatientID", "LO", [PATIENT_ID]),
            ("StudyDate", "DA", [DATES[0]]),
            ("InstitutionName", "LO", [f"{CLINIC} {marks[1]}"]),
            ("PhaseEncodingDirectionPositive", "IS", ["1"]),
        ]
    )
    level.put(0x00290010, "LO", "SIEMENS CSA HEADER")
    level.put(0x00290011, "LO", "SIEMENS MEDCOM HEADER2")
    level.gone(0x00291010, "OB", image, FAMILY)
    level.gone(0x00291020, "OB", series, PATIENT_ID, CLINIC, *marks[:2], "Eisenbarth", DATES[0])
    level.gone(0x00291160, "LO", marks[2])
    for tag, names in ((0x00291010, ("B_value", "MosaicRefAcqTimes")), (0x00291020, ("MrPhoenixProtocol",))):
        level.row(Action.TEXT_RETAINED, tag, *names, only=frozenset({SAFE_PRIVATE}), within=True)
