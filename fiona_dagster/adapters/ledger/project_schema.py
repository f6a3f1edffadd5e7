"""The tables of projects: participants given by auto-ID, steps of an end, and what a project's own REDCap is told."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from fiona_dagster.adapters.ledger.schema import metadata

_Id = BigInteger().with_variant(Integer, "sqlite")

auto_id = Table(
    "auto_id",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("project", String(64), nullable=False),
    Column("patient_hash", String(64), nullable=False),  # see domain.auto_id.auto_id_hash
    Column("participant", Text, nullable=False),
    Column("folded", Text, nullable=False),  # REDCap's records do not tell upper from lower case
    Column("made_at", Float, nullable=False),
    Column("registered", Boolean, nullable=False, default=False, server_default=false()),  # REDCap has it
    UniqueConstraint("project", "patient_hash"),
    UniqueConstraint("project", "folded"),
)

project_step = Table(  # a step of a project's end, taken by a person
    "project_step",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("step", String(16), primary_key=True),  # domain.project_life.EndStep
    Column("at", Float, nullable=False),
    Column("who", String(128), nullable=False),
    Column("detail", Text, nullable=False, default=""),
)

project_notice = Table(  # notices of an approval's end that were given
    "project_notice",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("approval_ends", String(10), primary_key=True),
    Column("days", Integer, primary_key=True),
    Column("at", Float, nullable=False),
)

project_record = Table(  # the imaging row of a transfer in the project's own REDCap: values of copies only
    "project_record",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("standing", String(64), nullable=False),  # of the transfer when the values were taken
    Column("fields", JSON, nullable=False),
    Column("told", String(64), nullable=False, default=""),  # the standing that REDCap knows
)
