"""A PDF set anew: its text at its places in a standard font, and nothing else of the original.

So what leaves is what was searched: no metadata, no fonts whose glyphs say something else than their codes, no hidden
layer, annotation or attachment can come along. Straight rules and boxes are left out; pages with images, drawings or
fields are held, because their content can neither be searched nor be left out without a word.
"""

from __future__ import annotations

import logging
import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from pypdf import PageObject, PdfReader
from pypdf.generic import ContentStream, DictionaryObject

from fiona_dagster.domain.deid.documents import MARK, Cleaner, Document, clean_pieces
from fiona_dagster.domain.errors import Hold

MOST_PAGES = 200
MOST_OPERATIONS = 200_000
DEEPEST_FORM = 4
_SET = str.maketrans(
    {
        "\u2264": "<=", "\u2265": ">=", "\u2212": "-", "\u2010": "-", "\u2011": "-", "\xad": "-", "\t": " ",
        "\uf0b7": "\u2022", "\uf0a7": "\u2022",
    }
)  # fmt: skip
"""Characters that the standard fonts lack, and what is set for them; the last two are bullets of symbol fonts."""
_CURVES = {b"c", b"v", b"y", b"sh"}
_PAINT = {b"S", b"s", b"f", b"F", b"f*", b"B", b"B*", b"b", b"b*"}
_SHOW = {b"Tj", b"TJ", b"'", b'"'}
_MOST_BOXES = 1000
_ACTIVE = ("/OpenAction", "/AA", "/AF", "/Collection", "/Perms")

Matrix = tuple[float, float, float, float, float, float]
IDENTITY: Matrix = (1, 0, 0, 1, 0, 0)


