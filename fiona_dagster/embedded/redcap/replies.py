"""What calls answer, as types, and how each looks in JSON, CSV and XML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

_XML = '<?xml version="1.0" encoding="UTF-8" ?>'
MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xml": "text/xml; charset=utf-8",
}


@dataclass(frozen=True)
class Table:
    """Rows of an export. `headings` replaces column names in CSV only."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    root: str = "records"
    headings: Sequence[str] | None = None
    sparse: bool = False
    """Whether JSON leaves out columns that a row does not have."""


@dataclass(frozen=True)
class One:
    """A single object, which JSON shows without a list."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Count:
    """A number; `named` puts it into `{"count": n}` as a record import does."""

    number: int
    named: bool = False


@dataclass(frozen=True)
class Names:
    """The record names of an import."""

    names: Sequence[str]


@dataclass(frozen=True)
class Text:
    """Bare text whatever the format."""

    text: str
    media_type: str = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Document:
    """A file. REDCap tells its name in the content type, which clients parse."""

    content: bytes
    name: str
    media_type: str

    @property
    def content_type(self) -> str:
        """`text/plain; name="a.txt";charset=UTF-8`; a name outside of latin-1 is shown with question marks."""
        shown = self.name.replace('"', "").encode("latin-1", "replace").decode("latin-1")
        return f'{self.media_type}; name="{shown}";charset=UTF-8'


_Structured = Table | One | Count | Names
Reply = _Structured | Text | Document


def render(reply: Reply, form: str, delimiter: str = ",") -> tuple[str | bytes, str]:
    """The body and media type of `reply` in `json`, `csv` or `xml`."""
    if isinstance(reply, Text):
        return reply.text, reply.media_type
    if isinstance(reply, Document):
        return reply.content, reply.content_type
    body = {"json": _json, "csv": lambda one: _csv(one, delimiter), "xml": _xml}[form](reply)
    return body, MEDIA_TYPES[form]


def render_error(message: str, form: str) -> tuple[str, str]:
    """The error body as REDCap's clients know it."""
    bodies = {
        "json": json.dumps({"error": message}, ensure_ascii=False, separators=(",", ":")),
        "csv": f"ERROR: {message}",
        "xml": f"{_XML}<hash><error>{escape(message)}</error></hash>",
    }
    return bodies[form], MEDIA_TYPES[form]


def _json(reply: _Structured) -> str:
    value: Any
    match reply:
        case Table():
            value = (
                [dict(row) for row in reply.rows]
                if reply.sparse
                else [{name: row.get(name, "") for name in reply.columns} for row in reply.rows]
            )
        case One():
            value = dict(reply.values)
        case Count():
            value = {"count": reply.number} if reply.named else reply.number
        case Names():
            value = list(reply.names)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _csv(reply: _Structured, delimiter: str) -> str:
    match reply:
        case Table():
            lines = [list(reply.headings or reply.columns)]
            lines += [[_csv_value(row.get(name, "")) for name in reply.columns] for row in reply.rows]
        case One():
            lines = [list(reply.values), [str(value) for value in reply.values.values()]]
        case Names():
            lines = [["id"], *([name] for name in reply.names)]
        case Count():
            return str(reply.number)
    return "".join(delimiter.join(_csv_cell(cell, delimiter) for cell in line) + "\n" for line in lines)


def _csv_value(value: Any) -> str:
    """Rights by instrument are one cell: `form_1:1,form_2:0`."""
    return ",".join(f"{key}:{one}" for key, one in value.items()) if isinstance(value, dict) else str(value)


def _csv_cell(value: str, delimiter: str) -> str:
    """Quoted when it holds the delimiter, a quote, a backslash or white space (redcap-contract 1.1)."""
    if delimiter in value or any(character in value for character in '"\\ \t\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def _xml(reply: _Structured) -> str:
    match reply:
        case Table():
            items = (
                "<item>" + _xml_cells((name, row.get(name, "")) for name in reply.columns) + "</item>"
                for row in reply.rows
            )
            return f"{_XML}<{reply.root}>{''.join(items)}</{reply.root}>"
        case One():
            return f"{_XML}<items>{_xml_cells(reply.values.items())}</items>"
        case Count():
            return f"{_XML}<count>{reply.number}</count>" if reply.named else str(reply.number)
        case Names():
            return f"{_XML}<ids>{''.join(f'<id>{escape(name)}</id>' for name in reply.names)}</ids>"


def _xml_cells(cells: Iterable[tuple[str, Any]]) -> str:
    return "".join(
        f"<{name}>{_xml_cells(value.items()) if isinstance(value, dict) else escape(str(value))}</{name}>"
        for name, value in cells
    )
