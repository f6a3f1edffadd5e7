"""The profile carried out once more: with pydicom, slowly, as plainly as it can be written.

It takes the codes from the profile's rules and the meaning of each code from `docs/de-identification.md`; it shares
neither parser, walk, actions nor encoder with the engine, but the tables of technical text and what they say of one
value, which have their own tests. `differences` compares what it expects with a copy.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from fiona_dagster.domain.deid import technical
from fiona_dagster.domain.deid.dictionary import is_registered
from fiona_dagster.domain.deid.profile import Code, Option, Rules

_BY_CHARSET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_TEXT = _BY_CHARSET | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
_SINGLE = frozenset({"LT", "ST", "UT", "UR"})
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_PARTICIPANT = frozenset({0x00100010, 0x00100020})
_ACCESSION = 0x00080050
_CONVENTIONS = frozenset(
    {0x00080005, 0x00080050, 0x00080080, 0x00080090, 0x00100010, 0x00100020, 0x00200010, 0x00280303, 0x00401002,
     0x00402001}
)  # fmt: skip
"""First-level elements that the gateway writes by its own conventions; they have their own tests."""
_KEPT = frozenset({Code.KEEP, Code.TECHNICAL})
_TECHNICAL = frozenset({"CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})
_CODES = re.compile(rb"[A-Z0-9_ \\]*\0?")
_NUMBER = re.compile(r"[0-9+\-.eE \\\0]*")
_DA = re.compile(r"(\d{4})([.-]?)(\d{2})\2(\d{2})")
_DT = re.compile(r"(\d{4})(\d{2})?(\d{2})?((?:\d{2}){0,3}(?:\.\d{1,6})?)([+-]\d{4})?")
_TM = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?")


@dataclass(frozen=True)
class Reference:
    """The profile's rules for one object, and what its actions need."""

    rules: Rules
    key: bytes
    days: int
    participant: str

    def differences(self, original: FileDataset, copy: FileDataset) -> list[str]:
        """Where the copy is not what the profile says, without values."""
        return list(self._level(original, copy, (), ["ascii"]))

    def _level(
        self, original: Dataset, copy: Dataset, parents: tuple[int, ...], inherited: list[str]
    ) -> Iterator[str]:
        encodings = _encodings(original, inherited)
        expected: set[int] = set()
        for key in list(original.keys()):
            tag = int(key)
            if not parents and (tag in _CONVENTIONS or tag >> 16 == 0x0012):
                continue
            if tag == 0x00080005 or tag >> 16 == 0xFFFE:  # a delimiter that delimits nothing
                continue
            problem = self._element(original, copy, key, parents, encodings)
            if problem is not None:
                expected.add(tag)
                yield from problem
        for key in list(copy.keys()):
            written = not parents and (int(key) in _CONVENTIONS or int(key) >> 16 == 0x0012)
            if int(key) not in expected and not written and int(key) != 0x00080005:
                yield f"{_name((*parents, int(key)))} stands in the copy"

    def _element(  # noqa: PLR0911 — one kind of element a line
        self, original: Dataset, copy: Dataset, key: BaseTag, parents: tuple[int, ...], encodings: list[str]
    ) -> list[str] | None:
        """Problems of one element; None where it must not stand in the copy."""
        tag, raw = int(key), original.get_item(key)
        declared = str(raw.VR or "") if raw is not None else ""
        if declared == "SQ" and not isinstance(raw, RawDataElement) and _was_implicit(original):
            declared = ""
        name = _name((*parents, tag))
        if tag in _PIXELS:
            return self._pixels(original, copy, key, name) if not parents else None
        code = self.rules.code(tag, declared, parents)
        if code is Code.REMOVE and tag not in _PARTICIPANT | {_ACCESSION}:
            return None
        vr = declared if declared not in {"", "UN"} else _dictionary_vr(tag)
        if vr == "SQ":
            return self._sequence(original, copy, key, code, parents, encodings)
        if key not in copy:
            goes = code is Code.TECHNICAL and _goes(tag, vr, _readings(_bytes(original, key), vr, encodings))
            return None if goes or (code is Code.REPLACE and vr not in _TEXT) else [f"{name} is missing"]
        value, now = _bytes(original, key), _bytes(copy, key)
        if vr not in _TEXT:
            looked_at = not all(isinstance(d.get_item(key), RawDataElement) for d in (original, copy))
            if looked_at and code is Code.KEEP:  # pydicom has needed the value already, and converted it
                return [] if original[key].value == copy[key].value else [f"{name} has another value"]
            wanted = value if code is Code.KEEP else b""
            same = now.rstrip(b"\0 ") == wanted.rstrip(b"\0 ") or code in {Code.REPLACE, Code.CLEAN}
            return [] if same else [f"{name} has other bytes"]
        text = now.decode("utf-8").rstrip(" \0")
        return (
            []
            if self._agrees(tag, vr, code, value, text, encodings)
            else [f"{name} is not what {code} makes"]
        )

    @staticmethod
    def _pixels(original: Dataset, copy: Dataset, key: BaseTag, name: str) -> list[str]:
        if key not in copy:
            return [f"{name} is missing"]
        return [] if original[key].value == copy[key].value else [f"{name} has other pixels"]

    def _sequence(
        self,
        original: Dataset,
        copy: Dataset,
        key: BaseTag,
        code: Code,
        parents: tuple[int, ...],
        encodings: list[str],
    ) -> list[str] | None:
        name = _name((*parents, int(key)))
        try:
            items = list(original[key].value or [])
        except Exception:  # noqa: BLE001 — what pydicom cannot read as items is removed
            return None
        if key not in copy:
            return [f"{name} is missing"]
        made = list(copy[key].value or [])
        if code in {Code.EMPTY, Code.REPLACE}:
            most = 0 if code is Code.EMPTY else min(1, len(items))
            return [] if len(made) == most else [f"{name} has {len(made)} items"]
        if len(made) != len(items):
            return [f"{name} has {len(made)} items"]
        below = (*parents, int(key))
        return [p for a, b in zip(items, made, strict=True) for p in self._level(a, b, below, encodings)]

    def _agrees(self, tag: int, vr: str, code: Code, value: bytes, now: str, encodings: list[str]) -> bool:
        readings = _readings(value, vr, encodings)
        was_empty = not value.strip(b" \0")
        if tag in _PARTICIPANT:
            return now == ("" if was_empty else self.participant)
        if tag == _ACCESSION:
            return now == "" if was_empty else bool(re.fullmatch(r"\d{16}", now))
        if code is Code.EMPTY:
            return now == ""
        if code is Code.REPLACE:
            return was_empty == (now == "") and now not in {r.strip() for r in readings if len(r.strip()) > 1}
        if code is Code.CLEAN or (code in _KEPT and vr == "CS" and not _CODES.fullmatch(value)):
            return True  # cleaners have their own tests; what is no code is cleaned
        texts = readings or [""]
        as_text = code is Code.TECHNICAL and vr in _TECHNICAL
        return now in {_technical(tag, vr, text) if as_text else self._made(vr, code, text) for text in texts}

    def _made(self, vr: str, code: Code, text: str) -> str:
        if code is Code.KEEP and vr in {"DS", "IS"}:
            return text if _NUMBER.fullmatch(text) else ""
        if code is Code.KEEP and vr != "UI":
            return text
        values = text.split("\\") if vr not in _SINGLE else [text]
        if code is Code.DATE:
            return "\\".join(self._moved(vr, one.strip(" \0")) for one in values)
        retained = Option.RETAIN_UIDS in self.rules.options
        return "\\".join(self._uid(one.strip(" \0"), keep=code is Code.KEEP or retained) for one in values)

    def _uid(self, uid: str, *, keep: bool) -> str:
        if not uid or is_registered(uid) or (keep and UID(uid).is_valid):
            return uid
        digest = hmac.new(self.key, f"uid\x1f{uid}".encode(), hashlib.sha256).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"

    def _moved(self, vr: str, text: str) -> str:
        if vr == "TM":
            return text if _TM.fullmatch(text) else ""
        match = (_DA if vr == "DA" else _DT).fullmatch(text)
        if match is None or (vr == "DT" and match[4] and not match[3]):
            return ""
        year, month, day = (match[1], match[3], match[4]) if vr == "DA" else match.group(1, 2, 3)
        try:
            moved = dt.date(int(year), int(month or 1), int(day or 1)) + dt.timedelta(days=self.days)
        except (ValueError, OverflowError):
            return ""
        whole = f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"
        if vr == "DA":
            return whole
        return whole[: 8 if day else 6 if month else 4] + (match[4] or "") + (match[5] or "")


