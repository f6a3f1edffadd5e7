"""What invented identifiers are burned into: images of a folder, of all modalities, and synthetic ones."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.burned_in import Identifier, Ink, burn, judged, recompressed
from fiona_dagster.adapters.dicom_files import read_instance
from fiona_dagster.adapters.pixel_frames import Undecodable, decoded_frames, describe
from fiona_dagster.adapters.text_in_pixels import boxes_of_view
from fiona_dagster.domain.deid.elements import DataSet
from fiona_dagster.domain.deid.table import sop_classes
from fiona_dagster.domain.deid.text import first_text
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.pixels.frames import Frame, ImagePixel
from fiona_dagster.domain.pixels.policy import PixelPolicy
from fiona_dagster.domain.pixels.suspicion import pixel_text_reason
from fiona_dagster.domain.pixels.windowing import View, view_of

Mask = npt.NDArray[np.bool_]
_MODALITY, _SOP_CLASS = 0x00080060, 0x00080016
_SMALLEST, _LARGEST = 120, 12_000_000
_SIDE = 1024
"""Of what is cut from larger images: four megapixels with letters of 8 pixels cost a minute and tell no more."""
_READ, _WORD = 0.8, 3
SYNTHETIC = ("sector", "film", "page", "stripes")


@dataclass(frozen=True)
class Ground:
    """A frame to burn into."""

    modality: str
    image: ImagePixel
    frame: Frame
    is_asked: bool
    """Whether a project that masks everything has such an image read."""

    @cached_property
    def own_text(self) -> Mask:
        """Where it has text of its own, read as such: text over other text is no text. Anatomy is no text.

        What is not looked at has none.
        """
        view = view_of(self.frame, self.image)
        mask = np.zeros(view.shape[:2], dtype=bool)
        for box in boxes_of_view(view)[0] if self.is_asked and self.modality[0] != "(" else ():
            if box.confidence >= _READ and len(box.text.strip()) >= _WORD:
                mask[box.top : box.bottom, box.left : box.right] = True
        return mask

    @property
    def ink(self) -> Ink:
        """Dark and bright in stored values: what a console would write with."""
        image, stored = self.image, self.frame.stored
        if image.palette is not None:
            light = image.palette.colours.astype(float).mean(axis=1)
            dark, bright = int(light.argmin()), int(light.argmax())
            return Ink(dark + image.palette.first, bright + image.palette.first, between=False)
        low, high = float(np.nanmin(stored)), float(np.nanmax(stored))
        if stored.dtype.itemsize == 1:
            low, high = 0.0, float((1 << image.bits_stored) - 1)
        elif stored.dtype.kind != "f":
            most = (1 << (image.bits_stored - image.pixel_representation)) - 1
            high = min(max(high, low + 1), float(most))
        if image.photometric_interpretation == "MONOCHROME1":
            low, high = high, low
        return Ink(low, high, luma=self.frame.photometric_interpretation.startswith("YBR_F"))


def grounds_in(folder: Path, most_of_one: int = 6) -> Iterator[Ground]:
    """Frames of all modalities, no more than a few of each, no two of the same size."""
    seen: dict[Any, int] = defaultdict(int)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            image = describe(path)
            dataset = read_instance(path).dataset
            modality, is_asked = first_text(dataset, _MODALITY) or "?", is_looked_at(dataset)
            key = (modality, image.rows, image.columns)
            fits = min(image.rows, image.columns) >= _SMALLEST and image.rows * image.columns <= _LARGEST
            if not fits or image.bits_stored == 1 or seen[key] or seen[modality] >= most_of_one:
                continue
            frame = next(decoded_frames(path, frames=[0]))
        except (Undecodable, FionaError):
            continue
        seen[key] += 1
        seen[modality] += 1
        yield Ground(modality, image, _cut(frame), is_asked)


def is_looked_at(dataset: DataSet) -> bool:
    """Whether a project that masks everything has the pixels of an object read; a type that is held counts as read."""
    row = sop_classes().get(first_text(dataset, _SOP_CLASS))
    return row is None or bool(pixel_text_reason(dataset, row, PixelPolicy(mode="all")))


def _cut(frame: Frame) -> Frame:
    rows, columns = frame.stored.shape[:2]
    top, left = max(0, (rows - _SIDE) // 2), max(0, (columns - _SIDE) // 2)
    part = np.ascontiguousarray(frame.stored[top : top + _SIDE, left : left + _SIDE])
    return Frame(0, part, frame.photometric_interpretation)


def synthetic(kind: str, seed: int) -> Ground:
    """A speckled sector on black, a film with soft shapes and grain, a white page with rules, or hard stripes."""
    noise = np.random.default_rng(seed)
    rows, columns = int(noise.integers(240, 700)), int(noise.integers(320, 900))
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    if kind == "sector":
        radius, angle = np.hypot(y, x - columns / 2), np.arctan2(x - columns / 2, y + 1)
        speckle = noise.rayleigh(60, (rows, columns)) * (0.5 + 0.5 * np.cos(radius / 40 + 3 * angle))
        stored = np.where((np.abs(angle) < 0.7) & (radius < rows * 0.95), speckle, 0)
    elif kind == "film":
        stored = 120 + 60 * np.sin(x / 90) * np.cos(y / 70) + noise.normal(0, 8, (rows, columns))
    elif kind == "page":
        stored = np.full((rows, columns), 245.0)
        stored[:: int(noise.integers(40, 90))] = 60
        stored[:, :: int(noise.integers(90, 200))] = 60
    else:
        stored = 40.0 * ((x // int(noise.integers(20, 60))) % 5) + noise.normal(0, 3, (rows, columns))
    image = ImagePixel(
        transfer_syntax_uid="1.2.840.10008.1.2.1", pixel_keyword="PixelData", rows=rows, columns=columns,
        number_of_frames=1, samples_per_pixel=1, photometric_interpretation="MONOCHROME2", planar_configuration=0,
        bits_allocated=8, bits_stored=8, high_bit=7, pixel_representation=0,
    )  # fmt: skip
    frame = Frame(0, np.clip(stored, 0, 255).astype(np.uint8), "MONOCHROME2")
    return Ground(f"({kind})", image, frame, is_asked=True)


@dataclass(frozen=True)
class Picture:
    """What can be seen of a frame. The channels of a grey one are windows of it, not colours."""

    view: View
    is_colour: bool

    @property
    def displayed(self) -> View:
        """As others see it: a grey one over its whole range."""
        return self.view if self.is_colour else np.repeat(self.view[..., :1], 3, axis=2)

    @property
    def planes(self) -> list[npt.NDArray[np.uint8]]:
        """Grey pictures in which a person would look."""
        if self.is_colour:
            return [self.view.mean(axis=2).astype(np.uint8)]
        return [self.view[..., 0], self.view[..., 1]]


def burned(
    ground: Ground, chance: random.Random, texts: int = 5, labels: int = 3
) -> tuple[Picture, list[Identifier]]:
    """The ground with identifiers and labels in it, now and then after JPEG, and the key."""
    stored, identifiers = burn(
        ground.frame.stored, chance, ground.ink, texts=texts, labels=labels, taken=ground.own_text
    )
    plain = ground.image.palette is None and not ground.frame.photometric_interpretation.startswith("YBR")
    if plain and stored.dtype == np.uint8 and chance.random() < 0.4:
        stored = recompressed(stored, chance.choice((50, 75, 92)))
    view = view_of(Frame(0, stored, ground.frame.photometric_interpretation), ground.image)
    picture = Picture(view, is_colour=stored.ndim == 3 or ground.image.palette is not None)
    return picture, [judged(one, picture.planes) for one in identifiers]
