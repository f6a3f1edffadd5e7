"""The formats of exports, apart from what reads and builds them: a project names them and is loaded everywhere."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from fiona_dagster.domain.errors import Permanent

Encryption = Literal["zip", "7z"]
"""The container of a package that only a password opens: AES-256, in a 7z with hidden names."""


class ExportType(StrEnum):
    """The export types that we build, spelt as in FIONA's job files."""

    NATIVE = "native"
    PURE = "PURE"
    NIFTI = "NIFTI"
    BIDS = "BIDS"
    RAM_MS = "RAM-MS"
    TRANSPARA = "Transpara"
    SPECTROSCOPY = "Spectroscopy"

    @classmethod
    def named(cls, text: str) -> ExportType:
        """The type called `text`, in any case.

        Raises:
            Permanent: there is none of that name.
        """
        for one in cls:
            if one.value.lower() == text.strip().lower():
                return one
        raise Permanent(f"'{text}' is no export type: use {', '.join(cls)}")
