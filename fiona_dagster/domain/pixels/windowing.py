"""From stored values to something in which text can be seen, whatever the depth, sign, palette or colour space.

Text is burned in at values of its own: at the top of the range, at the bottom, or somewhere in the middle of a range
that one outlier has stretched. So a grey image is shown through three windows at once, as if they were its colours,
and what can be seen through one of them is seen: the whole range of the frame, the middle of it, and the contrast
with what stands around each pixel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fiona_dagster.domain.pixels.frames import Frame, ImagePixel, Palette, Stored

View = npt.NDArray[np.uint8]
"""Rows x columns x 3."""

_NEIGHBOURHOOD = 15
"""Pixels to each side that local contrast is measured against: more than a stroke is wide."""
_LEAST_SPREAD = 2.0
"""Grey levels of 255 below which a difference is noise of the encoding."""
_MIDDLE = (1.0, 99.0)
_SAMPLED = 1 << 16
_BT_601 = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]], dtype=np.float32)
"""YCbCr to RGB as in PS3.3 C.7.6.3.1.2."""


def view_of(frame: Frame, image: ImagePixel) -> View:
    """A frame as three channels of 8 bits in which its text can be seen by an eye or by a detector."""
    interpretation = frame.photometric_interpretation
    if image.palette is not None and frame.stored.ndim == 2:
        return _through_palette(frame.stored, image, image.palette)
    if frame.stored.ndim == 3:
        return _coloured(frame.stored, image, interpretation)
    values = _finite(image_bits(frame.stored, image))
    return np.stack([(whole := _stretched(values, *_range(values))), _middle(values), _local(whole)], axis=2)


def windows_of_grey(view: View) -> View:
    """The three windows of a grey frame for the brightness of a coloured one: dim text stands out in them."""
    values = view.astype(np.float32).mean(axis=2)
    whole = _stretched(values, *_range(values))
    return np.stack([whole, _middle(values), _local(whole)], axis=2)


def image_bits(stored: Stored, image: ImagePixel) -> Stored:
    """The samples without what else is stored beside them: overlays above, anything below (PS3.5 8.1.1)."""
    if image.pixel_keyword != "PixelData" or image.bits_stored >= image.bits_allocated:
        return stored
    below = max(0, image.high_bit + 1 - image.bits_stored)
    mask = (1 << image.bits_stored) - 1
    unsigned = (stored.astype(f"u{stored.dtype.itemsize}") >> below) & mask
    if not image.pixel_representation:
        return unsigned
    sign = 1 << (image.bits_stored - 1)
    return (unsigned ^ sign).astype(np.int64) - sign


def _finite(values: Stored) -> npt.NDArray[np.float32]:
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        known = numbers[np.isfinite(numbers)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        numbers = np.nan_to_num(numbers, nan=low, posinf=high, neginf=low)
    low = float(numbers.min())
    return (numbers - low).astype(np.float32)  # beside its minimum a value of 32 bits fits


def _range(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _stretched(values: npt.NDArray[np.float32], low: float, high: float) -> View:
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.clip((values - low) * (255.0 / (high - low)) + 0.5, 0, 255).astype(np.uint8)


def _middle(values: npt.NDArray[np.float32]) -> View:
    """Without the outermost hundredths: what one bright pixel, or text itself, has pushed together."""
    step = max(1, values.size // _SAMPLED)
    low, high = np.percentile(values.reshape(-1)[::step], _MIDDLE)
    if high <= low:
        low, high = _range(values)
    return _stretched(values, float(low), float(high))


def _local(grey: View) -> View:
    """Each pixel against the mean and the spread of those around it."""
    values = grey.astype(np.float32)
    mean = _box_mean(values)
    spread = np.sqrt(np.maximum(_box_mean(values * values) - mean * mean, 0.0))
    scaled = (values - mean) / np.maximum(spread, _LEAST_SPREAD)
    return np.clip(scaled * 40.0 + 128.0, 0, 255).astype(np.uint8)


def _box_mean(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean over the square around each pixel, by sums of sums: independent of its size."""
    radius = min(_NEIGHBOURHOOD, (min(values.shape) - 1) // 2)
    if radius < 1:
        return values
    padded = np.pad(values, ((radius + 1, radius), (radius + 1, radius)), mode="edge").astype(np.float64)
    sums = padded.cumsum(axis=0).cumsum(axis=1)
    side = 2 * radius + 1
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return (total / (side * side)).astype(np.float32)


def _through_palette(stored: Stored, image: ImagePixel, palette: Palette) -> View:
    colours = palette.colours
    rows = image_bits(stored, image).astype(np.int64) - palette.first
    return np.ascontiguousarray(colours[np.clip(rows, 0, len(colours) - 1)])


def _coloured(stored: Stored, image: ImagePixel, interpretation: str) -> View:
    values = image_bits(stored, image).astype(np.float32)
    if image.pixel_representation:
        values -= values.min()
    if image.bits_stored != 8:
        values *= 255.0 / ((1 << image.bits_stored) - 1)
    if interpretation.startswith("YBR") and interpretation not in {"YBR_RCT", "YBR_ICT"}:
        values = (values - np.array([0, 128, 128], dtype=np.float32)) @ _BT_601.T
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