@dataclass(frozen=True, slots=True)
class Run:
    """One line of text and where it begins."""

    text: str
    matrix: Matrix
    size: float


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page as it is set anew."""

    box: tuple[float, float, float, float]
    rotate: int
    runs: tuple[Run, ...]


def clean_pdf(value: bytes, cleaned: Cleaner) -> Document:
    """The PDF set anew with its cleaned text, and the text of every page as it was.

    Raises:
        Hold: it is damaged, encrypted, active, has more than text, or has none.
    """
    try:
        with _quiet():
            sheets = list(_sheets(value))
    except Hold:
        raise
    except Exception:  # noqa: BLE001 — whatever a parser says of foreign bytes: not understood means held
        raise Hold("the PDF cannot be read") from None
    texts = tuple(text for sheet in sheets for text in _texts(sheet))
    if not any(text.strip() for text in texts):
        raise Hold("the PDF has no text that could be searched")
    return Document(_written([replace(sheet, runs=_cleaned(sheet, cleaned)) for sheet in sheets]), texts)


def _sheets(value: bytes) -> Iterator[Sheet]:
    reader = PdfReader(BytesIO(value), strict=False)
    if reader.is_encrypted:
        raise Hold("the PDF is encrypted")
    _check_catalog(reader.root_object)
    if len(reader.pages) > MOST_PAGES:
        raise Hold("the PDF has too many pages to be searched")
    budget = [MOST_OPERATIONS]
    for page in reader.pages:
        _check_annotations(page)
        _check_content(page.get_contents(), page.get("/Resources"), reader, budget, 0)
        box = tuple(float(number) for number in page.mediabox)
        if len(box) != 4 or not all(map(math.isfinite, box)):
            raise Hold("the PDF cannot be read")
        yield Sheet(box, int(page.rotation) % 360, tuple(_runs(page)))


def _check_catalog(catalog: DictionaryObject) -> None:
    names = _resolved(catalog.get("/Names")) or {}
    if any(key in names for key in ("/EmbeddedFiles", "/JavaScript")) or any(
        key in catalog and isinstance(_resolved(catalog[key]), dict | list) and _is_active(catalog, key)
        for key in _ACTIVE
    ):
        raise Hold("the PDF has attachments or scripts")
    form = _resolved(catalog.get("/AcroForm")) or {}
    if form.get("/Fields") or "/XFA" in form:
        raise Hold("the PDF is a form")


def _is_active(catalog: DictionaryObject, key: str) -> bool:
    """Going to a page when the document opens is no script."""
    value = _resolved(catalog[key])
    return not (key == "/OpenAction" and (isinstance(value, list) or value.get("/S") == "/GoTo"))


def _check_annotations(page: PageObject) -> None:
    for entry in _resolved(page.get("/Annots")) or []:
        if _resolved(entry).get("/Subtype") != "/Link":
            raise Hold("the PDF has annotations")


def _check_content(content: Any, resources: Any, reader: PdfReader, budget: list[int], depth: int) -> None:
    """Only text, clipping, colours, rules and boxes; forms are followed. `budget` bounds the work."""
    if content is None:
        return
    if depth > DEEPEST_FORM:
        raise Hold("the PDF is nested too deeply to be searched")
    stream = content if isinstance(content, ContentStream) else ContentStream(content, reader)
    xobjects = _resolved((_resolved(resources) or {}).get("/XObject")) or {}
    fonts = _resolved((_resolved(resources) or {}).get("/Font")) or {}
    if any(_resolved(font).get("/Subtype") == "/Type3" for font in fonts.values()):
        raise Hold("the PDF draws its letters")
    drawing = _Drawing()
    for operands, operator in stream.operations:
        budget[0] -= 1
        if budget[0] < 0:
            raise Hold("the PDF is too large to be searched")
        if operator == b"INLINE IMAGE":
            raise Hold("the PDF has images")
        if operator == b"Do":
            _check_xobject(_resolved(xobjects.get(operands[0])), resources, reader, budget, depth)
        elif drawing.tells(operator, operands):
            raise Hold("the PDF has drawings")


class _Drawing:
    """Tells rules and boxes, which may be left out, from drawings, which may be writing or findings."""

    def __init__(self) -> None:
        self._corner, self._straight, self._boxes = (0.0, 0.0), True, 0

    def tells(self, operator: bytes, operands: Any) -> bool:
        """Whether the page draws something with this operator."""
        if operator in {b"m", b"l"}:
            point = (float(operands[0]), float(operands[1]))
            level = any(abs(one - other) < 0.01 for one, other in zip(point, self._corner, strict=True))
            self._straight = self._straight and (operator == b"m" or level)
            self._corner = point
        elif operator in _PAINT:
            self._boxes += 1
            return not self._straight or self._boxes > _MOST_BOXES
        elif operator == b"n":
            self._straight = True
        pattern = operator in {b"scn", b"SCN"} and operands and isinstance(operands[-1], str)
        return operator in _CURVES or bool(pattern)


def _check_xobject(found: Any, resources: Any, reader: PdfReader, budget: list[int], depth: int) -> None:
    if found is None:
        return
    if found.get("/Subtype") != "/Form":
        raise Hold("the PDF has images")
    _check_content(found, found.get("/Resources", resources), reader, budget, depth + 1)


def _runs(page: PageObject) -> Iterator[Run]:
    """The page's text, piece by piece, with its place; pieces of forms stand where the form does.

    pypdf joins what stands on one line in the order of the file, so that order must be that of reading.
    """
    found: list[Run] = []
    placed: list[Matrix] = [IDENTITY]
    shown: list[Matrix] = [IDENTITY]

    def before(operator: bytes, _operands: Any, cm: list[float], tm: list[float]) -> None:
        if operator == b"Do":
            placed.append(_times(_matrix(cm), placed[-1]))
        if operator in _SHOW:
            here = _times(_times(_matrix(tm), _matrix(cm)), placed[-1])
            if abs(here[5] - shown[-1][5]) < 1 and here[4] < shown[-1][4] - 0.5:
                raise Hold("the PDF sets its text out of order")
            shown.append(here)

    def after(operator: bytes, _operands: Any, _cm: list[float], _tm: list[float]) -> None:
        if operator == b"Do" and len(placed) > 1:
            placed.pop()

    def text(piece: str, cm: list[float], tm: list[float], _font: Any, size: float) -> None:
        if piece.strip():
            found.append(Run(piece, _times(_times(_matrix(tm), _matrix(cm)), placed[-1]), float(size)))

    page.extract_text(visitor_operand_before=before, visitor_operand_after=after, visitor_text=text)
    for run in found:
        for number, line in enumerate(part for part in run.text.splitlines() if part.strip()):
            below = (1.0, 0.0, 0.0, 1.0, 0.0, -number * (run.size or 10) * 1.2)
            yield Run(_settable(line), _times(below, run.matrix), run.size)


def _settable(line: str) -> str:
    """The line in the letters of a standard font; raises Hold for others."""
    plain = unicodedata.normalize("NFC", line.translate(_SET))
    try:
        plain.encode("cp1252")
    except UnicodeEncodeError:
        plain = unicodedata.normalize("NFKC", plain)
        try:
            plain.encode("cp1252")
        except UnicodeEncodeError:
            raise Hold("the PDF has letters that cannot be read") from None
    if any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in plain):
        raise Hold("the PDF has letters that cannot be read")
    return plain


def _texts(sheet: Sheet) -> list[str]:
    """A page's text in the order of its pieces, and by their places, line by line from the top."""
    by_place = [" ".join(sheet.runs[number].text for number in line) for line in _lines(sheet)]
    return ["\n".join(run.text for run in sheet.runs), "\n".join(by_place)]


