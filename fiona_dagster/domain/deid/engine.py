"""The engine: from a parsed instance to the elements of its copy, every element at every depth by the profile.

It works on raw values: what is kept is copied as bytes, what is read is decoded here, and nothing of pydicom's value
conversion (whose warnings print values) is used. Nothing passes because it could not be understood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence

from fiona_dagster.domain.deid.actions import (
    Action,
    Empty,
    Field,
    Keep,
    MapUid,
    Pseudonym,
    Remove,
    Replace,
    ShiftDate,
)
from fiona_dagster.domain.deid.admission import (
    MODALITY,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    Verdict,
    admit,
)
from fiona_dagster.domain.deid.conventions import check_request, pseudonyms, root_elements
from fiona_dagster.domain.deid.dates import DateShift, shift_days
from fiona_dagster.domain.deid.encoding import UNDEFINED, Element, text_element
from fiona_dagster.domain.deid.method import method_elements
from fiona_dagster.domain.deid.profile import Code, Option, Profile, effective_vr
from fiona_dagster.domain.deid.table import standard_vr
from fiona_dagster.domain.deid.text import OUTPUT_CHARACTER_SET, encodings_of, first_text
from fiona_dagster.domain.deid.uids import UidMapper, ValidUids
from fiona_dagster.domain.deidentification import ReleaseRequest
from fiona_dagster.domain.errors import Permanent

PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ACCESSION_NUMBER, _REASON_FOR_THE_REQUESTED_PROCEDURE = 0x00080050, 0x00401002
_PIXEL_REPRESENTATION = 0x00280103


@dataclass(frozen=True)
class CleanInstance:
    """The elements of a copy, without file meta, and the UIDs and Modality that name it."""

    elements: list[Element]
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str


@dataclass(frozen=True, slots=True)
class _Level:
    """Where the walk is: encodings that govern it, and whether the file's own byte order is little endian."""

    encodings: Sequence[str]
    little: bool
    signed: bool
    root: bool = False


class Deidentifier:
    """De-identifies instances for one project and participant; the same input always gives the same output."""

    def __init__(self, profile: Profile, request: ReleaseRequest, key: bytes) -> None:
        """Raises ConfigurationError where a name does not fit or the UID root is unusable."""
        check_request(request)
        self.profile, self.request, self._key = profile, request, key
        self._dates = request.project.date_mode
        retained = Option.RETAIN_UIDS in profile.options
        mapper = UidMapper(key, request.project.uid_root)
        valid = ValidUids(mapper)
        self.map_uid: Callable[[str], str] = valid if retained else mapper
        self._kept_uid = MapUid(valid, "kept; what is no UID is replaced by the project's keyed UID")
        self.shift = DateShift(
            shift_days(request.project, request.participant, key), year_only=self._dates == "year"
        )
        self._actions: dict[Code, Action] = {
            Code.KEEP: Keep(),
            Code.REMOVE: Remove(),
            Code.EMPTY: Empty(),
            Code.REPLACE: Replace(),
            Code.UID: MapUid(self.map_uid),
            Code.DATE: ShiftDate(self.shift),
        }
        self._pseudonyms: dict[int, Action] = {
            tag: Pseudonym(made, meaning) for tag, (made, meaning) in pseudonyms(request, key).items()
        }
        self._method = method_elements(profile, request.project)

    def action(self, tag: int, declared_vr: str = "") -> Action:
        """What happens to an attribute's value; sequences that are kept are entered."""
        made = self._pseudonyms.get(tag)
        if made is not None:
            return made
        code = self.profile.code(tag, declared_vr, self._dates)
        if code is Code.KEEP and effective_vr(tag, declared_vr) == "UI":
            return self._kept_uid
        return self._actions[code]

    def admit(self, dataset: Dataset, transfer_syntax_uid: str) -> Verdict | None:
        """Why the instance is not released, or None."""
        return admit(dataset, transfer_syntax_uid, self.request.project)

    def clean(self, dataset: Dataset, *, little: bool = True) -> CleanInstance:
        """The copy of an admitted instance.

        Args:
            dataset: as `pydicom.dcmread` gives it, values not converted; with or without pixel data.
            little: whether the file is little endian.

        Raises:
            Permanent: the file ends inside an element.
        """
        encodings = encodings_of(dataset, [default_encoding])
        signed = _number(dataset, _PIXEL_REPRESENTATION) == 1
        elements = {e.tag: e for e in self._walk(dataset, _Level(encodings, little, signed, root=True))}
        study = first_text(dataset, STUDY_INSTANCE_UID)
        for element in self._own_elements(dataset, study):
            elements[element.tag] = element
        return CleanInstance(
            elements=list(elements.values()),
            sop_class_uid=first_text(dataset, SOP_CLASS_UID),
            sop_instance_uid=self.map_uid(first_text(dataset, SOP_INSTANCE_UID)),
            series_instance_uid=self.map_uid(first_text(dataset, SERIES_INSTANCE_UID)),
            study_instance_uid=self.map_uid(study),
            modality=first_text(dataset, MODALITY),
        )

    def _own_elements(self, dataset: Dataset, study: str) -> list[Element]:
        accession = Field(
            _ACCESSION_NUMBER,
            "SH",
            _raw_value(dataset, _ACCESSION_NUMBER),
            encodings_of(dataset, [default_encoding]),
        )
        return [
            text_element(0x00080005, "CS", OUTPUT_CHARACTER_SET),
            *root_elements(
                self.request,
                self._key,
                new_study_uid=self.map_uid(study),
                accession=(accession.text() or "").strip(),
                original_study_uid=study,
                had_reason=_REASON_FOR_THE_REQUESTED_PROCEDURE in dataset,
            ),
            *self._method,
        ]

    def _walk(self, dataset: Dataset, level: _Level) -> list[Element]:
        found = []
        for tag in dataset.keys():  # noqa: SIM118 — iterating a Dataset itself converts every value
            element = self._element(dataset, int(tag), level)
            if element is not None:
                found.append(element)
        return found

    def _element(self, dataset: Dataset, tag: int, level: _Level) -> Element | None:  # noqa: PLR0911 — one kind a line
        if tag == 0x00080005 or (level.root and tag >> 16 == 0x0012):
            return None  # written anew
        raw = dataset.get_item(tag)
        declared = str(raw.VR) if raw is not None and raw.VR else ""
        if tag in PIXEL_DATA and level.root:
            return _pixel_element(raw, declared)
        if tag in PIXEL_DATA or raw is None:
            return None
        code = self.profile.code(tag, declared, self._dates)
        if code is Code.REMOVE and tag not in self._pseudonyms:
            return None
        vr = effective_vr(tag, declared)
        if vr == "SQ":
            return self._sequence(dataset, tag, raw, code, level)
        if not isinstance(raw, RawDataElement):
            return None  # undefined length in something that is no sequence: not understood
        value = _whole(raw)
        vr = _written_vr(tag, declared, level)
        new = self.action(tag, declared)(Field(tag, vr, value, level.encodings))
        return None if new is None else Element(tag, vr, new)

    def _sequence(self, dataset: Dataset, tag: int, raw: object, code: Code, level: _Level) -> Element | None:
        if code is Code.EMPTY:
            return Element(tag, "SQ", [])
        items = _items(dataset, tag, raw, level)
        if items is None:
            return None
        if code is Code.REPLACE:
            return Element(tag, "SQ", [_dummy_code() for _ in items[:1]])
        if code is not Code.KEEP:
            return None
        return Element(tag, "SQ", [self._walk(item, _below(level, item)) for item in items])


