"""Calls about when instruments are filled in: arms, events, designations and what repeats."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fiona_dagster.embedded.redcap import journal
from fiona_dagster.embedded.redcap.calls import Call, known
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Count, Table


def export_arms(call: Call) -> Table:
    """`content=arm`; an arm without events is not shown."""
    call.user.require("api_export")
    call.require_longitudinal("export arms")
    used = {event.arm_num for event in call.project.events.values()}
    wanted = _arm_numbers(call)
    rows = [
        {"arm_num": number, "name": name}
        for number, name in call.project.arms.items()
        if number in used and (wanted is None or number in wanted)
    ]
    return Table(("arm_num", "name"), rows, root="arms")


def import_arms(call: Call) -> Count:
    """`content=arm&action=import`; `override` deletes arms, events and designations first."""
    call.user.require("api_import", "design")
    call.require_longitudinal("import arms")
    rows = call.rows() or []
    if any(not row.get("arm_num", "").isdigit() or not row.get("name", "").strip() for row in rows):
        raise ApiError(
            400, "The data being imported is not formatted correctly: an arm needs arm_num and name"
        )
    pid, connection = call.project.pid, call.connection
    if call.parameters.flag("override"):
        call.require_development()
        for table in ("designation", "repeating", "event", "arm"):
            connection.execute(f"DELETE FROM {table} WHERE pid = ?", (pid,))  # noqa: S608 — names above
    connection.executemany(
        "INSERT OR REPLACE INTO arm (pid, arm_num, name) VALUES (?, ?, ?)",
        ((pid, int(row["arm_num"]), row["name"].strip()) for row in rows),
    )
    journal.design_change(connection, pid, call.now, call.user.username, "Import arms")
    return Count(len(rows))


def delete_arms(call: Call) -> Count:
    """`content=arm&action=delete`, with their events and data."""
    call.user.require("api_import", "design")
    call.require_longitudinal("delete arms")
    call.require_development()
    wanted = _arm_numbers(call) or []
    if not wanted or any(number not in call.project.arms for number in wanted):
        raise ApiError(400, 'The value of the parameter "arms" is not valid')
    _delete_events(call, [event.id for event in call.project.events.values() if event.arm_num in wanted])
    call.connection.executemany(
        "DELETE FROM arm WHERE pid = ? AND arm_num = ?", ((call.project.pid, number) for number in wanted)
    )
    return Count(len(wanted))


def export_events(call: Call) -> Table:
    """`content=event`."""
    call.user.require("api_export")
    call.require_longitudinal("export events")
    wanted = _arm_numbers(call)
    rows = [
        {
            "event_name": event.name, "arm_num": event.arm_num, "unique_event_name": event.unique_name,
            "custom_event_label": event.custom_label, "event_id": event.id,
        }
        for event in call.project.events.values()
        if wanted is None or event.arm_num in wanted
    ]  # fmt: skip
    columns = ("event_name", "arm_num", "unique_event_name", "custom_event_label", "event_id")
    return Table(columns, rows, root="events")


def import_events(call: Call) -> Count:
    """`content=event&action=import`: new events, or new names for the unique names given."""
    call.user.require("api_import", "design")
    call.require_longitudinal("import events")
    rows, pid = call.rows() or [], call.project.pid
    if any(not row.get("event_name", "").strip() or not row.get("arm_num", "1").isdigit() for row in rows):
        raise ApiError(
            400, "The data being imported is not formatted correctly: an event needs event_name and arm_num"
        )
    if call.parameters.flag("override"):
        call.require_development()
        _delete_events(call, list(call.project.events))
    taken = set() if call.parameters.flag("override") else set(call.project.event_by_name)
    for row in rows:
        arm, name = int(row.get("arm_num") or 1), row["event_name"].strip()
        unique = row.get("unique_event_name") or _free(unique_event_name(name, arm), taken)
        taken.add(unique)
        call.connection.execute("INSERT OR IGNORE INTO arm VALUES (?, ?, ?)", (pid, arm, f"Arm {arm}"))
        call.connection.execute(
            "INSERT INTO event (pid, arm_num, name, unique_name, custom_label) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (pid, unique_name) DO UPDATE SET name = excluded.name, custom_label = excluded.custom_label",
            (pid, arm, name, unique, row.get("custom_event_label", "")),
        )
    journal.design_change(call.connection, pid, call.now, call.user.username, "Import events")
    return Count(len(rows))


def delete_events(call: Call) -> Count:
    """`content=event&action=delete`, with the data of these events."""
    call.user.require("api_import", "design")
    call.require_longitudinal("delete events")
    call.require_development()
    names = known("events", call.parameters.array("events"), set(call.project.event_by_name)) or []
    _delete_events(call, [call.project.event_by_name[name].id for name in names])
    return Count(len(names))


def export_mapping(call: Call) -> Table:
    """`content=formEventMapping`."""
    call.user.require("api_export")
    call.require_longitudinal("export form/event mappings")
    wanted = _arm_numbers(call)
    rows = [
        {"arm_num": event.arm_num, "unique_event_name": event.unique_name, "form": form}
        for event in call.project.events.values()
        for form in call.project.forms
        if form in event.forms and (wanted is None or event.arm_num in wanted)
    ]
    return Table(("arm_num", "unique_event_name", "form"), rows, root="items")


def import_mapping(call: Call) -> Count:
    """Replace all designations of all arms."""
    call.user.require("api_import", "design")
    call.require_longitudinal("import form/event mappings")
    call.require_development()
    rows = call.rows() or []
    events, pid = call.project.event_by_name, call.project.pid
    if any(
        row.get("unique_event_name") not in events or row.get("form") not in call.project.forms
        for row in rows
    ):
        raise ApiError(400, "The data being imported names an event or instrument that does not exist")
    call.connection.execute("DELETE FROM designation WHERE pid = ?", (pid,))
    call.connection.executemany(
        "INSERT OR IGNORE INTO designation VALUES (?, ?, ?)",
        ((pid, events[row["unique_event_name"]].id, row["form"]) for row in rows),
    )
    journal.design_change(
        call.connection, pid, call.now, call.user.username, "Designate instruments for events"
    )
    return Count(len(rows))


def export_repeating(call: Call) -> Table:
    """`content=repeatingFormsEvents`; an empty list where nothing repeats."""
    call.user.require("api_export", "design")
    project = call.project
    rows = [
        {"event_name": project.events[event_id].unique_name, "form_name": form, "custom_form_label": label}
        for (event_id, form), label in sorted(
            project.repeating.items(), key=lambda item: (item[0][0], [*project.forms, ""].index(item[0][1]))
        )
    ]
    columns = ("event_name", "form_name", "custom_form_label")
    return Table(columns if project.longitudinal else columns[1:], rows, root="items")


def import_repeating(call: Call) -> Count:
    """Replace what repeats; an event row with an empty form_name makes the whole event repeat."""
    call.user.require("api_import", "design")
    call.require_development()
    project, rows = call.project, call.rows() or []
    entries: list[tuple[int, int, str, str]] = []
    for row in rows:
        form = row.get("form_name", "").strip()
        event = (
            project.event_by_name.get(row.get("event_name", ""))
            if project.longitudinal
            else project.events[0]
        )
        if event is None or (form and form not in event.forms) or (not form and not project.longitudinal):
            raise ApiError(400, "The data being imported names an event or instrument that does not exist")
        entries.append((project.pid, event.id, form, row.get("custom_form_label", "")))
    call.connection.execute("DELETE FROM repeating WHERE pid = ?", (project.pid,))
    call.connection.executemany("INSERT OR REPLACE INTO repeating VALUES (?, ?, ?, ?)", entries)
    journal.design_change(
        call.connection, project.pid, call.now, call.user.username, "Set up repeating instruments/events"
    )
    return Count(len(rows))


def unique_event_name(name: str, arm: int) -> str:
    """Lower case, blanks as underscores, 18 characters, no trailing underscore, then the arm."""
    kept = re.sub(r"[^a-z0-9_]", "", name.lower().replace(" ", "_"))[:18].rstrip("_")
    return f"{kept}_arm_{arm}"


def _free(unique: str, taken: set[str]) -> str:
    """`unique`, or with a letter behind it where an event has this name already."""
    for letter in ("", *"bcdefghijklmnopqrstuvwxyz"):
        if unique + letter not in taken:
            return unique + letter
    raise ApiError(400, "There are too many events of the same name")


def _arm_numbers(call: Call) -> list[int] | None:
    texts = call.parameters.array("arms")
    if texts is None:
        return None
    if any(not text.isdigit() for text in texts):
        raise ApiError(400, 'The value of the parameter "arms" is not valid')
    return [int(text) for text in texts]


def _delete_events(call: Call, event_ids: Sequence[int]) -> None:
    for table in ("place", "designation", "repeating", "event"):
        call.connection.executemany(
            f"DELETE FROM {table} WHERE pid = ? AND event_id = ?",  # noqa: S608 — names above
            ((call.project.pid, event_id) for event_id in event_ids),
        )
