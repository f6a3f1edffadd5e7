"""Siemens CSA headers with identifiers inside, written after NiBabel's description of the layout."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def csa2(tags: Sequence[tuple[str, str, Sequence[str]]]) -> bytes:
    """A header of the second kind (magic SV10) of names, VRs and values."""
    pieces = [b"SV10\4\3\2\1", struct.pack("<2I", len(tags), 77)]
    for name, vr, values in tags:
        pieces.append(
            struct.pack("<64si4siii", name.encode(), max(1, len(values)), vr.encode(), 0, len(values), 77)
        )
        for value in values:
            data = value.encode() + b"\0"
            pieces.append(struct.pack("<4i", len(data), len(data), 77, len(data)))
            pieces.append(data + b"\0" * (-len(data) % 4))
    return b"".join(pieces)
