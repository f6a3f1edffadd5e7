"""A research project as the gateway needs to know it, read from REDCap's DataTransferProjects or projects.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from fiona_dagster.domain.deid.codes import DateMode, Option
from fiona_dagster.domain.deid.participants import form_problem
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.exports.profiles import NATIVE, ExportProfile
from fiona_dagster.domain.pixels.policy import PixelMode, PixelPolicy
from fiona_dagster.domain.project_life import ProjectLife

if TYPE_CHECKING:
    from fiona_dagster.domain.image_destinations import ImageDestination

__all__ = ["DateMode", "Destination", "Project", "destination_from_fields", "project_from_fields"]

T = TypeVar("T")
UidScheme = Literal["keyed", "fiona", "fiona_hex"]
"""How new UIDs are made: with the project's key, or as FIONA did (`fiona_hex`: before September 2023)."""
_UID_SCHEMES: dict[str, UidScheme] = {"keyed": "keyed", "fiona": "fiona", "fiona_hex": "fiona_hex"}
FIONA_SHIFT_DAYS = 42
_LONGEST_EVENT = 54
"""`EventName:` before it in ReferringPhysicianName: together 64 characters of a PN (PS3.5 6.2)."""
_ANY_WORD, _ANY_NUMBER = ("Nordmann", "NORDMANN", "nordmann"), "4711999"
_DATE_MODES: dict[str, DateMode] = {
    "0": "keep", "1": "per_project", "2": "per_participant", "3": "remove", "4": "year",
}  # fmt: skip
PROJECT_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{4,19}")
"""FIONA's contract asks for 5 to 20 characters; the set is ours, so that a name is safe in a path and a DA."""


@dataclass(frozen=True)
class Destination:
    """Where packages of a project go. `secret_ref` is `env:NAME` or `file:/path`, never the secret."""

    name: str
    type: Literal["sftp", "folder"]
    host: str = ""
    port: int = 22
    path: str = "."
    user: str = ""
    secret_ref: str = ""
    known_hosts: str = ""
    default: bool = False


@dataclass(frozen=True)
class Project:
    """What decides about a project's studies."""

    name: str
    participant_pattern: str = ".+"
    active: bool = True
    drop_presentation_states: bool = False  # project_features___0
    pixels_are_clean: bool = False  # project_features___1: never mask pixels, they carry no burned-in text
    drop_secondary_capture: bool = False  # project_features___2
    date_mode: DateMode = "per_participant"
    date_shift_days: int | None = None  # per_project only; None derives it from the project's key
    dates_may_be_restored: bool = False  # the right to undo the shift in an export
    uid_root: str = "2.25"
    uid_scheme: UidScheme = "keyed"
    profile: Profile = Profile()  # noqa: RUF009 — frozen
    pixels: PixelPolicy = PixelPolicy()  # noqa: RUF009 — frozen
    release_raw_data: bool = False  # objects that nobody can look into
    project_in_institution_name: bool = True
    event_in_referring_physician: bool = True
    destinations: tuple[Destination, ...] = ()
    """Of packages."""
    image_destinations: tuple[ImageDestination, ...] = ()
    """Of the images themselves, besides the research PACS."""
    exports: tuple[ExportProfile, ...] = (NATIVE,)
    life: ProjectLife = ProjectLife()  # noqa: RUF009 — frozen
    auto_id_ae_title: str = ""  # called AE title whose unclaimed studies auto-ID names; "" for none
    redcap_token_ref: str = ""  # of the project's own REDCap
    redcap_id: int | None = None  # REDCap's project_id that the token must belong to
    writes_imaging: bool = True  # fill the `imaging` form of the project's own REDCap

    def closed_problem(self, today: str) -> str | None:
        """Why the project takes no new data on a day (ISO), or None: archived, locked, ended, or not approved."""
        return replace(self.life, active=self.active and self.life.active).problem(self.name, today)

    def event_problem(self, event: str) -> str | None:
        """Why `event` may not be used, or None; an empty one says that there are no events."""
        if event != event.strip() or not is_writable(event, _LONGEST_EVENT):
            return f"the event does not fit DICOM (at most {_LONGEST_EVENT} characters, no backslash, no blanks around)"
        return form_problem(event, "event")

    @property
    def pixel_mode(self) -> PixelMode:
        return self.pixels.mode

    @property
    def has_naming_rule(self) -> bool:
        """Whether the project says what its participants are called: a rule that takes any name and number is none."""
        rule = re.compile(self.participant_pattern)
        return not (rule.fullmatch(_ANY_NUMBER) and any(map(rule.fullmatch, _ANY_WORD)))

    def participant_problem(self, participant: str) -> str | None:
        """Why `participant` may not be used in this project, or None.

        The whole name must match `project_patient_naming`; FIONA used `re.match`, which let `P001x` pass.
        """
        if not participant or participant != participant.strip():
            return "the participant is empty or has blanks around it"
        if not is_writable(participant, 64):
            return (
                "the participant does not fit a DICOM PatientID (at most 64 characters, no backslash, no control or "
                "invisible character, not '.' or '..' between slashes)"
            )
        problem = form_problem(participant)
        if problem:
            return problem
        if not re.fullmatch(self.participant_pattern, participant):
            return f"the participant does not match the naming rule of project {self.name}: {self.participant_pattern}"
        return None


