"""The engine: from the bytes of an instance to the bytes of its copy, every element at every depth by the profile.

What is kept is copied as it stands; nothing passes because it could not be understood. The outcome for an element
depends on its own bytes and on its level alone (parents, character set, encoding, object type), so it is remembered:
the images of a series differ in a dozen elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydicom.charset import default_encoding

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
from fiona_dagster.domain.deid.cleaning import CleanText
from fiona_dagster.domain.deid.conventions import check_request, pseudonyms, root_elements
from fiona_dagster.domain.deid.dates import DateShift, shift_days
from fiona_dagster.domain.deid.elements import EMPTY, PIXEL_TAGS, UNDEFINED, DataSet
from fiona_dagster.domain.deid.encoding import Element, Syntax, encode_element, header, text_element
from fiona_dagster.domain.deid.method import method_elements
from fiona_dagster.domain.deid.profile import Code, Option, Profile, Rules, effective_vr
from fiona_dagster.domain.deid.table import standard_vr
from fiona_dagster.domain.deid.text import (
    OUTPUT_CHARACTER_SET,
    SPECIFIC_CHARACTER_SET,
    decode,
    encodings_of,
    first_text,
)
from fiona_dagster.domain.deid.uids import UidMapper, ValidUids
from fiona_dagster.domain.deidentification import ReleaseRequest
from fiona_dagster.domain.errors import Permanent

_ACCESSION_NUMBER, _REASON_FOR_THE_REQUESTED_PROCEDURE = 0x00080050, 0x00401002
_PIXEL_REPRESENTATION = 0x00280103
_DEIDENTIFICATION_GROUP = 0x0012
_REMEMBERED_BYTES, _REMEMBERED_VALUES = 16_384, 256
"""Longest element and number of values of one attribute that are remembered."""


@dataclass(frozen=True, slots=True)
class CleanInstance:
    """A copy without its file meta information: what stands before and behind the pixels that stay in their file.

    `before` and `behind` are encoded elements in the file's own transfer syntax.
    """

    before: bytes
    behind: bytes
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str


@dataclass(frozen=True, slots=True)
class _Level:
    """What an element's outcome depends on beside its own bytes."""

    rules: Rules
    parents: tuple[int, ...]
    encodings: Sequence[str]
    source: Syntax
    target: Syntax
    signed: bool


@dataclass(slots=True)
class _Plan:
    """A level, and what was found out about its attributes: how each is treated, and what its values became."""

    level: _Level
    treatments: dict[tuple[int, str], _Treatment | None] = field(default_factory=dict)
    below: dict[tuple[int, Sequence[str], Syntax], _Plan] = field(default_factory=dict)


Make = Callable[[DataSet, int], bytes]


