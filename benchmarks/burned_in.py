"""Identifiers and harmless labels burned into images, with the answer key: which pixels each character has.

Names, numbers and dates are invented. What is varied is what varies in hospitals: font, size, place (at the very border
too), angle, polarity, contrast, smooth or hard edges, a dark plate behind the text, compression with losses. The key
names a character by its ink, so that "covered" means that nothing of it can be read any more. A character that a person
cannot read at native size, because what stands behind it is as bright, is in the key as not legible.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

SURNAMES = ("NORDMANN", "ØDEGÅRD", "BJØRNSTAD", "Sæther", "Ås", "HÅKONSEN", "Grønvåg", "Mc'Intyre-Lie")
LABELS = (
    "RIGHT", "LEFT", "R", "L", "Depth 12 cm", "Gain 50 dB", "5.0 cm 3.5 MHz", "FR 32 Hz", "MI 0.9 TIS 0.4",
    "12.4 mm", "SUPINE", "PORTABLE", "HR 71 bpm", "Mean 0.45 m/s", "Zoom", "W 400 HU L 40 HU", "VENSTRE",
    "120 kV 200 mA",
)  # fmt: skip
"""Harmless by the list that is part of the gateway."""
GIVEN = ("KARI", "OLA", "Bjørg", "ÅSE MARIE", "Jo", "Ørjan", "Ætla")
CAP_HEIGHTS = (8, 9, 10, 12, 14, 18, 24, 36, 56)
"""Pixels from the base line to the top of an H."""
ANGLES = (0, 0, 0, 0, 0, 90, 270, 180, 4, 10, -15, 30)
COVERED = 0.95
"""Share of a character's ink that must lie in boxes: less than that may be read."""
_FONT_FOLDERS = ("/usr/share/fonts/truetype", "/usr/share/fonts/opentype")
_FONTS = (
    "DejaVuSans.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf", "DejaVuSans-Bold.ttf", "NimbusSans-Regular.otf",
    "NimbusSans-Bold.otf", "NimbusSansNarrow-Oblique.otf", "NotoSansMono-Regular.ttf", "C059-Roman.otf",
    "NimbusMonoPS-Regular.otf",
)  # fmt: skip
_INK = 100
_LEGIBLE_CONTRAST, _LEGIBLE_RATIO = 0.1, 1.5
"""A character can be read when its ink differs from what stands around it by this share of the image's range, and by
this many standard deviations of its surroundings."""
_AROUND = 3


@dataclass(frozen=True)
class Character:
    """One character: the top left corner of its ink's box, its ink, and whether a person can read it."""

    text: str
    top: int
    left: int
    ink: npt.NDArray[np.bool_]
    legible: bool = True

    def is_covered(self, covered: npt.NDArray[np.bool_]) -> bool:
        height, width = self.ink.shape
        part = covered[self.top : self.top + height, self.left : self.left + width]
        return bool(part[self.ink].mean() >= COVERED)


@dataclass(frozen=True)
class Style:
    font: str
    size: int
    """Pixels from the base line to the top of an H."""
    angle: int
    bright: bool
    contrast: float
    """Of the range of the image."""
    smooth: bool
    plate: bool


@dataclass(frozen=True)
class Identifier:
    text: str
    style: Style
    characters: tuple[Character, ...]
    is_label: bool = False
    """It names nobody and may stay."""

    def is_whole(self, covered: npt.NDArray[np.bool_]) -> bool:
        """Whether hardly anything of its characters is covered."""
        parts = [
            covered[one.top : one.top + one.ink.shape[0], one.left : one.left + one.ink.shape[1]][one.ink]
            for one in self.characters
        ]
        return all(part.mean() <= 1 - COVERED for part in parts)


@cache
def fonts() -> tuple[str, ...]:
    """Those of our list that this machine has, and the one inside Pillow."""
    found = {path.name: str(path) for folder in _FONT_FOLDERS for path in Path(folder).rglob("*.[to]tf")}
    return ("", *(found[name] for name in _FONTS if name in found))


