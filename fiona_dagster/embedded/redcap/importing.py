"""`content=record&action=import`: every row is judged before anything is stored, and one bad row refuses all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fiona_dagster.embedded.redcap import groups, journal
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.exporting import IDENTIFIER
from fiona_dagster.embedded.redcap.model import ProjectModel
from fiona_dagster.embedded.redcap.odm_reading import read_odm
from fiona_dagster.embedded.redcap.placing import EVENT, INSTANCE, INSTRUMENT, NEW, PlacedRow, Placing
from fiona_dagster.embedded.redcap.problems import ApiError, refuse_rows, row_problem
from fiona_dagster.embedded.redcap.replies import MEDIA_TYPES, Count, Names, Reply, Text
from fiona_dagster.embedded.redcap.surveys import survey_forms
from fiona_dagster.embedded.redcap.validation import Judge, judge_of, problem_text
from fiona_dagster.embedded.redcap.values import (
    Place,
    Values,
    load_values,
    next_record_name,
    store_rows,
)

_PSEUDO = (EVENT, INSTRUMENT, INSTANCE)
_NO_GROUP = "The value must be the unique group name of a Data Access Group of this project"
_NOT_YOUR_GROUP = "You are in a Data Access Group and cannot assign records to another one"
_NOT_YOUR_RECORD = "This record exists already and does not belong to your Data Access Group"


@dataclass
class _Changes:
    places: set[Place] = field(default_factory=set)
    details: dict[str, list[str]] = field(default_factory=dict)


def import_records(call: Call) -> Reply:
    """Store rows; counts records, not rows (redcap-contract 1.3)."""
    call.user.require("api_import")
    parameters = call.parameters
    overwrite = parameters.choice("overwriteBehavior", ("normal", "overwrite"), "normal") == "overwrite"
    returned = parameters.choice("returnContent", ("count", "ids", "auto_ids", "nothing"), "count")
    date_format = parameters.choice("dateFormat", ("YMD", "MDY", "DMY"), "YMD")
    rows = read_odm(parameters.text("data")).rows if parameters.format == "odm" else call.rows()
    if rows is None:
        return Count(0, named=True)
    if parameters.choice("type", ("flat", "eav"), "flat") == "eav":
        rows = _flat(call, rows)
    _refuse_unknown_fields(call, rows)
    renamed = _auto_numbered(call, rows) if parameters.flag("forceAutoNumber") else {}
    placed: list[PlacedRow] = []
    problems: list[str] = []
    placing, judges = Placing(call.project), _Judges(call.project, date_format)
    for row in rows:
        one = placing.place(row, problems)
        if one is not None:
            judges.judge(one, problems)
            placed.append(one)
    chosen = _chosen_groups(call, rows, problems, overwrite=overwrite)
    _refuse_records_of_others(call, placed, problems)
    refuse_rows(problems)
    records = _store(call, placed, overwrite=overwrite)
    groups.place_records(call, chosen.items())
    if parameters.flag(
        "backgroundProcess"
    ):  # carried out before the answer, which is what a caller sees last
        done = {"json": '{"success":true}', "xml": "<success>true</success>"}
        return Text(done.get(parameters.return_format, "true"), MEDIA_TYPES[parameters.return_format])
    return _answer(returned, records, renamed)


def _chosen_groups(
    call: Call, rows: Sequence[dict[str, str]], problems: list[str], *, overwrite: bool
) -> dict[str, str]:
    """Data access group by record: what the rows say, else for new records that of the user."""
    name = call.project.record_id_field
    if call.user.group_id is not None:
        for row in rows:
            if row.get(groups.GROUP, call.user.group) not in {"", call.user.group}:
                problems.append(
                    row_problem(row.get(name, ""), groups.GROUP, row[groups.GROUP], _NOT_YOUR_GROUP)
                )
        return {row.get(name, "").strip(): call.user.group for row in rows}
    known_groups = groups.group_ids(call)
    chosen: dict[str, str] = {}
    for row in rows:
        given = row.get(groups.GROUP, "").strip()
        if given and given not in known_groups:
            problems.append(row_problem(row.get(name, ""), groups.GROUP, given, _NO_GROUP))
        elif given or (overwrite and groups.GROUP in row):
            chosen[row.get(name, "").strip()] = given
    return chosen


def _refuse_records_of_others(call: Call, rows: Sequence[PlacedRow], problems: list[str]) -> None:
    if call.user.group_id is None:
        return
    records = list(dict.fromkeys(row.record for row in rows))
    existing = {place.record for place in load_values(call.connection, call.project.pid, records)}
    for record in sorted(existing - set(groups.visible(call, records))):
        problems.append(row_problem(record, call.project.record_id_field, record, _NOT_YOUR_RECORD))


def _answer(returned: str, records: Sequence[str], renamed: dict[str, str]) -> Reply:
    if returned == "nothing":
        return Text("")
    if returned == "ids":
        return Names(records)
    if returned == "auto_ids" and renamed:
        return Names([f"{new},{old}" for old, new in renamed.items()])
    return (
        Names([f"{one},{one}" for one in records])
        if returned == "auto_ids"
        else Count(len(records), named=True)
    )


def _flat(call: Call, rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """EAV rows (`record, [redcap_event_name], [repeat columns], field_name, value`) as flat ones."""
    merged: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        if "record" not in row or "field_name" not in row:
            raise ApiError(
                400,
                "The data being imported is not formatted correctly: EAV needs record, field_name and value",
            )
        if row.get(INSTANCE, "").strip().lower() == NEW:
            raise ApiError(400, f"The value '{NEW}' of {INSTANCE} cannot be used with type eav")
        place = tuple(row.get(name, "") for name in ("record", *_PSEUDO))
        flat = merged.setdefault(
            place,
            {
                call.project.record_id_field: row["record"],
                **{name: row[name] for name in _PSEUDO if name in row},
            },
        )
        name, value = row["field_name"], row.get("value", "")
        definition = call.project.fields.get(name)
        if definition is not None and definition.type == "checkbox":
            columns = dict(zip(definition.choices, definition.columns, strict=True))
            if value not in columns:
                raise ApiError(
                    400,
                    row_problem(row["record"], name, value, f"The value is not a valid category for {name}"),
                )
            name, value = columns[value], "1"
        if name != call.project.record_id_field:
            flat[name] = value
    return list(merged.values())


def _refuse_unknown_fields(call: Call, rows: Sequence[dict[str, str]]) -> None:
    columns = call.project.columns
    allowed = {INSTRUMENT, INSTANCE} | ({EVENT} if call.project.longitudinal else set())
    if groups.all_groups(call.connection, call.project.pid):
        allowed.add(groups.GROUP)
    surveys = survey_forms(call.connection, call.project.pid)
    if surveys:  # read-only columns of an export, passed over
        allowed |= {IDENTIFIER, *(f"{one['form']}_timestamp" for one in surveys)}
    names = dict.fromkeys(name for row in rows for name in row)
    unknown = [
        name
        for name in names
        if name not in columns and name not in allowed and not _is_description(call, name)
    ]
    if unknown:
        raise ApiError(
            400,
            f"The following fields were not found in the project as real data fields: {', '.join(unknown)}",
        )


def _is_description(call: Call, name: str) -> bool:
    found = call.project.fields.get(name)
    return found is not None and found.type == "descriptive"


def _auto_numbered(call: Call, rows: Sequence[dict[str, str]]) -> dict[str, str]:
    """New record names for the given ones, which only say what belongs together."""
    name = call.project.record_id_field
    prefix, upcoming = next_record_name(call.connection, call.project.pid, call.user.group_id)
    renamed: dict[str, str] = {}
    for row in rows:
        given = row.get(name, "")
        if given not in renamed:
            renamed[given] = f"{prefix}{upcoming + len(renamed)}"
        row[name] = renamed[given]
    return renamed


class _Judges:
    """Judge the values of one import."""

    def __init__(self, project: ProjectModel, date_format: str) -> None:
        self._project, self._date_format = project, date_format
        self._judges: dict[str, Judge | None] = {}

    def judge(self, row: PlacedRow, problems: list[str]) -> None:
        """Turn the row's values into their stored form, or add to `problems` why not."""
        missing = self._project.missing_data_codes
        for name, value in row.values.items():
            judge = self._judge_of(name)
            if judge is None or not value or value in missing:
                continue
            stored = judge(value)
            if stored is None:
                reason = problem_text(self._project.columns[name])
                problems.append(row_problem(row.record, name, value, reason))
            else:
                row.values[name] = stored

    def _judge_of(self, name: str) -> Judge | None:
        if name not in self._judges:
            self._judges[name] = judge_of(self._project.columns[name], self._date_format)
        return self._judges[name]


