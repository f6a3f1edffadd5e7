"""Is this answer data? REDCap behind a proxy may answer HTML with any status, also 200.

An answer becomes a value of the expected type, or one of our errors. REDCap's own messages quote records and values,
so only the parts that cannot hold patient data are passed on.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_HTML = re.compile(r"^\s*<(?!\?xml)|^\s*<\?xml[^>]*>\s*<(!doctype html|html)", re.IGNORECASE)
"""A page: whatever begins like markup and is no XML. No value that we ask for does."""
_ERROR_TEXT = re.compile(r"^\s*(ERROR: |\{\"error\":|<\?xml[^>]*\?>\s*<hash><error>)")
_SAFE_BEGINNINGS = (
    "You do not have ",
    "You cannot ",
    'The value of the parameter "',
    'The following values in the parameter "fields" are not valid',
    "The following fields were not found in the project as real data fields",
    "This method is only available",
    "The filterLogic ",
)
_DELETED = "One or more of the records provided cannot be deleted because they do not exist"
_MOST_LINES = 3


def value_of(status: int, text: str, expected: str) -> Any:
    """The answer as a value.

    Args:
        status: HTTP status.
        text: the body.
        expected: `json` (a list or object), `count_dict`, `ids_list`, `empty_json`, `int` or `str`.

    Raises:
        Transient: the server or a proxy before it is in trouble.
        ConfigurationError: the address, token, rights or rate are wrong.
        Permanent: REDCap refused the request itself.
    """
    _refuse_status(status, text)
    if expected == "empty_json":
        return [{}]
    if expected == "str":
        return _text(text)
    try:
        value = json.loads(text)
    except ValueError:
        if _HTML.match(text):
            raise Transient("REDCap answered with a page instead of data; it may be out of memory") from None
        raise Transient(f"REDCap answered with {len(text)} characters that are not JSON") from None
    if isinstance(value, dict) and "error" in value:
        raise Permanent(f"REDCap refused the request: {safe_message(str(value['error']))}")
    if not _is(value, expected):
        raise Permanent(f"REDCap answered with {type(value).__name__} where {expected} was expected")
    return value


def safe_message(message: str) -> str:
    """REDCap's message without record names and values: `field: reason` for rows, known sentences as they are."""
    lines = [_safe_line(line) for line in message.splitlines() if line.strip()]
    more = f" (and {len(lines) - _MOST_LINES} more)" if len(lines) > _MOST_LINES else ""
    return "; ".join(dict.fromkeys(lines[:_MOST_LINES])) + more if lines else "no reason given"


def _safe_line(line: str) -> str:
    if line.startswith(_DELETED):
        return f"{_DELETED} in the project"
    if line.startswith(_SAFE_BEGINNINGS):
        return line[:300]
    cells = next(csv.reader(io.StringIO(line)), [])
    if len(cells) == 4:
        record, name, value, reason = cells
        for secret in (record, value):
            if secret.strip():
                reason = reason.replace(secret, "…")
        return f"{name if re.fullmatch(r'[a-z][a-z0-9_]*', name) else 'a field'}: {reason[:300]}"
    return "a message that may quote data and is not shown"


def _refuse_status(status: int, text: str) -> None:
    if status in _TRANSIENT:
        raise Transient(f"REDCap is not answering properly (HTTP {status})")
    if 300 <= status < 400:
        raise ConfigurationError(
            f"REDCap's address redirects (HTTP {status})", remedy="write the final address into REDCAP.url"
        )
    if status == 404:
        raise ConfigurationError(
            "there is no REDCap API at this address (HTTP 404)", remedy="check REDCAP.url"
        )
    if status in {401, 403}:
        if _HTML.match(text):
            raise ConfigurationError(
                f"REDCap's web server refuses us (HTTP {status}); it may have banned us for calling too often",
                remedy="ask its administrator to lift the ban, and lower REDCAP.calls_per_minute",
            )
        raise ConfigurationError(
            f"REDCap refuses the token (HTTP {status}): {safe_message(_message(text))}",
            remedy="check the token and the rights of its user",
        )
    if status != 200:
        raise Permanent(f"REDCap refused the request (HTTP {status}): {safe_message(_message(text))}")


def _message(text: str) -> str:
    """The sentence in an error body of any format."""
    try:
        value = json.loads(text)
        return str(value["error"])
    except (ValueError, KeyError, TypeError):
        found = re.search(r"<error>(.*?)</error>", text, re.DOTALL)
        return found[1] if found else text.removeprefix("ERROR: ")


def _text(text: str) -> str:
    if _HTML.match(text):
        raise Transient("REDCap answered with a page instead of data; it may be out of memory")
    if _ERROR_TEXT.match(text):
        raise Permanent(f"REDCap refused the request: {safe_message(_message(text))}")
    return text


def _is(value: Any, expected: str) -> bool:
    match expected:
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "count_dict":
            return isinstance(value, list) or (
                isinstance(value, dict) and isinstance(value.get("count"), int)
            )
        case "ids_list":
            return isinstance(value, list)
        case _:
            return isinstance(value, (list, dict))
