"""The engine: from the bytes of an instance to the bytes of its copy, every element at every depth by the profile.

What is kept is copied as it stands; nothing passes because it could not be understood. The outcome for an element
depends on its own bytes and on its level alone (parents, character set, encoding, object type), so it is remembered:
the images of a series differ in a dozen elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from fiona_dagster.domain.deid import levels
from fiona_dagster.domain.deid.actions import Field
from fiona_dagster.domain.deid.admission import (
    MODALITY,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    Verdict,
    admit,
    is_document,
)
from fiona_dagster.domain.deid.character_sets import DEFAULT_ENCODING
from fiona_dagster.domain.deid.chosen_actions import ChosenActions, Originals
from fiona_dagster.domain.deid.cleaning import Fitting
from fiona_dagster.domain.deid.conventions import check_request, root_elements
from fiona_dagster.domain.deid.elements import EMPTY, PIXEL_TAGS, DataSet, Stretch
from fiona_dagster.domain.deid.encoding import Element, Syntax, encode_element, header, text_element
from fiona_dagster.domain.deid.levels import Level, Plan, Treatment
from fiona_dagster.domain.deid.method import method_elements
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.private import PrivateBlocks, canonical, is_creator_tag, safe_private
from fiona_dagster.domain.deid.profile import Code, Option, Profile, effective_vr
from fiona_dagster.domain.deid.text import (
    OUTPUT_CHARACTER_SET,
    SPECIFIC_CHARACTER_SET,
    decode,
    encodings_of,
    first_text,
)
from fiona_dagster.domain.deidentification import ReleaseRequest
from fiona_dagster.domain.pixels.suspicion import keeps_pixels

_ACCESSION_NUMBER, _REASON_FOR_THE_REQUESTED_PROCEDURE = 0x00080050, 0x00401002
_PIXEL_REPRESENTATION = 0x00280103
_ENCAPSULATED_DOCUMENT, _MIME_TYPE, _DOCUMENT_LENGTH = 0x00420011, 0x00420012, 0x00420015
_DEIDENTIFICATION_GROUP = 0x0012
_REMEMBERED_STRETCHES = 512


class CleanInstance(NamedTuple):
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


class Deidentifier:
    """De-identifies instances for one project and participant; the same input always gives the same output.

    `originals` are asked for only where the profile looks inside of values, or a document does; without them, names of
    the study are not known there.
    """

    def __init__(
        self,
        profile: Profile,
        request: ReleaseRequest,
        key: bytes,
        originals: Originals = OriginalValues,
        *,
        searched: bool = False,
    ) -> None:
        """`searched`: the pixels of what it cleans are searched for text, and it may say so.

        Raises:
            ConfigurationError: a name does not fit, or the UID root is unusable.
        """
        check_request(request)
        self.profile, self.request, self._key = profile, request, key
        self.actions = ChosenActions(profile, request, key, originals)
        self._keeps_private = Option.RETAIN_SAFE_PRIVATE in profile.options
        self._method = {
            keeps: method_elements(profile, request.project, searched=searched, keeps_pixels=keeps)
            for keeps in (False, True)
        }
        self._roots: dict[tuple[str, Sequence[str], Syntax, bool], Plan] = {}
        self._own: dict[tuple[str, str, bool, Syntax, bool], dict[int, bytes]] = {}

    def admit(self, dataset: DataSet, transfer_syntax_uid: str) -> Verdict | None:
        """Why the instance is not released, or None."""
        return admit(dataset, transfer_syntax_uid, self.request.project, self.profile)

    def clean(self, dataset: DataSet, behind: DataSet = EMPTY) -> CleanInstance:
        """The copy of an admitted instance.

        Args:
            dataset: its first level, up to the pixels that stay in their file, or whole.
            behind: what stands behind those pixels.

        Raises:
            Permanent: an element is damaged.
            Hold: a document cannot be proven clean.
        """
        sop_class = first_text(dataset, SOP_CLASS_UID)
        plan = self._root(dataset, sop_class)
        pieces = self._pieces(dataset, plan)
        if is_document(sop_class) and _ENCAPSULATED_DOCUMENT in dataset:
            pieces.update(self._document(dataset, plan.level))
        study = first_text(dataset, STUDY_INSTANCE_UID)
        pieces.update(self._own_elements(dataset, study, plan.level))
        map_uid = self.actions.map_uid
        return CleanInstance(
            before=levels.joined(pieces),
            behind=levels.joined(self._pieces(behind, plan)) if behind.places else b"",
            sop_class_uid=sop_class,
            sop_instance_uid=map_uid(first_text(dataset, SOP_INSTANCE_UID), SOP_INSTANCE_UID),
            series_instance_uid=map_uid(first_text(dataset, SERIES_INSTANCE_UID), SERIES_INSTANCE_UID),
            study_instance_uid=map_uid(study, STUDY_INSTANCE_UID),
            modality=first_text(dataset, MODALITY),
        )

    def _root(self, dataset: DataSet, sop_class: str) -> Plan:
        encodings = encodings_of(dataset, (DEFAULT_ENCODING,))
        representation = dataset.value(_PIXEL_REPRESENTATION)
        signed = len(representation) == 2 and max(representation) == 1  # 0 or 1 in either byte order
        known = (sop_class, encodings, dataset.syntax, signed)
        plan = self._roots.get(known)
        if plan is None:
            rules = self.profile.rules(sop_class, self.request.project.date_mode)
            level = Level(rules, (), encodings, dataset.syntax, dataset.syntax, signed)
            plan = self._roots[known] = Plan(level)
        return plan

    def _own_elements(self, dataset: DataSet, study: str, level: Level) -> dict[int, bytes]:
        accession = decode(dataset.value(_ACCESSION_NUMBER), "SH", level.encodings) or ""
        keeps = bool(self.request.project.pixels.exclusions) and keeps_pixels(
            dataset, self.request.project.pixels
        )
        known = (study, accession, _REASON_FOR_THE_REQUESTED_PROCEDURE in dataset, level.target, keeps)
        own = self._own.get(known)
        if own is None:
            elements = [
                text_element(SPECIFIC_CHARACTER_SET, "CS", OUTPUT_CHARACTER_SET),
                *root_elements(
                    self.request,
                    self._key,
                    new_study_uid=self.actions.map_uid(study, STUDY_INSTANCE_UID),
                    accession=accession.strip(),
                    original_study_uid=study,
                    had_reason=known[2],
                ),
                *self._method[keeps],
            ]
            own = self._own[known] = {e.tag: encode_element(e, level.target) for e in elements}
        return own

    def _pieces(self, dataset: DataSet, plan: Plan) -> dict[int, bytes]:
        """The encoded elements of a first level's copy."""
        pieces: dict[int, bytes] = {}
        if dataset.units is None:
            self._add_pieces(dataset, plan, dataset.places, pieces, root=True)
        else:
            alone: list[int] = []
            for unit in dataset.units:
                if isinstance(unit, Stretch):
                    pieces.update(plan.stretches.get(unit) or self._stretch(dataset, plan, unit))
                else:
                    alone.append(unit)
            self._add_pieces(dataset, plan, alone, pieces, root=True)
        if self._keeps_private:
            pieces.update(self._private_pieces(dataset, plan))
        return pieces

    def _stretch(self, dataset: DataSet, plan: Plan, stretch: Stretch) -> dict[int, bytes]:
        """The copies of elements that were seen before; made anew where they are not known on this level."""
        made = plan.stretches.get(stretch)
        if made is None:
            if len(plan.stretches) >= _REMEMBERED_STRETCHES:
                plan.stretches.clear()
            made = plan.stretches[stretch] = {}
            self._add_pieces(dataset, plan, stretch.places, made, root=True)
        return made

    def _add_pieces(
        self, dataset: DataSet, plan: Plan, tags: Iterable[int], pieces: dict[int, bytes], *, root: bool
    ) -> None:
        treatments, places, content = plan.treatments, dataset.places, dataset.content
        for tag in tags:
            begin, _, stop, declared = places[tag]
            key = (tag, declared)
            try:
                treatment = treatments[key]
            except KeyError:
                treatment = treatments[key] = self._treatment(plan, tag, declared, root=root)
            if treatment is None:
                continue
            if treatment.as_it_stands and not (stop - begin) % 2:
                pieces[tag] = content[begin:stop]
                continue
            piece = treatment.piece(dataset, tag, begin, stop)
            if piece:
                pieces[tag] = piece

    def _treatment(self, plan: Plan, tag: int, declared: str, *, root: bool) -> Treatment | None:
        """How an attribute is treated on a level; None where it is removed, or written anew."""
        level = plan.level
        if tag == SPECIFIC_CHARACTER_SET or (root and tag >> 16 == _DEIDENTIFICATION_GROUP):
            return None
        if tag in PIXEL_TAGS:
            return levels.of_pixels(level.target) if root else None
        code = level.rules.code(tag, declared, level.parents)
        if code is Code.REMOVE and not self.actions.is_made(tag):
            return None
        if effective_vr(tag, declared) == "SQ":
            return self._sequence(plan, tag, declared, code)
        vr = levels.written_vr(tag, declared, level)
        return levels.of_value(level, tag, declared, vr, self.actions.of(code, tag, declared))

    def _sequence(self, plan: Plan, tag: int, declared: str, code: Code) -> Treatment | None:
        level, in_un = plan.level, declared == "UN"
        if code is Code.EMPTY:
            return levels.of_emptied_sequence(tag, level.target)
        if in_un and not level.source.little:
            return None  # its numbers are little endian, the file's are not
        if code is Code.REPLACE:
            return levels.of_dummy_sequence(level.target, in_un=in_un)
        if code not in {Code.KEEP, Code.CLEAN}:
            return None

        def make(dataset: DataSet, tag: int) -> bytes:
            found = levels.items_of(dataset, tag, len(level.parents), in_un=in_un)
            if found is None:
                return b""
            target = level.target
            value = b"".join(
                [levels.item(self._joined(one, self._below(plan, tag, one)), target) for one in found]
            )
            return header(tag, "SQ", len(value), level.target) + value

        return Treatment(make)

    def _joined(self, item: DataSet, plan: Plan) -> bytes:
        """The elements of an item's copy."""
        pieces: dict[int, bytes] = {}
        self._add_pieces(item, plan, item.places, pieces, root=False)
        if self._keeps_private:
            pieces.update(self._private_pieces(item, plan))
        return levels.joined(pieces)

    def _below(self, plan: Plan, tag: int, item: DataSet) -> Plan:
        level = plan.level
        encodings = encodings_of(item, level.encodings)
        known = (tag, encodings, item.syntax)
        below = plan.below.get(known)
        if below is None:
            parents = (*level.parents, tag)
            inner = Level(level.rules, parents, encodings, item.syntax, level.target, level.signed)
            below = plan.below[known] = Plan(inner)
        return below

    def _private_pieces(self, dataset: DataSet, plan: Plan) -> dict[int, bytes]:
        """Private elements that the safe list knows, and the creators that they need (PS3.15 E.3.10)."""
        pieces: dict[int, bytes] = {}
        blocks = PrivateBlocks()
        for tag, (begin, start, stop, declared) in dataset.places.items():
            if not tag & 0x10000:
                continue
            if is_creator_tag(tag):
                blocks.seen(tag, dataset.content[start:stop])
                continue
            creator = blocks.creator_of(tag)
            if creator is None:
                continue
            key = (tag, declared, creator)
            if key not in plan.private:
                plan.private[key] = self._private(plan, tag, declared, creator)
            treatment = plan.private[key]
            piece = treatment.piece(dataset, tag, begin, stop) if treatment is not None else b""
            if piece:
                pieces[tag] = piece
                blocks.stays(tag)
        for tag in blocks.creators_that_stay():
            creator = blocks.creator_of(tag & 0xFFFF0000 | tag << 8 & 0xFF00) or ""
            pieces[tag] = encode_element(text_element(tag, "LO", creator), plan.level.target)
        return pieces

    def _private(self, plan: Plan, tag: int, declared: str, creator: str) -> Treatment | None:
        level = plan.level
        row = safe_private(creator, canonical(tag))
        code = level.rules.private(creator, canonical(tag), declared)
        if row is None or code is Code.REMOVE:
            return None
        if (declared if declared not in {"", "UN"} else row.vr) == "SQ":
            return self._sequence(plan, tag, declared, code)
        vr = row.vr if declared in {"", "UN"} and level.source.little and len(row.vr) == 2 else declared
        action = Fitting(self.actions.of(code, tag, vr), row, declared or "UN")
        return levels.of_value(level, tag, declared, vr or "UN", action)

    def _document(self, dataset: DataSet, level: Level) -> dict[int, bytes]:
        """An encapsulated document, made anew, and its length (PS3.3 C.24.2)."""
        order: Literal["little", "big"] = "little" if level.source.little else "big"
        value, length = dataset.value(_ENCAPSULATED_DOCUMENT), dataset.value(_DOCUMENT_LENGTH)
        if len(length) == 4:
            value = value[: int.from_bytes(length, order)]
        action = self.actions.document(first_text(dataset, _MIME_TYPE))
        new = action(Field(_ENCAPSULATED_DOCUMENT, "OB", value, level.encodings)) or b""
        elements = [
            Element(_ENCAPSULATED_DOCUMENT, "OB", new),
            Element(_DOCUMENT_LENGTH, "UL", len(new).to_bytes(4, order)),
        ]
        return {one.tag: encode_element(one, level.target) for one in elements}
