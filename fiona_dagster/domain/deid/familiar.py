"""Recognizing what an instance has in common with the one before it.

The images of a series differ in a dozen elements of two hundred. Stretches of elements that stood in earlier
instances are compared as bytes, and taken as a whole where they are equal: the same bytes at the same level are the
same elements.
"""

from __future__ import annotations

from struct import Struct

from fiona_dagster.domain.deid.elements import (
    SHORT_VRS,
    TWICE,
    Place,
    Short,
    Stretch,
    Unit,
    declares_vr,
    find_elements,
)
from fiona_dagster.domain.deid.encoding import Syntax
from fiona_dagster.domain.errors import Permanent

_EXPLICIT, _EXPLICIT_BIG = Struct("<HH2sH").unpack_from, Struct(">HH2sH").unpack_from
_PIXEL_GROUP = 0x7FE0


class Familiar:
    """Stretches of the first levels that were seen, all of one encoding; for one thread."""

    def __init__(self) -> None:
        self._encoding: tuple[Syntax, bool] | None = None
        self._stretches: dict[bytes, Stretch] = {}
        self._varying: set[int] = set()
        self._last: dict[int, bytes] = {}

    def find(
        self,
        content: bytes,
        start: int,
        syntax: Syntax,
        places: dict[int, Place],
        units: list[Unit],
    ) -> int:
        """Where the elements of a first level before its pixels lie, and the position behind the last.

        Args:
            content: bytes of the file, perhaps not all.
            start: first byte of an element.
            syntax: how they are encoded.
            places: gets the places.
            units: gets the parts of the level in their order.

        Raises:
            Short: the bytes end inside an element; `places` and `units` have those before it.
            Permanent: there is something that is no element.
        """
        stop = len(content)
        first = next(iter(places.values()))[0] if places else start
        has_vr = declares_vr(content, first, stop, syntax)
        if self._encoding != (syntax, has_vr):
            self._encoding, self._stretches, self._varying, self._last = (syntax, has_vr), {}, set(), {}
        stretches, position = self._stretches, start
        explicit = _EXPLICIT if syntax.little else _EXPLICIT_BIG
        last_header = stop - 8 if has_vr else -1
        while position < stop:
            stretch = stretches.get(content[position : position + 4])
            if stretch is not None and content.startswith(stretch.content, position):
                count = len(places) + len(stretch.places)
                places.update(stretch.places_at(position))
                if len(places) != count:
                    raise Permanent(TWICE)
                units.append(stretch)
                position += len(stretch.content)
                continue
            if position <= last_header:  # most elements; the others, and all that is odd, below
                group, element, code, length = explicit(content, position)
                vr = SHORT_VRS.get(code)
                if vr is not None and group < _PIXEL_GROUP:
                    behind = position + 8 + length
                    if behind > stop:
                        raise Short(position)
                    tag = group << 16 | element
                    if tag in places:
                        raise Permanent(TWICE)
                    places[tag] = (position, position + 8, behind, vr)
                    units.append(tag)
                    position = behind
                    continue
            one, behind = find_elements(
                content, position, stop, syntax, root=True, only_one=True, has_vr=has_vr
            )
            if behind == position:
                return position  # pixels
            if not places.keys().isdisjoint(one):
                raise Permanent(TWICE)
            places.update(one)
            units.extend(one)
            position = behind
        return position

    def learn(self, content: bytes, places: dict[int, Place], units: list[Unit]) -> None:
        """Take note of an instance whose elements were all found."""
        varying = self._varying
        for unit in units:
            if unit.__class__ is int and unit not in varying:
                break
        else:
            return
        found = {tag: content[begin:stop] for tag, (begin, _, stop, _) in places.items()}
        if self._last:
            self._varying |= {tag for tag, raw in found.items() if self._last.get(tag) != raw}
            self._stretches = _stretches(content, places, self._varying)
        self._last = found


def _stretches(content: bytes, places: dict[int, Place], varying: set[int]) -> dict[bytes, Stretch]:
    """The stretches of one instance without elements that vary, by their first four bytes."""
    made: dict[bytes, Stretch] = {}
    run: dict[int, Place] = {}

    def end() -> None:
        if run:
            begin = next(iter(run.values()))[0]
            stop = next(reversed(run.values()))[2]
            made[content[begin : begin + 4]] = Stretch(content[begin:stop], begin, dict(run))
        run.clear()

    behind = -1
    for tag, place in places.items():
        if tag in varying or (run and place[0] != behind):
            end()
        if tag not in varying:
            run[tag] = place
        behind = place[2]
    end()
    return made
