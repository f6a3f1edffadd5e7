"""`content=user`, `userRole` and `userRoleMapping`: who may do what in a project."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fiona_dagster.embedded.redcap import groups, journal
from fiona_dagster.embedded.redcap.calls import Call, known
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Count, Table
from fiona_dagster.embedded.redcap.rights import (
    IDENTIFIERS_REMOVED,
    NO_ACCESS,
    PROFILE,
    RIGHTS,
    Role,
    new_role_name,
    rights_row,
    roles,
    store_role,
    store_user,
    users,
)

NEW_USER = dict.fromkeys(RIGHTS, 0) | {
    "reports": 1, "stats_and_charts": 1, "manage_survey_participants": 1, "calendar": 1,
    "file_repository": 1, "record_create": 1,
}  # fmt: skip
"""What a user imported by name alone may do: see and enter records, nothing by API."""
_LOCKS = ("lock_records_customization", "lock_records", "lock_records_all_forms")
"""In a role they come in another order than with users."""
ROLE_NAME = "unique_role_name"


def export_users(call: Call) -> Table:
    """`content=user`."""
    call.user.require("api_export", "user_rights")
    rows = [user.row(call.project) for user in users(call.connection, call.project.pid)]
    return Table(list(rows[0]), rows, root="users")


def import_users(call: Call) -> Count:
    """Add users or change their rights; only `username` is required, and what is not given stays.

    Columns of an export that are no rights (`data_access_group_id`, `data_export` of old versions) are passed over.
    """
    call.user.require("api_import", "user_rights")
    rows = call.objects()
    existing = _stored_rights(call)
    for row in rows:
        name = str(row.get("username", "")).strip()
        if not name:
            raise ApiError(400, "The data being imported is not formatted correctly: a user needs a username")
        rights = _changed(call, existing.get(name, NEW_USER), row)
        rights |= {key: str(row[key]) for key in PROFILE if key in row}
        store_user(call.connection, call.project.pid, name, rights)
        if "data_access_group" in row:
            groups.assign(call, name, str(row["data_access_group"]))
        journal.user_change(call, f"{'Edit' if name in existing else 'Add'} user {name}")
    return Count(len(rows))


def delete_users(call: Call) -> Count:
    """Remove users with their tokens."""
    call.user.require("api_import", "user_rights")
    wanted = call.required_array("users")
    everybody = {user.username for user in users(call.connection, call.project.pid)}
    known("users", wanted, everybody)
    for name in wanted:
        call.connection.execute("DELETE FROM user WHERE pid = ? AND username = ?", (call.project.pid, name))
        journal.user_change(call, f"Delete user {name}")
    return Count(len(set(wanted)))


def export_roles(call: Call) -> Table:
    """`content=userRole`; rights are texts here, numbers with users."""
    call.user.require("api_export", "user_rights")
    rows = []
    for role in roles(call.connection, call.project.pid):
        shown = rights_row(role.rights, call.project)
        texts = {name: str(value) if isinstance(value, int) else value for name, value in shown.items()}
        rows.append({ROLE_NAME: role.unique_name, "role_label": role.label, **texts})
    columns = [name for name in rights_row({}, call.project) if name not in _LOCKS]
    by_form = columns[-2:]
    return Table([ROLE_NAME, "role_label", *columns[:-2], *_LOCKS, *by_form], rows, root="roles")


def import_roles(call: Call) -> Count:
    """Add roles (without a unique name) or change them."""
    call.user.require("api_import", "user_rights")
    rows = call.objects()
    existing = {role.unique_name: role for role in roles(call.connection, call.project.pid)}
    for row in rows:
        unique = str(row.get(ROLE_NAME, "")).strip()
        if unique and unique not in existing:
            raise ApiError(400, f"The following role names do not exist in the project: {unique}")
        label = str(row.get("role_label", "")).strip() or (existing[unique].label if unique else "")
        if not label:
            raise ApiError(
                400, "The data being imported is not formatted correctly: a role needs a role_label"
            )
        before = existing[unique].rights if unique else dict.fromkeys(RIGHTS, 0)
        role = Role(unique or new_role_name(), label, _changed(call, before, row))
        store_role(call.connection, call.project.pid, role)
        journal.user_change(call, f"Set up role {label}")
    return Count(len(rows))


def delete_roles(call: Call) -> Count:
    """Remove roles; who had one keeps its own rights."""
    call.user.require("api_import", "user_rights")
    wanted = call.required_array("roles")
    known("roles", wanted, _role_names(call))
    pid = call.project.pid
    for unique in wanted:
        call.connection.execute("DELETE FROM role WHERE pid = ? AND unique_name = ?", (pid, unique))
        call.connection.execute("UPDATE assignment SET role = '' WHERE pid = ? AND role = ?", (pid, unique))
        journal.user_change(call, f"Delete role {unique}")
    return Count(len(set(wanted)))


def export_role_mapping(call: Call) -> Table:
    """`content=userRoleMapping`."""
    call.user.require("api_export", "user_rights")
    rows = [
        {"username": user.username, ROLE_NAME: user.role, "data_access_group": user.group}
        for user in users(call.connection, call.project.pid)
    ]
    return Table(("username", ROLE_NAME, "data_access_group"), rows, root="items")


def import_role_mapping(call: Call) -> Count:
    """Give users roles; an empty one takes it away."""
    call.user.require("api_import", "user_rights")
    rows = call.rows() or []
    names = _role_names(call)
    everybody = {user.username for user in users(call.connection, call.project.pid)}
    for row in rows:
        name, role = row.get("username", ""), row.get(ROLE_NAME, "")
        if name not in everybody or (role and role not in names):
            raise ApiError(400, "The data being imported names a user or role that does not exist")
        call.connection.execute(
            "INSERT INTO assignment (pid, username, role) VALUES (?, ?, ?) "
            "ON CONFLICT (pid, username) DO UPDATE SET role = excluded.role",
            (call.project.pid, name, role),
        )
        if "data_access_group" in row:
            groups.assign(call, name, row["data_access_group"])
        journal.user_change(call, f"Assign user {name} to role {role}")
    return Count(len(rows))


def _role_names(call: Call) -> set[str]:
    return {role.unique_name for role in roles(call.connection, call.project.pid)}


def _stored_rights(call: Call) -> dict[str, dict[str, Any]]:
    rows = call.connection.execute("SELECT username, rights FROM user WHERE pid = ?", (call.project.pid,))
    return {row["username"]: json.loads(row["rights"]) for row in rows}


def _changed(call: Call, before: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Rights after an import of `row`, which names some of them."""
    rights = dict(before)
    for name in RIGHTS.keys() & row.keys():
        text = str(row[name]).strip() or "0"
        if text not in {"0", "1", "2", "3"}:
            raise ApiError(400, f"The value of {name} is not valid")
        rights[name] = int(text)
    for name in ("forms", "forms_export"):
        if row.get(name):
            allowed = {str(right) for right in range(NO_ACCESS, IDENTIFIERS_REMOVED + 1)}
            given = dict(_by_form(row[name]))
            known("forms", list(given), list(call.project.forms))
            if not set(given.values()) <= allowed:
                raise ApiError(400, f"The value of {name} is not valid")
            rights[name] = {**rights.get(name, {}), **{form: int(right) for form, right in given.items()}}
    return rights


def _by_form(value: Any) -> Iterable[tuple[str, str]]:
    """Rights by instrument: an object, or `form_1:1,form_2:0` in CSV."""
    if isinstance(value, Mapping):
        return ((str(form), str(right)) for form, right in value.items())
    parts = (part.partition(":") for part in str(value).split(",") if part.strip())
    return ((form.strip(), right.strip()) for form, _, right in parts)