def identifier(chance: random.Random) -> str:
    """Something that names a patient or a study."""
    day, month, year = chance.randint(1, 28), chance.randint(1, 12), chance.randint(1925, 2020)
    number = "".join(chance.choice("0123456789") for _ in range(5))
    name = f"{chance.choice(SURNAMES)}, {chance.choice(GIVEN)}"
    return chance.choice((
        name, name.replace(", ", "^"), f"{day:02}.{month:02}.{year}", f"{year}-{month:02}-{day:02}",
        f"{day:02}{month:02}{year % 100:02}{number}", f"ID: {number}{number}", f"Acc {number}-{month}",
        f"DOB {day}/{month}/{year}", f"{name} {day:02}{month:02}{year % 100:02}",
    ))  # fmt: skip


def style(
    chance: random.Random, *, sizes: Sequence[int] = CAP_HEIGHTS, angles: Sequence[int] = ANGLES
) -> Style:
    return Style(
        font=chance.choice(fonts()), size=chance.choice(sizes), angle=chance.choice(angles),
        bright=chance.random() < 0.7, contrast=chance.choice((0.15, 0.25, 0.5, 1.0, 1.0)),
        smooth=chance.random() < 0.7, plate=chance.random() < 0.15,
    )  # fmt: skip


@dataclass(frozen=True)
class Ink:
    """Which stored values are dark and bright, and whether there is anything between them (not with a palette).

    `luma` is for YBR: the first sample is written, the others are left without colour.
    """

    dark: float
    bright: float
    between: bool = True
    luma: bool = False


def burn(
    pixels: npt.NDArray[Any],
    chance: random.Random,
    ink: Ink,
    *,
    texts: int = 4,
    labels: int = 0,
    styles: Iterable[Style] = (),
    taken: npt.NDArray[np.bool_] | None = None,
) -> tuple[npt.NDArray[Any], list[Identifier]]:
    """A copy of a frame (rows x columns, or x 3) with `texts` identifiers and `labels` in it, none over another.

    Contrast is kept to what a person could read: at least twice the spread of what is behind the text. Nothing is
    written where `taken` says so: text over other text is no text.
    """
    burned = pixels.copy()
    taken = np.zeros(pixels.shape[:2], dtype=bool) if taken is None else taken.copy()
    given = list(styles)
    done = []
    for number in range(texts + labels):
        for _ in range(12):
            chosen = given[number] if number < len(given) else style(chance)
            text = identifier(chance) if number < texts else chance.choice(LABELS)
            drawn, signs = _drawn(text, chosen)
            place = _place(drawn.shape, taken, chance)
            if place is not None:
                break
        else:
            continue
        top, left = place
        height, width = drawn.shape
        window = (slice(top, top + height), slice(left, left + width))
        taken[max(0, top - 6) : top + height + 6, max(0, left - 6) : left + width + 6] = True
        _paint(burned, window, drawn, chosen, ink)
        done.append(Identifier(text, chosen, _characters(text, signs, top, left), number >= texts))
    return burned, done


def judged(one: Identifier, planes: Sequence[npt.NDArray[np.uint8]]) -> Identifier:
    """The identifier with what a person can read of it in any of these grey pictures of the image."""
    shown = [plane.astype(np.float32) for plane in planes]
    characters = tuple(
        replace(c, legible=any(_is_legible(c, plane) for plane in shown)) for c in one.characters
    )
    return replace(one, characters=characters)


def _is_legible(character: Character, shown: npt.NDArray[np.float32]) -> bool:
    height, width = character.ink.shape
    top, left = max(0, character.top - _AROUND), max(0, character.left - _AROUND)
    part = shown[top : character.top + height + _AROUND, left : character.left + width + _AROUND]
    ink = np.zeros(part.shape, dtype=bool)
    ink[character.top - top :, character.left - left :][:height, :width] = character.ink
    near = _dilated(ink)
    around = part[~near]
    if not around.size:
        around = part[~ink]
    contrast = abs(float(np.median(part[ink])) - float(np.median(around))) if around.size else 255.0
    return contrast >= max(_LEGIBLE_CONTRAST * 255, _LEGIBLE_RATIO * float(around.std()))


