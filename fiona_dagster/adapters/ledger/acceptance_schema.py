"""The table of places that a person accepted in the copies of a transfer: never a value."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Integer, String, Table, Text

from fiona_dagster.adapters.ledger.schema import metadata

acceptance = Table(
    "acceptance",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("method_digest", String(64), primary_key=True),
    Column("place", String(300), primary_key=True),  # keywords joined by dots
    Column("because", Text, nullable=False),
    Column("who", String(64), nullable=False),
    Column("at", Float, nullable=False),
)
