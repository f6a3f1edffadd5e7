"""The rows that a call brings in `data`: JSON, CSV or XML."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from fiona_dagster.embedded.redcap.problems import ApiError

_MALFORMED = "The data being imported is not formatted correctly"


def read_rows(text: str, form: str, delimiter: str = ",") -> list[dict[str, str]] | None:
    """Rows of flat values; None for a lone JSON object, which REDCap counts as nothing.

    Raises:
        ApiError: the text is not what its format says.
    """
    found = read_objects(text, form, delimiter)
    if found is None:
        return None
    if any(isinstance(value, dict) for row in found for value in row.values()):
        raise ApiError(400, _MALFORMED)
    return found


def read_objects(text: str, form: str, delimiter: str = ",") -> list[dict[str, Any]] | None:
    """As `read_rows`, but a value may be an object of texts, as the rights by instrument of a user are.

    Raises:
        ApiError: the text is not what its format says.
    """
    try:
        if form == "json":
            return _rows_of_json(text)
        if form == "csv":
            return _rows_of_csv(text, delimiter)
        root = parse_xml(text)
        return [_members(item) for item in ([root] if root.tag == "item" else root)]
    except (ValueError, csv.Error):
        raise ApiError(400, _MALFORMED) from None


def parse_xml(text: str) -> Element:
    """The root of a document without a DTD.

    Raises:
        ValueError: not well-formed, or with a DTD, whose entities are nobody's business here.
    """
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException) as error:
        raise ValueError("not well-formed") from error
    return root


def _rows_of_json(text: str) -> list[dict[str, Any]] | None:
    data = json.loads(text)
    if isinstance(data, dict):
        return None
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise ValueError
    return [
        {name: value if type(value) is str else _value(value) for name, value in row.items()} for row in data
    ]


def _value(value: Any) -> str | dict[str, str]:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dict) or (isinstance(value, list) and value):
        raise ValueError
    return "" if isinstance(value, list) else str(value)


def _rows_of_csv(text: str, delimiter: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")), delimiter=delimiter, strict=True)
    rows: list[dict[str, Any]] = [
        row for row in reader if any(value for value in row.values() if isinstance(value, str))
    ]
    if any(None in row or None in row.values() for row in rows):
        raise ApiError(400, f"{_MALFORMED}: a line has too many or too few columns")
    return rows


def _members(item: Element) -> dict[str, Any]:
    return {cell.tag: _members(cell) if len(cell) else cell.text or "" for cell in item}
