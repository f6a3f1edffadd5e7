"""Deleting and renaming records, and the forecast of the next record name."""

from __future__ import annotations

from fiona_dagster.embedded.redcap import groups, journal
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Count, Text
from fiona_dagster.embedded.redcap.values import (
    Place,
    erase_places,
    load_values,
    next_record_name,
    record_names,
    store_rows,
)


def delete_records(call: Call) -> Count:
    """`action=delete`: whole records, or their part in an arm, event, instrument or instance."""
    call.user.require("record_delete")
    records = call.required_array("records")
    values = load_values(call.connection, call.project.pid, records)
    missing = sorted(set(records) - set(groups.visible(call, {place.record for place in values})))
    if missing:
        raise ApiError(
            400,
            "One or more of the records provided cannot be deleted because they do not exist in the project. "
            f"The following records do not exist: {', '.join(missing)}",
        )
    events = _chosen_events(call)
    form = call.parameters.text("instrument")
    if form and form not in call.project.forms:
        raise ApiError(400, 'The value of the parameter "instrument" is not valid')
    instance = _instance(call)
    chosen = [place for place in values if place.event_id in events and instance in {None, place.instance}]
    if form:
        _erase_form(call, [place for place in chosen if place.form in {"", form}], form, values)
    else:
        erase_places(call.connection, call.project.pid, chosen)
    touched = dict.fromkeys(place.record for place in chosen)
    journal.record_changes(call, "record_delete", ((record, "") for record in touched))
    remaining = {place.record for place in load_values(call.connection, call.project.pid, records)}
    for record in touched.keys() - remaining:
        for table in ("record_dag", "participant"):
            call.connection.execute(
                f"DELETE FROM {table} WHERE pid = ? AND record = ?",  # noqa: S608 — names above
                (call.project.pid, record),
            )
    return Count(len(touched))


def rename_record(call: Call) -> Count:
    """`action=rename`."""
    call.user.require("record_rename")
    old, new = call.parameters.text("record"), call.parameters.text("new_record_name").strip()
    names = record_names(call.connection, call.project.pid)
    if old not in groups.visible(call, names):
        raise ApiError(400, f'The record "{old}" does not exist')
    if not new or new in names:
        raise ApiError(400, f'The record cannot be renamed to "{new}"')
    pid, name = call.project.pid, call.project.record_id_field
    moved = load_values(call.connection, pid, [old])
    erase_places(call.connection, pid, moved)
    renamed = {
        place._replace(record=new): {**values, name: new} if name in values else values
        for place, values in moved.items()
    }
    store_rows(call.connection, pid, renamed)
    for table in ("record_dag", "participant"):
        call.connection.execute(
            f"UPDATE {table} SET record = ? WHERE pid = ? AND record = ?",  # noqa: S608 — names above
            (new, pid, old),
        )
    journal.record_changes(call, "record_edit", [(new, f"{name} = '{new}'")])
    return Count(1)


def generate_next_record_name(call: Call) -> Text:
    """`content=generateNextRecordName`."""
    call.user.require("api_export")
    prefix, number = next_record_name(call.connection, call.project.pid, call.user.group_id)
    return Text(f"{prefix}{number}")


def _chosen_events(call: Call) -> set[int]:
    events = call.project.events
    if call.parameters.text("arm"):
        events = {key: one for key, one in events.items() if str(one.arm_num) == call.parameters.text("arm")}
    if call.parameters.text("event") and call.project.longitudinal:
        events = {key: one for key, one in events.items() if one.unique_name == call.parameters.text("event")}
    elif call.parameters.text("instrument") and call.project.longitudinal:
        raise ApiError(400, 'The parameter "event" is required with "instrument" in a longitudinal project')
    if not events:
        raise ApiError(400, 'The value of the parameter "event" or "arm" is not valid')
    return set(events)


def _instance(call: Call) -> int | None:
    text = call.parameters.text("repeat_instance")
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise ApiError(400, 'The value of the parameter "repeat_instance" is not valid')
    return int(text)


def _erase_form(call: Call, places: list[Place], form: str, values: dict[Place, dict[str, str]]) -> None:
    own = {name for name, column in call.project.columns.items() if column.field.form == form}
    own.discard(call.project.record_id_field)
    remaining = {
        place: {} if place.form else {name: value for name, value in values[place].items() if name not in own}
        for place in places
    }
    store_rows(call.connection, call.project.pid, remaining)
