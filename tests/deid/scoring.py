"""Scores copies against the answer key in the ten action types of the MIDI-B benchmark.

`python -m tests.deid.scoring [option ...]` generates the suite, de-identifies and verifies it, and prints the table of
`docs/planted-suite.md`. Copies are read with pydicom and searched as bytes; the product's own reading is not used.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
import tempfile
import unicodedata
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from pydicom import config as pydicom_config
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset

from fiona_dagster.adapters.releases import deidentify_study, verify_release
from fiona_dagster.domain.deid.profile import Option, Profile
from fiona_dagster.domain.deidentification import DeidentifiedStudy, ReleaseRequest, SourceInstance
from fiona_dagster.domain.identifiers import is_valid_uid
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.verification import Check, QuarantinedStudy, VerifiedStudy
from tests.deid.answer_key import REMOVAL, Action, Row
from tests.deid.generator import Study
from tests.deid.raw import DEFLATED
from tests.deid.suite import studies

KEY, PARTICIPANT = b"p" * 32, "P-001"
_CODECS = (
    "utf-8", "utf-16-le", "utf-16-be", "latin-1", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5", "iso8859_6",
    "iso8859_7", "iso8859_8", "iso8859_9", "tis-620", "shift_jis", "euc_jp", "euc_kr", "gb2312", "gb18030", "koi8_r",
)  # fmt: skip
_SHORTEST = 4


@cache
def needles(text: str) -> frozenset[bytes]:
    """`text` in every encoding in which it may stand, in small letters; its parts too, where it is a name."""
    parts = {text, *text.replace("=", "^").replace("\\", "^").split("^")}
    found = set()
    for part in parts:
        for codec in _CODECS if not part.isascii() else ("utf-8", "utf-16-le", "utf-16-be"):
            try:
                encoded = part.strip().encode(codec).lower()
            except UnicodeEncodeError:
                continue
            if len(encoded) >= _SHORTEST:
                found.add(encoded)
    return frozenset(found)


def fold(text: str) -> str:
    """Without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()


@dataclass
class Copy:
    """One released file as it lies on the disk."""

    content: bytes

    @cached_property
    def dataset(self) -> FileDataset:
        from io import BytesIO

        return dcmread(BytesIO(self.content))

    @cached_property
    def searched(self) -> bytes:
        """The bytes in small letters, what is deflated inflated."""
        content = self.content
        if DEFLATED.encode() in content[:400]:
            with contextlib.suppress(zlib.error):
                start = 144 + self.dataset.file_meta.FileMetaInformationGroupLength
                content += zlib.decompress(content[start:], -zlib.MAX_WBITS)
        return content.lower()

    @cached_property
    def text(self) -> str:
        """All decoded values, folded."""
        return fold("\n".join(str(e.value) for e in self.dataset.iterall() if e.VR != "SQ"))

    def holds(self, row: Row) -> bool:
        """Whether anything planted by the row stands anywhere in the copy."""
        raw = {one.strip(b" \0").lower() for one in row.raw}
        wanted = {n for value in row.values for n in needles(value)} | {n for n in raw if len(n) >= _SHORTEST}
        folded = (fold(value) for value in row.values if len(value) > _SHORTEST)
        return any(n in self.searched for n in wanted) or any(text in self.text for text in folded)

    def element(self, path: Sequence[int]) -> DataElement | None:
        """The element at a path, None where something on the way is not there."""
        here = self.dataset
        for tag, number in zip(path[0:-1:2], path[1::2], strict=True):
            if tag not in here or number >= len(here[tag].value or []):
                return None
            here = here[tag].value[number]
        return here.get(path[-1])


@dataclass
class Outcome:
    """What became of a study: copies by the name of their instance."""

    study: Study
    result: DeidentifiedStudy
    verified: bool
    checks: tuple[Check, ...]
    copies: dict[str, Copy]


@dataclass
class Score:
    """Rows right and wrong by action, and the wrong ones by place."""

    right: defaultdict[Action, int] = field(default_factory=lambda: defaultdict(int))
    wrong: list[Row] = field(default_factory=list)

    def total(self, action: Action) -> int:
        return self.right[action] + sum(row.action is action for row in self.wrong)

    def part(self, actions: Iterable[Action]) -> float:
        chosen = list(actions)
        total = sum(map(self.total, chosen))
        return sum(self.right[a] for a in chosen) / total if total else 1.0

    def table(self) -> str:
        """One line for each action, and the two sums that the bar is about."""
        lines = ["| action | rows | right | percent |", "| --- | --- | --- | --- |"]
        groups = [(a.value, [a]) for a in Action]
        groups += [("to be removed", [a for a in Action if a in REMOVAL])]
        groups += [("to be kept", [a for a in Action if a not in REMOVAL]), ("all", list(Action))]
        for name, actions in groups:
            total = sum(map(self.total, actions))
            right = sum(self.right[a] for a in actions)
            lines.append(f"| {name} | {total} | {right} | {100 * self.part(actions):.3f} |")
        return "\n".join(lines)


def profile_with(*options: str) -> Profile:
    return Profile(options=frozenset(Option(name) for name in options))


