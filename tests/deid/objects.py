"""Object types: what is special to each, with identifiers where that type has room for them."""

from __future__ import annotations

from tests.deid import pixels
from tests.deid.answer_key import DESCRIPTORS, GRAPHICS, STRUCTURED, Action, Level
from tests.deid.words import DATES, FAMILY, FREE_TEXTS, GIVEN, PATIENT, PHYSICIAN, Planting

CT, MR, PT, NM = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("2", "4", "128", "20"))
CR, DX, MG, XA = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("1", "1.1", "1.2", "12.1"))
US, SC, ENHANCED_MR, ENHANCED_CT = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("6.1", "7", "4.1", "2.1"))
SEG, PARAMETRIC_MAP, SPECTROSCOPY = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("66.4", "30", "4.2"))
RTSTRUCT, RTPLAN, RTDOSE, REG = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("481.3", "481.5", "481.2", "66.1"))
BASIC_TEXT_SR, COMPREHENSIVE_SR, DOSE_SR, KO = (
    f"1.2.840.10008.5.1.4.1.1.88.{n}" for n in ("11", "33", "67", "59")
)
PR, PDF, CDA, ECG = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("11.1", "104.1", "104.2", "9.1.1"))
WSI, RAW, PRIVATE_CLASS = (
    "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.5.1.4.1.1.66", "1.2.826.0.1.3680043.99.4.4",
)  # fmt: skip


def code(level: Level, tag: int, value: str, scheme: str, meaning: str) -> None:
    """A coded concept (PS3.3 8.8), of which everything stays."""
    item = level.item(tag)
    item.keep(0x00080100, "SH", value)
    item.keep(0x00080102, "SH", scheme)
    item.keep(0x00080104, "LO", meaning)


def image(level: Level, planting: Planting) -> None:
    """Acquisition and geometry of a sectional image."""
    level.keep(0x00080008, "CS", r"ORIGINAL\PRIMARY\AXIAL")
    level.keep(0x00180050, "DS", "2.5")
    level.keep(0x00180060, "DS", "120")
    level.keep(0x00180015, "CS", "HEAD")
    level.keep(0x00185100, "CS", "HFS")
    level.keep(0x00181210, "SH", "B30f")
    level.keep(0x00200032, "DS", r"-10.5\0\3.25")
    level.keep(0x00200037, "DS", r"1\0\0\0\1\0")
    level.keep(0x00280030, "DS", r"0.5\0.5")
    level.keep(0x00181314, "DS", "90")
    level.uid(0x00200052, planting.frame_of_reference())
    code(level, 0x00082218, "T-A0100", "SRT", level.charset.word if level.charset.terms else "Brain")
    source = level.item(0x00082112)
    source.keep(0x00081150, "UI", CT)
    source.uid(0x00081155, f"{planting.series_uid(1)}.1")
    pixels.describe(level)


def diffusion(level: Level) -> None:
    """MR timing and diffusion: what dcm2niix lives on."""
    level.keep(0x00180080, "DS", "2000")
    level.keep(0x00180081, "DS", "30.5")
    level.keep(0x00180024, "SH", "*ep_b1000#12")
    level.keep(0x00189087, "FD", [1000.0])
    level.keep(0x00189089, "FD", [0.5, -0.5, 0.25])


def every_vr(level: Level) -> None:
    """An attribute that stays of every VR that has one."""
    level.keep(0x00280009, "AT", [0x00181063])
    level.keep(0x00189220, "FD", [1.5])
    level.keep(0x0018602C, "FD", [0.5])
    level.keep(0x00186020, "SL", [-7])
    level.keep(0x00186018, "UL", [77])
    level.keep(0x00181149, "IS", r"50\40")
    level.keep(0x00189219, "SS", [-3])
    level.keep(0x00281201, "OW", b"\1\0\2\0\3\0\4\0")
    level.keep(0x00660016, "OF", [0.5, 1.5, -2.5])
    level.keep(0x00660040, "OL", [1, 2, 3])
    level.keep(0x00282000, "OB", bytes(range(200, 232)))
    level.keep(0x00080119, "UC", "a long code value")
    level.keep(0x00080120, "UR", "urn:oid:1.2.3")


