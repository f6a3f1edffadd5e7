"""Where two profiles decide differently, attribute by attribute, whatever an instance holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fiona_dagster.domain.deid.codes import Code, DateMode, Option, is_removed_group
from fiona_dagster.domain.deid.dictionary import keyword_of, standard_tags, standard_vr
from fiona_dagster.domain.deid.difference import MADE_ANEW
from fiona_dagster.domain.deid.iods import Path, demanded
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deid.table import annex_e, sop_classes, unlisted
from fiona_dagster.domain.deid.written import is_written_by_us

_GENERAL = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """An attribute (by keywords joined by dots) and its action by each profile; '' for no override."""

    attribute: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class ProfileDifference:
    """What two profiles say differently.

    `conventions` names what decides beside options and overrides; `attributes` are those of the data dictionary and of
    table E.1-1 for which some of the object types have other actions.
    """

    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    conventions: tuple[str, ...]
    overrides: tuple[Decision, ...]
    attributes: tuple[Decision, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.only_a or self.only_b or self.conventions or self.overrides or self.attributes)


def profile_difference(
    a: Profile, b: Profile, dates: DateMode, of_types: Iterable[str] = ()
) -> ProfileDifference:
    """What `a` and `b` decide differently.

    Args:
        a: a profile.
        b: another.
        dates: what the project does to dates.
        of_types: SOP Class UIDs that count; by default those that are released, and objects of unknown type.
    """
    types = sorted(set(of_types)) or [_GENERAL, *_released_types()]
    decisions: dict[tuple[str, str, str], None] = {}
    for uid, paths in _questions(types, a, b):
        mine, its = a.rules(uid, dates), b.rules(uid, dates)
        for path in paths:
            vr = standard_vr(path[-1]) or ""
            one, other = mine.code(path[-1], vr, path[:-1]), its.code(path[-1], vr, path[:-1])
            if one is not other and not _is_ours(path):
                decisions[_named(path), _word(one, vr), _word(other, vr)] = None
    return ProfileDifference(
        only_a=tuple(sorted(a.options - b.options)),
        only_b=tuple(sorted(b.options - a.options)),
        conventions=tuple(_conventions(a, b)),
        overrides=tuple(_overrides(a, b)),
        attributes=tuple(Decision(*one) for one in sorted(_shortest(decisions))),
    )


def _questions(types: list[str], a: Profile, b: Profile) -> Iterator[tuple[str, set[Path]]]:
    """Which attributes to ask for of each object type.

    All of the first level are asked for once among the types of a known IOD and once among the others: what no IOD
    demands is decided alike in all of them. Inside of sequences only Types and content items decide otherwise.
    """
    tags = {*standard_tags(), *annex_e(), *unlisted(), *dict(a.overrides), *dict(b.overrides)}
    every: set[Path] = {(tag,) for tag in tags if not is_removed_group(tag)} | _CLEANED_CONTENT
    somewhere = {path for uid in types for path in demanded(uid) or () if len(path) == 1}
    asked: set[bool] = set()
    for uid in types:
        types_of = demanded(uid)
        yield uid, set(types_of or ()) | (somewhere if (types_of is None) in asked else every)
        asked.add(types_of is None)


_CLEANED_CONTENT: frozenset[Path] = frozenset({(0x0040A730, 0x0040A160), (0x00700001, 0x00700006)})
"""Text Value of content items, Unformatted Text Value of annotations: their options count inside of sequences."""


def _shortest(decisions: Iterable[tuple[str, str, str]]) -> Iterable[tuple[str, str, str]]:
    """Without what is decided inside of a sequence as on the first level."""
    found = set(decisions)
    for path, one, other in found:
        last = path.rpartition(".")[2]
        if last == path or (last, one, other) not in found:
            yield path, one, other


def _named(path: tuple[int, ...]) -> str:
    return ".".join(_keyword(tag) for tag in path)


def _keyword(tag: int) -> str:
    row = annex_e().get(tag)
    return keyword_of(tag) or (row.keyword if row else f"{tag:08X}")


def _is_ours(path: tuple[int, ...]) -> bool:
    """Whether the gateway writes the attribute itself; UIDs follow the profile all the same."""
    tag = path[-1]
    if tag in MADE_ANEW:
        return True
    return len(path) == 1 and standard_vr(tag) != "UI" and is_written_by_us(keyword_of(tag))


def _word(code: Code, vr: str) -> str:
    return "enter" if code is Code.KEEP and vr == "SQ" else code.value


def _overrides(a: Profile, b: Profile) -> Iterable[Decision]:
    mine, its = dict(a.overrides), dict(b.overrides)
    for tag in sorted(mine.keys() | its.keys()):
        one, other = mine.get(tag), its.get(tag)
        if one is not other:
            yield Decision(_keyword(tag), one.value if one else "", other.value if other else "")


def _conventions(a: Profile, b: Profile) -> Iterable[str]:
    if a.standard_body_parts != b.standard_body_parts:
        yield f"BodyPartExamined has codes of PS3.16 annex L only: {'A' if a.standard_body_parts else 'B'}"
    if a.edition != b.edition:
        yield f"edition of PS3.15: A {a.edition}, B {b.edition}"
    if Option.RETAIN_SAFE_PRIVATE in a.options & b.options and Option.RETAIN_UIDS in a.options ^ b.options:
        yield "UIDs in safe private elements: as RetainUIDs says"


def _released_types() -> list[str]:
    return [uid for uid, row in sop_classes().items() if row.handling != "hold"]
