"""The tables of what archives were asked to commit to, and what they said: see `asked_commitments`."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, String, Table

from fiona_dagster.adapters.ledger.schema import metadata

asked_commitment = Table(  # a Storage Commitment request of ours
    "asked_commitment",
    metadata,
    Column("transaction_uid", String(64), primary_key=True),
    Column("transfer_id", ForeignKey("transfer.id"), nullable=False),
    Column("destination", String(128), nullable=False),
    Column("copies", String(64), nullable=False),  # digest of what was released, see adapters.confirmation
    Column("requested_at", Float, nullable=False),
    Column("reported_at", Float),  # None: its report has not come
)
Index("asked_commitment_transfer", asked_commitment.c.transfer_id, asked_commitment.c.destination)

asked_instance = Table(
    "asked_instance",
    metadata,
    Column("transaction_uid", ForeignKey("asked_commitment.transaction_uid"), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),  # of the copy
    Column("outcome", Integer),  # None: nothing was said; 0: committed; else the Failure Reason
)
