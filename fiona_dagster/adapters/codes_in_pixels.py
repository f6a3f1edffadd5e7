"""Bar codes and matrix codes in what can be seen of a frame: machines read from them what people cannot.

Code 128, Code 39, Codabar, ITF, EAN and UPC, DataBar, QR Code, Data Matrix, PDF417, Aztec and MaxiCode, upright or
turned, also light on dark: those whose content agrees with its check digits. What stands in them is patient data.
"""

from __future__ import annotations

import numpy as np

from fiona_dagster.adapters.text_lines import Rectangle
from fiona_dagster.domain.pixels.windowing import View

_MOST_LOOKS = 16
_MARGIN = 0.05
"""Of a code's longer side: what is told of a bar code's height are the rows in which it was read."""


def codes_of(view: View) -> list[tuple[Rectangle, str]]:
    """Where codes stand, and what stands in them. What was found is blanked and looked at again, until nothing is
    found: of a bar code every row that is left can be read."""
    planes = [view] if view.ndim == 2 else [view[..., n] for n in range(view.shape[2])]
    found: list[tuple[Rectangle, str]] = []
    for plane in planes:
        found += _codes_of(np.array(plane, order="C"))
    return list(dict.fromkeys(found))


def _codes_of(plane: View) -> list[tuple[Rectangle, str]]:
    """Codes of a grey picture, which is changed."""
    from zxingcpp import read_barcodes

    found: list[tuple[Rectangle, str]] = []
    for _ in range(_MOST_LOOKS):
        codes = read_barcodes(plane)
        if not codes:
            break
        for code in codes:
            place = _place(code.position, plane.shape[0], plane.shape[1])
            plane[place.top : place.bottom, place.left : place.right] = 128
            found.append((place, code.text))
    return found


def _place(position: object, rows: int, columns: int) -> Rectangle:
    corners = [getattr(position, name) for name in ("top_left", "top_right", "bottom_right", "bottom_left")]
    across, down = [one.x for one in corners], [one.y for one in corners]
    margin = 2 + round(_MARGIN * max(max(across) - min(across), max(down) - min(down)))
    return Rectangle(
        max(0, min(across) - margin),
        max(0, min(down) - margin),
        min(columns, max(across) + 1 + margin),
        min(rows, max(down) + 1 + margin),
    )