def _store(call: Call, rows: Sequence[PlacedRow], *, overwrite: bool) -> list[str]:
    """Write what differs; returns the records of the request in its order."""
    records = list(dict.fromkeys(row.record for row in rows))
    values = load_values(call.connection, call.project.pid, records)
    existing = {place.record for place in values}
    if any(record not in existing for record in records):
        call.user.require("record_create")
    highest: dict[tuple[str, int, str], int] = {}
    for place in values:
        key = (place.record, place.event_id, place.form)
        highest[key] = max(highest.get(key, 0), place.instance)
    changes = _Changes()
    for row in rows:
        key = (row.record, row.event_id, row.form)
        instance = highest.get(key, 0) + 1 if row.instance is None else row.instance
        highest[key] = max(highest.get(key, 0), instance)
        place = Place(*key, instance)
        _keep_record_id(call, place, values, changes)
        _compare(call, place, row, values, changes, overwrite=overwrite)
    store_rows(call.connection, call.project.pid, {place: values[place] for place in changes.places})
    created = {
        record: ", ".join(lines) for record, lines in changes.details.items() if record not in existing
    }
    updated = {record: ", ".join(lines) for record, lines in changes.details.items() if record in existing}
    journal.record_changes(call, "record_add", created.items())
    journal.record_changes(call, "record_edit", updated.items())
    return records


def _keep_record_id(call: Call, place: Place, values: Values, changes: _Changes) -> None:
    """The record id stands on the base row of its event, which thereby exists."""
    base = place if not place.form else Place(place.record, place.event_id, "", 0)
    name = call.project.record_id_field
    if values.setdefault(base, {}).get(name) != place.record:
        values[base][name] = place.record
        changes.places.add(base)
        changes.details.setdefault(place.record, []).append(f"{name} = '{place.record}'")


def _compare(
    call: Call, place: Place, row: PlacedRow, values: Values, changes: _Changes, *, overwrite: bool
) -> None:
    stored = values.setdefault(place, {})
    lines = []
    for name, value in row.values.items():
        if not value and not overwrite:
            continue
        if not value or (value == "0" and call.project.columns[name].field.type == "checkbox"):
            if stored.pop(name, None) is None:
                continue
        elif stored.get(name) == value:
            continue
        else:
            stored[name] = value
        lines.append(f"{name} = '{value}'")
    if lines:
        changes.places.add(place)
        prefix = [f"[instance = {place.instance}]"] if place.instance else []
        changes.details.setdefault(place.record, []).extend(prefix + lines)
