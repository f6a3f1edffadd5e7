"""Elements that were looked at once are not looked at again: the images of a series differ in a dozen of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fiona_dagster.adapters.dicom_files import InstanceFile, read_instance
from fiona_dagster.domain.deid.elements import Stretch
from fiona_dagster.domain.deid.familiar import Familiar
from fiona_dagster.domain.deid.origin import not_of_the_copies
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.walk import Found, Level, creator_of, first_level, walk_element
from fiona_dagster.domain.deidentification import ReleaseRequest, SourceInstance
from fiona_dagster.domain.errors import Permanent

_FIRST_PRIVATE_ELEMENT = 0x1000
_REMEMBERED_BYTES = 8 << 20
"""Of elements, in all, that are remembered of a release."""


Examine = Callable[[Iterator[Found]], tuple[bool, set[str]]]


@dataclass
class SeenElements:
    """What was found in an element, by its bytes: the images of a series differ in a dozen elements.

    Elements are told apart by all that decides how they are read: level, character set and, for private ones, creator.
    """

    found: dict[tuple[object, ...], dict[tuple[bytes, str], frozenset[str]]] = field(default_factory=dict)
    stretches: dict[tuple[object, ...], dict[Stretch, frozenset[str]]] = field(default_factory=dict)
    size: int = 0

    def uids(self, file: InstanceFile, of_type: str, examine: Examine) -> set[str]:
        """UIDs in a file, after every element of it was examined.

        `examine` returns whether an element of these bytes need not be examined again, and its UIDs.
        """
        uids: set[str] = set()
        for part in (file.meta, file.dataset, file.behind):
            level = first_level(part)
            context = (of_type, tuple(level.encodings), part.syntax)
            known = self.found.setdefault(context, {})
            stretches = self.stretches.setdefault(context, {})
            for unit in part.places if part.units is None else part.units:
                if not isinstance(unit, Stretch):
                    uids |= self._uids(level, unit, known, examine)[1]
                    continue
                inside = stretches.get(unit)
                if inside is None:
                    results = [self._uids(level, tag, known, examine) for tag in unit.places]
                    inside = frozenset().union(*(its for _, its in results))
                    if all(settled for settled, _ in results) and _is_closed(unit):
                        stretches[unit] = inside
                uids |= inside
        return uids

    def _uids(
        self, level: Level, tag: int, known: dict[tuple[bytes, str], frozenset[str]], examine: Examine
    ) -> tuple[bool, frozenset[str]]:
        part = level.dataset
        begin, _, stop, _ = part.places[tag]
        key = (part.content[begin:stop], creator_of(part, tag) if tag & 0x10000 else "")
        inside = known.get(key)
        if inside is not None:
            return True, inside
        settled, its = examine(walk_element(level, tag))
        inside = frozenset(its)
        if settled:
            self._make_room(stop - begin)
            known[key] = inside
        return settled, inside

    def _make_room(self, size: int) -> None:
        self.size += size
        if self.size > _REMEMBERED_BYTES:
            self.size = size
            for known in self.found.values():
                known.clear()
            for stretches in self.stretches.values():
                stretches.clear()


def _is_closed(stretch: Stretch) -> bool:
    """Whether what its elements mean depends on nothing outside: it has the creators of its private elements."""
    return all(
        tag & 0xFFFF0000 | tag >> 8 & 0xFF in stretch.places
        for tag in stretch.places
        if tag & 0x10000 and tag & 0xFFFF >= _FIRST_PRIVATE_ELEMENT
    )


def gather_originals(sources: Sequence[SourceInstance], request: ReleaseRequest) -> OriginalValues:
    """What identifies in all originals of a study, and in those of the copies that it was `made_of`.

    Those that cannot be read are not released.
    """
    values, seen, familiar = OriginalValues(), SeenElements(), Familiar()
    if request.made_of is not None:
        values.merge(request.made_of.values)

    def gather(elements: Iterator[Found]) -> tuple[bool, set[str]]:
        values.gather(not_of_the_copies(elements, request))
        return True, set()

    for source in sources:
        try:
            seen.uids(read_instance(source.path, familiar), "", gather)
        except Permanent:
            continue
    return values