@dataclass(slots=True)
class _Treatment:
    """How an attribute is treated: `make` gives the encoded element of the copy, b'' for none."""

    make: Make
    made: dict[bytes, bytes] = field(default_factory=dict)


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
            Code.CLEAN: CleanText(lambda _: ""),
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
        self._roots: dict[tuple[str, Sequence[str], Syntax, bool], _Plan] = {}
        self._own: dict[tuple[str, str, bool, Syntax], dict[int, bytes]] = {}

    def action(self, code: Code, tag: int, declared_vr: str = "") -> Action:
        """What happens to an attribute's value where the rules say `code`."""
        made = self._pseudonyms.get(tag)
        if made is not None:
            return made
        if code is Code.KEEP and effective_vr(tag, declared_vr) == "UI":
            return self._kept_uid
        return self._actions[code]

    def admit(self, dataset: DataSet, transfer_syntax_uid: str) -> Verdict | None:
        """Why the instance is not released, or None."""
        return admit(dataset, transfer_syntax_uid, self.request.project)

    def clean(self, dataset: DataSet, behind: DataSet = EMPTY) -> CleanInstance:
        """The copy of an admitted instance.

        Args:
            dataset: its first level, up to the pixels that stay in their file, or whole.
            behind: what stands behind those pixels.

        Raises:
            Permanent: an element is damaged.
        """
        sop_class = first_text(dataset, SOP_CLASS_UID)
        plan = self._root(dataset, sop_class)
        pieces = self._pieces(dataset, plan, root=True)
        study = first_text(dataset, STUDY_INSTANCE_UID)
        pieces.update(self._own_elements(dataset, study, plan.level))
        return CleanInstance(
            before=_joined(pieces),
            behind=_joined(self._pieces(behind, plan, root=True)) if behind.places else b"",
            sop_class_uid=sop_class,
            sop_instance_uid=self.map_uid(first_text(dataset, SOP_INSTANCE_UID)),
            series_instance_uid=self.map_uid(first_text(dataset, SERIES_INSTANCE_UID)),
            study_instance_uid=self.map_uid(study),
            modality=first_text(dataset, MODALITY),
        )

    def _root(self, dataset: DataSet, sop_class: str) -> _Plan:
        encodings = encodings_of(dataset, (default_encoding,))
        representation = dataset.value(_PIXEL_REPRESENTATION)
        signed = len(representation) == 2 and max(representation) == 1  # 0 or 1 in either byte order
        known = (sop_class, encodings, dataset.syntax, signed)
        plan = self._roots.get(known)
        if plan is None:
            rules = self.profile.rules(sop_class, self._dates)
            level = _Level(rules, (), encodings, dataset.syntax, dataset.syntax, signed)
            plan = self._roots[known] = _Plan(level)
        return plan

    def _own_elements(self, dataset: DataSet, study: str, level: _Level) -> dict[int, bytes]:
        accession = decode(dataset.value(_ACCESSION_NUMBER), "SH", level.encodings) or ""
        known = (study, accession, _REASON_FOR_THE_REQUESTED_PROCEDURE in dataset, level.target)
        own = self._own.get(known)
        if own is None:
            elements = [
                text_element(SPECIFIC_CHARACTER_SET, "CS", OUTPUT_CHARACTER_SET),
                *root_elements(
                    self.request,
                    self._key,
                    new_study_uid=self.map_uid(study),
                    accession=accession.strip(),
                    original_study_uid=study,
                    had_reason=known[2],
                ),
                *self._method,
            ]
            own = self._own[known] = {e.tag: encode_element(e, level.target) for e in elements}
        return own

    def _pieces(self, dataset: DataSet, plan: _Plan, *, root: bool = False) -> dict[int, bytes]:
        """The encoded elements of a level's copy."""
        pieces: dict[int, bytes] = {}
        content, treatments = dataset.content, plan.treatments
        for tag, (begin, _, stop, declared) in dataset.places.items():
            key = (tag, declared)
            try:
                treatment = treatments[key]
            except KeyError:
                treatment = treatments[key] = self._treatment(plan, tag, declared, root=root)
            if treatment is None:
                continue
            if stop - begin > _REMEMBERED_BYTES:
                piece = treatment.make(dataset, tag)
            else:
                raw, made = content[begin:stop], treatment.made
                known = made.get(raw)
                if known is None:
                    if len(made) >= _REMEMBERED_VALUES:
                        made.clear()
                    known = made[raw] = treatment.make(dataset, tag)
                piece = known
            if piece:
                pieces[tag] = piece
        return pieces

    def _treatment(self, plan: _Plan, tag: int, declared: str, *, root: bool) -> _Treatment | None:
        """How an attribute is treated on a level; None where it is removed, or written anew."""
        level = plan.level
        if tag == SPECIFIC_CHARACTER_SET or (root and tag >> 16 == _DEIDENTIFICATION_GROUP):
            return None
        if tag in PIXEL_TAGS:
            return _Treatment(_pixels_of(level.target)) if root else None
        code = level.rules.code(tag, declared, level.parents)
        if code is Code.REMOVE and tag not in self._pseudonyms:
            return None
        if effective_vr(tag, declared) == "SQ":
            return self._sequence(plan, tag, declared, code)
        return self._value(level, tag, declared, self.action(code, tag, declared))

    def _value(self, level: _Level, tag: int, declared: str, action: Action) -> _Treatment:
        vr, encodings, target = _written_vr(tag, declared, level), level.encodings, level.target

        def make(dataset: DataSet, tag: int) -> bytes:
            _, start, stop, _ = dataset.places[tag]
            if _is_undefined(dataset, start):
                return b""  # in something that is no sequence: not understood
            new = action(Field(tag, vr, dataset.content[start:stop], encodings))
            return b"" if new is None else encode_element(Element(tag, vr, new), target)

        return _Treatment(make)

    def _sequence(self, plan: _Plan, tag: int, declared: str, code: Code) -> _Treatment | None:
        target, in_un = plan.level.target, declared == "UN"
        if code is Code.EMPTY:
            empty = header(tag, "SQ", 0, target)
            return _Treatment(lambda _dataset, _tag: empty)
        if in_un and not plan.level.source.little:
            return None  # its numbers are little endian, the file's are not
        if code is Code.REPLACE:
            return _Treatment(lambda dataset, tag: _dummy_sequence(dataset, tag, target, in_un=in_un))
        if code not in {Code.KEEP, Code.CLEAN}:
            return None

        def make(dataset: DataSet, tag: int) -> bytes:
            items = _items(dataset, tag, len(plan.level.parents), in_un=in_un)
            if items is None:
                return b""
            parts = [_joined(self._pieces(item, self._below(plan, tag, item))) for item in items]
            value = b"".join(_item(part, target) for part in parts)
            return header(tag, "SQ", len(value), target) + value

        return _Treatment(make)

    def _below(self, plan: _Plan, tag: int, item: DataSet) -> _Plan:
        level = plan.level
        encodings = encodings_of(item, level.encodings)
        known = (tag, encodings, item.syntax)
        below = plan.below.get(known)
        if below is None:
            inner = _Level(
                level.rules, (*level.parents, tag), encodings, item.syntax, level.target, level.signed
            )
            below = plan.below[known] = _Plan(inner)
        return below


