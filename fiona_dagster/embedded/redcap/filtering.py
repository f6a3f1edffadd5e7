"""filterLogic of an export: which rows a condition chooses."""

from __future__ import annotations

from collections.abc import Callable

from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.logic import Expression, LogicError, parse
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.values import Place, Values


def condition(call: Call, text: str, values: Values) -> Callable[[Place], bool]:
    """A test of rows. A field of the row's own instrument is read there, others on the base row."""
    project = call.project
    try:
        expression: Expression = parse(text)
    except LogicError as error:
        raise ApiError(400, f"The filterLogic cannot be understood: {error}") from None
    codes = frozenset(project.missing_data_codes)
    unknown = [
        name for name in expression.fields if name not in project.fields and name not in project.columns
    ]
    if unknown:
        raise ApiError(400, f"The filterLogic names fields that do not exist: {', '.join(unknown)}")

    def value_at(place: Place, event: str, name: str, code: str, instance: str) -> str:
        field = project.fields.get(name) or project.columns[name].field
        column = field.columns[list(field.choices).index(code)] if code in field.choices and code else name
        event_id = project.event_by_name[event].id if event in project.event_by_name else place.event_id
        if (event_id, field.form) not in project.repeating:
            target = Place(place.record, event_id, "", 0 if place.form else place.instance)
        elif instance.isdigit():
            target = Place(place.record, event_id, field.form, int(instance))
        else:
            target = place if place.form == field.form else Place(place.record, event_id, field.form, 0)
        found = values.get(target, {}).get(column, "")
        return found or ("0" if field.type == "checkbox" else "")

    def holds(place: Place) -> bool:
        try:
            return expression.holds(lambda *names: value_at(place, *names), call.now, codes)
        except LogicError as error:
            raise ApiError(400, f"The filterLogic cannot be evaluated: {error}") from None

    return holds