def _dilated(ink: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """With one pixel more on each side: smooth edges are neither ink nor surroundings."""
    padded = np.pad(ink, 1)
    grown = padded.copy()
    grown[1:] |= padded[:-1]
    grown[:-1] |= padded[1:]
    across = grown.copy()
    across[:, 1:] |= grown[:, :-1]
    across[:, :-1] |= grown[:, 1:]
    return across[1:-1, 1:-1]


def recompressed(pixels: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    """What JPEG of this quality leaves."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)).astype(np.uint8)


def _drawn(text: str, chosen: Style) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Ink from 0 to 1, and the number of the character that each pixel belongs to, from 1."""
    font = _font(chosen.font, chosen.size)
    left, top, right, bottom = font.getbbox(text)
    size = (int(right - left) + 4, int(bottom - top) + 4)
    ink, labels = Image.new("L", size, 0), np.zeros(size[::-1], dtype=np.uint8)
    for number, character in enumerate(text):
        layer = Image.new("L", size, 0)
        pen = ImageDraw.Draw(layer)
        pen.fontmode = "L" if chosen.smooth else "1"
        pen.text((2 - left + font.getlength(text[:number]), 2 - top), character, fill=255, font=font)
        drawn = np.asarray(layer)
        labels[drawn > _INK] = number + 1
        ink = Image.fromarray(np.maximum(np.asarray(ink), drawn))
    if chosen.angle:
        way = Image.Resampling.BICUBIC if chosen.smooth else Image.Resampling.NEAREST
        ink = ink.rotate(chosen.angle, way, expand=True)
        turned = Image.fromarray(labels).rotate(chosen.angle, Image.Resampling.NEAREST, expand=True)
        labels = np.asarray(turned)
    rows, columns = np.nonzero(labels)
    inside = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    drawn_ink = (np.asarray(ink)[inside] / 255).astype(np.float32)
    return drawn_ink, labels[inside].astype(np.uint8)


@cache
def _font(path: str, cap_height: int) -> Any:
    def of_size(size: int) -> Any:
        return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)

    _, top, _, bottom = of_size(100).getbbox("H")
    return of_size(round(100 * cap_height / (bottom - top)))


def _place(
    shape: tuple[int, ...], taken: npt.NDArray[np.bool_], chance: random.Random
) -> tuple[int, int] | None:
    rows, columns = taken.shape
    if shape[0] > rows or shape[1] > columns:
        return None
    for _ in range(20):
        top, left = chance.randint(0, rows - shape[0]), chance.randint(0, columns - shape[1])
        if chance.random() < 0.3:  # at the edge, where consoles write
            top = chance.choice((0, min(2, rows - shape[0]), rows - shape[0]))
        if chance.random() < 0.2:
            left = chance.choice(
                (0, min(2, columns - shape[1]), max(0, columns - shape[1] - 2), columns - shape[1])
            )
        if not taken[top : top + shape[0], left : left + shape[1]].any():
            return top, left
    return None


def _paint(
    pixels: npt.NDArray[Any],
    window: tuple[slice, slice],
    drawn: npt.NDArray[np.float32],
    chosen: Style,
    ink: Ink,
) -> None:
    behind = pixels[window].astype(np.float64)
    shown = behind[..., 0] if ink.luma else behind
    alpha = drawn[..., None] if shown.ndim == 3 else drawn
    if chosen.plate:
        shown = np.full_like(shown, ink.dark if chosen.bright else ink.bright)
    if not ink.between:
        mixed = np.where(alpha > 0.5, ink.bright if chosen.bright else ink.dark, shown)
    else:
        mixed = shown * (1 - alpha) + _value(shown, chosen, ink) * alpha
    if np.issubdtype(pixels.dtype, np.integer):
        mixed = np.rint(mixed)
    if ink.luma:
        behind[..., 0] = mixed
        behind[..., 1:][(drawn > 0) | chosen.plate] = 128
        mixed = behind
    pixels[window] = mixed.astype(pixels.dtype)


def _value(shown: npt.NDArray[np.float64], chosen: Style, ink: Ink) -> float:
    """What the text is written with; the end of the range that is further away where there is no room."""
    around = float(shown.mean())
    low, high = min(ink.dark, ink.bright), max(ink.dark, ink.bright)
    step = max(chosen.contrast * (high - low), 2.5 * float(shown.std()))
    value = around + step if chosen.bright == (ink.bright > ink.dark) else around - step
    if low <= value <= high:
        return value
    return high if high - around > around - low else low


def _characters(text: str, labels: npt.NDArray[np.uint8], top: int, left: int) -> tuple[Character, ...]:
    found = []
    for number, character in enumerate(text, start=1):
        rows, columns = np.nonzero(labels == number)
        if not rows.size:
            continue
        first, start = int(rows.min()), int(columns.min())
        ink = labels[first : int(rows.max()) + 1, start : int(columns.max()) + 1] == number
        found.append(Character(character, top + first, left + start, ink))
    return tuple(found)