def is_writable(text: str, longest: int) -> bool:
    """Whether a name fits a DICOM LO (PS3.5 6.2) and leads nowhere else where a receiver makes a path of it."""
    return (
        len(text) <= longest
        and "\\" not in text
        and text.isprintable()
        and not {".", ".."} & set(text.split("/"))
    )


def project_from_fields(row: dict[str, Any], destinations: list[dict[str, Any]], *, place: str) -> Project:
    """A project from the fields of DataTransferProjects (fiona-behaviour 3.1, redcap-contract 6).

    Args:
        row: fields of the forms `projects` and `deidentification`.
        destinations: rows of the repeating form `destinations`.
        place: where it stands, for messages.

    Raises:
        ConfigurationError: a name, pattern or choice that cannot be used.
    """
    # here: a process that makes copies is handed a project, and starts sooner without what reads one
    from fiona_dagster.domain.auto_id import auto_id_title, check_names
    from fiona_dagster.domain.deid.profile_fields import profile_from_fields
    from fiona_dagster.domain.exports.profiles import export_profiles
    from fiona_dagster.domain.image_destinations import image_destination_from_fields, is_image_destination
    from fiona_dagster.domain.pixels.policy import pixel_policy
    from fiona_dagster.domain.project_life import life_from_fields

    name = str(row.get("project_name") or row.get("record_id") or "")
    if not PROJECT_NAME.fullmatch(name):
        raise ConfigurationError(
            f"'{name}' cannot name a project", place=place,
            remedy="use 5 to 20 letters, digits, '_' or '-', beginning with a letter or digit",
        )  # fmt: skip
    pattern = str(row.get("project_patient_naming") or ".+")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigurationError(
            f"project_patient_naming of {name} is not a regular expression: {error}", place=place,
            remedy="mend the pattern",
        ) from error  # fmt: skip
    in_use = [one for one in destinations if _yes(one.get("dest_active"), default=True)]
    profile = profile_from_fields(row, name, place)
    pixels = pixel_policy(row, name, place)
    clean = _yes(row.get("project_features___1"))
    if clean and (pixels.masks_any or Option.CLEAN_PIXEL_DATA in profile.options):
        raise ConfigurationError(
            f"{name} says that pixels carry no text, and asks for pixels to be cleaned", place=place,
            remedy="untick project_features 1, or empty deid_pixel_mode and deid_options 6",
        )  # fmt: skip
    scheme = _choice(row, "deid_uid_scheme", "keyed", _UID_SCHEMES, name, place)
    if scheme != "keyed" and Option.RETAIN_UIDS in profile.options:
        raise ConfigurationError(
            f"deid_uid_scheme of {name} asks for UIDs as FIONA made them, deid_options for the old", place=place,
            remedy="choose one: empty deid_uid_scheme, or untick deid_options 10",
        )  # fmt: skip
    fiona = row.get("deid_profile") == "fiona"
    date_mode = _choice(row, "deid_date_mode", "1" if fiona else "2", _DATE_MODES, name, place)
    active = _yes(row.get("project_active"), default=True)
    may_restore = _decided(row, "deid_restore_dates", name, place)
    project = Project(
        name=name,
        participant_pattern=pattern,
        active=active,
        drop_presentation_states=_yes(row.get("project_features___0")),
        pixels_are_clean=clean,
        drop_secondary_capture=_yes(row.get("project_features___2")),
        date_mode=date_mode,
        date_shift_days=_shift(row, FIONA_SHIFT_DAYS if fiona else None, name, place),
        dates_may_be_restored=may_restore,
        uid_root=str(row.get("deid_uid_root") or "2.25"),
        uid_scheme=scheme,
        profile=profile,
        pixels=pixels,
        release_raw_data=_decided(row, "deid_release_raw_data", name, place),
        project_in_institution_name=_decided(row, "deid_institution_tag", name, place, default=True),
        event_in_referring_physician=_decided(row, "deid_event_tag", name, place, default=True),
        destinations=tuple(
            destination_from_fields(one, place=place) for one in in_use if not is_image_destination(one)
        ),
        image_destinations=tuple(
            image_destination_from_fields(one, place=place) for one in in_use if is_image_destination(one)
        ),
        exports=export_profiles(
            row.get("export_profiles") or [], may_restore=may_restore, date_mode=date_mode, place=place
        ),
        life=life_from_fields(row, name, place, active=active),
        auto_id_ae_title=auto_id_title(row, name, place),
        redcap_token_ref=str(row.get("project_token_ref") or ""),
        redcap_id=_whole(row, "project_redcap_id", name, place),
        writes_imaging=_yes(row.get("project_annotation_type"), default=True),
    )
    unknown = {one.destination for one in project.exports} - {"", *(one.name for one in project.destinations)}
    if unknown:
        raise ConfigurationError(
            f"an export of {name} goes to '{min(unknown)}', which is no destination of packages", place=place,
            remedy="mend export_dest_name, or leave it empty for all destinations",
        )  # fmt: skip
    if project.auto_id_ae_title:
        check_names(pattern, project.participant_problem, name, place)
    return project


