"""Finds and reads the text in the frames of an object. A helper of masking: it changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fiona_dagster.domain.pixels.boxes import FramesText


def read_text(path: Path, *, frames: Iterable[int] | None = None, recognize: bool = True) -> FramesText:
    """Boxes around all text in the frames of the object at `path`, biased to find too much.

    Args:
        path: a DICOM file with pixels.
        frames: indices counted from 0; all where it is None.
        recognize: whether to read what stands in the boxes; without it every `text` is '', at a fraction of the time.

    Raises:
        Undecodable: a frame cannot be decoded; nothing is said of the others then.
    """
    raise NotImplementedError
