"""Tables of what arrival goes by, beside the instances: procedure steps, expectations, findings; and commitments.

No patient data. UIDs of originals stand here as in `instance`: never to be shown outside the quarantine.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from fiona_dagster.adapters.ledger.schema import _Id, metadata

procedure = Table(  # Modality Performed Procedure Steps
    "procedure",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("site", String(64), nullable=False),
    Column("mpps_uid", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # see domain.procedures
    Column("station", Text, nullable=False, default=""),
    Column("modality", Text, nullable=False, default=""),
    Column("calling_ae", Text, nullable=False, default=""),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    # when we heard of it last, see domain.moments
    Column("heard_at", Float, nullable=False),
    Column("heard_boot", String(36), nullable=False, default=""),
    Column("heard_uptime", Float, nullable=False, default=0.0),
    UniqueConstraint("site", "mpps_uid"),
)

procedure_study = Table(
    "procedure_study",
    metadata,
    Column("procedure_id", ForeignKey("procedure.id"), primary_key=True),
    Column("study_instance_uid", String(64), primary_key=True),
    Column("site", String(64), nullable=False),
)
Index("procedure_study_uid", procedure_study.c.study_instance_uid)

procedure_instance = Table(  # what a step says that it made
    "procedure_instance",
    metadata,
    Column("procedure_id", ForeignKey("procedure.id"), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("series_instance_uid", String(64), nullable=False),
)
Index("procedure_instance_uid", procedure_instance.c.sop_instance_uid)

expectation = Table(  # what a source said that a study has; '' as series: the whole study
    "expectation",
    metadata,
    Column("study_key", ForeignKey("study.key"), primary_key=True),
    Column("series_instance_uid", String(64), primary_key=True),
    Column("modality", Text, nullable=False, default=""),
    Column("instance_count", Integer, nullable=False),
    Column("at", Float, nullable=False),
)

arrival_finding = Table(  # what was known of a revision's completeness when it was closed
    "arrival_finding",
    metadata,
    Column("study_key", ForeignKey("study.key"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("complete", Boolean),  # None: nobody could tell
    Column("because", Text, nullable=False, default=""),
    Column("shortfalls", JSON, nullable=False, default=list),  # modality, expected, received of a series
)

commitment = Table(  # Storage Commitment requests
    "commitment",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("site", String(64), nullable=False),
    Column("calling_ae", Text, nullable=False),
    Column("called_ae", Text, nullable=False),
    Column("transaction_uid", String(64), nullable=False),
    Column("requested_at", Float, nullable=False),
    Column("state", String(16), nullable=False),  # see domain.commitment
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_at", Float, nullable=False),
    Column("claimed_by", String(64)),  # the listener process that reports it now
    Column("committed", Integer, nullable=False, default=0),  # as reported last
    Column("failed", Integer, nullable=False, default=0),
    Column("problem", Text, nullable=False, default=""),  # why it was not delivered
    Column("reported_at", Float),
    UniqueConstraint("site", "calling_ae", "transaction_uid"),
)
Index("commitment_state", commitment.c.state)

commitment_reference = Table(
    "commitment_reference",
    metadata,
    Column("commitment_id", ForeignKey("commitment.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sop_class_uid", String(64), nullable=False),
    Column("sop_instance_uid", String(64), nullable=False),
)
