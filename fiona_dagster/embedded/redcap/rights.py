"""What a token may do: its user's own rights, or those of the role the user has. Only the token's hash is stored."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fiona_dagster.embedded.redcap.model import Field, ProjectModel
from fiona_dagster.embedded.redcap.problems import ApiError

TOKEN_LENGTH = 32
PROFILE = ("email", "firstname", "lastname", "expiration")
ADMINISTRATOR = "site_admin"
NO_ACCESS, FULL, DEIDENTIFIED, IDENTIFIERS_REMOVED = 0, 1, 2, 3
"""Export rights of an instrument (`forms_export`)."""

_DATES = ("date_", "datetime_")
RIGHTS = {
    "design": 1, "alerts": 1, "user_rights": 1, "data_access_groups": 1, "reports": 1, "stats_and_charts": 1,
    "manage_survey_participants": 1, "calendar": 1, "data_import_tool": 1, "data_comparison_tool": 1,
    "logging": 1, "email_logging": 0, "file_repository": 1, "data_quality_create": 1,
    "data_quality_execute": 1, "api_export": 1, "api_import": 1, "api_modules": 1, "mobile_app": 1,
    "mobile_app_download_data": 0, "record_create": 1, "record_rename": 1, "record_delete": 1,
    "lock_records_all_forms": 0, "lock_records": 0, "lock_records_customization": 0,
}  # fmt: skip
"""Rights in REDCap's order, and what the creator of a project has."""
_REFUSALS = {
    "api_export": "You do not have API Export privileges",
    "api_import": "You do not have API Import/Update privileges",
    "record_delete": "You do not have Delete Record privileges",
    "record_create": "You do not have Create Record privileges",
    "design": "You do not have Project Design privileges",
    "logging": "You do not have Logging privileges",
    "user_rights": "You do not have User Rights privileges",
    "record_rename": "You do not have Rename Record privileges",
    "file_repository": "You do not have File Repository privileges",
    "data_access_groups": "You do not have Data Access Groups privileges",
    "reports": "You do not have Reports privileges",
    "manage_survey_participants": "You do not have Manage Survey Participants privileges",
}

_USERS = (
    "SELECT u.pid, u.username, u.rights, a.role, a.group_id, r.rights AS role_rights, "
    "d.unique_name AS unique_group, d.name AS group_name "
    "FROM user u LEFT JOIN assignment a ON a.pid = u.pid AND a.username = u.username "
    "LEFT JOIN role r ON r.pid = u.pid AND r.unique_name = a.role LEFT JOIN dag d ON d.group_id = a.group_id"
)


@dataclass(frozen=True)
class User:
    """A user of one project. `rights` are the role's where it has one; `profile` holds e-mail, name, expiration."""

    username: str
    rights: dict[str, Any]
    role: str = ""
    group_id: int | None = None
    """Data access group: the user sees its records and no others; None sees all."""
    group: str = ""
    group_label: str = ""
    profile: Mapping[str, str] = field(default_factory=dict)

    def require(self, *names: str) -> None:
        """Raise unless the user has every right in `names`.

        Raises:
            ApiError: 403 with REDCap's sentence for the first right that is missing.
        """
        for name in names:
            if not self.may(name):
                raise ApiError(403, _REFUSALS[name])

    def may(self, name: str) -> bool:
        return bool(self.rights.get(name, RIGHTS.get(name, 0)))

    def export_right(self, form: str) -> int:
        return int(self.rights.get("forms_export", {}).get(form, FULL))

    def sees(self, one: Field) -> bool:
        """Whether an export shows the field: without the right it vanishes, and nobody is told."""
        right = self.export_right(one.form)
        if right == FULL:
            return True
        if right == NO_ACCESS or one.identifier:
            return False
        free_text = one.type == "notes" or (
            one.type == "text" and (not one.validation or one.validation.startswith(_DATES))
        )
        return right == IDENTIFIERS_REMOVED or not free_text

    def row(self, model: ProjectModel) -> dict[str, Any]:
        """The user as `content=user` shows it."""
        values: dict[str, Any] = {"username": self.username}
        values |= {name: self.profile.get(name, "") for name in PROFILE}
        values |= {"data_access_group": self.group, "data_access_group_id": self.group_id or "",
                   "data_access_group_label": self.group_label}  # fmt: skip
        return values | rights_row(self.rights, model)


