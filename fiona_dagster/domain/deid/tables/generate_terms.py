"""Makes the tables of what kept technical text may say by the standard's own word.

    python -m fiona_dagster.domain.deid.tables.generate_terms VALUES MODULES.json NAMES.txt ...

VALUES is a folder of value lists (`*.tpl`) as dicom3tools has them: defined terms and enumerated values of PS3.3.
MODULES.json is module to keyword and Type, as the Python package highdicom carries it (`module_attribute_map.json`).
The codes of PS3.16 are those that pydicom ships. NAMES.txt hold one name a line, as for `generate_vocabulary`: a term
that is also a name of somebody is left out, unless a row with the source `list` gives it to the attribute whose term
it is. Rows with that source are written by hand and stay.

- `published_terms.csv`: code strings; `*` are terms of any attribute.
- `published_codes.csv`: code values and meanings that are not known by their form or words anyhow.
- `code_string_types.csv`: the strictest Type that PS3.3 gives an attribute of VR CS in any module.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydicom.sr._concepts_dict import concepts

from fiona_dagster.domain.deid import technical
from fiona_dagster.domain.deid.dictionary import standard_vr, tag_of
from fiona_dagster.domain.deid.iods import STRICTEST_FIRST
from fiona_dagster.domain.deid.notation import WORD, fold

TERMS = Path(__file__).with_name("published_terms.csv")
CODES = Path(__file__).with_name("published_codes.csv")
TYPES = Path(__file__).with_name("code_string_types.csv")
_LIST = re.compile(r'StringValues="[^"]+"\s*\{(.*?)\n\}', re.DOTALL)
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")
_EPONYMS = frozenset(
    {"arcelin", "beclere", "bertel", "broden", "burman", "cahoon", "causton", "chausse", "haigis", "henschen"}
    | {
        "grashey",
        "holmblad",
        "hsieh",
        "kandel",
        "kasabach",
        "kuchendorf",
        "kurzbauer",
        "lilienfeld",
        "lindblom",
    }
    | {
        "lysholm",
        "settegast",
        "stecher",
        "stenvers",
        "swanson",
        "titterington",
        "towne",
        "zanelli",
        "hughston",
    }
)


def code_strings(folder: Path, names: frozenset[str]) -> set[str]:
    """Terms of the value lists that nobody is called."""
    found = set()
    for path in sorted(folder.glob("*.tpl")):
        for body in _LIST.findall(path.read_text("latin-1")):
            for line in body.splitlines():
                term = re.split(r"[=,:#]|//", line.strip())[0].strip().strip('"')
                if _CODE_STRING.fullmatch(term) and fold(term) not in names:
                    found.add(term)
    return found


def codes(names: frozenset[str]) -> set[tuple[str, str]]:
    """Attribute and value of the codes that stand in PS3.16 and are not known otherwise."""
    found = set()
    value_tag, meaning_tag = tag_of("CodeValue") or 0, tag_of("CodeMeaning") or 0
    for keywords in concepts.values():
        for entries in keywords.values():
            for value, entry in entries.items():  # type: ignore[attr-defined]
                meaning = " ".join(str(entry[0]).split())
                if fold(value) not in names and technical.unknown(value_tag, "SH", value):
                    found.add(("CodeValue", value))
                if not _is_name(meaning, names) and technical.unknown(meaning_tag, "LO", meaning):
                    found.add(("CodeMeaning", meaning))
    return found


def _is_name(text: str, names: frozenset[str]) -> bool:
    """Whether a text is nothing but names: every word of it is one, or an eponym."""
    words = WORD.findall(fold(text))
    return all(word in names or word in _EPONYMS or len(word) == 1 for word in words)


def strictest_types(modules: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """By keyword of an attribute of VR CS that is demanded somewhere."""
    found: dict[str, str] = {}
    for attribute in (one for attributes in modules.values() for one in attributes):
        keyword, kind = attribute["keyword"], attribute["type"]
        if kind in STRICTEST_FIRST and standard_vr(tag_of(keyword) or 0) == "CS":
            found[keyword] = min(kind, found.get(keyword, kind), key=STRICTEST_FIRST.index)
    return {keyword: kind for keyword, kind in found.items() if kind != "3"}


def own_terms() -> set[tuple[str, str, str]]:
    """Rows of the terms that are written by hand."""
    with TERMS.open(encoding="utf-8", newline="") as lines:
        return {tuple(row.values()) for row in csv.DictReader(lines) if row["source"] == "list"}  # type: ignore[misc]


def _write(path: Path, columns: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(sorted(lines))


def main(values: Path, modules: Path, names: frozenset[str]) -> None:
    """Write the three tables."""
    terms = {("*", term, "PS3.3") for term in code_strings(values, names)}
    _write(TERMS, ("attribute", "term", "source"), terms | own_terms())
    _write(TYPES, ("attribute", "type"), strictest_types(json.loads(modules.read_text("utf-8"))).items())
    _write(CODES, ("attribute", "term"), set())
    technical.forget()
    _write(CODES, ("attribute", "term"), codes(names))


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        frozenset(
            fold(line.strip()) for path in sys.argv[3:] for line in Path(path).read_text("utf-8").splitlines()
        ),
    )
