"""May this instance be released at all? Object types, project rules, and what its pixels may show.

Object types without a tested handler are held, and so is an instance whose pixels nobody vouches for. What each type's
row in `sop_classes.csv` means is published in `docs/object-types.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from fiona_dagster.domain.deid.codes import Option
from fiona_dagster.domain.deid.dictionary import is_transfer_syntax
from fiona_dagster.domain.deid.recognizable import recognizable_reason
from fiona_dagster.domain.deid.table import SopClassRow, sop_classes
from fiona_dagster.domain.deid.text import first_text
from fiona_dagster.domain.pixels.suspicion import flavor, pixel_text_reason
from fiona_dagster.domain.project import Project

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.elements import DataSet
    from fiona_dagster.domain.deid.profile import Profile

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E
MODALITY = 0x00080060
_SPECIMEN_LABEL_IN_IMAGE = 0x00480010
_SYNTAX = "1.2.840.10008.1.2."
_VIDEO = frozenset(f"{_SYNTAX}4.{number}" for number in range(100, 109)) | frozenset(
    f"{_SYNTAX}4.{number}.1" for number in range(100, 107)
)
"""MPEG2, MPEG-4 AVC and HEVC (PS3.5 8.2.5 to 8.2.11), with those that are fragmentable."""
_NOT_IN_THE_FILE = frozenset(
    f"{_SYNTAX}{end}" for end in ("4.94", "4.95", "4.204", "4.205", "6.1", "6.2", "7.1", "7.2", "7.3")
)
"""JPIP, where the pixels stay on a server; syntaxes of mail, of XML and of real-time video, which are of no files."""


class Verdict(NamedTuple):
    """Why an instance is not released as it is. `reason` holds no patient data.

    What is suspected has its pixels read, and is released once they are masked.
    """

    disposition: Literal["held", "excluded", "suspected"]
    reason: str


def admit(
    dataset: DataSet,
    transfer_syntax_uid: str,
    project: Project,
    profile: Profile | None = None,
    classified: str = "",
) -> Verdict | None:
    """None where the instance may be de-identified and released. `classified` is what its series is looked at for.

    An encapsulated document passes here; its content is judged by `documents.clean_document`.
    """
    for tag, name in (
        (SOP_CLASS_UID, "SOP Class UID"),
        (SOP_INSTANCE_UID, "SOP Instance UID"),
        (STUDY_INSTANCE_UID, "Study Instance UID"),
        (SERIES_INSTANCE_UID, "Series Instance UID"),
    ):
        if not first_text(dataset, tag):
            return Verdict("held", f"the instance has no {name}")
    row = sop_classes().get(first_text(dataset, SOP_CLASS_UID))
    reason = _type_reason(row, project) or _syntax_reason(transfer_syntax_uid)
    if row is None or reason:
        return Verdict("held", reason)
    excluded = _excluded(row, first_text(dataset, MODALITY), project)
    if excluded is not None:
        return excluded
    reason = _label_reason(dataset, row)
    if not reason and _hides_faces(profile):
        reason = recognizable_reason(dataset, row)
    if reason or project.pixels_are_clean:
        return Verdict("held", reason) if reason else None
    policy = project.pixels
    reason = pixel_text_reason(dataset, row, policy, classified)
    masked = reason and policy.masks(row.kind, first_text(dataset, MODALITY).upper())
    return Verdict("suspected" if masked else "held", reason) if reason else None


def is_document(sop_class_uid: str) -> bool:
    """Whether instances of a SOP Class are documents, made anew by `documents.clean_document`."""
    row = sop_classes().get(sop_class_uid)
    return row is not None and row.handling == "document"


def _type_reason(row: SopClassRow | None, project: Project) -> str:
    if row is None:
        return "object type without a tested handler"
    if row.handling in {"clean", "document"}:
        return ""
    if row.handling == "project" and project.release_raw_data:
        return ""
    return f"object type without a tested handler: {row.keyword} ({row.reason})"


def _syntax_reason(uid: str) -> str:
    if not is_transfer_syntax(uid):
        return "transfer syntax that the standard does not know"
    if uid in _VIDEO:
        return "video: the stream may carry sound, faces and text"
    if uid in _NOT_IN_THE_FILE:
        return "the pixels are not in the file"
    return ""


def _label_reason(dataset: DataSet, row: SopClassRow) -> str:
    """A slide's label shows the specimen's identifier, whatever a project says of its pixels (PS3.3 C.8.12.4.1.1)."""
    if row.pixel_text != "slide":
        return ""
    if first_text(dataset, _SPECIMEN_LABEL_IN_IMAGE).upper() == "YES":
        return "SpecimenLabelInImage is YES"
    return "the image shows the slide's label" if flavor(dataset) == "LABEL" else ""


def _hides_faces(profile: Profile | None) -> bool:
    return profile is not None and Option.CLEAN_RECOGNIZABLE_VISUAL_FEATURES in profile.options


def _excluded(row: SopClassRow, modality: str, project: Project) -> Verdict | None:
    if project.drop_presentation_states and (row.kind == "presentation_state" or modality == "PR"):
        return Verdict("excluded", "project rule: no presentation states")
    if project.drop_secondary_capture and row.kind == "secondary_capture":
        return Verdict("excluded", "project rule: no secondary captures")
    return None
