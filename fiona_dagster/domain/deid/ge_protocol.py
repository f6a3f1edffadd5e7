"""Two blocks of bytes from GE's MR scanners, with only what converters need.

The Protocol Data Block, (0025,xx1B) of `GEMS_SERS_01`: four bytes of length, little endian, and a gzip member whose
file name holds the examination's number. Inside are lines `NAME "value"`, of which the series description is one.
Slice order, group delay and multiband factor stand nowhere else. Lines stay by name and with values of their form;
the others become empty. The form with XML inside is not known, and nothing of it stays.

User Define Data, (0043,xx2A) of `GEMS_PARM_01`: a record of the scanner with dates, times and series numbers in it. The
direction of phase encoding of echo planar images stands nowhere else before Enhanced MR: the version of the record
and three flags stay, at the places that dcm2niix reads; all other bytes become zero.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

_START = 24
_SHORTEST_RECORD = 0x0394 + 2 + 0x4C
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


def clean_ge_user_data(value: bytes) -> bytes | None:
    """The record with only its version and the flags of phase encoding; None where it is no such record."""
    if len(value) < _SHORTEST_RECORD:
        return None
    (start,) = struct.unpack_from("<H", value, _START)
    if len(value) < start + _SHORTEST_RECORD:
        return None
    (version,) = struct.unpack_from("<f", value, start)
    if not 5.0 <= version <= 40.0:
        return None
    later = version >= 25.002
    flags = start + (0x4C if later else 0)
    made = bytearray(len(value))
    struct.pack_into("<H", made, _START, start)
    struct.pack_into("<f", made, start, round(version, 3))
    for place, mask in ((0x3A, 0x0800), (0x30, 0x0004), (0x0394 - (0x8C if later else 0), 0x0003)):
        (word,) = struct.unpack_from("<H", value, flags + place)
        struct.pack_into("<H", made, flags + place, word & mask)
    return bytes(made)


def _kept(line: str, terms: Callable[[str], bool] | None) -> str:
    match = _LINE.fullmatch(line.strip())
    form = _FORMS.get(match[1]) if match else None
    if match is None or form is None or not form.fullmatch(match[2]):
        return ""
    return "" if terms is not None and terms(match[2]) else match[0]
