"""A research project as the gateway needs to know it, read from REDCap's DataTransferProjects or projects.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from fiona_dagster.domain.deid.codes import DateMode
from fiona_dagster.domain.errors import ConfigurationError

__all__ = ["DateMode", "Destination", "Project", "destination_from_fields", "project_from_fields"]

UidScheme = Literal["keyed", "fiona", "fiona_hex"]
"""How new UIDs are made: with the project's key, or as FIONA did (`fiona_hex`: before September 2023)."""
_DATE_MODES: dict[str, DateMode] = {
    "0": "keep", "1": "per_project", "2": "per_participant", "3": "remove", "4": "year",
}  # fmt: skip
PROJECT_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{4,19}$")
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
    uid_root: str = "2.25"
    uid_scheme: UidScheme = "keyed"
    destinations: tuple[Destination, ...] = ()
    export_formats: tuple[str, ...] = ("native",)

    def participant_problem(self, participant: str) -> str | None:
        """Why `participant` may not be used in this project, or None.

        The whole name must match `project_patient_naming`; FIONA used `re.match`, which let `P001x` pass.
        """
        if not participant or participant != participant.strip():
            return "the participant is empty or has blanks around it"
        if len(participant) > 64 or "\\" in participant or any(ord(c) < 32 for c in participant):
            return "the participant does not fit a DICOM PatientID (at most 64 characters, no backslash or control)"
        if not re.fullmatch(self.participant_pattern, participant):
            return f"the participant does not match the naming rule of project {self.name}: {self.participant_pattern}"
        return None


def project_from_fields(row: dict[str, Any], destinations: list[dict[str, Any]], *, place: str) -> Project:
    """A project from the fields of DataTransferProjects (fiona-behaviour 3.1, redcap-contract 6).

    Args:
        row: fields of the forms `projects` and `deidentification`.
        destinations: rows of the repeating form `destinations`.
        place: where it stands, for messages.

    Raises:
        ConfigurationError: a name, pattern or choice that cannot be used.
    """
    name = str(row.get("project_name") or row.get("record_id") or "")
    if not PROJECT_NAME.match(name):
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
    _no_choice_is_ignored(row, name, place)
    mode = str(row.get("deid_date_mode") or "2")
    if mode not in _DATE_MODES:
        raise ConfigurationError(f"deid_date_mode of {name} is {mode}", place=place, remedy="use 0 to 4")
    shift = str(row.get("deid_date_shift_days") or "")
    try:
        shift_days = int(shift) if shift else None
    except ValueError as error:
        raise ConfigurationError(
            f"deid_date_shift_days of {name} is not a whole number", place=place, remedy="mend the number"
        ) from error
    return Project(
        name=name,
        participant_pattern=pattern,
        active=_yes(row.get("project_active"), default=True),
        drop_presentation_states=_yes(row.get("project_features___0")),
        pixels_are_clean=_yes(row.get("project_features___1")),
        drop_secondary_capture=_yes(row.get("project_features___2")),
        date_mode=_DATE_MODES[mode],
        date_shift_days=shift_days,
        uid_root=str(row.get("deid_uid_root") or "2.25"),
        destinations=tuple(
            destination_from_fields(one, place=place)
            for one in destinations
            if _yes(one.get("dest_active"), default=True)
        ),
    )


def _no_choice_is_ignored(row: dict[str, Any], name: str, place: str) -> None:
    """De-identification that a project asks for and does not get would be a leak, or a loss, without a word."""
    asked = [field for field in ("deid_profile", "deid_tag_overrides") if row.get(field)]
    asked += sorted(field for field in row if field.startswith("deid_options___") and _yes(row[field]))
    if asked:
        raise ConfigurationError(
            f"{name} asks for {', '.join(asked)}, which projects cannot choose yet", place=place,
            remedy="empty the fields: the Basic Profile with the project's date mode is used",
        )  # fmt: skip


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


def _yes(value: object, *, default: bool = False) -> bool:
    if value in (None, ""):
        return default
    return str(value).strip().lower() in {"1", "yes", "true", "on"}
