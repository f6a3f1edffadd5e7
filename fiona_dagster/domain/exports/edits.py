"""Changes to attributes of a verified copy, in its bytes: what is not changed stays byte for byte as it was.

Texts are set on the first level; dates are given back on every level, as far as de-identification moved them; sequences
that refer to other instances can be emptied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from struct import pack

from fiona_dagster.domain.deid.dictionary import standard_vr, tag_of
from fiona_dagster.domain.deid.elements import DataSet
from fiona_dagster.domain.deid.encoding import Syntax, encode_value, header
from fiona_dagster.domain.errors import Permanent

_SPECIFIC_CHARACTER_SET = 0x00080005
_UTF_8 = "ISO_IR 192"
_REFERENCED_SOP_CLASS_UID, _REFERENCED_SOP_INSTANCE_UID = 0x00081150, 0x00081155
_ITEM = 0xFFFEE000
_LONGEST = {"AE": 16, "AS": 4, "CS": 16, "DA": 8, "DS": 16, "IS": 12, "LO": 64, "PN": 64, "SH": 16, "ST": 1024,
            "TM": 14, "LT": 10240, "DT": 26}  # fmt: skip
"""Characters (PS3.5 table 6.2-1)."""
Shifted = Callable[[int, str, tuple[int, ...]], bool]
"""Whether de-identification moved a date, by its tag, declared VR and the tags of the sequences around it."""


@dataclass(frozen=True)
class Edits:
    """What to change. `values` are texts by tag: a blank empties the attribute where it is there and adds nothing.

    `restore` gives the date of a (VR, text) before it moved; `shifted` says which did.
    """

    values: Mapping[int, str] = field(default_factory=dict)
    restore: Callable[[str, str], str] | None = None
    shifted: Shifted = lambda _tag, _vr, _parents: False
    drop_references: bool = False

    @property
    def nothing(self) -> bool:
        return not self.values and self.restore is None and not self.drop_references


def values_by_tag(values: Mapping[str, str]) -> dict[int, str]:
    """Texts by tag, of those by keyword.

    Raises:
        Permanent: a text does not fit its attribute, or there is no such attribute.
    """
    found = {}
    for keyword, text in values.items():
        tag = tag_of(keyword)
        if tag is None:
            raise Permanent(f"{keyword} is no attribute")
        vr = standard_vr(tag) or ""
        # a backslash would make two values of one; of names the limit is for each of the groups
        if len(text) > _LONGEST.get(vr, 10240) or (vr not in {"ST", "LT", "UT"} and "\\" in text):
            raise Permanent(f"a value that the export sets does not fit {keyword} ({vr}): shorten it")
        found[tag] = text
    return found


def edited(dataset: DataSet, edits: Edits) -> bytes:
    """The first level of a copy up to its pixels, with the changes.

    Raises:
        Permanent: a text cannot be written in the copy's character set, or a sequence is damaged.
    """
    values = dict(edits.values)
    others = {
        tag: text
        for tag, text in values.items()
        if text and not text.isascii() and tag != _SPECIFIC_CHARACTER_SET
    }
    if others and dataset.value(_SPECIFIC_CHARACTER_SET).decode("latin-1").strip(" \0") != _UTF_8:
        raise Permanent("a value that the export sets needs UTF-8, and the copy is in another character set")
    return _level(dataset, edits, values, ())


def _level(dataset: DataSet, edits: Edits, values: Mapping[int, str], parents: tuple[int, ...]) -> bytes:
    parts = []
    for tag in sorted(dataset.places.keys() | {tag for tag, text in values.items() if text}):
        place = dataset.places.get(tag)
        if tag in values:
            vr = (place[3] if place else "") or standard_vr(tag) or "UN"
            parts.append(encode_value(tag, vr, values[tag].encode("utf-8"), dataset.syntax))
        elif place is not None:
            kept = dataset.content[place[0] : place[2]]
            parts.append(_element(dataset, tag, edits, parents, kept))
    return b"".join(parts)


def _element(dataset: DataSet, tag: int, edits: Edits, parents: tuple[int, ...], kept: bytes) -> bytes:
    declared = dataset.places[tag][3]
    vr = declared or standard_vr(tag) or ""
    if vr in {"DA", "DT"} and edits.restore is not None and edits.shifted(tag, declared, parents):
        return _restored(dataset, tag, vr, edits.restore, kept)
    if vr != "SQ":
        return kept
    items = dataset.items(tag, depth=len(parents))
    if edits.drop_references and any(_refers(item) for item in items):
        return header(tag, "SQ", 0, dataset.syntax)
    within = (*parents, tag)
    made = [_level(item, edits, {}, within) for item in items]
    if all(new == _whole(item) for new, item in zip(made, items, strict=True)):
        return kept
    value = b"".join(_item(one, dataset.syntax) for one in made)
    return header(tag, "SQ", len(value), dataset.syntax) + value


def _restored(dataset: DataSet, tag: int, vr: str, restore: Callable[[str, str], str], kept: bytes) -> bytes:
    texts = dataset.value(tag).decode("ascii", "replace").split("\\")
    before = [restore(vr, text.strip(" \0")) if text.strip(" \0") else "" for text in texts]
    if not any(before) and not any(text.strip(" \0") for text in texts):
        return kept
    declared = dataset.places[tag][3]
    return encode_value(tag, declared or vr, "\\".join(before).encode("ascii"), dataset.syntax)


def _refers(item: DataSet) -> bool:
    return _REFERENCED_SOP_INSTANCE_UID in item or _REFERENCED_SOP_CLASS_UID in item


def _whole(item: DataSet) -> bytes:
    """The bytes of an item's elements as they stand."""
    if not item.places:
        return b""
    return item.content[
        min(place[0] for place in item.places.values()) : max(place[2] for place in item.places.values())
    ]


def _item(value: bytes, syntax: Syntax) -> bytes:
    return pack(syntax.order + "HHL", _ITEM >> 16, _ITEM & 0xFFFF, len(value)) + value