def enhanced(level: Level, planting: Planting) -> None:
    """Functional groups, shared and by frame (PS3.3 C.7.6.16)."""
    level.keep(0x00280008, "IS", "2")
    dimension = level.item(0x00209221)
    dimension.uid(0x00209164, planting.new_uid())
    shared = level.item(0x52009229)
    shared.item(0x00289110).keep(0x00280030, "DS", r"1\1")
    shared.item(0x00289145).keep(0x00281052, "DS", "0")
    for frame in range(2):
        group = level.item(0x52009230)
        content = group.item(0x00209111, undefined=frame == 1)
        content.date(0x00189074, "DT", f"{DATES[0]}101112.5")
        content.keep(0x00209157, "UL", [frame + 1, 1])
        content.gone(0x00209158, "LT", f"{FAMILY} {planting.mark()}", FAMILY)
        group.item(0x00209113).keep(0x00200032, "DS", rf"0\0\{frame}")
        reference = group.item(0x00081140)
        reference.uid(0x00081155, f"{planting.series_uid(1)}.{frame + 1}")
    pixels.describe(level)


def segmentation(level: Level, planting: Planting) -> None:
    level.gone(0x00700084, "PN", PHYSICIAN)
    level.put(0x00700080, "CS", "SEGMENTATION")
    segment = level.item(0x00620002)
    segment.keep(0x00620004, "US", [1])
    code(segment, 0x00620003, "T-D0050", "SRT", "Tissue")
    level.item(0x00081115).uid(0x0020000E, planting.series_uid(1))
    level.uid(0x00200052, planting.frame_of_reference())
    pixels.describe(level, bits=8)


def structure_set(level: Level, planting: Planting) -> None:
    """RT Structure Set: labels, observers, contours, references into the CT series."""
    level.filled(0x30060002, "SH", planting.mark())
    level.gone(0x30060004, "LO", f"{FAMILY} {planting.mark()}", FAMILY)
    level.date(0x30060008, "DA", DATES[3])
    frame = level.item(0x30060010)
    frame.uid(0x00200052, planting.frame_of_reference())
    study = frame.item(0x30060012)
    study.uid(0x00081155, planting.study_uid)
    series = study.item(0x30060014)
    series.uid(0x0020000E, planting.series_uid(1))
    series.item(0x30060016).uid(0x00081155, f"{planting.series_uid(1)}.1")
    roi = level.item(0x30060020)
    roi.keep(0x30060022, "IS", "1")
    roi.gone(0x30060026, "LO", f"{GIVEN} {planting.mark()}", GIVEN)
    roi.gone(0x30060028, "ST", FREE_TEXTS[0][0], *FREE_TEXTS[0][1])
    contour = level.item(0x30060039).item(0x30060040)
    contour.keep(0x30060042, "CS", "POINT")
    contour.keep(0x30060050, "DS", r"1.5\-2.5\3")
    observation = level.item(0x30060080)
    observation.keep(0x30060084, "IS", "1")
    observation.gone(0x300600A6, "PN", PHYSICIAN)
    level.gone(0x300E0008, "PN", f"{planting.mark()}^Reviewer")


def plan(level: Level, planting: Planting) -> None:
    level.filled(0x300A0002, "SH", planting.mark()[:16])
    level.gone(0x300A0003, "LO", planting.mark())
    level.gone(0x300A0004, "ST", FREE_TEXTS[7][0], *FREE_TEXTS[7][1])
    level.date(0x300A0006, "DA", DATES[0])
    level.item(0x300C0060).uid(0x00081155, planting.new_uid())
    beam = level.item(0x300A00B0)
    beam.keep(0x300A00C0, "IS", "1")
    beam.gone(0x300A00C3, "ST", planting.mark())
    beam.gone(0x300A00B2, "SH", planting.mark(), unless="retain_device_identity")
    beam.item(0x300A0111).keep(0x300A011E, "DS", "180")


def presentation_state(level: Level, planting: Planting) -> None:
    """Text and graphics over a referenced image (PS3.3 C.10.5)."""
    level.gone(0x00700084, "PN", PHYSICIAN)
    level.gone(0x00700081, "LO", FREE_TEXTS[0][0], *FREE_TEXTS[0][1])
    level.date(0x00700082, "DA", DATES[1])
    reference = level.item(0x00081115)
    reference.uid(0x0020000E, planting.series_uid(1))
    reference.item(0x00081140).uid(0x00081155, f"{planting.series_uid(1)}.2")
    annotation = level.item(0x00700001)
    annotation.item(0x00081140).uid(0x00081155, f"{planting.series_uid(1)}.2")
    text = annotation.item(0x00700008)
    text.gone(0x00700006, "ST", f"{FREE_TEXTS[1][0]}\r\n{planting.mark()}", *FREE_TEXTS[1][1])
    text.row(Action.TEXT_NOTNULL, 0x00700006)
    text.put(0x00700010, "FL", [1.0, 2.0])
    layer = level.item(0x00700060)
    layer.gone(0x00700068, "LO", f"{FAMILY} {planting.mark()}", FAMILY)
    level.row(Action.TAG_RETAINED, 0x00700001, only=frozenset({GRAPHICS}))


