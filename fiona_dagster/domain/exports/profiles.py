"""A project's exports (`export_profiles` of DataTransferProjects): format, folders, attributes, destination.

What cannot be understood completely does not load, and what a project has no right to is refused here, not when its
first study is due.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fiona_dagster.domain.deid.dictionary import standard_vr, tag_of
from fiona_dagster.domain.errors import ConfigurationError, Permanent
from fiona_dagster.domain.exports.formats import Encryption, ExportType

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.codes import DateMode
    from fiona_dagster.domain.exports.templates import FolderTemplate

_CODES = {
    "1": ExportType.NATIVE, "2": ExportType.NIFTI, "3": ExportType.BIDS, "5": ExportType.PURE,
    "6": ExportType.RAM_MS, "7": ExportType.TRANSPARA, "8": ExportType.SPECTROSCOPY,
}  # fmt: skip
"""Choices of `export_format` in REDCap."""
_TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UT"}
)
_NOT_YOURS = frozenset({0x0002, 0x0012, 0x0028, 0x7FE0})
"""Groups that say how a copy came to be and how its pixels are to be read."""
_STRUCTURE = frozenset({0x00080005, 0x00080008, 0x00080060, 0x00080201})
CONVERTED = frozenset({ExportType.NIFTI, ExportType.BIDS})
"""Formats that hold no DICOM."""
_CONTAINERS: dict[str, Encryption | Literal[""]] = {
    "": "",
    "0": "",
    "1": "zip",
    "2": "7z",
    "zip": "zip",
    "7z": "7z",
}
"""Choices of `export_encryption` in REDCap, and their names."""
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")
_DEMOGRAPHICS = "sex, age and birth date as the project's REDCap has them, where it does"


@dataclass(frozen=True)
class ExportProfile:
    """One export of a project. `label` is what stands for it in the package's name.

    `tag_overrides` are (keyword, text); the text may name `{project}`, `{participant}`, `{event}` and `{accession}`.
    `destination` names the only destination that gets it; blank: all of them get it. `password_ref` says where the
    password of an encrypted one is found, and is never the password.
    """

    export_type: ExportType
    label: str = ""
    template: FolderTemplate | None = None
    tag_overrides: tuple[tuple[str, str], ...] = ()
    destination: str = ""
    restore_dates: bool = False
    demographics: bool = False
    encryption: Encryption | Literal[""] = ""
    password_ref: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.export_type.value)

    @property
    def wants_demographics(self) -> bool:
        """Whether the project's REDCap is asked: FIONA's RAM-MS and a table of BIDS participants need it."""
        return self.demographics or self.export_type is ExportType.RAM_MS

    @property
    def restores_dates(self) -> bool:
        """RAM-MS always got the dates as they were (fiona-behaviour 5.2)."""
        return self.restore_dates or self.export_type is ExportType.RAM_MS

    @property
    def changes_copies(self) -> bool:
        """Whether files differ from the verified copies in attributes, so that their proof is not by their bytes."""
        return self.export_type not in CONVERTED and bool(
            self.tag_overrides
            or self.restores_dates
            or self.demographics
            or self.export_type is ExportType.TRANSPARA
        )

    @property
    def departures(self) -> tuple[str, ...]:
        """In what the files differ from the copies that their proof is of, in words for whoever receives them."""
        if self.export_type in CONVERTED:
            known = self.demographics and self.export_type is ExportType.BIDS
            return ("converted to NIfTI", *((_DEMOGRAPHICS,) if known else ()))
        said = []
        if self.restores_dates:
            said.append("dates as they were before de-identification")
        if self.wants_demographics:
            said.append(_DEMOGRAPHICS)
        if self.export_type in (ExportType.RAM_MS, ExportType.TRANSPARA):
            said.append(f"attributes changed as {self.export_type.value} demands")
        if self.tag_overrides:
            said.append(
                "attributes set by the project: " + ", ".join(sorted(name for name, _ in self.tag_overrides))
            )
        return tuple(said)

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides about a package's files besides its study; blank for a format as it comes."""
        if replace(self, encryption="", password_ref="") == ExportProfile(
            self.export_type, self.label, destination=self.destination
        ):
            return ""
        template = self.template.text if self.template else ""
        said = [self.export_type.value, template, self.tag_overrides, self.restores_dates, self.demographics]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


NATIVE = ExportProfile(ExportType.NATIVE)


def export_profiles(
    rows: Sequence[Mapping[str, Any]], *, may_restore: bool, date_mode: DateMode, place: str
) -> tuple[ExportProfile, ...]:
    """The active exports of a project; the native one where it names none at all.

    The first of a format has FIONA's name, `..._native.zip`; a further one is told apart by `export_name`.

    Args:
        rows: fields of the repeating form `export_profiles`.
        may_restore: the project's `deid_restore_dates`.
        date_mode: what happens to its dates.
        place: where it stands, for messages.

    Raises:
        ConfigurationError: a row cannot be understood, or asks for what the project may not have.
    """
    from fiona_dagster.domain.layout import safe_name

    found: list[ExportProfile] = []
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise ConfigurationError(
            "export_profiles is not a list of fields", place=place, remedy="see docs/exports.md"
        )
    for number, row in enumerate(rows, start=1):
        try:
            profile = _profile(row, place)
            if profile is not None and profile.restores_dates:
                _check_right(profile, may_restore=may_restore, date_mode=date_mode, place=place)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"export {number}: {error.problem}", place=error.place, remedy=error.remedy
            ) from None
        if profile is None:
            continue
        if any(one.label == profile.label for one in found):
            name = safe_name(str(row.get("export_name") or ""), fallback="")
            profile = replace(profile, label=f"{profile.label}-{name}")
        if profile.label.endswith("_encrypted"):
            raise ConfigurationError(
                f"export {number}: export_name ends in '_encrypted', as names of encrypted packages do", place=place,
                remedy="choose another name",
            )  # fmt: skip
        if any(one.label == profile.label for one in found):
            raise ConfigurationError(
                f"two exports of one format are called '{row.get('export_name', '')}'", place=place,
                remedy="give them different export_name",
            )  # fmt: skip
        found.append(profile)
    return tuple(found) if rows else (NATIVE,)


