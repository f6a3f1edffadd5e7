"""Studies with planted identifiers and their answer key: deterministic, nothing in them is anybody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.deid import documents, objects, pixels, planting
from tests.deid.answer_key import REMOVAL, Action, Level, Row
from tests.deid.characters import ASCII, CHARSETS, LATIN, LYING, UTF8, Charset
from tests.deid.raw import BIG, DEFLATED, EXPLICIT, IMPLICIT, Element, part10
from tests.deid.words import FAMILY, Planting

Maker = Callable[[Level, Planting], None]


@dataclass(frozen=True)
class Instance:
    """One file. `expected` is what must become of it, '' where that is no concern."""

    name: str
    content: bytes
    sop_instance_uid: str
    expected: str = "released"


@dataclass
class Study:
    """Files of one study, and the key to them. `may_stay`: nothing of it need come through verification."""

    name: str
    planting: Planting
    instances: list[Instance] = field(default_factory=list)
    key: list[Row] = field(default_factory=list)
    may_stay: bool = False

    def write(self, folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{one.name}.dcm" for one in self.instances]
        for path, one in zip(paths, self.instances, strict=True):
            path.write_bytes(one.content)
        return paths


class Author:
    """Adds instances to a study; series are numbered by object type."""

    def __init__(self, study: Study) -> None:
        self.study, self._numbers = study, count(1)
        self._series: dict[tuple[str, str], int] = {}

    def add(
        self,
        name: str,
        sop_class: str,
        modality: str,
        makers: Sequence[Maker],
        *,
        syntax: str = EXPLICIT,
        charset: Charset = ASCII,
        expected: str = "released",
        native: bool = True,
    ) -> None:
        rows: list[Row] = []
        level, planting_ = Level(name, rows, charset), self.study.planting
        if charset.terms:
            level.put(0x00080005, "CS", charset.terms.encode())
        series = self._series.setdefault((sop_class, modality), len(self._series) + 1)
        number = next(self._numbers)
        uid = planting.identity(
            level, planting_, sop_class=sop_class, modality=modality, series=series, number=number
        )
        for maker in makers:
            maker(level, planting_)
        described = any(e.tag == 0x00280002 for e in level.elements)
        if described and native and not any(e.tag >> 16 == 0x7FE0 for e in level.elements):
            pixels.native(
                level, 16 if sop_class == objects.SEG else 32, "OB" if sop_class == objects.SEG else "OW"
            )
        self.study.instances.append(Instance(name, self._file(level, planting_, syntax), uid, expected))
        if expected == "held":
            rows.append(Row(name, (0x7FE00010,), Action.PIXELS_HIDDEN))
        self.study.key += [row for row in rows if expected == "released" or row.action in REMOVAL]

    @staticmethod
    def _file(level: Level, planting_: Planting, syntax: str) -> bytes:
        marks = [planting_.mark() for _ in range(4)]
        for mark in marks:
            level.key.append(Row(level.name, (0x00020102,), Action.TEXT_REMOVED, (mark,)))
        meta = [
            Element(0x00020016, "AE", marks[0].encode()),
            Element(0x00020100, "UI", f"{planting_.study_uid}.88".encode()),
            Element(0x00020102, "OB", marks[1].encode()),
            Element(0x00020013, "SH", marks[2].encode()),
        ]
        return part10(level.elements, syntax, preamble=f"{marks[3]} {FAMILY}".encode(), meta=meta)


def _notes(shift: int) -> Maker:
    return lambda level, planting_: planting.free_text(level, planting_, shift)


def _harmless(shift: int) -> Maker:
    return lambda level, _: planting.harmless_text(level, shift)


def _nested(charset: Charset) -> Maker:
    return lambda level, planting_: planting.nested(level, planting_, charset=charset)


def _every_vr(level: Level, _: Planting) -> None:
    objects.every_vr(level)


def _diffusion(level: Level, _: Planting) -> None:
    objects.diffusion(level)


def _encapsulated(syntax: str, *, offsets: bool) -> Maker:
    return lambda level, _: pixels.encapsulated(level, syntax, offsets=offsets)


def _double(level: Level, _: Planting) -> None:
    pixels.floating(level, double=True)


def _single(level: Level, _: Planting) -> None:
    pixels.floating(level)


def modalities() -> Study:
    """Every object type that has a handler, some that have none, in every transfer syntax."""
    study = Study("modalities", Planting("1"))
    author = Author(study)
    image, structure = objects.image, planting.structure
    author.add("ct-1", objects.CT, "CT", [image, _notes(0), structure, planting.private])
    author.add("ct-2", objects.CT, "CT", [image, _harmless(0), _nested(LATIN), planting.unknown])
    for name, syntax in (("implicit", IMPLICIT), ("big", BIG), ("deflated", DEFLATED)):
        makers = [image, _notes(len(name)), structure, planting.private, planting.wrong]
        author.add(f"ct-{name}", objects.CT, "CT", makers, syntax=syntax)
        author.add(f"mr-nested-{name}", objects.MR, "MR", [image, _nested(UTF8), _every_vr], syntax=syntax)
        author.add(f"sr-{name}", objects.COMPREHENSIVE_SR, "SR", [objects.report], syntax=syntax)
    author.add("ct-unknown-implicit", objects.CT, "CT", [image, planting.unknown], syntax=IMPLICIT)
    author.add("ct-wrong-vr", objects.CT, "CT", [planting.wrong_vr, image, _notes(9)])
    for number, syntax in enumerate(pixels.ENCAPSULATED):
        makers = [image, _notes(number), _encapsulated(syntax, offsets=number % 2 == 0), structure]
        expected = "" if syntax in pixels.VIDEO_OR_NEW else "released"
        name = f"ct-{syntax.rsplit('.', 1)[1]}-{number}"
        author.add(name, objects.CT, "CT", makers, syntax=syntax, expected=expected)
    author.add("mr-1", objects.MR, "MR", [image, _diffusion, _every_vr, documents.siemens, _harmless(1)])
    author.add("mr-2", objects.MR, "MR", [image, _diffusion, documents.siemens, planting.wrong, _notes(4)])
    author.add("pt", objects.PT, "PT", [image, _notes(5), _harmless_pet])
    author.add("nm", objects.NM, "NM", [image, _notes(6)])
    for name, sop_class in (("cr", objects.CR), ("dx", objects.DX), ("mg", objects.MG), ("xa", objects.XA)):
        texts = _notes(len(name)) if name in {"cr", "xa"} else _harmless(2)
        author.add(name, sop_class, name.upper(), [image, texts])
    author.add("us", objects.US, "US", [image, _notes(1)], expected="held")
    author.add("sc", objects.SC, "OT", [image, _notes(2)], expected="held")
    author.add("ct-rgb", objects.CT, "CT", [_rgb], expected="held")
    author.add("enhanced-mr", objects.ENHANCED_MR, "MR", [objects.enhanced, _notes(3)])
    author.add("enhanced-ct", objects.ENHANCED_CT, "CT", [objects.enhanced, planting.private])
    author.add("seg", objects.SEG, "SEG", [objects.segmentation])
    author.add("pm-single", objects.PARAMETRIC_MAP, "MR", [objects.enhanced, _single])
    author.add("pm-double", objects.PARAMETRIC_MAP, "MR", [objects.enhanced, _double])
    author.add("rtstruct", objects.RTSTRUCT, "RTSTRUCT", [objects.structure_set, planting.private])
    author.add("rtplan", objects.RTPLAN, "RTPLAN", [objects.plan])
    author.add("rtdose", objects.RTDOSE, "RTDOSE", [image, _notes(7)])
    author.add("sr-basic", objects.BASIC_TEXT_SR, "SR", [objects.report], charset=LATIN)
    author.add("sr-utf8", objects.COMPREHENSIVE_SR, "SR", [objects.report, _notes(8)], charset=UTF8)
    author.add("sr-dose", objects.DOSE_SR, "SR", [objects.report, planting.unknown])
    author.add("ko", objects.KO, "KO", [lambda level, p: objects.report(level, p, depth=1)])
    author.add("pr", objects.PR, "PR", [objects.presentation_state])
    author.add("pdf", objects.PDF, "DOC", [documents.pdf], expected="")
    author.add("cda", objects.CDA, "DOC", [documents.cda], expected="")
    author.add("ecg", objects.ECG, "ECG", [documents.ecg], expected="")
    author.add("wsi-label", objects.WSI, "SM", [documents.slide], expected="held")
    author.add("raw", objects.RAW, "MR", [planting.private], expected="held")
    author.add("private-class", objects.PRIVATE_CLASS, "OT", [planting.private], expected="held")
    return study


def _harmless_pet(level: Level, planting_: Planting) -> None:
    level.keep(0x00541001, "CS", "BQML")
    level.keep(0x00541102, "CS", "START")
    level.keep(0x00541300, "DS", "0")
    radio = level.item(0x00540016)
    radio.keep(0x00181074, "DS", "370000000")
    radio.keep(0x00181075, "DS", "6586.2")
    radio.keep(0x00181072, "TM", "093000")
    radio.date(0x00181078, "DT", "20191224093000")
    radio.gone(0x00400555, "LO", planting_.mark())


def _rgb(level: Level, _: Planting) -> None:
    pixels.describe(level, samples=3, photometric="RGB", bits=8)


def scripts() -> Study:
    """One CT in each character set, right and wrong, with nested items in another one."""
    study = Study("scripts", Planting("2"))
    author = Author(study)
    for number, charset in enumerate((*CHARSETS, *LYING)):
        others = [_nested(CHARSETS[(number + 5) % len(CHARSETS)])] if number < len(CHARSETS) else []
        makers = [objects.image if number < len(CHARSETS) else _plain, *others, _in_script]
        name = f"script-{number:02d}-{charset.codec}"
        author.add(
            name, objects.CT, "CT", makers, charset=charset, syntax=IMPLICIT if number % 2 else EXPLICIT
        )
    return study


def _plain(level: Level, _: Planting) -> None:
    pixels.describe(level)


def _in_script(level: Level, planting_: Planting) -> None:
    name = level.charset.sample
    parts = tuple(part for part in name.replace("=", "^").split("^") if part)
    level.gone(0x00081050, "PN", name, *parts)
    level.gone(0x00081060, "PN", f"{name}\\{name}", *parts)
    level.gone(0x00321033, "LO", parts[0], parts[0])
    level.gone(0x00104000, "LT", f"{parts[-1]} {planting_.mark()}\r\n{parts[0]}", *parts)
    level.gone(0x00191001, "LO", parts[0], parts[0])


def follow_up() -> Study:
    """The same patient another day: same participant, same shift, the same Frame of Reference."""
    study = Study("follow-up", Planting("3"))
    author = Author(study)
    author.add("later", objects.CT, "CT", [_same_frame, _notes(3), planting.structure])
    return study


def _same_frame(level: Level, _: Planting) -> None:
    pixels.describe(level)
    level.uid(0x00200052, Planting("1").frame_of_reference())
