"""Elements that were looked at once are not looked at again: the images of a series differ in a dozen of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fiona_dagster.adapters.dicom_files import InstanceFile, read_instance
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.walk import Found, creator_of, first_level, walk_element
from fiona_dagster.domain.deidentification import SourceInstance
from fiona_dagster.domain.errors import Permanent

_REMEMBERED_BYTES = 8 << 20
"""Of elements, in all, that are remembered of a release."""


@dataclass
class SeenElements:
    """What was found in an element, by its bytes: the images of a series differ in a dozen elements.

    Elements are told apart by all that decides how they are read: level, character set and, for private ones, creator.
    """

    found: dict[tuple[object, ...], dict[tuple[bytes, str], frozenset[str]]] = field(default_factory=dict)
    size: int = 0

    def uids(
        self, file: InstanceFile, of_type: str, examine: Callable[[Iterator[Found]], tuple[bool, set[str]]]
    ) -> set[str]:
        """UIDs in a file, after every element of it was examined.

        `examine` returns whether an element of these bytes need not be examined again, and its UIDs.
        """
        uids: set[str] = set()
        for part in (file.meta, file.dataset, file.behind):
            level, content = first_level(part), part.content
            known = self.found.setdefault((of_type, tuple(level.encodings), part.syntax), {})
            for tag, (begin, _, stop, _) in part.places.items():
                key = (content[begin:stop], creator_of(part, tag) if tag & 0x10000 else "")
                inside = known.get(key)
                if inside is None:
                    settled, its = examine(walk_element(level, tag))
                    inside = frozenset(its)
                    if settled:
                        self._make_room(stop - begin)
                        known[key] = inside
                if inside:
                    uids |= inside
        return uids

    def _make_room(self, size: int) -> None:
        self.size += size
        if self.size > _REMEMBERED_BYTES:
            self.size = size
            for known in self.found.values():
                known.clear()


def gather_originals(sources: Sequence[SourceInstance]) -> OriginalValues:
    """What identifies in all originals of a study; those that cannot be read are not released."""
    values, seen = OriginalValues(), SeenElements()

    def gather(elements: Iterator[Found]) -> tuple[bool, set[str]]:
        values.gather(elements)
        return True, set()

    for source in sources:
        try:
            seen.uids(read_instance(source.path), "", gather)
        except Permanent:
            continue
    return values
