"""Which call is answered by which function, in one transaction each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from fiona_dagster.embedded.redcap import (
    creating,
    documents,
    events,
    exporting,
    groups,
    importing,
    journal,
    odm_writing,
    pdf,
    removing,
    reports,
    repository,
    rights,
    settings,
    structure,
    surveys,
    users,
)
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.database import Database
from fiona_dagster.embedded.redcap.model import load_model
from fiona_dagster.embedded.redcap.parameters import Parameters
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Reply, render, render_error

Handler = Callable[[Call], Reply]


def _export_records(call: Call) -> Reply:
    export = odm_writing.export_records_odm if call.parameters.format == "odm" else exporting.export_records
    return export(call)


HANDLERS: dict[tuple[str, str], Handler] = {
    ("record", "export"): _export_records,
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
    ("project_xml", "export"): odm_writing.export_project_xml,
    ("file", "export"): documents.export_file,
    ("file", "import"): documents.import_file,
    ("file", "delete"): documents.delete_file,
    ("fileRepository", "createFolder"): repository.create_folder,
    ("fileRepository", "list"): repository.list_repository,
    ("fileRepository", "export"): repository.export_document,
    ("fileRepository", "import"): repository.import_document,
    ("fileRepository", "delete"): repository.delete_document,
    ("user", "export"): users.export_users,
    ("user", "import"): users.import_users,
    ("user", "delete"): users.delete_users,
    ("userRole", "export"): users.export_roles,
    ("userRole", "import"): users.import_roles,
    ("userRole", "delete"): users.delete_roles,
    ("userRoleMapping", "export"): users.export_role_mapping,
    ("userRoleMapping", "import"): users.import_role_mapping,
    ("dag", "export"): groups.export_groups,
    ("dag", "import"): groups.import_groups,
    ("dag", "delete"): groups.delete_groups,
    ("dag", "switch"): groups.switch_group,
    ("userDagMapping", "export"): groups.export_user_groups,
    ("userDagMapping", "import"): groups.import_user_groups,
    ("log", "export"): journal.export_log,
    ("report", "export"): reports.export_report,
    ("pdf", "export"): pdf.export_pdf,
    ("surveyLink", "export"): surveys.export_link,
    ("surveyQueueLink", "export"): surveys.export_queue_link,
    ("surveyAccessCode", "export"): surveys.export_access_code,
    ("surveyReturnCode", "export"): surveys.export_return_code,
    ("participantList", "export"): surveys.export_participants,
}
CONTENTS = {content for content, _ in HANDLERS}
ACTIONS = {action for _, action in HANDLERS}
_MAKES_CODES = {"surveyLink", "surveyQueueLink", "surveyAccessCode", "surveyReturnCode", "participantList"}
"""Exports that write: who asks for a link first makes its code."""


class Answer(NamedTuple):
    """What goes back over HTTP."""

    status: int
    body: str | bytes
    content_type: str


def answer(
    database: Database,
    parameters: Parameters,
    base_url: str = "",
    restrict: Callable[[rights.User], rights.User] = lambda user: user,
) -> Answer:
    """Carry out one call: all of it or, on any error, nothing.

    Args:
        database: where everything is.
        parameters: the call.
        base_url: of the server, ends in a slash.
        restrict: what is left of a user's rights, for rehearsals.
    """
    content, action = parameters.text("content"), _action(parameters)
    try:
        writes = action not in {"export", "list"} or content in _MAKES_CODES
        with database.transaction(write=writes) as connection:
            now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
            token = parameters.text("token")
            if rights.is_super_token(connection, token):
                reply = _with_super_token(connection, parameters, action, now)
            else:
                pid, user = rights.authenticate(connection, token)
                handler = _handler(content, action)
                model = load_model(connection, pid)
                reply = handler(Call(connection, model, restrict(user), parameters, now, base_url))
        body, content_type = render(reply, _format(parameters, action), parameters.delimiter)
    except ApiError as error:
        return Answer(error.status, *render_error(error.message, parameters.return_format))
    return Answer(200, body, content_type)


def _with_super_token(connection: sqlite3.Connection, parameters: Parameters, action: str, now: str) -> Reply:
    if parameters.text("content") != "project" or action != "import":
        raise ApiError(403, "You do not have permissions to use the API")
    return creating.create_project(connection, parameters, now)


def _action(parameters: Parameters) -> str:
    """The action named; else data means an import and no data an export."""
    action = parameters.text("action")
    if action in ACTIONS:
        return action
    return "import" if "data" in parameters or "odm" in parameters else "export"


def _handler(content: str, action: str) -> Handler:
    handler = HANDLERS.get((content, action))
    if handler is not None:
        return handler
    name = "action" if content in CONTENTS else "content"
    raise ApiError(400, f'The value of the parameter "{name}" is not valid')


def _format(parameters: Parameters, action: str) -> str:
    if action not in {"export", "list", "createFolder"}:
        return parameters.return_format
    return "xml" if parameters.format == "odm" else parameters.format
