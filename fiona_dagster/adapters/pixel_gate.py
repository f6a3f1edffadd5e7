"""The gate behind masking: original and copy are read again from disk, by nothing that masked them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters.pixel_frames import decoded_frames, describe, uses_unused_bits
from fiona_dagster.adapters.text_in_pixels import read_text
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.pixels.painting import fill_of, only_masked
from fiona_dagster.domain.pixels.texts import TextJudge

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.originals import OriginalValues
    from fiona_dagster.domain.pixels.frames import Frame
    from fiona_dagster.domain.pixels.masks import Masking
    from fiona_dagster.domain.project import Project


class PixelGate:
    """What is the same for all masked copies of a release."""

    def __init__(self, values: OriginalValues, project: Project) -> None:
        """`values` are those of all originals."""
        self._judge = TextJudge(values, project.pixels, dates=project.date_mode != "keep")

    def problems(self, copy: Path, masking: Masking) -> list[str]:
        """What is wrong with the pixels of a copy that were searched for text; names no value.

        An image that cannot be read here cannot be proven either.
        """
        try:
            found = read_text(copy)
            hides = bool(masking.sources) and uses_unused_bits(copy, describe(copy))
        except FionaError:
            return ["PixelData cannot be read again"]
        known = [one for one in found.boxes if self._judge.identifies(one.text)]
        if known:
            return ["PixelData shows an original value"]
        if hides:
            return ["PixelData has something in bits that are not stored"]
        missing = found.frames != len(found.read) or any(
            one.last_frame >= found.frames for one in masking.boxes
        )
        return ["PixelData was not searched in every frame"] if missing else []

    def only_masked(self, original: Path, copy: Path, masking: Masking) -> bool:
        """Whether all pixels outside of the boxes are the original's, and all inside one value."""
        try:
            its, mine = describe(original), describe(copy)
            same_shape = (its.rows, its.columns, its.number_of_frames, its.samples_per_pixel) == (
                mine.rows,
                mine.columns,
                mine.number_of_frames,
                mine.samples_per_pixel,
            ) and (its.bits_allocated, its.bits_stored, its.high_bit, its.pixel_representation) == (
                mine.bits_allocated,
                mine.bits_stored,
                mine.high_bit,
                mine.pixel_representation,
            )
            if not same_shape:
                return False
            return all(
                _colours(one) == _colours(other)
                and only_masked(
                    one.stored,
                    other.stored,
                    one.index,
                    masking,
                    fill_of(other.photometric_interpretation, mine.bits_stored, mine.samples_per_pixel),
                )
                for one, other in _pairs(original, copy)
            )
        except (FionaError, ValueError):
            return False


def _colours(frame: Frame) -> str:
    """What the samples mean: once decoded, each pixel has its own colour."""
    return frame.photometric_interpretation.replace("YBR_FULL_422", "YBR_FULL")


def _pairs(original: Path, copy: Path) -> Iterator[tuple[Frame, Frame]]:
    """The frames of both; ValueError where one has more."""
    yield from zip(decoded_frames(original), decoded_frames(copy), strict=True)