def _whole(row: dict[str, Any], field: str, name: str, place: str) -> int | None:
    text = str(row.get(field) or "").strip()
    if text and not (text.isascii() and text.isdigit()):
        raise ConfigurationError(
            f"{field} of {name} is not a whole number", place=place, remedy="mend the number"
        )
    return int(text) if text else None


def _choice(row: dict[str, Any], field: str, default: str, known: dict[str, T], name: str, place: str) -> T:
    asked = row.get(field)
    text = default if asked in (None, "") else str(asked)
    if text not in known:
        raise ConfigurationError(
            f"{field} of {name} is {text}", place=place, remedy=f"use {', '.join(known)}"
        )
    return known[text]


def _shift(row: dict[str, Any], default: int | None, name: str, place: str) -> int | None:
    asked = row.get("deid_date_shift_days")
    try:
        days = default if asked in (None, "") else int(str(asked))
    except ValueError as error:
        problem = f"deid_date_shift_days of {name} is not a whole number"
        raise ConfigurationError(problem, place=place, remedy="mend the number") from error
    if days == 0:  # copies would call their dates modified, and have the original's
        problem = f"deid_date_shift_days of {name} is 0, which moves nothing"
        raise ConfigurationError(problem, place=place, remedy="write another number, or use deid_date_mode 0")
    return days


def destination_from_fields(row: dict[str, Any], *, place: str) -> Destination:
    """A destination from a row of the repeating form `destinations`.

    `dest_url` is `sftp://user@host:port/folder` or `file:///folder`; host and port may stand in their own fields.
    """
    from urllib.parse import urlsplit

    name = str(row.get("dest_name") or "")
    parts = urlsplit(str(row.get("dest_url") or ""))
    kinds = {"sftp": "sftp", "file": "folder"}
    if parts.scheme not in kinds or not name:
        raise ConfigurationError(
            f"destination '{name}' has no usable dest_url", place=place,
            remedy="write sftp://user@host:port/folder or file:///folder",
        )  # fmt: skip
    return Destination(
        name=name,
        type="sftp" if parts.scheme == "sftp" else "folder",
        host=parts.hostname or str(row.get("dest_host") or ""),
        port=int(parts.port or row.get("dest_port") or 22),
        path=(parts.path or "/") if parts.scheme == "file" else (parts.path.lstrip("/") or "."),
        user=parts.username or "",
        secret_ref=str(row.get("dest_secret_ref") or ""),
        known_hosts=str(row.get("dest_known_hosts") or ""),
        default=_yes(row.get("dest_default")),
    )


def _decided(row: dict[str, Any], field: str, name: str, place: str, *, default: bool = False) -> bool:
    """Yes or no where another answer must not pass for a no."""
    text = str(row.get(field) if row.get(field) is not None else "").strip().lower()
    if text not in {"", "0", "1", "no", "yes", "false", "true", "off", "on"}:
        raise ConfigurationError(f"{field} of {name} is neither yes nor no", place=place, remedy="use 1 or 0")
    return _yes(text, default=default)


def _yes(value: object, *, default: bool = False) -> bool:
    if value in (None, ""):
        return default
    return str(value).strip().lower() in {"1", "yes", "true", "on"}
