"""Actions that look inside a value: free text and private headers stay as far as they are known not to identify."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fiona_dagster.domain.deid.actions import Field
from fiona_dagster.domain.deid.text import encode, split


@dataclass(frozen=True, slots=True)
class CleanText:
    """Every value through the cleaner of free text; what is not text in its character set is emptied."""

    cleaner: Callable[[str], str]

    def __call__(self, field: Field) -> bytes | None:
        text = field.text()
        if text is None:
            return b""
        return encode("\\".join(self.cleaner(one) for one in split(text, field.vr)))

    def describe(self) -> str:
        return "cleaned: words of the vocabulary stay"
