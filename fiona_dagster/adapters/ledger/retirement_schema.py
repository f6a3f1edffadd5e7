"""The tables of withdrawals, of transfers whose copies are retired, and of what became of those copies."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Integer, String, Table, Text

from fiona_dagster.adapters.ledger.schema import metadata

withdrawal = Table(  # lasts: what comes for the participant later is held
    "withdrawal",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("participant", String(256), primary_key=True),  # the pseudonym within the project
    Column("at", Float, nullable=False),
    Column("who", String(128), nullable=False),
)

retirement = Table(
    "retirement",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("cause", String(16), nullable=False),  # see domain.retirement
    Column("at", Float, nullable=False),
    Column("who", String(128), nullable=False),
    Column(
        "replaced_by", BigInteger().with_variant(Integer, "sqlite")
    ),  # the transfer of the right assignment
    Column("note_uid", String(64), nullable=False, default=""),  # of the rejection note that the archive took
    Column("settled_at", Float),  # None: copies are still to be looked for
)

retired_copy = Table(
    "retired_copy",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("place", String(300), primary_key=True),
    Column("name", String(300), primary_key=True, default=""),
    Column("outcome", String(16), nullable=False),
    Column("count", Integer, nullable=False, default=0),
    Column("detail", Text, nullable=False, default=""),
    Column("at", Float, nullable=False),
)
