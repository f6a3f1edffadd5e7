"""Attributes that follow when pixels were searched and masked (PS3.3 C.7.6.1, C.7.6.3; PS3.15 E.3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING

from fiona_dagster.domain.deid.elements import DataSet, find_elements
from fiona_dagster.domain.deid.encoding import Syntax, encode_value, header
from fiona_dagster.domain.errors import Permanent

if TYPE_CHECKING:
    from fiona_dagster.domain.pixels.frames import ImagePixel
    from fiona_dagster.domain.pixels.masks import Masking

DERIVATION = "Burned-in text masked"
OVERLAYS_CLEARED = "Overlays in the bits of pixels cleared"
DERIVATIONS = (DERIVATION, OVERLAYS_CLEARED)
DERIVATION_DESCRIPTION = 0x00082111
_IMAGE_TYPE = 0x00080008
_PHOTOMETRIC_INTERPRETATION, _PLANAR_CONFIGURATION = 0x00280004, 0x00280006
_FUNCTIONAL_GROUPS = (0x52009229, 0x52009230)
_FRAME_TYPE = 0x00089007
_FRAME_TYPES = frozenset(
    {
        0x00189226,
        0x00189329,
        0x00189504,
        0x00189751,
        0x00189806,
        0x00189835,
        0x00289443,
        0x00400710,
        0x00409092,
    }
    | {0x00480116, 0x00520025}
)
"""Sequences of a frame's Functional Groups with a Frame Type: it says of a frame what Image Type says of all."""
_SMALLEST_AND_LARGEST = (0x00280106, 0x00280107, 0x00280108, 0x00280109)
_BURNED_IN_ANNOTATION = 0x00280301
_LOSSY, _RATIO, _METHOD = 0x00282110, 0x00282112, 0x00282114
_OFFSETS = (0x7FE00001, 0x7FE00002, 0x7FE00003)
_JPEG = "1.2.840.10008.1.2.4."
_LOSSY_METHODS = {
    **dict.fromkeys((f"{_JPEG}50", f"{_JPEG}51"), "ISO_10918_1"),
    f"{_JPEG}81": "ISO_14495_1",
    **dict.fromkeys((f"{_JPEG}91", f"{_JPEG}93"), "ISO_15444_1"),
    f"{_JPEG}203": "ISO_15444_15",
    f"{_JPEG}112": "ISO_18181_1",
}
"""Transfer syntaxes that may lose something, with the method's defined term (PS3.3 C.7.6.1.1.5.1).

For 1.2.840.10008.1.2.4.91 and .203 only the file's maker knows whether they did: it counts as lossy, which is never
wrong for a reader of measurements.
"""


@dataclass(frozen=True, slots=True)
class Reencoded:
    """What is left of the compression when masked pixels are written without any.

    `photometric_interpretation` is that of the decoded frames; `ratio` is uncompressed by compressed size.
    """

    photometric_interpretation: str
    ratio: float


def follow(
    before: bytes, syntax: Syntax, masking: Masking, image: ImagePixel, new: Reencoded | None
) -> bytes:
    """The encoded elements of a copy before its pixels, with those that tell of the masking.

    Args:
        before: elements in ascending order.
        syntax: how they are encoded.
        masking: what was masked; where that is nothing, the pixels were read and are as they were. Without sources
            and boxes nobody looked for text: only overlays left their bits.
        image: of the original.
        new: where the pixels are no longer compressed.

    Raises:
        Permanent: the elements cannot be read.
    """
    places, stop = find_elements(before, 0, len(before), syntax)
    if stop != len(before):
        raise Permanent("a copy cannot be read again: tell us, with the version of the gateway")
    values = {tag: before[place[1] : place[2]] for tag, place in places.items()}
    changed = _changed(values, masking, image, new)
    removed = {*_SMALLEST_AND_LARGEST, *_OFFSETS} if masking.changes_pixels else set()
    pieces = {tag: before[place[0] : place[2]] for tag, place in places.items() if tag not in removed}
    if masking.changes_pixels:
        level = DataSet(before, places, syntax)
        groups = [tag for tag in _FUNCTIONAL_GROUPS if tag in places and places[tag][3] != "UN"]
        pieces |= {tag: _derived_frames(level, tag) for tag in groups}
    pieces |= {tag: encode_value(tag, vr, value, syntax) for tag, (vr, value) in changed.items()}
    return b"".join(pieces[tag] for tag in sorted(pieces))


def _derived_frames(level: DataSet, tag: int, depth: int = 0) -> bytes:
    """A sequence of Functional Groups anew, in which no frame says that it is original (PS3.3 C.8.16.1)."""
    made = b""
    syntax = level.syntax
    for item in level.items(tag, depth=depth):
        pieces = {one: item.content[place[0] : place[2]] for one, place in item.places.items()}
        for one in _FRAME_TYPES & pieces.keys():
            if item.places[one][3] != "UN":
                pieces[one] = _derived_frames(item, one, depth + 1)
        kinds = item.value(_FRAME_TYPE).rstrip(b" \0").split(b"\\")
        if kinds[0] == b"ORIGINAL":
            value = b"\\".join([b"DERIVED", *kinds[1:]])
            pieces[_FRAME_TYPE] = encode_value(_FRAME_TYPE, "CS", value, syntax)
        content = b"".join(pieces[one] for one in sorted(pieces))
        made += pack(syntax.order + "HHL", 0xFFFE, 0xE000, len(content)) + content
    return header(tag, "SQ", len(made), syntax) + made


def _changed(
    values: Mapping[int, bytes], masking: Masking, image: ImagePixel, new: Reencoded | None
) -> dict[int, tuple[str, bytes]]:
    changed = {_BURNED_IN_ANNOTATION: ("CS", b"NO")} if masking.sources or masking.boxes else {}
    if not masking.changes_pixels:
        return changed
    kinds = values.get(_IMAGE_TYPE, b"").rstrip(b" \0").split(b"\\")
    changed[_IMAGE_TYPE] = ("CS", b"\\".join([b"DERIVED", *(kinds[1:] or [b"SECONDARY"])]))
    changed[DERIVATION_DESCRIPTION] = ("ST", (DERIVATION if masking.boxes else OVERLAYS_CLEARED).encode())
    if new is None:
        return changed
    changed[_PHOTOMETRIC_INTERPRETATION] = ("CS", new.photometric_interpretation.encode())
    if image.samples_per_pixel > 1:
        changed[_PLANAR_CONFIGURATION] = ("US", b"\0\0")
    method = _LOSSY_METHODS.get(image.transfer_syntax_uid)
    if method is not None:
        changed[_LOSSY] = ("CS", b"01")
        if not values.get(_RATIO, b"").strip(b" \0"):
            changed[_RATIO] = ("DS", f"{new.ratio:.2f}".encode())
            changed[_METHOD] = ("CS", method.encode())
    return changed
