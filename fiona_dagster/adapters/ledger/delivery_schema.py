"""The tables of what is on its way: images by transfer and archive, by archive, by instance; packages by place."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from fiona_dagster.adapters.ledger.schema import metadata

sending = Table(  # one transfer to one destination
    "sending",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("destination", String(128), primary_key=True),
    Column("name", String(128), nullable=False, default=""),  # as the project calls it
    Column("state", String(16), nullable=False),  # see domain.forwarding.SendingState
    Column("generation", Integer, nullable=False),  # of the transfer, when it was tried last
    Column("revision", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", Float, nullable=False, default=0.0),
    Column("reason", Text, nullable=False, default=""),
    Column("total", Integer, nullable=False, default=0),
    Column("confirmed", Integer, nullable=False, default=0),
    Column("confirmed_by", String(16), nullable=False, default=""),
    Column("changed_at", Float, nullable=False),
    Column(
        "woken", Integer, nullable=False, default=0
    ),  # how often its destination came back while it waited
    Column("cancelled_by", String(128), nullable=False, default=""),
)
Index("sending_waiting", sending.c.destination, sending.c.state)

sending_peer = Table(  # a destination's breaker, see domain.breaker
    "sending_peer",
    metadata,
    Column("destination", String(128), primary_key=True),
    Column("failures", Integer, nullable=False, default=0),
    Column("retry_at", Float, nullable=False, default=0.0),
    Column("reason", Text, nullable=False, default=""),
    # until when it is not asked for Storage Commitment, of which it sent no report
    Column("silent_until", Float, nullable=False, default=0.0),
)

sent_instance = Table(  # what became of each copy at each destination
    "sent_instance",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("destination", String(128), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),  # of the copy
    Column("state", String(16), nullable=False),  # see domain.forwarding.SentState
    Column("status", Integer),  # DIMSE Status or Failure Reason, None without an answer
    Column("problem", Text, nullable=False, default=""),
    Column("retry", Boolean, nullable=False, default=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("sent_as", String(64), nullable=False, default=""),  # Transfer Syntax UID where it was transcoded
    Column("at", Float, nullable=False),
)

parcel = Table(  # one export of a transfer on its way to one destination of packages
    "parcel",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("destination", String(128), primary_key=True),  # as the project calls it; '': stays in the outbox
    Column("export", String(128), primary_key=True),  # as it stands in the package's name
    Column("state", String(16), nullable=False),  # see domain.forwarding.SendingState
    Column("generation", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("reason", Text, nullable=False, default=""),
    Column("changed_at", Float, nullable=False),
    Column("woken", Integer, nullable=False, default=0),  # as of `sending`
    Column("cancelled_by", String(128), nullable=False, default=""),
    Column("name", String(300), nullable=False, default=""),  # of the package, before it is sent
    Column("size_bytes", BigInteger, nullable=False, default=0),
    Column("begun", Boolean, nullable=False, default=False),  # something of it may lie at the destination
)
