"""`content=pdf`: instruments as a plain list of fields, blank or with a record's values."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence

from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from fiona_dagster.embedded.redcap import groups
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.replies import Document
from fiona_dagster.embedded.redcap.values import Place, Values, load_values, record_names, record_order

_WIDTH, _HEIGHT, _MARGIN, _SIZE, _LEADING = 595, 842, 50, 10, 14
_LINES = (_HEIGHT - 2 * _MARGIN) // _LEADING
_LONGEST = 95
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9]+")


def export_pdf(call: Call) -> Document:
    """All instruments or one, blank, of one record (`record`) or of all (`allRecords`)."""
    call.user.require("api_export")
    parameters, project = call.parameters, call.project
    form = parameters.text("instrument")
    if form and form not in project.forms:
        raise ApiError(400, 'The value of the parameter "instrument" is not valid')
    if parameters.flag("allRecords"):
        records, form = groups.visible(call, record_names(call.connection, project.pid)), ""
    else:
        records = [parameters.text("record")] if parameters.text("record") else []
    values = load_values(call.connection, project.pid, records) if records else {}
    if records and not groups.visible(call, records):
        raise ApiError(400, f'The record "{records[0]}" does not exist')
    if len(records) == 1 and not values:
        raise ApiError(400, f'The record "{records[0]}" does not exist')
    places = _places(call, values) if records else [Place("", next(iter(project.events), 0), "", 0)]
    lines = [project.title, ""]
    for place in places:
        lines += _lines(call, place, values, [form] if form else list(project.forms))
    title = _NOT_IN_NAMES.sub("", project.title)[:20] or "project"
    return Document(_pdf(lines), f"{title}.pdf", "application/pdf")


def _places(call: Call, values: Values) -> list[Place]:
    wanted, instance = call.parameters.text("event"), call.parameters.number("repeat_instance")
    event = call.event_named(wanted).id if wanted else None
    return sorted(
        (
            place
            for place in values
            if event in {None, place.event_id} and (instance is None or place.instance in {0, instance})
        ),
        key=lambda place: (record_order(place.record), place.event_id, place.form, place.instance),
    )


def _lines(call: Call, place: Place, values: Values, forms: Sequence[str]) -> Iterator[str]:
    """Headings and fields of one row of the record; fields that the user may not export are missing here too."""
    event = call.project.events.get(place.event_id)
    applicable = {place.form} if place.form else (call.project.base_forms(event) if event else set(forms))
    stored = values.get(place, {})
    for form in (one for one in forms if one in applicable):
        instance = f" ({place.instance})" if place.instance else ""
        where = f"{event.name}: " if event and call.project.longitudinal else ""
        yield f"{where}{call.project.forms[form]}{instance}"
        for column in call.project.columns.values():
            if column.field.form != form or not call.user.sees(column.field):
                continue
            value = stored.get(column.name, "")
            shown = (
                column.field.choices.get(value, value) if not column.code else ("x" if value == "1" else "")
            )
            label = column.field.choices[column.code] if column.code else column.field.label
            yield f"    {label}: {shown}"
        yield ""


def _pdf(lines: Sequence[str]) -> bytes:
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
            NameObject("/Encoding"): NameObject("/WinAnsiEncoding"),
        }
    )
    for start in range(0, len(lines), _LINES):
        page = writer.add_blank_page(_WIDTH, _HEIGHT)
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        stream.set_data(_drawing(lines[start : start + _LINES]))
        page[NameObject("/Contents")] = stream
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def _drawing(lines: Sequence[str]) -> bytes:
    """PDF operators that set the lines one below the other."""
    parts = [f"BT /F1 {_SIZE} Tf {_LEADING} TL {_MARGIN} {_HEIGHT - _MARGIN} Td".encode()]
    for line in lines:
        text = line.replace("\r", " ").replace("\n", " ")[:_LONGEST].encode("cp1252", "replace")
        escaped = re.sub(rb"([()\\])", rb"\\\1", text)
        parts.append(b"(" + escaped + b") Tj T*")
    return b"\n".join([*parts, b"ET"])
