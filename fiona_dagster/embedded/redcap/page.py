"""The read-only page at `/`: projects, and the records of one, for people who want to see what was written.

It has no login and is therefore served on the loopback interface only.
"""

from __future__ import annotations

from html import escape

from fiona_dagster.embedded.redcap.database import Database
from fiona_dagster.embedded.redcap.layout import link, page, project_path, record_path, table, tag
from fiona_dagster.embedded.redcap.model import Column, ProjectModel, load_model
from fiona_dagster.embedded.redcap.values import Place, Values, load_values, record_names, record_order

PAGE_SIZE = 100


def index_page(database: Database) -> str:
    """All projects with the number of their records."""
    with database.transaction(write=False) as connection:
        projects = connection.execute(
            "SELECT p.pid, p.title, p.in_production, count(DISTINCT v.record) AS records, "
            "(SELECT max(at) FROM log WHERE log.pid = p.pid) AS changed "
            "FROM project p LEFT JOIN place v ON v.pid = p.pid GROUP BY p.pid ORDER BY p.pid"
        ).fetchall()
    rows = [
        (
            link(project_path(one["pid"]), one["title"]),
            str(one["pid"]),
            "Production" if one["in_production"] else "Development",
            str(one["records"]),
            escape(one["changed"] or ""),
        )
        for one in projects
    ]
    headings = ("Project", "project_id", "Status", "Records", "Last change")
    body = table(headings, rows) if rows else "<p>There is no project yet.</p>"
    return page("Embedded REDCap", f'<p class="note">Read-only. The API is at <code>/api/</code>.</p>{body}')


def project_page(database: Database, pid: int, start: int) -> str | None:
    """Records of a project, `PAGE_SIZE` at a time from number `start`; None where there is no such project."""
    with database.transaction(write=False) as connection:
        if connection.execute("SELECT 1 FROM project WHERE pid = ?", (pid,)).fetchone() is None:
            return None
        model = load_model(connection, pid)
        names = record_names(connection, pid)
        shown = names[start : start + PAGE_SIZE]
        values = load_values(connection, pid, shown)
    tags = [f"{len(names)} records", "Production" if model.in_production else "Development"]
    tags += ["longitudinal"] if model.longitudinal else []
    parts = [f"<p>{' '.join(map(tag, tags))}</p>"]
    if len(names) > len(shown):
        parts.append(f'<p class="note">Records {start + 1} to {start + len(shown)}</p>')
    for form, label in model.forms.items():
        repeats = tag("repeats") if any(one == form for _, one in model.repeating) else ""
        parts.append(f"<h2>{escape(label)} {repeats}</h2>{_form_table(model, values, form)}")
    for position, text in ((start - PAGE_SIZE, "Previous"), (start + PAGE_SIZE, "Next")):
        if 0 <= position < len(names):
            parts.append(f"<p>{link(f'{project_path(pid)}?start={position}', text)}</p>")
    return page(model.title, "".join(parts), [link("/", "All projects")])


def shown_value(column: Column, stored: str) -> str:
    """A value as people read it: labels instead of codes."""
    if column.code:
        return "Checked" if stored == "1" else stored
    return column.field.choices.get(stored, stored)


def _form_table(model: ProjectModel, values: Values, form: str) -> str:
    columns = [
        column
        for column in model.columns.values()
        if column.field.form == form and column.name != model.record_id_field
    ]
    used = [column for column in columns if any(column.name in stored for stored in values.values())]
    rows = []
    for place in sorted(values, key=_by_record):
        stored = values[place]
        if not any(column.name in stored for column in used):
            continue
        where = [escape(model.events[place.event_id].name)] if model.longitudinal else []
        where.append(str(place.instance or ""))
        cells = [escape(shown_value(column, stored.get(column.name, ""))) for column in used]
        rows.append([link(record_path(model.pid, place.record), place.record), *where, *cells])
    if not rows:
        return '<p class="note">Nothing yet.</p>'
    place_names = [model.record_id_field, *(["Event"] if model.longitudinal else []), "Instance"]
    return table([*place_names, *(column.name for column in used)], rows)


def _by_record(place: Place) -> tuple[tuple[int, int, str], int, str, int]:
    return (record_order(place.record), place.event_id, place.form, place.instance)
