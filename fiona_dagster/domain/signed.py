"""A signed document: content, and beside it who signed it. What is signed are the canonical bytes of the content.

Canonical: JSON with sorted keys, no blanks, ASCII escapes, whole numbers only, no key twice, so that one content has
one form in every implementation.
"""

from __future__ import annotations

import json
from typing import Any


def canonical(content: dict[str, Any]) -> bytes:
    """The one form of `content`, in bytes.

    Raises:
        ValueError: it has something else than texts, whole numbers, yes and no, nothing, lists and objects.
    """
    _check(content)
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def parsed(text: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Content and signature of a signed document's file; the signature is not checked here.

    Raises:
        ValueError: it is none.
    """
    try:
        document = json.loads(
            text, object_pairs_hook=_once, parse_float=_no_fraction, parse_constant=_no_fraction
        )
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(document, dict) or document.keys() != {"content", "signature"}:
        raise ValueError("is not a signed document")
    content, signature = document["content"], document["signature"]
    if not (isinstance(content, dict) and isinstance(signature, dict)):
        raise ValueError("is not a signed document")  # noqa: TRY004 — one error for one finding
    return content, {str(name): str(value) for name, value in signature.items()}


def document_bytes(content: dict[str, Any], signature: dict[str, str]) -> bytes:
    """The file of a signed document, indented for people."""
    document = {"content": content, "signature": signature}
    return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def _check(value: Any) -> None:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key is not text")
        for one in value.values():
            _check(one)
    elif isinstance(value, list | tuple):
        for one in value:
            _check(one)
    elif value is not None and not isinstance(value, str | int):
        raise ValueError(f"{type(value).__name__} has no canonical form")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_fraction(_: str) -> Any:
    raise ValueError("a number is not whole")
