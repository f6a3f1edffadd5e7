"""Encapsulated documents (PS3.3 A.45): a copy is made only of what was read, searched and found clean.

Nothing of the original's bytes is handed through. A PDF is set anew from its text, a CDA document is rebuilt from what
its schema allows, a 3D model from its geometry. Their text is free text: words that are not known to be harmless are
left out. What cannot be read completely, or identifies somebody of the study, is held.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fiona_dagster.domain.errors import Hold

LARGEST = 64 * 1024 * 1024
"""Bytes of a document that are looked at; larger ones are held."""
_MODELS = frozenset({"model/stl", "application/sla", "application/vnd.ms-pki.stl", "model/obj", "model/mtl"})
MARK = "..."
"""Stands for text that went."""
MOST_ROUNDS = 5
"""Times that a document is made anew until that changes nothing."""
_WORD = re.compile(r"[^\W_]+")
_MARKS = re.compile(r"[\x00-\x7f•–—·…]*")
IsIdentifying = Callable[[str], bool]
Cleaner = Callable[[str], str]
"""A text with what is known to be harmless of it, '' where that is nothing (`FreeText.clean`)."""


@dataclass(frozen=True)
class Document:
    """What may stand in a copy: `value`, not padded, all texts that it shows, and codes of vocabularies in it."""

    value: bytes
    texts: tuple[str, ...]
    codes: tuple[str, ...] = ()


def clean_document(
    value: bytes, mime: str, is_identifying: IsIdentifying | None, cleaned: Cleaner
) -> Document:
    """The document for a copy.

    Args:
        value: Encapsulated Document, cut to Encapsulated Document Length where that is there.
        mime: MIME Type of Encapsulated Document.
        is_identifying: whether a text has a value that identifies in the originals; None where nobody can tell.
        cleaned: the cleaner of free text, which knows the names of the study.

    Raises:
        Hold: it cannot be proven clean; the reason names no content.
    """
    if len(value) > LARGEST:
        raise Hold("the encapsulated document is too large to be searched")
    kind = mime.partition(";")[0].strip().lower()
    if kind in _MODELS:
        from fiona_dagster.domain.deid.models import cleaner_of

        return cleaner_of(kind)(value)
    clean = _cleaner(kind)
    document = clean(value, cleaned)
    for _ in range(MOST_ROUNDS):
        _search(document, is_identifying)
        again = clean(document.value, cleaned)
        if again.value == document.value:
            return document
        document = again
    raise Hold("the encapsulated document cannot be made anew from its text")


def clean_pieces(pieces: Sequence[str], cleaned: Cleaner) -> list[str]:
    """Pieces of one line, cleaned, as many as there were, with the blanks around them.

    Where a word runs on from one piece into the next, or one is judged by what stands beside it, the first piece has
    all that stays and the others are empty.
    """
    apart = [_piece(piece, cleaned) for piece in pieces]
    if len(apart) < 2:
        return apart
    whole = _piece("".join(pieces), cleaned)
    if _WORD.findall(whole) == _WORD.findall("".join(apart)):
        return apart
    return [whole, *[""] * (len(pieces) - 1)]


def _piece(text: str, cleaned: Cleaner) -> str:
    if _MARKS.fullmatch(text) and _WORD.search(text) is None:
        return text
    begin, end = len(text) - len(text.lstrip()), len(text.rstrip())
    return text[:begin] + (cleaned(text[begin:end]) or MARK) + text[end:] if end else " "


def is_made_anew(value: bytes, mime: str, is_identifying: IsIdentifying | None, cleaned: Cleaner) -> bool:
    """Whether a copy's document is, byte for byte, what `clean_document` makes of it: so nothing else can be in it.

    One NUL of padding does not count.
    """
    try:
        made = clean_document(value, mime, is_identifying, cleaned).value
    except Hold:
        return False
    return value in (made, made + b"\0")


def _cleaner(kind: str) -> Callable[[bytes, Cleaner], Document]:
    if kind == "application/pdf":
        from fiona_dagster.domain.deid.pdf import clean_pdf

        return clean_pdf
    if kind == "text/xml":
        from fiona_dagster.domain.deid.cda import clean_cda

        return clean_cda
    raise Hold("an encapsulated document of a kind that has no tested handler")


def _search(document: Document, is_identifying: IsIdentifying | None) -> None:
    """Raises Hold where a text identifies: by a value of the originals, or by its pattern, which codes may resemble."""
    for text in (*document.texts, *document.codes):
        joined = "".join(text.split())
        if is_identifying is not None and (is_identifying(text) or is_identifying(joined)):
            raise Hold("the encapsulated document shows a value that identifies")
    if any(_has_identifier(text) for text in document.texts):
        raise Hold("the encapsulated document shows what looks like an identifier, a date or an address")


def _has_identifier(text: str) -> bool:
    from fiona_dagster.domain.deid.identifier_patterns import identifiers_in

    return bool(identifiers_in(text))