def _content(parent: Level, kind: str, concept: tuple[str, str, str], relation: str = "CONTAINS") -> Level:
    item = parent.item(0x0040A730, undefined=kind == "CONTAINER")
    item.keep(0x0040A010, "CS", relation)
    item.keep(0x0040A040, "CS", kind)
    code(item, 0x0040A043, *concept)
    return item


def report(level: Level, planting: Planting, *, depth: int = 5) -> None:
    """A content tree with every value type that can identify (PS3.3 C.17.3), containers in containers."""
    level.keep(0x0040A040, "CS", "CONTAINER")
    level.keep(0x0040A050, "CS", "SEPARATE")
    level.keep(0x0040A491, "CS", "COMPLETE")
    level.keep(0x0040A493, "CS", "VERIFIED")
    code(level, 0x0040A043, "126000", "DCM", "Imaging Measurement Report")
    observer = level.item(0x0040A073)
    observer.filled(0x0040A075, "PN", PHYSICIAN)
    observer.gone(0x0040A027, "LO", f"{planting.mark()} hospital")
    observer.date(0x0040A030, "DT", f"{DATES[0]}120000")
    evidence = level.item(0x0040A375)
    evidence.uid(0x0020000D, planting.study_uid)
    series = evidence.item(0x00081115)
    series.uid(0x0020000E, planting.series_uid(1))
    series.item(0x00081199).uid(0x00081155, f"{planting.series_uid(1)}.1")
    parent = level
    for step in range(depth):
        _leaves(parent, planting, step)
        parent = _content(parent, "CONTAINER", ("121070", "DCM", "Findings"))


def _leaves(parent: Level, planting: Planting, step: int) -> None:
    text, planted = FREE_TEXTS[step % len(FREE_TEXTS)]
    mark = planting.mark()
    finding = _content(parent, "TEXT", ("121071", "DCM", "Finding"))
    finding.gone(0x0040A160, "UT", f"{text}. {mark}", *planted, mark)
    finding.row(Action.TEXT_NOTNULL, 0x0040A160)
    name = _content(parent, "PNAME", ("121008", "DCM", "Person Observer Name"), "HAS OBS CONTEXT")
    name.filled(0x0040A123, "PN", PATIENT)
    day = _content(parent, "DATE", ("111526", "DCM", "Date Started"))
    day.date(0x0040A121, "DA", DATES[step % 4])
    moment = _content(parent, "DATETIME", ("111527", "DCM", "DateTime Ended"))
    moment.date(0x0040A120, "DT", f"{DATES[0]}{TIME_OF_DAY}")
    uid = _content(parent, "UIDREF", ("121018", "DCM", "Procedure Study Instance UID"))
    uid.uid(0x0040A124, planting.study_uid)
    number = _content(parent, "NUM", ("121211", "DCM", "Path length"))
    measured = number.item(0x0040A300)
    measured.keep(0x0040A30A, "DS", "12.5")
    code(measured, 0x004008EA, "mm", "UCUM", "millimeter")
    picture = _content(parent, "IMAGE", ("121191", "DCM", "Referenced Segment"), "INFERRED FROM")
    picture.item(0x00081199).uid(0x00081155, f"{planting.series_uid(1)}.1")
    coded = _content(parent, "CODE", ("121049", "DCM", "Language"))
    code(coded, 0x0040A168, "eng", "RFC5646", "English")
    points = _content(parent, "SCOORD", ("111030", "DCM", "Image Region"))
    points.keep(0x00700022, "FL", [1.0, 2.0, 3.5, 4.5])
    parent.row(Action.TAG_RETAINED, 0x0040A730, only=frozenset({STRUCTURED, DESCRIPTORS}))


TIME_OF_DAY = "120000.5"
