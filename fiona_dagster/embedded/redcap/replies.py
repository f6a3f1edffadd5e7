"""What calls answer, as types, and how each looks in JSON, CSV and XML."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET  # nosec: only documents without a DTD are read, see read_rows
from xml.sax.saxutils import escape

from fiona_dagster.embedded.redcap.problems import ApiError

_XML = '<?xml version="1.0" encoding="UTF-8" ?>'
MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xml": "text/xml; charset=utf-8",
    "text": "text/html; charset=utf-8",
}


@dataclass(frozen=True)
class Table:
    """Rows of an export. `headings` replaces column names in CSV only."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    root: str = "records"
    headings: Sequence[str] | None = None


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


Reply = Table | One | Count | Names | Text


def render(reply: Reply, form: str, delimiter: str = ",") -> tuple[str, str]:
    """The body and media type of `reply` in `json`, `csv` or `xml`."""
    if isinstance(reply, Text):
        return reply.text, MEDIA_TYPES["text"]
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


def read_rows(text: str, form: str, delimiter: str = ",") -> list[dict[str, str]] | None:
    """Rows of the parameter `data`; None for a lone JSON object, which REDCap counts as nothing.

    Raises:
        ApiError: the text is not what its format says.
    """
    try:
        if form == "json":
            return _rows_of_json(text)
        if form == "csv":
            reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")), delimiter=delimiter, strict=True)
            rows = [row for row in reader if any(v for v in row.values() if isinstance(v, str))]
            if any(None in row or None in row.values() for row in rows):
                raise ApiError(
                    400,
                    "The data being imported is not formatted correctly: a line has too many or too few columns",
                )
            return rows
        return _rows_of_xml(text)
    except (ValueError, csv.Error, ET.ParseError):
        raise ApiError(400, "The data being imported is not formatted correctly") from None


def _rows_of_json(text: str) -> list[dict[str, str]] | None:
    data = json.loads(text)
    if isinstance(data, dict):
        return None
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise ValueError
    return [{str(name): _plain(value) for name, value in row.items()} for row in data]


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (dict, list)):
        raise ValueError  # noqa: TRY004 — any malformed data is one error to the caller
    return str(value)


def _rows_of_xml(text: str) -> list[dict[str, str]]:
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ValueError
    root = ET.fromstring(text)  # noqa: S314 — no DTD, so no entities to expand
    return [{cell.tag: cell.text or "" for cell in item} for item in root]


def _json(reply: Reply) -> str:
    value: Any
    match reply:
        case Table():
            value = [{name: row.get(name, "") for name in reply.columns} for row in reply.rows]
        case One():
            value = dict(reply.values)
        case Count():
            value = {"count": reply.number} if reply.named else reply.number
        case Names():
            value = list(reply.names)
        case Text():
            value = reply.text
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _csv(reply: Reply, delimiter: str) -> str:
    match reply:
        case Table():
            lines = [list(reply.headings or reply.columns)]
            lines += [[str(row.get(name, "")) for name in reply.columns] for row in reply.rows]
        case One():
            lines = [list(reply.values), [str(value) for value in reply.values.values()]]
        case Names():
            lines = [["id"], *([name] for name in reply.names)]
        case Count():
            return str(reply.number)
        case Text():
            return reply.text
    return "".join(delimiter.join(_csv_cell(cell, delimiter) for cell in line) + "\n" for line in lines)


def _csv_cell(value: str, delimiter: str) -> str:
    """Quoted when it holds the delimiter, a quote, a backslash or white space (redcap-contract 1.1)."""
    if delimiter in value or any(character in value for character in '"\\ \t\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


def _xml(reply: Reply) -> str:
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
        case Text():
            return reply.text


def _xml_cells(cells: Iterable[tuple[str, Any]]) -> str:
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in cells)