def _technical(tag: int, vr: str, text: str) -> str:
    """What stays of technical text: known values; of others their known words, of code strings nothing."""
    values = [text] if vr in _SINGLE else text.split("\\")
    made = [technical.cleaned(tag, vr, one) if one.strip() else one for one in values]
    if any(one.strip() for one in made):
        return "\\".join(
            new if new or not old.strip() else "REMOVED" for old, new in zip(values, made, strict=True)
        )
    if not any(one.strip() for one in values):
        return text
    return "REMOVED" if vr != "CS" else technical.replacement(tag) or ""


def _goes(tag: int, vr: str, readings: list[str]) -> bool:
    """Whether a code string of which nothing is known is removed with its element."""
    wholly_unknown = any(
        text.strip() and all(not technical.cleaned(tag, vr, one) for one in text.split("\\"))
        for text in readings
    )
    return vr == "CS" and wholly_unknown and technical.replacement(tag) is None


def _was_implicit(dataset: Dataset) -> bool:
    return bool(getattr(dataset, "original_encoding", (False, True))[0])


def _dictionary_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def _encodings(dataset: Dataset, inherited: list[str]) -> list[str]:
    if 0x00080005 not in dataset:
        return inherited
    terms = _bytes(dataset, BaseTag(0x00080005)).decode("ascii", "replace").rstrip(" \0").split("\\")
    try:
        return list(convert_encodings([one.strip() for one in terms]))
    except LookupError:
        return ["ascii"]


