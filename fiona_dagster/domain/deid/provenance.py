"""What the engine is made of, as a digest: its tables, its own source and the library that decodes ISO 2022 for it."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from fiona_dagster.domain.deid.table import table_bytes, table_names


@cache
def engine_digest() -> str:
    """SHA-256, in hexadecimal digits; another engine, table or library has another."""
    digest = hashlib.sha256(f"pydicom {version('pydicom')}".encode())
    for name in table_names():
        digest.update(name.encode() + table_bytes(name))
    folder = files("fiona_dagster.domain.deid")
    for name in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".py")):
        digest.update(name.encode() + (folder / name).read_bytes())
    return digest.hexdigest()
