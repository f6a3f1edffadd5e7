"""The read-only page at `/`: projects, and the records of one, for people who want to see what was written.

It has no login and is therefore served on the loopback interface only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from html import escape

from fiona_dagster.embedded.redcap.database import Database
from fiona_dagster.embedded.redcap.model import ProjectModel, load_model
from fiona_dagster.embedded.redcap.values import Place, Values, load_values, record_names, record_order

PAGE_SIZE = 100
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:96rem;padding:0 1rem;color:#1d2730}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}a{color:#0b5c8a}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin:.5rem 0}
th,td{border:1px solid #c9d3da;padding:.25rem .6rem;text-align:left;vertical-align:top;max-width:28rem;
overflow-wrap:anywhere}th{background:#eef3f6;font-weight:600}p.note{color:#56646f}
@media (prefers-color-scheme:dark){body{background:#151a1e;color:#dfe6ea}th{background:#232b31}
th,td{border-color:#3c4851}a{color:#7cc4ee}p.note{color:#9fb0bb}}
"""


def index_page(database: Database) -> str:
    """All projects with the number of their records."""
    with database.transaction(write=False) as connection:
        projects = connection.execute(
            "SELECT p.pid, p.title, p.in_production, count(DISTINCT v.record) AS records "
            "FROM project p LEFT JOIN value v ON v.pid = p.pid GROUP BY p.pid ORDER BY p.pid"
        ).fetchall()
    rows = [
        (
            _link(f"/project/{one['pid']}", one["title"]),
            str(one["pid"]),
            "Production" if one["in_production"] else "Development",
            str(one["records"]),
        )
        for one in projects
    ]
    body = (
        _table(("Project", "project_id", "Status", "Records"), rows)
        if rows
        else "<p>There is no project yet.</p>"
    )
    return _page("Embedded REDCap", f'<p class="note">The API is at <code>/api/</code>.</p>{body}')


def project_page(database: Database, pid: int, start: int) -> str | None:
    """Records of a project, `PAGE_SIZE` at a time from number `start`; None where there is no such project."""
    with database.transaction(write=False) as connection:
        if not _exists(connection, pid):
            return None
        model = load_model(connection, pid)
        names = record_names(connection, pid)
        values = load_values(connection, pid, names[start : start + PAGE_SIZE])
    parts = [f"<p>{_link('/', 'All projects')}</p>", f'<p class="note">{len(names)} records</p>']
    for form, label in model.forms.items():
        parts.append(f"<h2>{escape(label)}</h2>{_form_table(model, values, form)}")
    for position, text in ((start - PAGE_SIZE, "Previous"), (start + PAGE_SIZE, "Next")):
        if 0 <= position < len(names):
            parts.append(f"<p>{_link(f'/project/{pid}?start={position}', text)}</p>")
    return _page(model.title, "".join(parts))


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
        where = [place.record]
        if model.longitudinal:
            where.append(model.events[place.event_id].name)
        where.append(str(place.instance or ""))
        shown = [
            column.field.choices.get(stored.get(column.name, ""), stored.get(column.name, ""))
            for column in used
        ]
        rows.append([escape(text) for text in (*where, *shown)])
    if not rows:
        return '<p class="note">Nothing yet.</p>'
    place_names = [model.record_id_field, *(["Event"] if model.longitudinal else []), "Instance"]
    return _table([*place_names, *(column.name for column in used)], rows)


def _by_record(place: Place) -> tuple[tuple[int, int, str], int, str, int]:
    return (record_order(place.record), place.event_id, place.form, place.instance)


def _exists(connection: sqlite3.Connection, pid: int) -> bool:
    return connection.execute("SELECT 1 FROM project WHERE pid = ?", (pid,)).fetchone() is not None


def _link(target: str, text: str) -> str:
    return f'<a href="{escape(target)}">{escape(text)}</a>'


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells of `rows` are HTML already."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
