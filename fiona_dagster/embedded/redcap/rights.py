"""Users, their tokens and what each may do. Only the hash of a token is stored."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Any

from fiona_dagster.embedded.redcap.model import Field, ProjectModel
from fiona_dagster.embedded.redcap.problems import ApiError

ADMINISTRATOR = "site_admin"
NO_ACCESS, FULL, DEIDENTIFIED, IDENTIFIERS_REMOVED = 0, 1, 2, 3
"""Export rights of an instrument (`forms_export`)."""

_DATES = ("date_", "datetime_")
_RIGHTS = {
    "design": 1, "alerts": 1, "user_rights": 1, "data_access_groups": 1, "data_export": 1, "reports": 1,
    "stats_and_charts": 1, "manage_survey_participants": 1, "calendar": 1, "data_import_tool": 1,
    "data_comparison_tool": 1, "logging": 1, "file_repository": 1, "data_quality_create": 1,
    "data_quality_execute": 1, "api_export": 1, "api_import": 1, "mobile_app": 0,
    "mobile_app_download_data": 0, "record_create": 1, "record_rename": 1, "record_delete": 1,
    "lock_records_all_forms": 0, "lock_records": 0, "lock_records_customization": 0,
}  # fmt: skip
_REFUSALS = {
    "api_export": "You do not have API Export privileges",
    "api_import": "You do not have API Import/Update privileges",
    "record_delete": "You do not have Delete Record privileges",
    "record_create": "You do not have Create Record privileges",
    "design": "You do not have Project Design privileges",
    "logging": "You do not have Logging privileges",
    "user_rights": "You do not have User Rights privileges",
}


@dataclass(frozen=True)
class User:
    """A user of one project."""

    username: str
    rights: dict[str, Any]

    def require(self, *names: str) -> None:
        """Raise unless the user has every right in `names`.

        Raises:
            ApiError: 403 with REDCap's sentence for the first right that is missing.
        """
        for name in names:
            if not self.may(name):
                raise ApiError(403, _REFUSALS[name])

    def may(self, name: str) -> bool:
        return bool(self.rights.get(name, _RIGHTS.get(name, 0)))

    def export_right(self, form: str) -> int:
        return int(self.rights.get("forms_export", {}).get(form, FULL))

    def sees(self, field: Field) -> bool:
        """Whether an export shows the field: without the right it vanishes, and nobody is told."""
        right = self.export_right(field.form)
        if right == FULL:
            return True
        if right == NO_ACCESS or field.identifier:
            return False
        free_text = field.type == "notes" or (
            field.type == "text" and (not field.validation or field.validation.startswith(_DATES))
        )
        return right == IDENTIFIERS_REMOVED or not free_text

    def row(self, model: ProjectModel) -> dict[str, Any]:
        """The user as `content=user` shows it."""
        values: dict[str, Any] = {
            "username": self.username, "email": "", "firstname": "", "lastname": "", "expiration": "",
            "data_access_group": "", "data_access_group_id": "",
        }  # fmt: skip
        values.update({name: int(self.may(name)) for name in _RIGHTS})
        values["forms"] = {form: int(self.rights.get("forms", {}).get(form, 1)) for form in model.forms}
        values["forms_export"] = {form: self.export_right(form) for form in model.forms}
        return values


def token_hash(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate(connection: sqlite3.Connection, token: str) -> tuple[int, User]:
    """Project number and user of a token.

    Raises:
        ApiError: 403, the token is unknown or malformed.
    """
    row = connection.execute(
        "SELECT pid, username, rights FROM user WHERE token_hash = ?", (token_hash(token),)
    ).fetchone()
    if row is None:
        raise ApiError(403, "You do not have permissions to use the API")
    return int(row["pid"]), User(row["username"], json.loads(row["rights"]))


def is_super_token(connection: sqlite3.Connection, token: str) -> bool:
    """Whether `token` may create projects."""
    found = connection.execute("SELECT 1 FROM super_token WHERE hash = ?", (token_hash(token),)).fetchone()
    return len(token) == 64 and found is not None


def replace_super_token(connection: sqlite3.Connection, token: str) -> None:
    """Make `token` the only super token."""
    connection.execute("DELETE FROM super_token")
    connection.execute("INSERT INTO super_token VALUES (?)", (token_hash(token),))


def add_user(connection: sqlite3.Connection, pid: int, username: str, rights: dict[str, Any]) -> str:
    """Give `username` access to a project, or a new token and new rights; returns the token (32 characters)."""
    token = secrets.token_hex(16).upper()
    connection.execute(
        "INSERT OR REPLACE INTO user (pid, username, token_hash, rights) VALUES (?, ?, ?, ?)",
        (pid, username, token_hash(token), json.dumps(rights)),
    )
    return token


def set_rights(connection: sqlite3.Connection, pid: int, username: str, rights: dict[str, Any]) -> None:
    """Replace the rights of a user; its token stays."""
    connection.execute(
        "UPDATE user SET rights = ? WHERE pid = ? AND username = ?", (json.dumps(rights), pid, username)
    )


def users(connection: sqlite3.Connection, pid: int) -> list[User]:
    """Every user of a project."""
    rows = connection.execute("SELECT username, rights FROM user WHERE pid = ? ORDER BY username", (pid,))
    return [User(row["username"], json.loads(row["rights"])) for row in rows]
