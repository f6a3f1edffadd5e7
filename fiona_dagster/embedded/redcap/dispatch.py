"""Which call is answered by which function, in one transaction each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from fiona_dagster.embedded.redcap import (
    events,
    exporting,
    importing,
    journal,
    removing,
    rights,
    settings,
    structure,
)
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.database import Database
from fiona_dagster.embedded.redcap.model import load_model
from fiona_dagster.embedded.redcap.parameters import Parameters
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Reply, render, render_error

Handler = Callable[[Call], Reply]
HANDLERS: dict[tuple[str, str], Handler] = {
    ("record", "export"): exporting.export_records,
    ("record", "import"): importing.import_records,
    ("record", "delete"): removing.delete_records,
    ("record", "rename"): removing.rename_record,
    ("generateNextRecordName", "export"): removing.generate_next_record_name,
    ("metadata", "export"): structure.export_metadata,
    ("metadata", "import"): structure.import_metadata,
    ("exportFieldNames", "export"): structure.export_field_names,
    ("instrument", "export"): structure.export_instruments,
    ("arm", "export"): events.export_arms,
    ("arm", "import"): events.import_arms,
    ("arm", "delete"): events.delete_arms,
    ("event", "export"): events.export_events,
    ("event", "import"): events.import_events,
    ("event", "delete"): events.delete_events,
    ("formEventMapping", "export"): events.export_mapping,
    ("formEventMapping", "import"): events.import_mapping,
    ("repeatingFormsEvents", "export"): events.export_repeating,
    ("repeatingFormsEvents", "import"): events.import_repeating,
    ("project", "export"): settings.export_project,
    ("project_settings", "import"): settings.import_settings,
    ("version", "export"): settings.export_version,
    ("user", "export"): settings.export_users,
    ("log", "export"): journal.export_log,
}
CONTENTS = {content for content, _ in HANDLERS}
NOT_SERVED_YET = {
    "file", "fileRepository", "userRole", "userRoleMapping", "dag", "userDagMapping", "report", "pdf",
    "surveyLink", "surveyQueueLink", "surveyAccessCode", "surveyReturnCode", "participantList", "project_xml",
}  # fmt: skip


class Answer(NamedTuple):
    """What goes back over HTTP."""

    status: int
    body: str
    media_type: str


def answer(database: Database, parameters: Parameters) -> Answer:
    """Carry out one call: all of it or, on any error, nothing."""
    action = _action(parameters)
    try:
        with database.transaction(write=action != "export") as connection:
            now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
            token = parameters.text("token")
            if rights.is_super_token(connection, token):
                reply = _with_super_token(connection, parameters, action, now)
            else:
                pid, user = rights.authenticate(connection, token)
                handler = _handler(parameters.text("content"), action)
                reply = handler(Call(connection, load_model(connection, pid), user, parameters, now))
        body, media_type = render(reply, _format(parameters, action), parameters.delimiter)
    except ApiError as error:
        return Answer(error.status, *render_error(error.message, parameters.return_format))
    return Answer(200, body, media_type)


def _with_super_token(connection: sqlite3.Connection, parameters: Parameters, action: str, now: str) -> Reply:
    if parameters.text("content") != "project" or action != "import":
        raise ApiError(403, "You do not have permissions to use the API")
    return settings.create_project(connection, parameters, now)


def _action(parameters: Parameters) -> str:
    """The action named; else data means an import and no data an export."""
    action = parameters.text("action")
    if action in {"import", "delete", "rename", "export"}:
        return action
    return "import" if "data" in parameters or "odm" in parameters else "export"


def _handler(content: str, action: str) -> Handler:
    handler = HANDLERS.get((content, action))
    if handler is not None:
        return handler
    if content in NOT_SERVED_YET:
        raise ApiError(501, f'This server does not answer the content "{content}" yet')
    name = "action" if content in CONTENTS else "content"
    raise ApiError(400, f'The value of the parameter "{name}" is not valid')


def _format(parameters: Parameters, action: str) -> str:
    if action != "export":
        return parameters.return_format
    if parameters.format == "odm":
        raise ApiError(501, "This server does not export ODM yet")
    return parameters.format
