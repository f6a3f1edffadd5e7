"""Links and codes of surveys. The surveys themselves are not served: a link leads nowhere."""

from __future__ import annotations

import secrets
import sqlite3
import string

from fiona_dagster.embedded.redcap import groups
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Table, Text
from fiona_dagster.embedded.redcap.values import load_values

_SIGNS = string.ascii_uppercase + string.digits
_LINK_LENGTH, _ACCESS_LENGTH, _RETURN_LENGTH = 16, 9, 8
_PARTICIPANT = (
    "email", "email_occurrence", "identifier", "record", "invitation_sent_status", "invitation_send_time",
    "response_status", "survey_access_code", "survey_link", "survey_queue_link",
)  # fmt: skip


def export_link(call: Call) -> Text:
    """`content=surveyLink`."""
    return Text(_link(call, _code(call)))


def export_access_code(call: Call) -> Text:
    """`content=surveyAccessCode`: nine characters."""
    return Text(_code(call)[:_ACCESS_LENGTH])


def export_return_code(call: Call) -> Text:
    """`content=surveyReturnCode`: eight characters, for surveys that can be left and continued."""
    code = _code(call)
    if not _survey(call)["return_codes"]:
        raise ApiError(400, "The survey does not have the Save & Return Later feature enabled")
    return Text(code[-_RETURN_LENGTH:])


def export_queue_link(call: Call) -> Text:
    """`content=surveyQueueLink`, one a record."""
    call.user.require("api_export")
    if not call.project.settings.get("surveys_enabled"):
        raise ApiError(400, "Surveys are not enabled in this project")
    record = call.parameters.text("record")
    _require_record(call, record)
    return Text(_queue_link(call, record))


def export_participants(call: Call) -> Table:
    """`content=participantList`: everybody who was given a link to the instrument in the event."""
    call.user.require("api_export", "manage_survey_participants")
    event, form = call.event_named(call.parameters.text("event")), _survey(call)["form"]
    found = call.connection.execute(
        "SELECT record, code FROM participant WHERE pid = ? AND event_id = ? AND form = ? ORDER BY record, instance",
        (call.project.pid, event.id, form),
    ).fetchall()
    own = set(groups.visible(call, [one["record"] for one in found]))
    rows = [
        {
            "email": "", "email_occurrence": 1, "identifier": "", "record": one["record"],
            "invitation_sent_status": 0, "invitation_send_time": "", "response_status": 0,
            "survey_access_code": one["code"][:_ACCESS_LENGTH], "survey_link": _link(call, one["code"]),
            "survey_queue_link": _queue_link(call, one["record"]),
        }
        for one in found
        if one["record"] in own
    ]  # fmt: skip
    return Table(_PARTICIPANT, rows, root="participants")


def enable_survey(
    connection: sqlite3.Connection, pid: int, form: str, title: str, *, return_codes: bool = True
) -> None:
    """What a person sets in the Online Designer."""
    connection.execute(
        "INSERT OR REPLACE INTO survey VALUES (?, ?, ?, ?)", (pid, form, title, int(return_codes))
    )


def survey_forms(connection: sqlite3.Connection, pid: int) -> list[sqlite3.Row]:
    """Instruments that are surveys."""
    return connection.execute("SELECT * FROM survey WHERE pid = ? ORDER BY form", (pid,)).fetchall()


def _survey(call: Call) -> sqlite3.Row:
    form = call.parameters.text("instrument")
    if form not in call.project.forms:
        raise ApiError(400, 'The value of the parameter "instrument" is not valid')
    found = {one["form"]: one for one in survey_forms(call.connection, call.project.pid)}.get(form)
    if found is None:
        raise ApiError(400, f'The instrument "{form}" has not been enabled as a survey')
    return found


def _code(call: Call) -> str:
    """The code of the participant asked for, made up at the first time."""
    call.user.require("api_export")
    record = call.parameters.text("record")
    _require_record(call, record)
    form = _survey(call)["form"]
    event = call.event_named(call.parameters.text("event"))
    if form not in event.forms:
        raise ApiError(400, 'The value of the parameter "event" is not valid')
    repeats = {(event.id, form), (event.id, "")} & set(call.project.repeating)
    instance = (call.parameters.number("repeat_instance") or 1) if repeats else 0
    return _participant(call, record, event.id, form, instance)


def _participant(call: Call, record: str, event_id: int, form: str, instance: int) -> str:
    place = (call.project.pid, record, event_id, form, instance)
    code = "".join(secrets.choice(_SIGNS) for _ in range(_LINK_LENGTH))
    call.connection.execute("INSERT OR IGNORE INTO participant VALUES (?, ?, ?, ?, ?, ?)", (*place, code))
    found = call.connection.execute(
        "SELECT code FROM participant WHERE pid = ? AND record = ? AND event_id = ? AND form = ? AND instance = ?",
        place,
    ).fetchone()
    return str(found["code"])


def _require_record(call: Call, record: str) -> None:
    if not load_values(call.connection, call.project.pid, [record]) or not groups.visible(call, [record]):
        raise ApiError(400, f'The record "{record}" does not exist')


def _link(call: Call, code: str) -> str:
    return f"{call.base_url}surveys/?s={code}"


def _queue_link(call: Call, record: str) -> str:
    """A record's queue is a participant of no instrument."""
    return f"{call.base_url}surveys/?sq={_participant(call, record, 0, '', 0)}"
