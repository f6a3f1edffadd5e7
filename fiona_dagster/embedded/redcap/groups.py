"""Data access groups: which records belong to whom, and who sees only those of its group."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable

from fiona_dagster.embedded.redcap import journal
from fiona_dagster.embedded.redcap.calls import Call, known
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Count, Table, Text
from fiona_dagster.embedded.redcap.rights import users

GROUP = "redcap_data_access_group"
_LONGEST = 18


def export_groups(call: Call) -> Table:
    """`content=dag`."""
    call.user.require("api_export", "data_access_groups")
    rows = [
        {
            "data_access_group_name": one["name"],
            "unique_group_name": one["unique_name"],
            "data_access_group_id": one["group_id"],
        }
        for one in all_groups(call.connection, call.project.pid)
    ]
    return Table(("data_access_group_name", "unique_group_name", "data_access_group_id"), rows, root="dags")


def import_groups(call: Call) -> Count:
    """Add groups (without a unique name) or rename them, which keeps the unique name."""
    call.user.require("api_import", "data_access_groups")
    rows, pid = call.rows() or [], call.project.pid
    existing = group_ids(call)
    for row in rows:
        name, unique = row.get("data_access_group_name", "").strip(), row.get("unique_group_name", "").strip()
        if not name:
            raise ApiError(400, "The data being imported is not formatted correctly: a group needs a name")
        if unique and unique not in existing:
            raise ApiError(400, f"The following unique group names do not exist in the project: {unique}")
        if unique:
            call.connection.execute(
                "UPDATE dag SET name = ? WHERE pid = ? AND unique_name = ?", (name, pid, unique)
            )
        else:
            add_group(call.connection, pid, name)
        journal.design_change(
            call.connection, pid, call.now, call.user.username, f"Set up data access group {name}"
        )
    return Count(len(rows))


def add_group(connection: sqlite3.Connection, pid: int, name: str) -> int:
    """Make a group; its unique name gets a letter where another group has the same one."""
    taken = {one["unique_name"] for one in all_groups(connection, pid)}
    base = unique_group_name(name)
    candidates = [base, *(f"{base[: _LONGEST - 1]}{letter}" for letter in "bcdefghijklmnopqrstuvwxyz")]
    unique = next((one for one in candidates if one not in taken), None)
    if unique is None:
        raise ApiError(400, f"The group {name} exists too often")
    cursor = connection.execute(
        "INSERT INTO dag (pid, name, unique_name) VALUES (?, ?, ?)", (pid, name, unique)
    )
    return int(cursor.lastrowid or 0)


def delete_groups(call: Call) -> Count:
    """Remove groups; their records and users then belong to none."""
    call.user.require("api_import", "data_access_groups")
    wanted = call.required_array("dags")
    known("dags", wanted, set(group_ids(call)))
    for unique in wanted:
        call.connection.execute(
            "DELETE FROM dag WHERE pid = ? AND unique_name = ?", (call.project.pid, unique)
        )
        journal.design_change(
            call.connection,
            call.project.pid,
            call.now,
            call.user.username,
            f"Delete data access group {unique}",
        )
    return Count(len(set(wanted)))


def switch_group(call: Call) -> Text:
    """`action=switch`: only among the groups that an administrator allowed (`permit_switching`)."""
    unique = call.parameters.text("dag").strip()
    wanted = group_ids(call).get(unique)
    if unique and wanted is None:
        raise ApiError(400, f"The following unique group names do not exist in the project: {unique}")
    allowed = call.connection.execute(
        "SELECT 1 FROM dag_choice WHERE pid = ? AND username = ? AND group_id = ?",
        (call.project.pid, call.user.username, wanted),
    ).fetchone()
    if allowed is None:
        raise ApiError(403, "You are not allowed to switch to this Data Access Group")
    assign(call, call.user.username, unique)
    return Text("1")


def permit_switching(connection: sqlite3.Connection, pid: int, username: str, names: Iterable[str]) -> None:
    """What an administrator sets on the page of the DAG Switcher."""
    connection.executemany(
        "INSERT OR IGNORE INTO dag_choice (pid, username, group_id) "
        "SELECT pid, ?, group_id FROM dag WHERE pid = ? AND unique_name = ?",
        ((username, pid, name) for name in names),
    )


def export_user_groups(call: Call) -> Table:
    """`content=userDagMapping`."""
    call.user.require("api_export", "data_access_groups")
    rows = [
        {"username": user.username, GROUP: user.group} for user in users(call.connection, call.project.pid)
    ]
    return Table(("username", GROUP), rows, root="items")


def import_user_groups(call: Call) -> Count:
    """Assign users to groups; an empty group takes them out of theirs."""
    call.user.require("api_import", "data_access_groups")
    rows = call.rows() or []
    everybody = {user.username for user in users(call.connection, call.project.pid)}
    for row in rows:
        if row.get("username") not in everybody:
            raise ApiError(400, "The data being imported names a user that does not exist")
        assign(call, row["username"], row.get(GROUP, ""))
        journal.user_change(call, f"Assign user {row['username']} to data access group {row.get(GROUP, '')}")
    return Count(len(rows))


def assign(call: Call, username: str, unique: str) -> None:
    """Put a user into a group, or into none.

    Raises:
        ApiError: there is no such group.
    """
    found = group_ids(call)
    if unique and unique not in found:
        raise ApiError(400, f"The following unique group names do not exist in the project: {unique}")
    call.connection.execute(
        "INSERT INTO assignment (pid, username, group_id) VALUES (?, ?, ?) "
        "ON CONFLICT (pid, username) DO UPDATE SET group_id = excluded.group_id",
        (call.project.pid, username, found.get(unique)),
    )


def all_groups(connection: sqlite3.Connection, pid: int) -> list[sqlite3.Row]:
    """Rows of a project's groups."""
    query = "SELECT group_id, name, unique_name FROM dag WHERE pid = ? ORDER BY name, group_id"
    return connection.execute(query, (pid,)).fetchall()


def group_ids(call: Call) -> dict[str, int]:
    """Number of each group by its unique name."""
    return {one["unique_name"]: one["group_id"] for one in all_groups(call.connection, call.project.pid)}


def record_groups(call: Call) -> dict[str, sqlite3.Row]:
    """The group of each record that has one, with `name` and `unique_name`."""
    rows = call.connection.execute(
        "SELECT r.record, d.group_id, d.name, d.unique_name FROM record_dag r JOIN dag d USING (group_id) "
        "WHERE r.pid = ?",
        (call.project.pid,),
    )
    return {row["record"]: row for row in rows}


def visible(call: Call, records: Iterable[str]) -> list[str]:
    """Of `records`, those that the user may see: all, or those of its group."""
    if call.user.group_id is None:
        return list(records)
    own = {name for name, row in record_groups(call).items() if row["group_id"] == call.user.group_id}
    return [record for record in records if record in own]


def place_records(call: Call, chosen: Iterable[tuple[str, str]]) -> None:
    """Put records into groups by unique name; the empty one takes a record out of its group."""
    found = group_ids(call)
    for record, unique in chosen:
        call.connection.execute(
            "DELETE FROM record_dag WHERE pid = ? AND record = ?", (call.project.pid, record)
        )
        if unique:
            call.connection.execute(
                "INSERT INTO record_dag VALUES (?, ?, ?)", (call.project.pid, record, found[unique])
            )


def unique_group_name(name: str) -> str:
    """Lower case, blanks as underscores, 18 characters, no trailing underscore."""
    return re.sub(r"[^a-z0-9_]", "", name.lower().replace(" ", "_"))[:_LONGEST].rstrip("_")
