"""3D models (PS3.3 A.85): geometry is written anew, number by number; names, comments and files are left out.

STL as text or binary, Wavefront OBJ, and its materials (MTL) without pictures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

from fiona_dagster.domain.deid.documents import Document
from fiona_dagster.domain.errors import Hold

_HEADER, _TRIANGLE = 80, 50
_SOLID = "solid"
_OBJ_NUMBERS = frozenset({"v", "vt", "vn", "vp"})
_OBJ_INDICES = frozenset({"f", "l", "p"})
_OBJ_LEFT_OUT = frozenset({"o", "g", "s", "usemtl", "mtllib"})
_MTL_NUMBERS = frozenset({"Ka", "Kd", "Ks", "Ke", "Tf", "Ns", "Ni", "Tr", "d", "illum", "Pr", "Pm", "Ps"})
_INDEX = re.compile(r"-?\d{1,10}(/-?\d{0,10}){0,2}")


def cleaner_of(mime: str) -> Callable[[bytes], Document]:
    """What cleans models of this MIME type."""
    return {"model/obj": clean_obj, "model/mtl": clean_mtl}.get(mime, clean_stl)


def clean_stl(value: bytes) -> Document:
    """An STL of the same triangles, with an empty header; attributes of triangles, which may be anything, are zero.

    Raises:
        Hold: it is no STL.
    """
    count = int.from_bytes(value[_HEADER : _HEADER + 4], "little")
    end = _HEADER + 4 + count * _TRIANGLE
    if len(value) >= _HEADER + 4 and end <= len(value) <= end + 1:
        body = bytearray(value[_HEADER + 4 : end])
        body[48::_TRIANGLE] = body[49::_TRIANGLE] = bytes(count)
        return Document(bytes(_HEADER) + value[_HEADER : _HEADER + 4] + bytes(body), ())
    lines = ["solid", *_stl_lines(_text(value)), "endsolid", ""]
    return Document("\n".join(lines).encode(), ())


def _stl_lines(text: str) -> Iterator[str]:
    first, *rest = text.strip().splitlines() or [""]
    if first.split()[:1] != [_SOLID] or not rest or rest[-1].split()[:1] != ["endsolid"]:
        raise _unknown()
    for line in rest[:-1]:
        words = line.split()
        if words[:2] == ["facet", "normal"] and len(words) == 5:
            yield "facet normal " + _numbers(words[2:])
        elif words[:1] == ["vertex"] and len(words) == 4:
            yield "vertex " + _numbers(words[1:])
        elif words in (["outer", "loop"], ["endloop"], ["endfacet"]):
            yield " ".join(words)
        elif words:
            raise _unknown()


def clean_obj(value: bytes) -> Document:
    """An OBJ of the same vertices and faces, without comments, names of groups and materials.

    Raises:
        Hold: it has anything else.
    """
    return Document("".join(f"{line}\n" for line in _obj_lines(_text(value))).encode(), ())


def _obj_lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        word, *rest = line.partition("#")[0].split() or [""]
        if word in _OBJ_NUMBERS:
            yield f"{word} {_numbers(rest)}"
        elif word in _OBJ_INDICES and all(_INDEX.fullmatch(part) for part in rest):
            yield " ".join((word, *rest))
        elif word and word not in _OBJ_LEFT_OUT:
            raise _unknown()


def clean_mtl(value: bytes) -> Document:
    """Materials with their colours; they are numbered, because their names may be anything.

    Raises:
        Hold: it has anything else, pictures among it.
    """
    return Document("".join(f"{line}\n" for line in _mtl_lines(_text(value))).encode(), ())


def _mtl_lines(text: str) -> Iterator[str]:
    count = 0
    for line in text.splitlines():
        word, *rest = line.partition("#")[0].split() or [""]
        if word == "newmtl":
            count += 1
            yield f"newmtl material{count}"
        elif word in _MTL_NUMBERS:
            yield f"{word} {_numbers(rest)}"
        elif word:
            raise _unknown()


def _numbers(words: list[str]) -> str:
    try:
        if not all(math.isfinite(float(word)) and word.isascii() and "_" not in word for word in words):
            raise _unknown()
    except ValueError:
        raise _unknown() from None
    return " ".join(words)


def _text(value: bytes) -> str:
    try:
        return value.rstrip(b"\0 ").decode("utf-8")
    except UnicodeDecodeError:
        raise _unknown() from None


def _unknown() -> Hold:
    return Hold("the 3D model has something else than geometry")
