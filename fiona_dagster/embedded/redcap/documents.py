"""`content=file`: the file of one field of one record."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from fiona_dagster.embedded.redcap import groups, journal
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.model import Field
from fiona_dagster.embedded.redcap.parameters import Upload
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Document, Text
from fiona_dagster.embedded.redcap.rights import FULL, NO_ACCESS
from fiona_dagster.embedded.redcap.values import Place, load_values, store_rows

SIGNATURE = "signature"
_DEFAULT_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class _Target:
    field: Field
    place: Place
    values: Mapping[str, str]
    """All that is stored there."""

    @property
    def stored(self) -> str:
        """Number of the document; empty where there is none."""
        return self.values.get(self.field.name, "")


def export_file(call: Call) -> Document:
    """The bytes; name and character set stand in the content type."""
    call.user.require("api_export")
    target = _target(call)
    right = call.user.export_right(target.field.form)
    if right == NO_ACCESS or (right != FULL and target.field.identifier):
        raise ApiError(403, "You do not have full data export rights, so you cannot download this file")
    found = load_document(call.connection, call.project.pid, target.stored)
    if found is None:
        raise ApiError(400, "There is no file to download for this record")
    return found


def import_file(call: Call) -> Text:
    """Store the part `file`, replacing what was there; the record must exist."""
    call.user.require("api_import")
    target = _target(call)
    if target.field.definition["text_validation_type_or_show_slider_number"] == SIGNATURE:
        raise ApiError(400, f"The field '{target.field.name}' is a signature field, which cannot be imported")
    upload = call.parameters.upload
    if upload is None:
        raise ApiError(400, "No valid file was uploaded")
    number = store_document(call.connection, call.project.pid, upload, None)
    store_rows(
        call.connection, call.project.pid, {target.place: {**target.values, target.field.name: str(number)}}
    )
    _log(call, target, str(number))
    return Text("")


def delete_file(call: Call) -> Text:
    """Take the file away."""
    call.user.require("api_import")
    target = _target(call)
    if not target.stored:
        raise ApiError(400, "There is no file to delete for this record")
    others = {name: value for name, value in target.values.items() if name != target.field.name}
    store_rows(call.connection, call.project.pid, {target.place: others})
    call.connection.execute("DELETE FROM document WHERE doc_id = ?", (target.stored,))
    _log(call, target, "")
    return Text("")


def load_document(connection: sqlite3.Connection, pid: int, number: str | int) -> Document | None:
    """A stored file, or None."""
    row = connection.execute(
        "SELECT content, name, media_type FROM document WHERE pid = ? AND doc_id = ?", (pid, number)
    ).fetchone()
    return None if row is None else Document(row["content"], row["name"], row["media_type"])


def store_document(connection: sqlite3.Connection, pid: int, upload: Upload, folder: int | None) -> int:
    """Keep a file; `folder` is None for a record's file and 0 for the top of the repository. Returns its number."""
    cursor = connection.execute(
        "INSERT INTO document (pid, folder_id, name, media_type, content) VALUES (?, ?, ?, ?, ?)",
        (pid, folder, upload.name, upload.media_type or _DEFAULT_TYPE, upload.content),
    )
    return int(cursor.lastrowid or 0)


def document_names(connection: sqlite3.Connection, pid: int) -> dict[str, str]:
    """Names of the files of records, by the number that their fields hold."""
    rows = connection.execute("SELECT doc_id, name FROM document WHERE pid = ? AND folder_id IS NULL", (pid,))
    return {str(row["doc_id"]): row["name"] for row in rows}


def _target(call: Call) -> _Target:
    parameters, project = call.parameters, call.project
    name, record = parameters.text("field"), parameters.text("record")
    field = project.fields.get(name)
    if field is None or field.type != "file":
        raise ApiError(400, f"The field '{name}' does not exist or is not a 'file' field")
    event = call.event_named(parameters.text("event"))
    if field.form not in event.forms:
        raise ApiError(
            400, f"The field '{name}' exists on an instrument that is not designated for this event"
        )
    values = load_values(call.connection, project.pid, [record])
    if not values or not groups.visible(call, [record]):
        raise ApiError(400, f'The record "{record}" does not exist')
    instance = parameters.number("repeat_instance")
    if (event.id, field.form) in project.repeating:
        place = Place(record, event.id, field.form, instance or 1)
    elif (event.id, "") in project.repeating:
        place = Place(record, event.id, "", instance or 1)
    else:
        place = Place(record, event.id, "", 0)
    return _Target(field, place, values.get(place, {}))


def _log(call: Call, target: _Target, value: str) -> None:
    prefix = f"[instance = {target.place.instance}], " if target.place.instance else ""
    details = f"{prefix}{target.field.name} = '{value}'"
    journal.record_changes(call, "record_edit", [(target.place.record, details)])
