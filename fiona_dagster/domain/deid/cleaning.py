"""Actions that look inside a value: free text, private headers and documents stay as far as they are known not to
identify."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fiona_dagster.domain.deid import technical
from fiona_dagster.domain.deid.actions import DUMMY_TEXT, Action, Field, Keep
from fiona_dagster.domain.deid.codes import TECHNICAL_VRS
from fiona_dagster.domain.deid.dictionary import keyword_of
from fiona_dagster.domain.deid.private import SafeRow, fits
from fiona_dagster.domain.deid.text import encode, split
from fiona_dagster.domain.errors import Hold


class CleanText(NamedTuple):
    """Every value through the cleaner of free text; where nothing is left of it, a dummy stands for it."""

    cleaner: Callable[[str], str]

    def __call__(self, field: Field) -> bytes | None:
        text = field.text()
        if text is None:
            return b""
        cleaned = "\\".join(self.cleaner(one) for one in split(text, field.vr))
        return encode(cleaned if cleaned or not text.strip() else DUMMY_TEXT)

    def describe(self) -> str:
        return "cleaned: words of the vocabulary stay"


class KeepTechnical:
    """What is known to name nobody stays; the rest is cleaned, or goes as the attribute's Type allows.

    Raises:
        Hold: the instance cannot be read without a right value, and it has none.
    """

    def __call__(self, field: Field) -> bytes | None:
        kept = Keep()(field) if field.vr in TECHNICAL_VRS else None
        if not kept:
            return kept
        values = split(kept.decode("utf-8").rstrip(" \0"), field.vr)
        made = [technical.cleaned(field.tag, field.vr, one) for one in values]
        if made == values:
            return kept
        if field.vr == "CS" and technical.is_closed(field.tag):
            raise Hold(f"{keyword_of(field.tag)} has a value that is none of the standard's")
        if not any(one.strip() for one in made):
            new = technical.replacement(field.tag) if field.vr == "CS" else DUMMY_TEXT
            return new if new is None else encode(new)
        return encode(
            "\\".join(
                new or (DUMMY_TEXT if old.strip() else old) for old, new in zip(values, made, strict=True)
            )
        )

    def describe(self) -> str:
        return "kept; what is no term or word of technical text is cleaned or goes"


class Fitting(NamedTuple):
    """What another action makes of a private value that is what the safe list says; the element goes where the value
    is something else, or what was made of it is.
    """

    action: Action
    row: SafeRow
    declared_vr: str

    def __call__(self, field: Field) -> bytes | None:
        if not fits(self.row, self.declared_vr, field.value):
            return None
        made = self.action(field)
        return made if made is not None and fits(self.row, self.declared_vr, made) else None

    def describe(self) -> str:
        return self.action.describe()


_REMEMBERED_HEADERS = 4


class CleanHeader:
    """A vendor's header or protocol, with its safe settings alone; removed where it cannot be read, or where a value
    that identifies stands in it even so.

    The last few are remembered: a series header is long, and the same in every image.
    """

    def __init__(self, is_identifying: Callable[[str], bool], stands_in: Callable[[bytes], bool]) -> None:
        self._is_identifying, self._stands_in = is_identifying, stands_in
        self._made: dict[bytes, bytes | None] = {}

    def __call__(self, field: Field) -> bytes | None:
        if field.value not in self._made:
            from fiona_dagster.domain.deid.csa import clean_csa

            if len(self._made) >= _REMEMBERED_HEADERS:
                self._made.pop(next(iter(self._made)))
            made = clean_csa(field.value, self._is_identifying)
            self._made[field.value] = None if made is not None and self._stands_in(made) else made
        return self._made[field.value]

    def describe(self) -> str:
        return "cleaned: settings that are known to be safe stay"


class CleanDocument(NamedTuple):
    """An encapsulated document, made anew from what was read of it.

    Raises:
        Hold: it cannot be proven clean.
    """

    mime: str
    is_identifying: Callable[[str], bool]
    cleaner: Callable[[str], str]

    def __call__(self, field: Field) -> bytes | None:
        from fiona_dagster.domain.deid.documents import clean_document

        return clean_document(field.value, self.mime, self.is_identifying, self.cleaner).value

    def describe(self) -> str:
        return "made anew from its words of the vocabulary; held where it shows somebody of the study"
