"""The answer key is honest: what it says of characters is what stands in the picture."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.burned_in import Identifier, Ink, Style, burn, judged
from benchmarks.pixel_grounds import SYNTHETIC, Picture, synthetic
from benchmarks.pixel_tools import presidio
from benchmarks.pixels import Result

STYLE = Style(font="", size=12, angle=0, bright=True, contrast=1.0, smooth=False, plate=False)


def burned(value: int, style: Style = STYLE) -> tuple[npt.NDArray[np.uint8], Identifier]:
    """A plain image with one identifier in white."""
    ground = np.full((120, 400), value, dtype=np.uint8)
    image, (one,) = burn(ground, random.Random(4), Ink(0, 255), texts=1, styles=[style])
    return image, judged(one, [image])


def test_characters_are_where_the_key_says_and_as_high_as_their_style() -> None:
    image, one = burned(0)
    assert all(character.legible for character in one.characters)
    for character in one.characters:
        height, width = character.ink.shape
        part = image[character.top : character.top + height, character.left : character.left + width]
        assert part[character.ink].min() > 90
    capitals = [c.ink.shape[0] for c in one.characters if c.text.isupper() and c.text.isascii()]
    assert not capitals or abs(max(capitals) - STYLE.size) <= 2


def test_what_nobody_can_read_does_not_count() -> None:
    image, one = burned(0)
    faint = (image // 16 + 100).astype(np.uint8)
    assert not any(character.legible for character in judged(one, [faint]).characters)
    noise = np.random.default_rng(1).integers(0, 255, image.shape)
    grainy = np.clip(image // 5 + noise, 0, 255).astype(np.uint8)
    assert not any(character.legible for character in judged(one, [grainy]).characters)
    assert all(character.legible for character in judged(one, [faint, image]).characters)


def test_recall_precision_and_area_are_counted_over_legible_characters() -> None:
    image, one = burned(0)
    ground, result = synthetic("film", 1), Result()
    ground = replace(ground, frame=replace(ground.frame, stored=image))
    result.add(ground, np.zeros(image.shape, dtype=bool), [one], 2.0)
    assert (result.covered, result.characters) == (0, len(one.characters))
    assert result.missed
    result.add(ground, np.ones(image.shape, dtype=bool), [one], 2.0)
    assert result.covered == len(one.characters)
    assert 0 < result.boxed_text < result.boxed == image.size
    assert " 50.00 " in str(result)


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_synthetic_grounds_are_the_same_each_time_and_have_contrast(kind: str) -> None:
    stored = synthetic(kind, 3).frame.stored
    assert (stored == synthetic(kind, 3).frame.stored).all()
    assert stored.std() > 3


def test_others_are_shown_a_grey_image_over_its_whole_range() -> None:
    view = np.dstack([np.full((4, 5), value, dtype=np.uint8) for value in (10, 20, 30)])
    assert (Picture(view, is_colour=False).displayed == 10).all()
    assert (Picture(view, is_colour=True).displayed == view).all()


def test_a_peer_that_is_not_there_says_why() -> None:
    assert presidio("/nowhere/python", "/tmp") == "no interpreter /nowhere/python"
