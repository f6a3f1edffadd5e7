"""Folder templates of a project's exports: `{participant}/{event}/{modality}/{series}`.

A template is checked when the project is read. Every value becomes one safe component of a path, so that no value of a
copy can lead out of the package or make a folder more or less.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.layout import safe_name

STUDY_FIELDS = ("project", "participant", "event", "study", "accession")
"""What is known of a whole study; `study` is the copy's Study Instance UID."""
INSTANCE_FIELDS = (*STUDY_FIELDS, "study_date", "study_time", "modality", "series", "series_number",
                   "series_description", "series_uid")  # fmt: skip
"""What is known of one instance besides; `series` is `NNNN_SeriesDescription`."""
MISSING = "unknown"
_DEEPEST, _LONGEST = 8, 200
_FIELD = re.compile(r"\{([^{}]*)\}")
_LITERAL = re.compile(r"[A-Za-z0-9._ -]*")


@dataclass(frozen=True)
class FolderTemplate:
    """A checked template; `text` is as it was written."""

    text: str

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(_FIELD.findall(self.text))

    def folder(self, values: Mapping[str, str]) -> str:
        """The folder for `values`: a blank event leaves out its level, anything else that is blank is `unknown`."""
        parts = []
        for level in self.text.split("/"):
            if level == "{event}" and not values.get("event", "").strip():
                continue
            filled = _FIELD.sub(lambda found: values.get(found[1], "").strip() or MISSING, level)
            parts.append(safe_name(filled, fallback=MISSING))
        return "/".join(parts)


def folder_template(
    text: str, *, known: tuple[str, ...] = INSTANCE_FIELDS, place: str = ""
) -> FolderTemplate:
    """Check a template.

    Raises:
        ConfigurationError: a level is empty or leads elsewhere, or a field is not among `known`.
    """
    text = text.strip().strip("/")
    levels = text.split("/")
    problem = ""
    if len(levels) > _DEEPEST or len(text) > _LONGEST:
        problem = f"has more than {_DEEPEST} levels or {_LONGEST} characters"
    elif any(not level.strip() or level.strip() in {".", ".."} for level in levels):
        problem = "has an empty level, or one that leads elsewhere"
    elif not _LITERAL.fullmatch(_FIELD.sub("", text).replace("/", "")):
        problem = "holds something else than letters, digits, '. _ -' and fields in braces"
    unknown = sorted(set(_FIELD.findall(text)) - set(known))
    if not problem and unknown:
        problem = f"has the unknown field {{{unknown[0]}}}"
    if problem:
        raise ConfigurationError(
            f"export_folder_template '{text}' {problem}", place=place,
            remedy="use " + ", ".join(f"{{{one}}}" for one in known),
        )  # fmt: skip
    return FolderTemplate(text)