def _readings(value: bytes, vr: str, encodings: list[str]) -> list[str]:
    """The value as text, in the declared character set and as UTF-8."""
    found = []
    with contextlib.suppress(UnicodeDecodeError):
        found.append(value.decode("utf-8"))
    if vr in _BY_CHARSET and not (value.isascii() and b"\x1b" not in value):
        delimiters = (
            {0x0D, 0x0A, 0x09, 0x0C}
            | (set() if vr in _SINGLE else {0x5C})
            | ({0x5E, 0x3D} if vr == "PN" else set())
        )
        with contextlib.suppress(UnicodeError, LookupError):
            text = decode_bytes(value, encodings, delimiters)
            found.append(text.replace("\x1b$)A", ""))  # pydicom leaves that of ISO 2022 IR 58
    cleaned = [re.sub(r"[\x00-\x08\x0b\x0e-\x1f\x7f]", "", one).rstrip(" \0") for one in found]
    return list(dict.fromkeys([*cleaned, *(one.rstrip(" \0") for one in found)]))


def _bytes(dataset: Dataset, key: BaseTag) -> bytes:
    raw = dataset.get_item(key)
    value = raw.value if raw is not None else None
    if value is None or isinstance(value, bytes):
        return value or b""
    values = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    return "\\".join(map(str, values)).encode()


def _name(path: tuple[int, ...]) -> str:
    return ".".join(f"{tag:08X}" for tag in path)
