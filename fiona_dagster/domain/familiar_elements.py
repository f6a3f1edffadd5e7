"""Recognizing what a data set has in common with the one before it, so that it need not be walked element by element.

The images of a series differ in a dozen or two of two hundred elements. Stretches of elements that stood in the data
set before are compared as bytes and stepped over as a whole: from the first byte of an element on, the same bytes in
the same encoding are the same elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_FEWEST = 2
"""Elements that are worth a comparison."""
_LEARN_ANEW = 500
"""Data sets after which it is looked anew at what they have in common, where stretches had to be split."""


@dataclass(frozen=True)
class Stretch:
    """Elements that follow one another: their bytes, where each ends in them, and the wanted values among them."""

    content: bytes
    ends: tuple[int, ...]
    values: dict[int, bytes]


class Familiar:
    """Stretches of the top level in Explicit VR Little Endian, by the tag that each begins with; for one thread.

    It holds no more than the beginnings of two data sets.
    """

    def __init__(self) -> None:
        self.stretches: dict[bytes, Stretch] = {}
        self._last: dict[bytes, bytes] = {}
        self._data_sets = 0
        self._was_split = False

    @property
    def is_learning(self) -> bool:
        """Whether the places of all elements of the next data set are asked for."""
        return not self.stretches

    def split(self, stretch: Stretch, piece: bytes, at: int) -> None:
        """Take the first element out of `stretch` that is another one in `piece`, where it should begin at `at`."""
        begin = 0
        for end in stretch.ends:
            if not piece.startswith(stretch.content[begin:end], at + begin):
                break
            begin = end
        del self.stretches[stretch.content[:4]]
        self._add(stretch.content, [end for end in stretch.ends if end <= begin], 0, stretch.values)
        self._add(stretch.content, [later for later in stretch.ends if later > end], end, stretch.values)
        self._was_split = True

    def seen(self, piece: bytes, places: Sequence[tuple[int, int, int | None]]) -> None:
        """A data set was walked; `piece` is its beginning.

        Args:
            piece: its first bytes.
            places: where elements begin and end in them, and where the value of a wanted one begins; asked for only
                where it `is_learning`.
        """
        self._data_sets += 1
        if self._was_split and self._data_sets >= _LEARN_ANEW:
            self.stretches.clear()
            self._last.clear()
            self._data_sets, self._was_split = 0, False
        if not places:
            return
        last, self._last = (
            self._last,
            {piece[begin : begin + 4]: piece[begin:end] for begin, end, _ in places},
        )
        if not last:
            return
        run: list[int] = []
        start = 0
        values: dict[int, bytes] = {}
        for begin, end, value in places:
            same = last.get(piece[begin : begin + 4]) == piece[begin:end]
            if run and (not same or run[-1] != begin):
                self._add(piece, run, start, values)
                run = []
            if same:
                start = start if run else begin
                run.append(end)
                if value is not None:
                    values[_tag(piece, begin)] = piece[value:end]
        self._add(piece, run, start, values)

    def _add(self, piece: bytes, ends: Sequence[int], start: int, values: dict[int, bytes]) -> None:
        if len(ends) < _FEWEST:
            return
        tags = [_tag(piece, begin) for begin in (start, *ends[:-1])]
        self.stretches[piece[start : start + 4]] = Stretch(
            piece[start : ends[-1]],
            tuple(end - start for end in ends),
            {tag: values[tag] for tag in tags if tag in values},
        )


def _tag(piece: bytes, at: int) -> int:
    return int.from_bytes(piece[at : at + 2], "little") << 16 | int.from_bytes(
        piece[at + 2 : at + 4], "little"
    )
