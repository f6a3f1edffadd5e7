"""Before and after, side by side, for a person: contact sheets inside of the quarantine, and what was decided of them.

A sheet shows originals, and so patient data: it never leaves the quarantine, and goes with its study. Beside each lies
a record without any: the device, the boxes, and whether somebody has looked.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters.durable import write_durably
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from fiona_dagster.domain.deidentification import DeidentifiedInstance
    from fiona_dagster.domain.pixels.frames import Frame, ImagePixel, Stored
    from fiona_dagster.domain.pixels.masks import Masking
    from fiona_dagster.domain.pixels.templates import Rectangle

WAITING, CONFIRMED, CORRECTED = "waiting", "confirmed", "corrected"
_FRAMES = 6
"""Frames of one object that a sheet shows, evenly over its time."""
_SIDE = 1024
"""Pixels of the longer side of a preview: small letters must be legible, or nobody can say that they are gone."""
_GAP = 8
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True, slots=True)
class Preview:
    """One image that was read and that a person may look at. `name` is the SOP Instance UID of the copy.

    `device` is what a template may ask of it, `boxes` are (left, top, width, height), each once whatever its frames.
    """

    name: str
    series: str
    reason: str
    sources: tuple[str, ...]
    device: Mapping[str, str]
    boxes: tuple[Rectangle, ...]
    state: str = WAITING
    by: str = ""
    share: float = 0.0
    """Of all pixels of all frames in boxes."""

    def __repr__(self) -> str:
        return f"Preview({self.name}, {self.state})"


def is_sampled(sop_instance_uid: str, percent: int) -> bool:
    """Whether an image that was read is shown: the same ones each time, by a hash of the copy's UID."""
    number = int.from_bytes(hashlib.sha256(sop_instance_uid.encode()).digest()[:4], "big")
    return number % 100 < percent


def write_preview(
    folder: Path, original: Path, copy: Path, instance: DeidentifiedInstance, device: Mapping[str, str]
) -> None:
    """Draw the contact sheet of an image that was read, and write its record.

    A decision on the same boxes stays; on others it is asked for again.

    Raises:
        Undecodable: a frame cannot be shown.
        Transient: the disk refuses.
    """
    masking = instance.masking
    assert masking is not None  # noqa: S101 — only what was masked is shown
    boxes = _boxes(masking)
    name = instance.sop_instance_uid
    series = instance.series_instance_uid
    record = Preview(name, series, masking.reason, masking.sources, dict(device), boxes, share=masking.share)
    try:
        known = _read(folder / f"{name}.json")
    except Permanent:  # it is written anew
        known = None
    if known is not None and (known.boxes, known.device) == (record.boxes, record.device):
        record = replace(record, state=known.state, by=known.by)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        with os.fdopen(os.open(folder / f"{name}.png", _NEW, 0o640), "wb") as stream:
            _sheet(original, copy).save(stream, "PNG", optimize=False)
        _write(folder, record)
    except OSError as error:
        raise Transient(
            f"a preview cannot be written ({error.strerror}): free the disk and try again"
        ) from None


def forget_others(folder: Path, instances: Iterable[DeidentifiedInstance]) -> None:
    """Take away previews that show something else than the copies of `instances`: others are masked now, held, or no
    longer searched.

    Raises:
        Transient: the disk refuses.
    """
    shown = {
        one.sop_instance_uid: _boxes(one.masking)
        for one in instances
        if one.disposition == "released" and one.masking is not None and one.masking.was_searched
    }
    try:
        for path in folder.glob("*.json"):
            if shown.get(path.stem) != _shown_boxes(path):
                path.unlink()
                path.with_suffix(".png").unlink(missing_ok=True)
    except OSError as error:
        raise Transient(f"a preview cannot be removed ({error.strerror}): mend that and try again") from None


def previews(folder: Path) -> list[Preview]:
    """All previews of a release, by name."""
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    return [one for one in found if one is not None]


def decide(folder: Path, name: str, state: str, *, by: str) -> Preview:
    """Write down that a person has looked at a preview.

    Raises:
        ConfigurationError: there is none of that name.
    """
    found = {one.name: one for one in previews(folder)}
    if name not in found:
        raise ConfigurationError(
            "there is no preview of that name", remedy="`fiona pixels review` lists them"
        )
    decided = replace(found[name], state=state, by=by)
    _write(folder, decided)
    return decided


def _read(path: Path) -> Preview | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        boxes = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in content.pop("boxes"))
        return Preview(boxes=boxes, **{**content, "sources": tuple(content["sources"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        raise Permanent(
            f"the record {path.name} of a preview cannot be read: de-identify the study again"
        ) from None


def _shown_boxes(path: Path) -> tuple[Rectangle, ...] | None:
    """The boxes of a preview; of one that cannot be read none that an image could have."""
    try:
        found = _read(path)
    except Permanent:
        return ((-1, -1, -1, -1),)
    return found.boxes if found is not None else None


def _boxes(masking: Masking) -> tuple[Rectangle, ...]:
    return tuple(sorted({(b.left, b.top, b.width, b.height) for b in masking.boxes}))


def _write(folder: Path, one: Preview) -> None:
    content: dict[str, Any] = {
        "name": one.name, "series": one.series, "reason": one.reason, "sources": list(one.sources),
        "device": dict(one.device), "boxes": [list(box) for box in one.boxes], "state": one.state, "by": one.by,
        "share": one.share,
    }  # fmt: skip
    write_durably(folder / f"{one.name}.json", json.dumps(content, indent=1).encode())


def _sheet(original: Path, copy: Path) -> Image:
    """One row a frame: the original on the left, the copy on the right."""
    from PIL import Image

    from fiona_dagster.adapters.pixel_frames import decoded_frames, describe

    before, after = describe(original), describe(copy)
    count = before.number_of_frames
    wanted = sorted({round(step * (count - 1) / max(1, _FRAMES - 1)) for step in range(_FRAMES)})
    pairs = [
        (_shown(one, before), _shown(other, after))
        for one, other in zip(
            decoded_frames(original, frames=wanted), decoded_frames(copy, frames=wanted), strict=True
        )
    ]
    wide, high = pairs[0][0].size
    sheet = Image.new("RGB", (2 * wide + _GAP, len(pairs) * (high + _GAP) - _GAP), (0, 80, 160))
    for row, pair in enumerate(pairs):
        for column, picture in enumerate(pair):
            sheet.paste(picture, (column * (wide + _GAP), row * (high + _GAP)))
    return sheet


def _shown(frame: Frame, image: ImagePixel) -> Image:
    """A frame as a person can look at it, in its colours; grey is stretched, no matter what the object's window is."""
    from PIL import Image

    from fiona_dagster.domain.pixels.windowing import image_bits, view_of

    if frame.stored.ndim == 3 or image.palette is not None:
        picture = Image.fromarray(view_of(frame, image))
    else:
        grey = _bytes(image_bits(frame.stored, image))
        inverted = frame.photometric_interpretation == "MONOCHROME1"
        picture = Image.fromarray(255 - grey if inverted else grey).convert("RGB")
    picture.thumbnail((_SIDE, _SIDE))
    return picture


def _bytes(stored: Stored) -> npt.NDArray[np.uint8]:
    import numpy as np

    values = np.nan_to_num(stored.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255.0 / max(high - low, 1.0))).astype(np.uint8)
