"""The tables of what people were told about transfers and approvals."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Integer, String, Table

from fiona_dagster.adapters.ledger.schema import metadata

notice = Table(
    "notice",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("channel", String(16), primary_key=True),  # smtp, webhook
    Column("standing", String(64), nullable=False),  # of the transfer when it was told
    Column("at", Float, nullable=False),
)

approval_told = Table(  # a threshold of `project_notice` that a channel was told of
    "approval_told",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("approval_ends", String(10), primary_key=True),
    Column("days", Integer, primary_key=True),
    Column("channel", String(16), primary_key=True),
    Column("at", Float, nullable=False),
)
