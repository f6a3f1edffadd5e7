"""A line of which the detector found a part is covered to its ends, however it lies, and no further."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.burned_in import Character, Identifier, Ink, Style, burn
from fiona_dagster.adapters import text_ends
from fiona_dagster.adapters.text_ends import Followed, beyond_ends, is_stub, ways_of
from fiona_dagster.adapters.text_lines import Line, Rectangle, course_of
from fiona_dagster.domain.pixels.windowing import View

_STYLE = Style(font="", size=16, angle=0, bright=True, contrast=0.5, smooth=True, plate=False)
_SIDE = 420


def drawn(angle: int) -> tuple[View, Identifier]:
    """A grainy view with one long identifier in its middle."""
    grain = np.random.default_rng(5).normal(90, 5, (_SIDE, _SIDE)).clip(0, 255).astype(np.uint8)
    taken = np.ones(grain.shape, dtype=bool)
    taken[80:340, 80:340] = False
    for seed in range(200):
        burned, found = burn(
            grain,
            random.Random(seed),
            Ink(0, 255),
            texts=1,
            taken=taken,
            styles=[replace(_STYLE, angle=angle)],
        )
        if found and len(found[0].characters) >= 12:
            return np.repeat(burned[..., None], 3, axis=2), found[0]
    raise AssertionError


def ink_of(characters: tuple[Character, ...]) -> npt.NDArray[np.float32]:
    """Columns and rows of all ink."""
    places = [np.argwhere(one.ink)[:, ::-1] + [one.left, one.top] for one in characters]
    return np.concatenate(places).astype(np.float32)


@pytest.mark.parametrize(
    ("angle", "turned"), [(0, False), (180, True), (90, False), (270, True), (20, False)]
)
@pytest.mark.parametrize("missed", ["first", "last"])
def test_a_word_that_the_detector_left_out_is_covered(angle: int, missed: str, *, turned: bool) -> None:
    view, one = drawn(angle)
    known, rest = (
        (one.characters[4:], one.characters[:4])
        if missed == "first"
        else (one.characters[:-4], one.characters[-4:])
    )
    course = course_of(view, ink_of(known), 8, 1.0, None)
    found = beyond_ends([Followed(course, turned)], np.zeros(view.shape[:2], dtype=bool))
    mask = np.zeros(view.shape[:2], dtype=bool)
    for piece in found:
        mask[piece.top : piece.bottom, piece.left : piece.right] = True
    assert [character.text for character in rest if not character.is_covered(mask)] == []
    assert mask.sum() < 5 * 30 * 30  # some heights of a line at either end, and not the view


@pytest.mark.parametrize("angle", [0, 180, 90, 270])
def test_of_one_letter_that_was_found_the_line_is_followed_both_ways(angle: int) -> None:
    view, one = drawn(angle)
    (letter,) = (c for n, c in enumerate(one.characters) if n == 5)
    height, width = letter.ink.shape
    piece = Rectangle(letter.left - 2, letter.top - 2, letter.left + width + 2, letter.top + height + 2)
    course = course_of(view, ink_of((letter,)), 8, 1.0, None)
    line = Line((piece,), 0.5, view, replace(course, along=(0.6, 0.8)))  # says nothing of its direction
    assert is_stub(line)
    covered = np.zeros(view.shape[:2], dtype=bool)
    covered[piece.top : piece.bottom, piece.left : piece.right] = True
    for found in beyond_ends(ways_of(line, turned=False), covered):
        covered[found.top : found.bottom, found.left : found.right] = True
    assert [character.text for character in one.characters if not character.is_covered(covered)] == []


def test_a_look_that_is_turned_and_enlarged_says_where_the_line_lies_in_the_view() -> None:
    view, one = drawn(270)  # from top to bottom: upright in the look
    look = np.ascontiguousarray(np.rot90(view.repeat(2, axis=0).repeat(2, axis=1)))
    columns, rows = ink_of(one.characters).T
    seen = np.stack([2 * rows + 0.5, len(look) - 1 - (2 * columns + 0.5)], axis=1).astype(np.float32)
    direct = course_of(view, ink_of(one.characters), 8, 1.0, None)
    turned = course_of(view, seen, 16, 2.0, len(look))
    assert turned.centre == pytest.approx(direct.centre, abs=1)
    assert turned.along == pytest.approx((0, 1), abs=0.02)
    assert (turned.length, turned.height) == pytest.approx((direct.length, direct.height), abs=1.5)


def test_what_is_covered_or_flat_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_ends, "character_places", lambda pictures: [[] for _ in pictures if 1 / 0])
    view, one = drawn(0)
    course = course_of(view, ink_of(one.characters), 8, 1.0, None)
    flat = replace(course, source=np.full_like(view, 90))
    nothing = np.zeros(view.shape[:2], dtype=bool)
    assert beyond_ends([Followed(course, turned=False)], ~nothing) == []
    assert beyond_ends([Followed(flat, turned=False)], nothing) == []
    with pytest.raises(ZeroDivisionError):
        beyond_ends([Followed(course, turned=False)], nothing)