@dataclass(frozen=True)
class Role:
    """Rights under a name, which users of a project share."""

    unique_name: str
    label: str
    rights: dict[str, Any]


def rights_row(rights: Mapping[str, Any], model: ProjectModel) -> dict[str, Any]:
    """Rights as users and roles show them, those by instrument as objects."""
    return {
        **{name: int(rights.get(name, standard) or 0) for name, standard in RIGHTS.items()},
        "forms": {form: int(rights.get("forms", {}).get(form, 1)) for form in model.forms},
        "forms_export": {form: int(rights.get("forms_export", {}).get(form, FULL)) for form in model.forms},
    }


def token_hash(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate(connection: sqlite3.Connection, token: str) -> tuple[int, User]:
    """Project number and user of a token.

    Raises:
        ApiError: 403, the token is unknown or malformed.
    """
    row = connection.execute(f"{_USERS} WHERE u.token_hash = ?", (token_hash(token),)).fetchone()
    if row is None or len(token) != TOKEN_LENGTH:
        raise ApiError(403, "You do not have permissions to use the API")
    return int(row["pid"]), _user(row)


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
    store_user(connection, pid, username, rights, token_hash(token))
    return token


def store_user(
    connection: sqlite3.Connection, pid: int, username: str, rights: dict[str, Any], hashed: str = ""
) -> None:
    """Make or change a user. Without the hash of a token an existing one stays, and a new user has none."""
    connection.execute(
        "INSERT INTO user (pid, username, token_hash, rights) VALUES (?, ?, ?, ?) ON CONFLICT (pid, username) "
        "DO UPDATE SET rights = excluded.rights, token_hash = CASE WHEN ? THEN excluded.token_hash ELSE token_hash END",
        (pid, username, hashed or f"no token {pid} {username}", json.dumps(rights), bool(hashed)),
    )


def set_rights(connection: sqlite3.Connection, pid: int, username: str, rights: dict[str, Any]) -> None:
    """Replace the rights of a user; its token stays."""
    connection.execute(
        "UPDATE user SET rights = ? WHERE pid = ? AND username = ?", (json.dumps(rights), pid, username)
    )


def users(connection: sqlite3.Connection, pid: int) -> list[User]:
    """Every user of a project."""
    rows = connection.execute(f"{_USERS} WHERE u.pid = ? ORDER BY u.username", (pid,))
    return [_user(row) for row in rows]


def roles(connection: sqlite3.Connection, pid: int) -> list[Role]:
    """Every role of a project."""
    query = "SELECT unique_name, label, rights FROM role WHERE pid = ? ORDER BY label, unique_name"
    rows = connection.execute(query, (pid,))
    return [Role(row["unique_name"], row["label"], json.loads(row["rights"])) for row in rows]


def store_role(connection: sqlite3.Connection, pid: int, role: Role) -> None:
    """Make or change a role."""
    connection.execute(
        "INSERT OR REPLACE INTO role (pid, unique_name, label, rights) VALUES (?, ?, ?, ?)",
        (pid, role.unique_name, role.label, json.dumps(role.rights)),
    )


def new_role_name() -> str:
    """`U-` and ten characters."""
    return "U-" + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(10))


def _user(row: sqlite3.Row) -> User:
    own = json.loads(row["rights"])
    profile = {name: str(own.get(name, "")) for name in PROFILE}
    rights = own if row["role_rights"] is None else json.loads(row["role_rights"])
    return User(
        row["username"], rights, row["role"] or "", row["group_id"], row["unique_group"] or "",
        row["group_name"] or "", profile,
    )  # fmt: skip