def _joined(pieces: dict[int, bytes]) -> bytes:
    return b"".join([pieces[tag] for tag in sorted(pieces)])


def _item(content: bytes, syntax: Syntax) -> bytes:
    length = len(content).to_bytes(4, "little" if syntax.little else "big")
    return (b"\xfe\xff\x00\xe0" if syntax.little else b"\xff\xfe\xe0\x00") + length + content


def _is_undefined(dataset: DataSet, start: int) -> bool:
    return dataset.content[start - 4 : start] == b"\xff\xff\xff\xff"


def _pixels_of(target: Syntax) -> Make:
    """Pixel Data of an instance that is whole in memory: as it stands there."""

    def make(dataset: DataSet, tag: int) -> bytes:
        _, start, stop, declared = dataset.places[tag]
        undefined = _is_undefined(dataset, start)
        length = UNDEFINED if undefined else stop - start
        return header(tag, declared or "OW", length, target) + dataset.content[start:stop]

    return make


def _written_vr(tag: int, declared: str, level: _Level) -> str:
    """The VR to write: UN is resolved through the dictionary, `US or SS` through Pixel Representation."""
    if declared and declared != "UN":
        return declared
    if declared == "UN" and not level.source.little:
        return "UN"  # always little endian inside (PS3.5 6.2.2): resolving it would swap its numbers
    known = standard_vr(tag) or "UN"
    if known == "US or SS":
        return "SS" if level.signed else "US"
    return "OW" if " or " in known else known


def _items(dataset: DataSet, tag: int, depth: int, *, in_un: bool) -> list[DataSet] | None:
    """The items of a sequence; None where bytes of unknown VR are no items: not understood means removed."""
    try:
        return dataset.items(tag, in_un=in_un, depth=depth)
    except Permanent:
        if in_un:
            return None
        raise


def _dummy_sequence(dataset: DataSet, tag: int, target: Syntax, *, in_un: bool) -> bytes:
    found = _items(dataset, tag, 0, in_un=in_un)
    if found is None:
        return b""
    return encode_element(Element(tag, "SQ", [_dummy_code() for _ in found[:1]]), target)


def _dummy_code() -> list[Element]:
    return [
        text_element(0x00080100, "SH", "REMOVED"),
        text_element(0x00080102, "SH", "99FIONA"),
        text_element(0x00080104, "LO", "Removed"),
    ]
