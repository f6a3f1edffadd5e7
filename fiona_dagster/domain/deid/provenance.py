"""What the engine is made of, as a digest: its tables, its own source and the library that decodes ISO 2022 for it."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fiona_dagster.domain.deid.table import table_bytes, table_names

_DECIDES_NOTHING = frozenset({"difference.py", "profile_difference.py", "proof.py", "shapes.py", "tally.py"})
"""Modules that tell of copies and decide nothing about them: when they change, no copy is stale."""


@cache
def engine_digest() -> str:
    """SHA-256, in hexadecimal digits; another engine, table or decoder has another."""
    digest = hashlib.sha256(b"pydicom.charset" + _pydicom_charset())
    for name in table_names():
        digest.update(name.encode() + table_bytes(name))
    pixels = _pixels()
    for name in ("suspicion.py", "where_to_look.csv"):  # they decide what is released as it is
        digest.update(name.encode() + (pixels / name).read_bytes())
    folder = Path(__file__).parent
    for name in sorted(entry.name for entry in folder.glob("*.py") if entry.name not in _DECIDES_NOTHING):
        digest.update(name.encode() + (folder / name).read_bytes())
    return digest.hexdigest()


@cache
def masking_digest() -> str:
    """SHA-256, in hexadecimal digits, of what decides about masked pixels: of no concern to other copies."""
    digest = hashlib.sha256()
    for entry in sorted(one for one in _pixels().iterdir() if one.suffix in {".py", ".yaml"}):
        digest.update(entry.name.encode() + entry.read_bytes())
    return digest.hexdigest()


def _pixels() -> Path:
    return Path(__file__).parents[1] / "pixels"


def _pydicom_charset() -> bytes:
    """The source of pydicom's decoder. To import it, or what tells its version, takes too long."""
    found = find_spec("pydicom")
    if found is None or found.origin is None:
        return b""
    return Path(found.origin).with_name("charset.py").read_bytes()
