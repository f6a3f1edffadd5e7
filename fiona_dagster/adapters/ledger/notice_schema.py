"""The table of what people were told about transfers."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, String, Table

from fiona_dagster.adapters.ledger.schema import metadata

notice = Table(
    "notice",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("channel", String(16), primary_key=True),  # smtp, webhook
    Column("standing", String(64), nullable=False),  # of the transfer when it was told
    Column("at", Float, nullable=False),
)
