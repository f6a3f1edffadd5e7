"""The DICOM files below a folder, by study."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fiona_dagster.domain.deidentification import DeidentifiedInstance, SourceInstance

Others = list[tuple[Path, "DeidentifiedInstance"]]
"""Files that are no instances, with what becomes of them."""


def studies_below(source: Path) -> tuple[list[list[SourceInstance]], Others]:
    """The instances below `source`, or the one that it is, by study."""
    from fiona_dagster.adapters.dicom_files import read_instance
    from fiona_dagster.domain.deid.admission import SOP_INSTANCE_UID, STUDY_INSTANCE_UID
    from fiona_dagster.domain.deid.text import first_text
    from fiona_dagster.domain.deidentification import DeidentifiedInstance, SourceInstance
    from fiona_dagster.domain.errors import Permanent

    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    by_study: defaultdict[str, list[SourceInstance]] = defaultdict(list)
    others: Others = []
    for path in files:
        try:
            dataset = read_instance(path).dataset
        except Permanent as error:
            disposition = "held" if str(error) == "not a DICOM instance" else "failed"
            others.append((path, DeidentifiedInstance(None, "", disposition, str(error))))  # type: ignore[arg-type]
            continue
        uid = first_text(dataset, SOP_INSTANCE_UID)
        by_study[first_text(dataset, STUDY_INSTANCE_UID)].append(SourceInstance(path, None, uid))
    return list(by_study.values()), others
