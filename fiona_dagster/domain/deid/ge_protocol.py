"""GE's Protocol Data Block, (0025,xx1B) of `GEMS_SERS_01`, with only the lines that converters need.

Four bytes of length, little endian, and a gzip member whose file name holds the examination's number. Inside are
lines `NAME "value"`, of which the series description is one. Slice order, group delay and multiband factor stand
nowhere else. Lines stay by name and with values of their form; the others become empty. The form with XML inside
is not known, and nothing of it stays.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

_GZIP = b"\x1f\x8b\x08"
_HEADER = _GZIP + b"\0" * 6 + b"\xff"
"""No name, no time, no operating system: the same lines give the same bytes."""
_MOST_INFLATED = 1 << 22
_NUMBER = r"[-+]?(?:\d{1,8}(?:\.\d*)?|\.\d+)(?:[Ee][-+]?\d{1,3})?"
_LIST = rf"(?:{_NUMBER}[;, ]*)*"
_WORDS = (
    r"(?:2D|3D|3DASL|ACCEL|ARC|ASL|ASSET|Asset|BRAVO|BSP|CUBE|CS|Cal|DIFF|Dl|DWI|EDR|EPI|ESP|FC|FLAIR|FLOW|FMRI|FR|FSE"
    r"|FT|Fast|Fluoro|GRE|GRx|Gradient|Grad|IDEAL|IR|IrP|MPh|MPhVar|MRA|MT|MagPrep|Mph|NPW|Navigator|None|PROP|PROMO"
    r"|Precession|RTr|SE|SPGR|SS|SSFSE|SWAN|SQ|Seq|Sat|Spin|Echo|Spoiled|Steady|State|T2|TOF|TRICKS|VBw|ZIP2|ZIP512"
    r"|HyperBand|HyperSense|DW|Diffusion|Multi|Phase|FIESTA|MB|Prep|Variable|FSE-XL|FRFSE-XL|STIR|Free|ZTE|IFR|NAV)"
)
_PHRASE = rf"{_WORDS}(?:[, /+-]+{_WORDS})*"
_FORMS = {
    **dict.fromkeys(
        [
            "BWRT",
            "DELACQNOAV",
            "DUMACQ",
            "ETL",
            "FLIPANG",
            "FOV",
            "MATRIXX",
            "MATRIXY",
            "MBACCEL",
            "NECHO",
            "NEX",
            "NOSLC",
            "NUMBVALUE",
            "NUMSHOTS",
            "PHASEFOV",
            "REOPT",
            "SLICEORDER",
            "SLPERLOC",
            "SLTHICK",
            "SPC",
            "TBLDELTA",
            "TE",
            "TE2",
            "TEMPORALPHASES",
            "TI",
            "TR",
            "TRACTIVE",
            "TRREST",
            "VIEWORDER",
        ],
        re.compile(_NUMBER),
    ),
    **dict.fromkeys(["MULTIBVALUE", "MULTINEXVALUE", "PHASEDELAYS1"], re.compile(_LIST)),
    "DELACQ": re.compile(rf"Minimum|{_NUMBER}"),
    "IMODE": re.compile(r"2D|3D|Cine|Spectroscopy"),
    "IOPT": re.compile(_PHRASE),
    "PLANE": re.compile(r"AXIAL|SAGITTAL|CORONAL|OBLIQUE|3-PLANE"),
    "PSEQ": re.compile(_PHRASE),
    "SWAPPF": re.compile(r"[RLAPSI]/[RLAPSI]|Unswap|Freq DIR"),
}
_LINE = re.compile(r'([A-Z][A-Z0-9_]*) "([^"]*)"')


def is_ge_protocol(value: bytes) -> bool:
    """Whether bytes begin as a Protocol Data Block does."""
    return value[4:7] == _GZIP


def clean_ge_protocol(value: bytes, terms: Callable[[str], bool] | None = None) -> bytes | None:
    """The block made anew from the lines that may stay; None where it cannot be read."""
    inflater = zlib.decompressobj(31)
    try:
        text = inflater.decompress(value[4:], _MOST_INFLATED).decode("latin-1")
    except zlib.error:
        return None
    if not inflater.eof:
        return None
    lines = "".join(f"{_kept(line, terms)}\n" for line in text.split("\n")).encode("ascii")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = _HEADER + deflater.compress(lines) + deflater.flush()
    packed += struct.pack("<II", zlib.crc32(lines), len(lines))
    made = struct.pack("<I", len(packed)) + packed
    return made + b"\0" * (len(made) % 2)


def _kept(line: str, terms: Callable[[str], bool] | None) -> str:
    match = _LINE.fullmatch(line.strip())
    form = _FORMS.get(match[1]) if match else None
    if match is None or form is None or not form.fullmatch(match[2]):
        return ""
    return "" if terms is not None and terms(match[2]) else match[0]
