"""Makes `dictionary_<edition>.csv` and `registered_uids_<edition>.csv` from the dictionaries of the installed pydicom.

    python -m fiona_dagster.domain.deid.tables.generate_dictionary

They are the registries of PS3.6: tag, VR, keyword and name of each attribute, and value, type, keyword and name of each
UID. The edition is the one that pydicom says it follows; pynetdicom adds a few
newer Transfer Syntaxes. `x` in a tag stands for any digit (PS3.5 7.6); those rows are
last. The output is sorted, so that two editions can be compared line by line. `dictionary.py` names the edition that is
used.
"""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._uid_dict import UID_dictionary
from pydicom._version import __dicom_version__

importlib.import_module("pynetdicom")  # adds Transfer Syntaxes of later editions to pydicom's registry

INSTALLED_EDITION: str = __dicom_version__
ATTRIBUTE_COLUMNS = ("tag", "vr", "keyword", "name")
UID_COLUMNS = ("uid", "type", "keyword", "name")
Row = tuple[str, str, str, str]


def attribute_rows() -> list[Row]:
    """The attributes by tag, then those that repeat in several groups or elements."""
    single = {f"{tag:08x}": entry for tag, entry in DicomDictionary.items()}
    repeating = {tag.lower(): entry for tag, entry in RepeatersDictionary.items()}
    return [
        (tag, vr, keyword, name)
        for entries in (single, repeating)
        for tag, (vr, _, name, _, keyword) in sorted(entries.items())
    ]


def uid_rows() -> list[Row]:
    """The registered UIDs, in the order of their components."""
    rows = [(uid, kind, keyword, name) for uid, (name, kind, _, _, keyword) in UID_dictionary.items()]
    return sorted(rows, key=lambda row: [int(part) for part in row[0].split(".")])


def main(folder: Path = Path(__file__).parent) -> int:
    """Writes both tables for the edition of the installed pydicom."""
    _write(folder / f"dictionary_{INSTALLED_EDITION}.csv", ATTRIBUTE_COLUMNS, attribute_rows())
    _write(folder / f"registered_uids_{INSTALLED_EDITION}.csv", UID_COLUMNS, uid_rows())
    return 0


def _write(target: Path, columns: Row, rows: Iterable[Row]) -> None:
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