def _below(level: _Level, item: Dataset) -> _Level:
    return _Level(encodings_of(item, level.encodings), level.little, level.signed)


def _whole(raw: RawDataElement) -> bytes:
    value = raw.value or b""
    if raw.length not in (UNDEFINED, len(value)):
        raise Permanent("the file ends inside an element: ask the sender for it again")
    return value


def _raw_value(dataset: Dataset, tag: int) -> bytes:
    raw = dataset.get_item(tag) if tag in dataset else None
    return raw.value if raw is not None and isinstance(raw.value, bytes) else b""


def _number(dataset: Dataset, tag: int) -> int:
    value = _raw_value(dataset, tag)
    return max(value) if len(value) == 2 else 0  # 0 or 1 in either byte order


def _pixel_element(raw: object, declared: str) -> Element | None:
    if not isinstance(raw, RawDataElement):
        return None
    undefined = raw.length == UNDEFINED
    return Element(int(raw.tag), declared or "OW", _whole(raw), undefined_length=undefined)


def _written_vr(tag: int, declared: str, level: _Level) -> str:
    """The VR to write: UN is resolved through the dictionary, `US or SS` through Pixel Representation."""
    if declared and declared != "UN":
        return declared
    if declared == "UN" and not level.little:
        return "UN"  # always little endian inside (PS3.5 6.2.2): resolving it would swap its numbers
    known = standard_vr(tag) or "UN"
    if known == "US or SS":
        return "SS" if level.signed else "US"
    return "OW" if " or " in known else known


def _items(dataset: Dataset, tag: int, raw: object, level: _Level) -> list[Dataset] | None:
    """The items of a sequence, None where they cannot be parsed."""
    if isinstance(raw, RawDataElement) and raw.VR == "UN":
        if not level.little:
            return None  # its numbers are little endian, the file's are not
        value = _whole(raw)
        try:
            return list(
                read_sequence(BytesIO(value), True, True, len(value), list(level.encodings))  # noqa: FBT003
            )
        except Exception:  # noqa: BLE001 — whatever a parser says of foreign bytes: not understood means removed
            return None
    if isinstance(raw, RawDataElement):
        _whole(raw)
    value = dataset[tag].value
    return list(value) if value is not None and not isinstance(value, bytes | str) else None


def _dummy_code() -> list[Element]:
    return [
        text_element(0x00080100, "SH", "REMOVED"),
        text_element(0x00080102, "SH", "99FIONA"),
        text_element(0x00080104, "LO", "Removed"),
    ]