def request(folder: Path, **policy: object) -> ReleaseRequest:
    return ReleaseRequest(Project(name="STUDY_A", **policy), PARTICIPANT, "baseline", folder)  # type: ignore[arg-type]


def run(study: Study, folder: Path, profile: Profile, **policy: object) -> Outcome:
    """Write, de-identify and verify one study below `folder`."""
    paths = study.write(folder / study.name / "in")
    sources = [
        SourceInstance(path, number, one.sop_instance_uid)
        for number, (path, one) in enumerate(zip(paths, study.instances, strict=True))
    ]
    asked = request(folder / study.name / "out", **policy)
    result = deidentify_study(sources, asked, KEY, profile)
    verdict: VerifiedStudy | QuarantinedStudy = verify_release(result, sources, asked, KEY, profile)
    verified = isinstance(verdict, VerifiedStudy)
    copies = {
        study.instances[one.identity or 0].name: Copy((asked.folder / one.path).read_bytes())
        for one in result.released
        if verified or not study.may_stay
    }
    return Outcome(study, result, verified, verdict.checks, copies)


def score(outcomes: Sequence[Outcome], options: Iterable[str] = ()) -> Score:
    """All rows that apply under the options; UIDs and dates must agree over all studies, which have one patient."""
    chosen, result = frozenset(options), Score()
    new_uids: defaultdict[str, set[str]] = defaultdict(set)
    shift = _shift(outcomes)
    rows = [(o, row) for o in outcomes for row in o.study.key if row.applies(chosen)]
    for outcome, row in rows:
        if row.action is Action.UID_CONSISTENT and (copy := outcome.copies.get(row.instance)):
            new_uids[row.values[0]].add(_text(copy.element(row.path)))
    shared = {
        uid for made in new_uids.values() for uid in made if sum(uid in m for m in new_uids.values()) > 1
    }
    for outcome, row in rows:
        copy = outcome.copies.get(row.instance)
        if row.action is Action.UID_CONSISTENT and copy is not None:
            made = new_uids[row.values[0]]
            right = len(made) == 1 and "" not in made and not made & shared
        else:
            right = _is_right(row, copy, shift)
        if right:
            result.right[row.action] += 1
        else:
            result.wrong.append(row)
    return result


def _shift(outcomes: Sequence[Outcome]) -> int:
    """Days by which the first Study Date that left was moved."""
    for outcome in outcomes:
        for row in outcome.study.key:
            copy = outcome.copies.get(row.instance)
            if row.action is Action.DATE_SHIFTED and row.path == (0x00080020,) and copy is not None:
                moved = _day(_text(copy.element(row.path)))
                return (moved - _day(row.values[0])).days
    return 0


def _day(text: str) -> dt.date:
    return dt.date(int(text[:4]), int(text[4:6]), int(text[6:8]))


def _is_right(row: Row, copy: Copy | None, shift: int) -> bool:  # noqa: PLR0911 — one action a line
    if copy is None or row.action is Action.PIXELS_HIDDEN:
        return copy is None and row.action in REMOVAL
    if row.action is Action.TEXT_REMOVED:
        return not copy.holds(row)
    element = copy.element(row.path)
    text = _text(element)
    if row.action is Action.TAG_RETAINED:
        return element is not None
    if row.action is Action.TEXT_NOTNULL:
        return text != ""
    if row.action is Action.TEXT_RETAINED:
        return element is not None and _retained(row, element)
    if row.action is Action.DATE_SHIFTED:
        moved = (_day(row.values[0]) + dt.timedelta(days=shift)).strftime("%Y%m%d") + row.values[0][8:]
        return shift != 0 and text == moved
    if row.action is Action.UID_CHANGED:
        return (
            text != row.values[0]
            and is_valid_uid(text)
            and row.values[0].encode() + b"\0" not in copy.content
        )
    if row.action is Action.PATID_CONSISTENT:
        return text == PARTICIPANT
    return element is not None and element.value in row.raw


def _text(element: DataElement | None) -> str:
    if element is None or element.value is None:
        return ""
    value = element.value
    text = "\\".join(map(str, value)) if element.VM > 1 else str(value).strip(" \0")
    return text.replace("\x1b$)A", "")  # pydicom leaves the escape sequence of ISO 2022 IR 58 in the text


def _retained(row: Row, element: DataElement) -> bool:
    if row.within:
        text = element.value if isinstance(element.value, bytes) else _text(element).encode()
        return all(value.encode() in text for value in row.values)
    if row.raw:
        return element.value in row.raw
    if len(row.values) == 1 and _text(element) == row.values[0]:
        return True
    held = element.value if element.VM > 1 else [element.value]
    return [float(v) for v in held] == [float(v) for v in row.values] if _numeric(row, element) else False


def _numeric(row: Row, element: DataElement) -> bool:
    try:
        return bool([float(v) for v in row.values]) and element.VR not in {"UI", "LO", "SH", "PN"}
    except ValueError:
        return False


def main(options: Sequence[str]) -> Score:
    """Run the whole suite under a profile with the options."""
    warnings.simplefilter("ignore")
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [run(study, Path(folder), profile_with(*options)) for study in studies()]
        return score(outcomes, options)


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]).table() + "\n")
