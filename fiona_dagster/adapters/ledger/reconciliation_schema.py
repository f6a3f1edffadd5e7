"""The tables of what the research PACS holds, as it said last, and of differences between the four accounts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, String, Table, Text, UniqueConstraint

from fiona_dagster.adapters.ledger.schema import metadata

archived_study = Table(  # one row a study that the archive said it has; deleted when it said that it has not
    "archived_study",
    metadata,
    Column("destination", String(128), primary_key=True),
    Column("study_instance_uid", String(64), primary_key=True),
    Column("project", Text, nullable=False, default=""),  # InstitutionName, where FIONA puts the project
    Column("series", Integer),  # None: not counted
    Column("images", Integer),
    Column("seen_at", Float, nullable=False),
)

difference = Table(
    "difference",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("kind", String(64), nullable=False),
    Column("study_key", String(21), nullable=False, default=""),
    Column("transfer_id", BigInteger, nullable=False, default=0),
    Column("project", Text, nullable=False, default=""),
    Column("uid", String(64), nullable=False, default=""),  # perhaps the hospital's: patient data
    Column("subject", String(64), nullable=False, default=""),  # tells apart what has neither key nor UID
    Column("detail", Text, nullable=False, default=""),
    Column("first_seen_at", Float, nullable=False),
    Column("last_seen_at", Float, nullable=False),
    UniqueConstraint("kind", "study_key", "transfer_id", "project", "uid", "subject"),
)
