"""Names of people who stand in no attribute for names: a colleague in a kernel, a code or a model. Only what is known
to be technical stays, so that they go although nobody knows them; what scanners really write there stays.
"""

from __future__ import annotations

from tests.deid import objects, pixels
from tests.deid.answer_key import Level
from tests.deid.generator import Author, Maker, Study
from tests.deid.words import Planting

LOCAL = "99WALD"
NAMES: tuple[tuple[int, str, str, tuple[str, ...]], ...] = (
    (0x00080070, "LO", "Hallgrimsen", ()),
    (0x00081090, "LO", "Kittelsrud Magnetom", ("Kittelsrud",)),
    (0x00181020, "LO", "Kristoffersdatter\\VB17A", ("Kristoffersdatter",)),
    (0x00181210, "SH", "Torgrimsby", ()),
    (0x00180024, "SH", "se_Haldorsen", ("Haldorsen",)),
    (0x00181250, "SH", "coil Frydenberg", ("Frydenberg",)),
    (0x00180022, "CS", "FS\\BJERKEBAKK", ("BJERKEBAKK",)),
    (0x00180021, "CS", "OLSEN", ()),
    (0x00185100, "CS", "LIE_MARIT", ()),
    (0x00080008, "CS", "ORIGINAL\\PRIMARY\\ENGEBRIGTSEN", ("ENGEBRIGTSEN",)),
    (0x00180015, "CS", "GUNHILD", ()),
    (0x00181030, "LO", "Protokoll til Vebjornsen", ("Vebjornsen",)),
    (0x00541101, "LO", "measured by Tollefsrud", ("Tollefsrud",)),
    (0x00181160, "SH", "Mr Skjeggestad", ("Skjeggestad",)),
    (0x00187006, "LT", "Sjekket av Bente Lindqvist", ("Bente", "Lindqvist")),
    (0x00281054, "LO", "Dahl Enger", ()),
    (0x00201040, "LO", "LINDQVIST", ()),
    (0x00189005, "SH", "seqOddbjorn", ("Oddbjorn",)),
    (0x00181061, "LO", "tlf 22 85 51 99", ("22 85 51 99",)),
    (0x00181400, "LO", "ring +47 99 85 51 33", ("+47 99 85 51 33",)),
    (0x00181401, "LO", "41018100140", ()),
)
"""Attribute, VR, value, and what of it names somebody (all of it where nothing is said)."""
CODES = (
    ("OLSEN", LOCAL, "Kontroll hos Oddvarsen", ("OLSEN", "Oddvarsen")),
    ("99OLAN", "99HALVORSEN", "Gunnarsdottir", ("99HALVORSEN", "Gunnarsdottir")),
    ("41234567", LOCAL, "Phone Tormodsen", ("41234567", "Tormodsen")),
    ("T-A0100", "SRT", "Brain of Ingvaldsen", ("Ingvaldsen",)),
)
SCANNERS: tuple[tuple[tuple[int, str, str], ...], ...] = (
    (
        (0x00080070, "LO", "SIEMENS"),
        (0x00081090, "LO", "MAGNETOM Prisma"),
        (0x00181020, "LO", "syngo MR E11"),
        (0x00180024, "SH", "*tfl3d1_16ns"),
        (0x00180022, "CS", r"IR\PFP"),
        (0x00180021, "CS", r"SK\SP\MP"),
        (0x00080008, "CS", r"ORIGINAL\PRIMARY\M\ND\NORM\MOSAIC"),
        (0x00181250, "SH", "HeadNeck_20_TCS"),
    ),
    (
        (0x00080070, "LO", "GE MEDICAL SYSTEMS"),
        (0x00081090, "LO", "DISCOVERY MR750w"),
        (0x00181020, "LO", r"27\LX\MR Software release:DV25.0_R01_1451.a"),
        (0x00180022, "CS", r"EPI_GEMS\PFF\SAT_GEMS"),
        (0x00080008, "CS", r"DERIVED\SECONDARY\PROJECTION IMAGE\COLLAPSE"),
        (0x00181250, "SH", "8HRBRAIN"),
    ),
    (
        (0x00080070, "LO", "Philips Medical Systems"),
        (0x00081090, "LO", "Achieva dStream"),
        (0x00181020, "LO", r"5.3.0\5.3.0.3"),
        (0x00189005, "SH", "T1TFE"),
        (0x00080008, "CS", r"ORIGINAL\PRIMARY\M_FFE\M\FFE"),
    ),
    (
        (0x00080070, "LO", "Canon Medical Systems"),
        (0x00081090, "LO", "Aquilion ONE"),
        (0x00181210, "SH", "FC43"),
        (0x00180022, "CS", "HELICAL_CT"),
    ),
)


def colleagues() -> Study:
    """Names in technical text, and four scanners that say what scanners say."""
    study = Study("colleagues", Planting("5"))
    author = Author(study)
    author.add("named", objects.MR, "MR", [_named])
    for number, values in enumerate(SCANNERS):
        author.add(f"scanner-{number}", objects.MR, "MR", [_saying(values)])
    return study


def _named(level: Level, _: Planting) -> None:
    tags = {tag for tag, *_ in NAMES}
    level.elements = [element for element in level.elements if element.tag not in tags]
    level.key[:] = [row for row in level.key if row.path not in {(tag,) for tag in tags}]
    for tag, vr, value, planted in NAMES:
        level.gone(tag, vr, value, *(planted or (value,)))
    for value, scheme, meaning, planted in CODES:
        item = level.item(0x00082218)
        item.put(0x00080100, "SH", value)
        item.put(0x00080102, "SH", scheme)
        item.gone(0x00080104, "LO", meaning, *planted)
    pixels.describe(level)


def _saying(values: tuple[tuple[int, str, str], ...]) -> Maker:
    def say(level: Level, _: Planting) -> None:
        tags = {tag for tag, *_ in values}
        level.elements = [element for element in level.elements if element.tag not in tags]
        level.key[:] = [row for row in level.key if row.path not in {(tag,) for tag in tags}]
        for tag, vr, value in values:
            level.keep(tag, vr, value)
        pixels.describe(level)

    return say
