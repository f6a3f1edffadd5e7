"""Makes `ps3_15_annex_e_<edition>.csv` from a JSON form of PS3.15 table E.1-1.

    python -m fiona_dagster.domain.deid.tables.generate SOURCE.json EDITION
    python -m fiona_dagster.domain.deid.tables.generate diff EDITION EDITION

The second form prints what changed from one edition to the other: attributes that came or went, and each action that
is another one.

The source is a list of objects with `id` (eight hexadecimal digits, `x` for any), `name` and one member for each
column of the table. Only facts are taken over: tag, keyword and action codes. The keyword comes from the data
dictionary, or from the name where the dictionary is older than the table. The output is sorted by tag, so that
two editions can be compared line by line.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

from pydicom.datadict import keyword_for_tag

COLUMNS = {
    "basic": "basicProfile",
    "retain_safe_private": "rtnSafePrivOpt",
    "retain_uids": "rtnUIDsOpt",
    "retain_device_identity": "rtnDevIdOpt",
    "retain_institution_identity": "rtnInstIdOpt",
    "retain_patient_characteristics": "rtnPatCharsOpt",
    "retain_full_dates": "rtnLongFullDatesOpt",
    "retain_modified_dates": "rtnLongModifDatesOpt",
    "clean_descriptors": "cleanDescOpt",
    "clean_structured_content": "cleanStructContOpt",
    "clean_graphics": "cleanGraphOpt",
}
ACTIONS = re.compile(r"^(X|Z|D|K|C|U)(/(X|Z|D|U\*?))*$")


def rows_from(source: list[dict[str, str]]) -> list[dict[str, str]]:
    """The table's rows, sorted by tag. The row of private attributes has the tag pattern `private`.

    Raises:
        ValueError: an action code or tag that table E.1-1 does not have.
    """
    rows = []
    for entry in source:
        identity = entry["id"].lower()
        tag = "private" if "gggg" in identity else identity
        if tag != "private" and not re.fullmatch(r"[0-9a-fx]{8}", tag):
            raise ValueError(f"'{identity}' is not a tag")
        row = {"tag": tag, "keyword": _keyword(tag, entry["name"])}
        for column, member in COLUMNS.items():
            action = entry.get(member) or ""
            if action and not ACTIONS.match(action):
                raise ValueError(f"{tag}: '{action}' is not an action of column {column}")
            row[column] = action
        rows.append(row)
    return sorted(rows, key=lambda row: row["tag"])


def _keyword(tag: str, name: str) -> str:
    known = keyword_for_tag(int(tag, 16)) if re.fullmatch(r"[0-9a-f]{8}", tag) else ""
    return known or re.sub(r"[^A-Za-z0-9]", "", name.replace("'s", ""))


def difference(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[str]:
    """What changed between two editions, a line for each attribute, sorted by tag."""
    before, after = {row["tag"]: row for row in old}, {row["tag"]: row for row in new}
    lines = []
    for tag in sorted(before.keys() | after.keys()):
        if tag not in before:
            lines.append(f"+ {tag} {after[tag]['keyword']}: {_actions(after[tag])}")
        elif tag not in after:
            lines.append(f"- {tag} {before[tag]['keyword']}: {_actions(before[tag])}")
        else:
            changes = [
                f"{column} {before[tag][column] or 'nothing'} -> {after[tag][column] or 'nothing'}"
                for column in COLUMNS
                if before[tag][column] != after[tag][column]
            ]
            if changes:
                lines.append(f"~ {tag} {after[tag]['keyword']}: {', '.join(changes)}")
    return lines


def _actions(row: dict[str, str]) -> str:
    return ", ".join(f"{column} {row[column]}" for column in COLUMNS if row[column])


def _edition(name: str) -> list[dict[str, str]]:
    text = Path(__file__).with_name(f"ps3_15_annex_e_{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def main(arguments: list[str]) -> int:
    """Writes the table of an edition beside this file, or prints a difference; 2 where it is called wrongly."""
    editions = [one for one in arguments[1:] if re.fullmatch(r"20\d\d[a-z]", one)]
    if arguments[:1] == ["diff"] and len(arguments) == 3 and len(editions) == 2:
        sys.stdout.write("".join(f"{line}\n" for line in difference(*map(_edition, editions))))
        return 0
    if len(arguments) != 2 or len(editions) != 1:
        sys.stderr.write(
            "usage: generate.py SOURCE.json EDITION (as 2026c), or: generate.py diff EDITION EDITION\n"
        )
        return 2
    source = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    target = Path(__file__).with_name(f"ps3_15_annex_e_{arguments[1]}.csv")
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["tag", "keyword", *COLUMNS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows_from(source))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
