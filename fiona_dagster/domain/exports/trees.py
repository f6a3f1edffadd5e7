"""Where the files of each format lie inside a package (fiona-behaviour 5.2), or where a template puts them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import CONVERTED, ExportProfile
from fiona_dagster.domain.layout import safe_name
from fiona_dagster.domain.packaging import CopyHeader, entry_name, padded_series_number, pure_part

_NO_HEADER = CopyHeader()
NAMED_AFTER_SERIES = frozenset({ExportType.PURE, ExportType.SPECTROSCOPY})
"""Formats in whose trees two series of one number and description would meet."""


def place_of(
    profile: ExportProfile,
    names: Mapping[str, str],
    file_name: str,
    header: CopyHeader = _NO_HEADER,
    *,
    series_uid: str = "",
    apart: bool = False,
) -> str:
    """The name of a file inside the package.

    Args:
        profile: the export.
        names: project, participant, event, study (UID of the copy) and accession.
        file_name: of the copy or the converted file.
        header: of the copy.
        series_uid: of the copy.
        apart: another series of the study has this number and description: a digest of the UID tells them apart.
    """
    event, mark = names.get("event", ""), series_uid if apart else ""
    if profile.template is not None:
        values = dict(names) if profile.export_type in CONVERTED else {**names, **_values(header, series_uid)}
        folder = profile.template.folder(values)
        by_series = not {"series", "series_number", "series_description"}.isdisjoint(profile.template.fields)
        end = f"-{_digest(series_uid)}" if apart and by_series else ""
        return f"{folder}{end}/{safe_name(file_name)}"
    if profile.export_type is ExportType.RAM_MS:
        patient = safe_name(names["participant"].replace("_", "-"))
        event = safe_name(event.replace("_w", "_W"), fallback="") if event.strip() else ""
        return f"{'_'.join(('DICOM', patient, *((event,) if event else ())))}/DICOM/{safe_name(file_name)}"
    if profile.export_type is ExportType.SPECTROSCOPY:
        when = "_".join(part for part in (header.study_date, header.study_time, event) if part.strip())
        series = f"{header.series_number.strip()}_{header.series_description.strip()}"
        end = f"-{_digest(series_uid)}" if apart else ""
        file = file_name if file_name.endswith(".dcm") else f"{file_name}.dcm"
        folders = (header.institution_name, header.patient_id, when, series)
        return "/".join(safe_name(one, fallback="unknown") for one in folders) + f"{end}/{safe_name(file)}"
    kind = ExportType.NATIVE if profile.export_type is ExportType.TRANSPARA else profile.export_type
    return entry_name(kind, event, file_name, header, series_uid=mark)


def _values(header: CopyHeader, series_uid: str) -> dict[str, str]:
    series = f"{padded_series_number(header.series_number)}_{pure_part(header.series_description)}"
    return {
        "study_date": header.study_date,
        "study_time": header.study_time,
        "modality": header.modality,
        "series": series,
        "series_number": header.series_number,
        "series_description": header.series_description,
        "series_uid": series_uid,
        "accession": header.accession_number,
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
