"""Makes `iod_modules_<edition>.csv` and `module_types_<edition>.csv`: where PS3.3 demands an attribute or a value.

    python -m fiona_dagster.domain.deid.tables.generate_iods FOLDER EDITION

FOLDER holds the Information Object Definitions in JSON, as the Python package highdicom carries them:
`sop_class_iod_map.json` (SOP Class UID to IOD), `iod_module_map.json` (IOD to modules, functional groups among them)
and `module_attribute_map.json` (module to keyword, Type and enclosing sequences). Only facts are taken over, and only
those about attributes for which PS3.15 table E.1-1 leaves a choice: the modules that demand one of them (Type 1, 1C,
2 or 2C), and of each the attributes with their path. An IOD of which a module is missing in the source is left out,
and treated as unknown.

Sequences that hold themselves (Content Sequence) stand once in a path.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

from fiona_dagster.domain.deid.iods import STRICTEST_FIRST, folded
from fiona_dagster.domain.deid.table import EDITION, rows

Modules = dict[str, dict[str, str]]
"""Type by path (keywords joined by dots), by module."""
_CONTENT = "ContentSequence"


def choices(annex_e: list[dict[str, str]]) -> dict[str, frozenset[str]]:
    """The Types by which an attribute's action differs, by keyword.

    Z may be a dummy as well (PS3.15 table E.1-1a), so that a plain Z is a choice where the attribute is Type 1.
    X/Z/U* is none: references are entered wherever they stand.
    """
    found = {}
    for row in annex_e:
        if "/" in row["basic"] and "U*" not in row["basic"]:
            found[row["keyword"]] = frozenset({"1", "1C", "2", "2C"})
        elif row["basic"] == "Z":
            found[row["keyword"]] = frozenset({"1", "1C"})
    return found


def demanding(modules: dict[str, list[dict[str, Any]]], wanted: dict[str, frozenset[str]]) -> Modules:
    """Of each module the paths whose attribute it demands; modules that demand none are left out."""
    found: Modules = {}
    for module, attributes in modules.items():
        for attribute in attributes:
            keyword, kind = attribute["keyword"], attribute["type"]
            if kind not in wanted.get(keyword, ()):
                continue
            path = ".".join(folded((*attribute["path"], keyword)))
            known = found.setdefault(module, {})
            known[path] = min(kind, known.get(path, kind), key=STRICTEST_FIRST.index)
        if module in found and any(a["keyword"] == _CONTENT and not a["path"] for a in attributes):
            found[module] = {**_in_content_items(found[module]), **found[module]}
    return found


def _in_content_items(types: dict[str, str]) -> dict[str, str]:
    """A content item has what the document has (PS3.3 C.17.3.2); the source does not go down into it."""
    return {f"{_CONTENT}.{path}": kind for path, kind in types.items() if path.split(".")[0] != _CONTENT}


def demanded_of(
    iod_of: dict[str, str], modules_of: dict[str, list[dict[str, Any]]], known: set[str], found: Modules
) -> dict[str, list[str]]:
    """The modules with demands, sorted, by SOP Class UID."""
    return {
        uid: sorted({module["key"] for module in modules_of[iod]} & set(found))
        for uid, iod in iod_of.items()
        if {module["key"] for module in modules_of[iod]} <= known
    }


def main(arguments: list[str]) -> int:
    """Writes both tables beside this file; 2 where it is called wrongly."""
    if len(arguments) != 2 or not re.fullmatch(r"20\d\d[a-z]", arguments[1]):
        sys.stderr.write("usage: generate_iods.py FOLDER EDITION (as 2024e)\n")
        return 2
    folder, edition = Path(arguments[0]), arguments[1]
    attributes = json.loads((folder / "module_attribute_map.json").read_text(encoding="utf-8"))
    found = demanding(attributes, choices(rows(f"ps3_15_annex_e_{EDITION}.csv")))
    modules = demanded_of(
        json.loads((folder / "sop_class_iod_map.json").read_text(encoding="utf-8")),
        json.loads((folder / "iod_module_map.json").read_text(encoding="utf-8")),
        set(attributes),
        found,
    )
    _write(
        f"module_types_{edition}.csv",
        ["module", "path", "type"],
        [[module, path, kind] for module in sorted(found) for path, kind in sorted(found[module].items())],
    )
    _write(
        f"iod_modules_{edition}.csv",
        ["sop_class_uid", "modules"],
        [[uid, " ".join(modules[uid])] for uid in sorted(modules)],
    )
    return 0


def _write(name: str, head: list[str], lines: list[list[str]]) -> None:
    with Path(__file__).with_name(name).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
