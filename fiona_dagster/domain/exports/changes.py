"""What each format changes in the attributes of a copy (fiona-behaviour 5.2), and which files it leaves out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fiona_dagster.domain.deidentification import DeidentifiedInstance
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.exports.demographics import Demographics, age_at
from fiona_dagster.domain.exports.edits import Edits, Shifted, values_by_tag
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import ExportProfile

Texts = Callable[[str], str]
"""The first value of an attribute of the copy, by keyword; blank where there is none."""
SPECTROSCOPY = frozenset({"1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.4.2"})
"""Siemens CSA Non-Image Storage, which is all that FIONA took, and the standard's MR Spectroscopy Storage."""
_RAM_MS_BLANK = ("PatientWeight", "PatientSize", "InstitutionName", "StudyDescription",
                 "PerformedProcedureStepDescription", "SmokingStatus", "PregnancyStatus",
                 "LastMenstrualDate")  # fmt: skip
_TRANSPARA_BLANK = (
    "StudyDate", "SeriesDate", "ContentDate", "StudyTime", "SeriesTime", "ContentTime", "InstitutionName",
    "StationName", "ReferringPhysicianName", "PerformingPhysicianName", "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy", "OperatorsName", "PatientBirthDate", "PatientSex", "PatientAge",
)  # fmt: skip


@dataclass(frozen=True)
class ExportContext:
    """What an export needs of a study besides its copies.

    `restore` and `shifted` as in `Edits`; `shifted` is asked for by SOP Class UID. `digest` is a keyed hash of the
    demographics: it tells whether a package is current, and nothing to anybody else.
    """

    demographics: Demographics = Demographics()  # noqa: RUF009 — frozen
    restore: Callable[[str, str], str] | None = None
    shifted: Callable[[str], Shifted] = field(default=lambda _sop_class: lambda _tag, _vr, _parents: False)
    birth_dates_may_leave: bool = False
    digest: str = ""


NO_CONTEXT = ExportContext()
"""For formats that need none."""


def left_out(export_type: ExportType, instance: DeidentifiedInstance) -> str:
    """Why a format leaves out an instance, or blank."""
    if export_type is ExportType.SPECTROSCOPY and instance.sop_class_uid not in SPECTROSCOPY:
        return "not spectroscopy"
    # the files that FIONA's storescp called SR* and PS*: reports and presentation states
    if export_type is ExportType.RAM_MS and instance.modality in {"SR", "PR"}:
        return "structured report or presentation state"
    return ""


def edits_of(
    profile: ExportProfile, context: ExportContext, names: Mapping[str, str], texts: Texts, sop_class_uid: str
) -> Edits:
    """What an export changes in one copy.

    Args:
        profile: the export.
        context: of the study.
        names: values for the braces of `tag_overrides`: project, participant, event, accession.
        texts: of the copy.
        sop_class_uid: of the copy.

    Raises:
        Permanent: a value does not fit, or the format cannot do without one that is missing.
    """
    if not profile.changes_copies:
        return Edits()
    values: dict[str, str] = {}
    if profile.wants_demographics:
        values |= _demographics(context)
    if profile.export_type is ExportType.RAM_MS:
        values |= _ram_ms(context, texts)
    elif profile.export_type is ExportType.TRANSPARA:
        values |= _transpara(texts)
    values |= {keyword: _filled(text, names) for keyword, text in profile.tag_overrides}
    return Edits(
        values_by_tag(values),
        restore=context.restore if profile.restores_dates else None,
        shifted=context.shifted(sop_class_uid),
        drop_references=profile.export_type is ExportType.TRANSPARA,
    )


def _demographics(context: ExportContext) -> dict[str, str]:
    """What REDCap knows; a birth date only for those who may know dates. What it does not know stays as it is."""
    known = context.demographics
    birth_date = known.birth_date if context.birth_dates_may_leave else ""
    found = {"PatientSex": known.sex, "PatientBirthDate": birth_date, "PatientAge": known.age}
    return {keyword: text for keyword, text in found.items() if text}


def _ram_ms(context: ExportContext, texts: Texts) -> dict[str, str]:
    values = dict.fromkeys(_RAM_MS_BLANK, "")
    for keyword in ("PatientID", "PatientName"):
        values[keyword] = texts(keyword).replace("_", "-")
    born = context.demographics.birth_date or texts("PatientBirthDate")
    values["PatientBirthDate"] = f"{born[:4]}0101" if born else ""
    if not (context.demographics.age or texts("PatientAge")):
        study_date = texts("StudyDate")
        if context.restore is not None:
            study_date = context.restore("DA", study_date)
        values["PatientAge"] = age_at(born, study_date)
    return values


def _transpara(texts: Texts) -> dict[str, str]:
    accession = texts("AccessionNumber")
    if not accession:
        raise Permanent("the Transpara format names patients after accession numbers, and a copy has none")
    return dict.fromkeys(_TRANSPARA_BLANK, "") | {"PatientID": accession, "PatientName": accession}


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name in ("project", "participant", "event", "accession"):
        text = text.replace(f"{{{name}}}", names.get(name, ""))
    return text
