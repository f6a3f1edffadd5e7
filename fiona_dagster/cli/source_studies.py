"""The DICOM files below a folder, by study."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fiona_dagster.domain.deidentification import DeidentifiedInstance, SourceInstance
    from fiona_dagster.domain.rules.ruleset import RuleSet

Others = list[tuple[Path, "DeidentifiedInstance"]]
"""Files that are no instances, with what becomes of them."""


def one_patients_studies(source: Path) -> tuple[list[list[SourceInstance]], Others]:
    """As `studies_below`, where all instances become one participant's.

    Raises ConfigurationError where they are not one patient's: several PatientIDs stand in them.
    """
    from fiona_dagster.domain.errors import ConfigurationError

    patients: set[str] = set()
    found = studies_below(source, patients)
    if not any(found):
        raise ConfigurationError(
            "there are no files in it", place=str(source), remedy="name the folder that has them"
        )
    if len(patients) > 1:
        raise ConfigurationError(
            f"the files have {len(patients)} PatientIDs, and --participant is one",
            place=str(source),
            remedy="give each patient's files a call and a participant of their own",
        )
    return found


def studies_below(
    source: Path, patients: set[str] | None = None
) -> tuple[list[list[SourceInstance]], Others]:
    """The instances below `source`, or the one that it is, by study; `patients` gets their PatientIDs.

    Links are followed; one that leads nowhere is a file that cannot be read.
    """
    from fiona_dagster.adapters.dicom_files import patient_of, read_instance
    from fiona_dagster.domain.deid.admission import SOP_INSTANCE_UID
    from fiona_dagster.domain.deid.text import first_text
    from fiona_dagster.domain.deidentification import DeidentifiedInstance, SourceInstance
    from fiona_dagster.domain.errors import Permanent

    files = sorted(_files_below(source)) if source.is_dir() else [source]
    by_study: defaultdict[str, list[SourceInstance]] = defaultdict(list)
    others: Others = []
    for path in files:
        try:
            file = read_instance(path)
        except Permanent as error:
            disposition = "held" if str(error) == "not a DICOM instance" else "failed"
            others.append((path, DeidentifiedInstance(None, "", disposition, str(error))))  # type: ignore[arg-type]
            continue
        study, patient = patient_of(file)
        if patients is not None and patient:
            patients.add(patient)
        uid = first_text(file.dataset, SOP_INSTANCE_UID)
        by_study[study].append(SourceInstance(path, None, uid))
    return list(by_study.values()), others


def with_classes(studies: list[list[SourceInstance]], config_file: Path | None) -> list[list[SourceInstance]]:
    """The same, where the site's rules class a series as one whose pixels are looked at (FIONA's CHECKBURNEDINFO).

    Raises:
        ConfigurationError: the site's classifyRules.json cannot be understood.
    """
    from fiona_dagster.adapters.configuration import classification_rules
    from fiona_dagster.domain.pixels.suspicion import CHECK_BURNED_IN_INFO
    from fiona_dagster.settings import load_settings

    rules = classification_rules(load_settings(config_file))
    if CHECK_BURNED_IN_INFO not in rules.types:
        return studies
    return [_classed(sources, rules) for sources in studies]


def _classed(sources: list[SourceInstance], rules: RuleSet) -> list[SourceInstance]:
    from dataclasses import replace

    from fiona_dagster.adapters.classification import readable
    from fiona_dagster.adapters.dicom_headers import series_instance_uid
    from fiona_dagster.domain.classification import classified_series, classify_series
    from fiona_dagster.domain.errors import FionaError
    from fiona_dagster.domain.pixels.suspicion import classified_reason
    from fiona_dagster.domain.reception import Peer

    of_series: defaultdict[str, list[int]] = defaultdict(list)
    for position, one in enumerate(sources):
        with suppress(FionaError):  # what has no series belongs to no class
            of_series[series_instance_uid(one.path)].append(position)
    result = sources.copy()
    for positions in of_series.values():
        with suppress(ValueError):  # nothing of the series can be read
            images = readable([sources[position].path for position in positions], rules)
            found = classified_series(classify_series(rules, images, Peer("", "", "")))
            reason = classified_reason(found.types, found.series_description)
            for position in positions:
                result[position] = replace(sources[position], classified=reason)
    return result


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file, links followed; a folder that was seen before is not entered again."""
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        found = Path(place).stat()
        if (found.st_dev, found.st_ino) in seen:
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        yield from (path for name in names if (path := Path(place, name)).is_file() or path.is_symlink())