def _lines(sheet: Sheet) -> list[list[int]]:
    """Numbers of the pieces that stand on one line, from left to right; lines from the top."""
    lines: defaultdict[int, list[int]] = defaultdict(list)
    for number, run in enumerate(sheet.runs):
        lines[-round(run.matrix[5])].append(number)
    return [sorted(line, key=lambda one: sheet.runs[one].matrix[4]) for _, line in sorted(lines.items())]


def _cleaned(sheet: Sheet, cleaned: Cleaner) -> tuple[Run, ...]:
    """The page's pieces, cleaned line by line; pypdf's blanks tell where a word runs on into the next piece.

    A letter that is a line by itself says nothing, and may be one of a name that is written downwards.
    """
    texts = [""] * len(sheet.runs)
    for line in _lines(sheet):
        pieces = clean_pieces([sheet.runs[number].text for number in line], cleaned)
        if len(letter := "".join(pieces).strip()) == 1 and letter.isalpha():
            pieces = [MARK, *[""] * (len(line) - 1)]
        for number, piece in zip(line, pieces, strict=True):
            texts[number] = piece.strip()
    return tuple(replace(run, text=text) for run, text in zip(sheet.runs, texts, strict=True) if text)


def _written(sheets: list[Sheet]) -> bytes:
    """A PDF of these pages; the same pages give the same bytes."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(sheets)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(sheets)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, sheet in enumerate(sheets):
        box = " ".join(_number(value) for value in sheet.box)
        content = b"\n".join(_shown(run) for run in sheet.runs)
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Rotate {sheet.rotate} "
            f"/Resources << /Font << /F 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>".encode(),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        count, table, count, len(out),
    )  # fmt: skip


def _shown(run: Run) -> bytes:
    text = run.text.encode("cp1252")
    for mark in (b"\\", b"(", b")"):
        text = text.replace(mark, b"\\" + mark)
    matrix = " ".join(_number(value) for value in run.matrix)
    return b"BT /F %s Tf %s Tm (%s) Tj ET" % (_number(run.size or 10).encode(), matrix.encode(), text)


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"


def _matrix(values: list[float]) -> Matrix:
    a, b, c, d, e, f = (float(value) for value in values)
    return a, b, c, d, e, f


def _times(one: Matrix, other: Matrix) -> Matrix:
    """`one` applied first, then `other` (ISO 32000-1, 8.3.4)."""
    a, b, c, d, e, f = one
    p, q, r, s, t, u = other
    return a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s, e * p + f * r + t, e * q + f * s + u


def _resolved(value: Any) -> Any:
    return value.get_object() if value is not None and hasattr(value, "get_object") else value


@contextmanager
def _quiet() -> Iterator[None]:
    """pypdf's warnings may print what stands in the document; its modules have loggers below its own."""
    logger, nobody = logging.getLogger("pypdf"), logging.NullHandler()
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(nobody)
    try:
        yield
    finally:
        logger.removeHandler(nobody)
        logger.propagate = propagated