def _profile(row: Mapping[str, Any], place: str) -> ExportProfile | None:
    # here: whoever is handed a project starts sooner without what reads one
    from fiona_dagster.domain.exports.templates import INSTANCE_FIELDS, STUDY_FIELDS, folder_template

    if not _flag(row, "export_active", place, default=True):
        return None
    export_type = _format(str(row.get("export_format") or ""), place)
    known = STUDY_FIELDS if export_type is ExportType.NIFTI else INSTANCE_FIELDS
    text = str(row.get("export_folder_template") or "").strip()
    overrides = tag_overrides(row.get("export_tag_overrides") or {}, place=place)
    restore = _flag(row, "export_undo_date_shift", place)
    demographics = _flag(row, "export_demographics", place)
    without_effect = [
        ("export_folder_template", export_type is ExportType.BIDS and text, "which says itself where its files lie"),
        ("export_tag_overrides", export_type in CONVERTED and overrides, "which holds no DICOM attributes"),
        ("export_undo_date_shift", export_type in CONVERTED and restore, "which holds no dates"),
        ("export_demographics", export_type is ExportType.NIFTI and demographics, "which tells of no participant"),
    ]  # fmt: skip
    for field, given, why in without_effect:
        if given:
            raise ConfigurationError(
                f"{field} changes nothing in {export_type}, {why}", place=place, remedy="empty the field"
            )
    encryption, password_ref = _encryption(row, place)
    return ExportProfile(
        export_type,
        template=folder_template(text, known=known, place=place) if text else None,
        tag_overrides=overrides,
        destination=str(row.get("export_dest_name") or "").strip(),
        restore_dates=restore,
        demographics=demographics,
        encryption=encryption,
        password_ref=password_ref,
    )


def _encryption(row: Mapping[str, Any], place: str) -> tuple[Encryption | Literal[""], str]:
    """The container and where its password is found. No message repeats a value: it might be the password."""
    asked = row.get("export_encryption")
    container = _CONTAINERS.get("" if asked is None else str(asked).strip().lower())
    reference = str(row.get("export_password_ref") or "").strip()
    if container is None:
        problem, remedy = (
            "export_encryption is neither zip nor 7z",
            "use 1 (zip) or 2 (7z), or leave it empty",
        )
    elif reference and not _REFERENCE.fullmatch(reference):
        problem, remedy = "export_password_ref is not a secret reference", "write env:NAME or file:/path"
    elif bool(container) != bool(reference):
        problem = "export_encryption and export_password_ref are not both given"
        remedy = "give both for packages that only a password opens, else none"
    else:
        return container, reference
    raise ConfigurationError(problem, place=place, remedy=remedy)


def tag_overrides(given: object, *, place: str) -> tuple[tuple[str, str], ...]:
    """Attributes that an export changes: a JSON object of keyword and text, in the order of keywords.

    Only attributes of text can be changed, and none that says how a copy came to be, what it is, or how its pixels are
    read.

    Raises:
        ConfigurationError: it is none, or names another attribute.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            given = None
    if not isinstance(given, Mapping) or not all(
        isinstance(name, str) and isinstance(text, str) for name, text in given.items()
    ):
        raise ConfigurationError(
            "export_tag_overrides is no JSON object of keywords and texts", place=place,
            remedy='write {"PatientComments": "text", "StudyDescription": ""}',
        )  # fmt: skip
    for name, text in given.items():
        tag = tag_of(name)
        if (
            tag is None
            or standard_vr(tag) not in _TEXT_VRS
            or tag >> 16 in _NOT_YOURS
            or tag in _STRUCTURE
            or not text.isprintable()
        ):
            raise ConfigurationError(
                f"export_tag_overrides cannot set '{name}'", place=place,
                remedy="use keywords of attributes of text that say nothing of pixels, identity or de-identification",
            )  # fmt: skip
    return tuple(sorted(given.items()))


def _format(text: str, place: str) -> ExportType:
    try:
        return _CODES[text] if text in _CODES else ExportType.named(text)
    except Permanent:
        choices = ", ".join(f"{code} ({one})" for code, one in _CODES.items())
        raise ConfigurationError(
            f"export_format is {text or 'empty'}", place=place, remedy=f"use {choices}"
        ) from None


def _check_right(profile: ExportProfile, *, may_restore: bool, date_mode: DateMode, place: str) -> None:
    if date_mode == "keep":
        return  # there is nothing to give back
    what = f"the export {profile.label} gives back the original dates"
    if date_mode in {"remove", "year"}:
        raise ConfigurationError(
            f"{what}, which deid_date_mode took away",
            place=place,
            remedy="choose another date mode or format",
        )
    if not may_restore:
        raise ConfigurationError(
            f"{what}, which the project may not", place=place,
            remedy="set deid_restore_dates if its approval says so, else choose another format",
        )  # fmt: skip


def _flag(row: Mapping[str, Any], field: str, place: str, *, default: bool = False) -> bool:
    text = str(row.get(field) if row.get(field) is not None else "").strip().lower()
    if text not in {"", "0", "1", "no", "yes", "false", "true"}:
        raise ConfigurationError(f"{field} is neither yes nor no", place=place, remedy="use 1 or 0")
    return default if not text else text in {"1", "yes", "true"}
