"""Makes `safe_private_<edition>.csv` from PS3.15 table E.3.10-1 "Safe Private Attributes".

    python -m fiona_dagster.domain.deid.tables.generate_safe_private SOURCE EDITION

The source is the standard's own HTML (`part15.html` or `sect_E.3.10.html`), or JSON with a list `rows` of objects
with `tag` as printed, `private_creator`, `vr`, `vm` and `meaning`. Only facts are taken over. The action follows from
the VR: the standard calls the attributes safe, yet its note says that nobody guarantees it. Text therefore goes through
the cleaner, UIDs are mapped, dates follow the project, and bytes that nobody can look into are removed. The output
is sorted by creator and tag, so that two editions can be compared line by line; the differences to the newest table
that is there already are printed.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

COLUMNS = ("creator", "tag", "vr", "vm", "action", "pattern", "meaning", "source", "reason")
ANCHOR = "table_E.3.10-1"
_TAG = re.compile(r"\(([0-9A-Fa-f]{4}),[xX]{2}([0-9A-Fa-f]{2})\)")
_ACTIONS = {
    **dict.fromkeys(["FL", "FD", "SL", "SS", "UL", "US", "SV", "UV", "DS", "IS", "AT", "CS", "SQ"], "keep"),
    **dict.fromkeys(["LO", "SH", "ST", "LT", "UC", "UT"], "clean"),
    **dict.fromkeys(["DA", "DT", "TM"], "date"),
    "UI": "uid",
}
_OPAQUE = frozenset({"OB", "OW", "OW/OB", "OB/OW", "OF", "OD", "OL", "OV", "UN"})


class _Table(HTMLParser):
    """The cells of the table behind the anchor."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and dict(attrs).get("id") == ANCHOR:
            self._inside = True
        elif self._inside and tag == "tr":
            self.rows.append([])
        elif self._inside and tag == "td":
            self.rows[-1].append("")
            self._in_cell = True

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._in_cell = False
        elif tag == "table":
            self._inside = False


def printed_rows(source: str) -> list[tuple[str, str, str, str, str]]:
    """Tag, creator, VR, VM and meaning of every line of the table, as printed."""
    if source.lstrip().startswith("{"):
        names = ("tag", "private_creator", "vr", "vm", "meaning")
        return [
            (row[names[0]], row[names[1]], row[names[2]], row[names[3]], row[names[4]])
            for row in json.loads(source)["rows"]
        ]
    table = _Table()
    table.feed(source)
    cells = [[" ".join(cell.split()) for cell in row] for row in table.rows]
    return [(row[0], row[1], row[2], row[3], row[4]) for row in cells if len(row) == 5]


def rows_from(source: str, edition: str) -> list[dict[str, str]]:
    """The table's lines with our action, sorted.

    Raises:
        ValueError: no such table, a tag or VR that cannot be read, or one attribute twice.
    """
    made: dict[tuple[str, str], dict[str, str]] = {}
    for printed, creator, vr, vm, meaning in printed_rows(source):
        match = _TAG.fullmatch(printed.replace(" ", ""))
        if not match:
            raise ValueError(f"'{printed}' is not the tag of a private attribute")
        tag = f"{match[1]}00{match[2]}".upper()
        if (creator, tag) in made:
            raise ValueError(f"{creator} {tag} is there twice")
        action, reason = _action(vr)
        values = (creator, tag, vr, vm, action, "", meaning, f"PS3.15 table E.3.10-1 {edition}", reason)
        made[creator, tag] = dict(zip(COLUMNS, values, strict=True))
    if not made:
        raise ValueError(f"the source does not have {ANCHOR}")
    return [made[key] for key in sorted(made)]


def _action(vr: str) -> tuple[str, str]:
    if not vr:
        return "remove", "the table names no VR: a value cannot be checked"
    if vr in _OPAQUE:
        return "remove", "bytes that nobody can look into"
    if vr not in _ACTIONS:
        raise ValueError(f"'{vr}' is not a VR")
    return _ACTIONS[vr], ""


def main(arguments: list[str]) -> int:
    """Write the table of an edition, and print how it differs from the newest one."""
    if len(arguments) != 2 or not re.fullmatch(r"20\d\d[a-z]", arguments[1]):
        sys.stderr.write("usage: generate_safe_private.py SOURCE EDITION (as 2026d)\n")
        return 2
    rows = rows_from(Path(arguments[0]).read_text(encoding="utf-8"), arguments[1])
    folder = Path(__file__).parent
    earlier = sorted(folder.glob("safe_private_20*.csv"))
    before = _attributes(earlier[-1]) if earlier else set()
    target = folder / f"safe_private_{arguments[1]}.csv"
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    now = _attributes(target)
    for sign, some in (("-", before - now), ("+", now - before)):
        sys.stdout.writelines(f"{sign} {' '.join(attribute)}\n" for attribute in sorted(some))
    return 0


def _attributes(path: Path) -> set[tuple[str, str, str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return {(row["creator"], row["tag"], row["vr"], row["action"]) for row in csv.DictReader(stream)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
