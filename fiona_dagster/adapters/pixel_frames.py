"""The frames of an object, decoded one after the other; never more than one is held here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fiona_dagster.domain.errors import Hold
from fiona_dagster.domain.pixels.frames import Frame, ImagePixel


class Undecodable(Hold):
    """Pixels that cannot be read here; `reason` is fit for the ledger: it holds no value of the object."""


def describe(path: Path) -> ImagePixel:
    """What the object at `path` says of its pixels; nothing is decoded.

    Raises:
        Undecodable: it has no pixels, or what it says of them is no image.
    """
    raise NotImplementedError


def decoded_frames(path: Path, *, frames: Iterable[int] | None = None) -> Iterator[Frame]:
    """Every frame, or those of the given indices (counted from 0), in ascending order.

    Raises:
        Undecodable: a frame cannot be decoded, is missing, or does not have the size that the object states.
    """
    raise NotImplementedError
