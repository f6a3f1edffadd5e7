"""What a de-identified copy says of its study, for the project's own REDCap."""

from __future__ import annotations

from pathlib import Path

from fiona_dagster.adapters.dicom_files import quiet_pydicom

_FIELDS = {
    "StudyDate": "img_study_date",
    "StudyDescription": "img_study_description",
    "AccessionNumber": "img_incoming_accession_number",
}


def values_of_copy(path: Path) -> dict[str, str]:
    """The study's date, description and accession number as they stand in a copy; absent ones are left out.

    Raises:
        OSError: the copy is not there.
    """
    from pydicom import dcmread

    with quiet_pydicom():
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(_FIELDS), force=True)
    values = {field: str(header.get(keyword) or "").strip() for keyword, field in _FIELDS.items()}
    return {field: " ".join(value.split()) for field, value in values.items() if value}
