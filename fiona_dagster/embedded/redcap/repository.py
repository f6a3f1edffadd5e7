"""`content=fileRepository`: folders and files that belong to a project and to no record."""

from __future__ import annotations

import sqlite3

from fiona_dagster.embedded.redcap import journal
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.documents import load_document, store_document
from fiona_dagster.embedded.redcap.groups import all_groups
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Document, Table, Text

_LONGEST_NAME = 150


def create_folder(call: Call) -> Table:
    """`action=createFolder`; with `dag_id` or `role_id` for one group or role alone."""
    call.user.require("api_import", "file_repository")
    name = call.parameters.text("name").strip()
    if not name or len(name) > _LONGEST_NAME:
        raise ApiError(400, f"The folder name must have 1 to {_LONGEST_NAME} characters")
    parent, group = _folder(call), call.parameters.number("dag_id")
    if group and group not in {one["group_id"] for one in all_groups(call.connection, call.project.pid)}:
        raise ApiError(400, 'The value of the parameter "dag_id" is not valid')
    if any(one["name"] == name for one in _folders(call, parent)):
        raise ApiError(400, f'A folder named "{name}" already exists there')
    cursor = call.connection.execute(
        "INSERT INTO folder (pid, parent, name, group_id, role) VALUES (?, ?, ?, ?, ?)",
        (call.project.pid, parent, name, group, call.parameters.text("role_id")),
    )
    _log(call, f'Create folder "{name}" in the File Repository')
    return Table(("folder_id",), [{"folder_id": cursor.lastrowid}], root="items")


def list_repository(call: Call) -> Table:
    """`action=list` of one folder: folders first, then files."""
    call.user.require("api_export", "file_repository")
    folder = _folder(call)
    rows: list[dict[str, object]] = [
        {"folder_id": one["folder_id"], "name": one["name"]} for one in _folders(call, folder)
    ]
    files = call.connection.execute(
        "SELECT doc_id, name FROM document WHERE pid = ? AND folder_id = ? ORDER BY name, doc_id",
        (call.project.pid, folder),
    )
    rows += [{"doc_id": one["doc_id"], "name": one["name"]} for one in files]
    return Table(("folder_id", "doc_id", "name"), rows, root="items", sparse=True)


def export_document(call: Call) -> Document:
    """`action=export`."""
    call.user.require("api_export", "file_repository")
    found = load_document(call.connection, call.project.pid, _document(call))
    if found is None:
        raise ApiError(400, 'The value of the parameter "doc_id" is not valid')
    return found


def import_document(call: Call) -> Text:
    """`action=import` of the part `file`."""
    call.user.require("api_import", "file_repository")
    if call.parameters.upload is None:
        raise ApiError(400, "No valid file was uploaded")
    store_document(call.connection, call.project.pid, call.parameters.upload, _folder(call))
    _log(call, f'Upload file "{call.parameters.upload.name}" to the File Repository')
    return Text("")


def delete_document(call: Call) -> Text:
    """`action=delete`."""
    call.user.require("api_import", "file_repository")
    number = _document(call)
    call.connection.execute("DELETE FROM document WHERE doc_id = ?", (number,))
    _log(call, f"Delete file {number} of the File Repository")
    return Text("")


def _folders(call: Call, parent: int) -> list[sqlite3.Row]:
    """Folders in `parent` that the user may see."""
    rows = call.connection.execute(
        "SELECT * FROM folder WHERE pid = ? AND parent = ? ORDER BY name, folder_id",
        (call.project.pid, parent),
    )
    return [one for one in rows if _may_enter(call, one)]


def _may_enter(call: Call, folder: sqlite3.Row) -> bool:
    group, role = folder["group_id"], folder["role"]
    return (not group or call.user.group_id in {None, group}) and (not role or call.user.role in {"", role})


def _folder(call: Call) -> int:
    """Number of the folder asked for, 0 for the top."""
    number = call.parameters.number("folder_id")
    if number is None:
        return 0
    found = call.connection.execute(
        "SELECT * FROM folder WHERE pid = ? AND folder_id = ?", (call.project.pid, number)
    ).fetchone()
    if found is None or not _may_enter(call, found):
        raise ApiError(400, 'The value of the parameter "folder_id" is not valid')
    return number


def _document(call: Call) -> int:
    """Number of the file asked for, which must be in the repository."""
    number = call.parameters.number("doc_id")
    found = call.connection.execute(
        "SELECT folder_id FROM document WHERE pid = ? AND doc_id = ? AND folder_id IS NOT NULL",
        (call.project.pid, number),
    ).fetchone()
    if found is None or number is None:
        raise ApiError(400, 'The value of the parameter "doc_id" is not valid')
    if found["folder_id"]:
        folder = call.connection.execute(
            "SELECT * FROM folder WHERE folder_id = ?", (found["folder_id"],)
        ).fetchone()
        if not _may_enter(call, folder):
            raise ApiError(400, 'The value of the parameter "doc_id" is not valid')
    return number


def _log(call: Call, details: str) -> None:
    journal.design_change(call.connection, call.project.pid, call.now, call.user.username, details)
