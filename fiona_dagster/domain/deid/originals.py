"""What identifies in a study's originals, gathered to be looked for in its copies."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from fiona_dagster.domain.deid.dictionary import is_registered
from fiona_dagster.domain.deid.names import full_names, name_words
from fiona_dagster.domain.deid.notation import dates_in, fold, spellings
from fiona_dagster.domain.deid.participants import patient_terms
from fiona_dagster.domain.deid.table import identifying
from fiona_dagster.domain.deid.technical import are_products

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.walk import Found

SHORTEST_IDENTIFIER = 5
TELEPHONE_DIGITS = 8
"""A number is known by its last digits: country and area codes come and go."""
_MEDIA_STORAGE_SOP_INSTANCE_UID, _CONTENT_CREATOR_NAME = 0x00020003, 0x00700084


class OriginalValues:
    """Identifying values of a study's originals."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.full_names: set[tuple[str, ...]] = set()
        self.identifiers: set[str] = set()
        self.patient: set[str] = set()  # `participants.patient_terms`
        self.devices: set[str] = set()
        self.phrases: set[str] = set()
        self.telephones: set[str] = set()
        self.dates: set[dt.date] = set()
        self.date_texts: set[tuple[str, str]] = set()
        self.uids: set[str] = set()
        self.retained: set[str] = set()
        self._seen: set[tuple[int, str, bytes, tuple[str, ...], bool]] = set()

    def gather(self, elements: Iterable[Found], stays: Callable[[Found], bool] | None = None) -> None:
        """Add what identifies in elements (those of the file meta information are some of them), private ones too.

        `stays` tells whether the profile keeps a value as it is: what equipment and institutions are called may then
        stand in copies, also elsewhere.
        """
        kinds = identifying()
        for found in elements:
            kind = kinds.get(found.tag, "")
            if not found.value or not (kind or found.vr in {"PN", "DA", "DT", "UI"}):
                continue
            kept = stays is not None and (kind != "" or found.vr == "UI") and stays(found)
            key = (found.tag, found.vr, found.value, tuple(found.encodings), kept)
            if key in self._seen:
                continue
            self._seen.add(key)
            if kept:
                self._retain(found)
            else:
                self._add(found, kind)

    def merge(self, other: OriginalValues) -> None:
        """Add what was gathered from another part of the study."""
        for name, values in vars(other).items():
            getattr(self, name).update(values)

    def _retain(self, found: Found) -> None:
        if found.vr == "UI":
            return  # what it names may stand in copies; where it does not stay, it is added
        for text in found.readings():
            self.retained |= spellings(text) | _phrases(text)

    def _add(self, found: Found, kind: str) -> None:
        for text in found.texts() if found.vr in {"UI", "DA", "DT"} else found.readings():
            self.patient |= patient_terms(found.tag, text)
            if found.vr == "UI":
                # a UID like "0" names nothing and stands everywhere
                if len(text) >= SHORTEST_IDENTIFIER and not is_registered(text) and _names_content(found.tag):
                    self.uids.add(text)
            elif found.vr in {"DA", "DT"}:
                self._add_date(found.vr, text)
            elif found.vr == "PN" or kind == "name":
                words = name_words(text)
                if found.tag == _CONTENT_CREATOR_NAME and are_products(words):
                    continue  # scanners put down what they are called themselves
                self.names |= words
                self.full_names |= full_names(text)
            elif kind in {"identifier", "device"}:
                known = self.identifiers if kind == "identifier" else self.devices
                known |= {s for s in spellings(text) if len(s) >= SHORTEST_IDENTIFIER}
            else:
                self.phrases |= _phrases(text)
                if kind == "telephone":
                    self.telephones.add("".join(c for c in text if c.isdigit())[-TELEPHONE_DIGITS:])

    def _add_date(self, vr: str, text: str) -> None:
        self.date_texts.add((vr, text))
        match = re.match(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})", text)
        if match:
            self.dates |= dates_in(f"{match[1]}-{match[2]}-{match[3]}")


def _phrases(text: str) -> set[str]:
    """Addresses, institutions, telephone numbers: as a whole and line by line, folded."""
    parts = (" ".join(fold(part).split()) for part in {text, *re.split(r"[\r\n,;]+", text)})
    return {part for part in parts if len(part) >= SHORTEST_IDENTIFIER}


def _names_content(tag: int) -> bool:
    """Whether a UI attribute may name something of this study: those of the file meta name programs and syntaxes."""
    return tag >> 16 != 0x0002 or tag == _MEDIA_STORAGE_SOP_INSTANCE_UID
