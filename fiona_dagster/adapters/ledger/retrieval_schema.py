"""The table of studies that are looked for at their sources. Holds UIDs of originals, no other patient data."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Index, Integer, String, Table, Text, UniqueConstraint

from fiona_dagster.adapters.ledger.schema import _Id, metadata

retrieval = Table(  # see domain.retrieval.Account
    "retrieval",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("site", String(64), nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("source", Text, nullable=False, default=""),  # AE@host:port; '' until one shows the study
    Column("origin", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("most", JSON, nullable=False, default=dict),  # instances by Series Instance UID
    Column("confirmed", JSON, nullable=False, default=dict),
    Column("agreed_on", JSON, nullable=False, default=dict),
    Column("agreed_at", Float),
    Column("errors", Integer, nullable=False, default=0),
    Column("fruitless", Integer, nullable=False, default=0),
    Column("missing", Integer, nullable=False, default=0),
    Column("reason", Text, nullable=False, default=""),
    Column("ended_at", Float),
    UniqueConstraint("site", "study_instance_uid"),
)
Index("retrieval_due", retrieval.c.state, retrieval.c.next_at)
