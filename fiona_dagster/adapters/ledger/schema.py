"""The ledger's tables. Times are seconds since the epoch, UTC. Patient data stands only in `study`.

What senders choose freely is Text: PostgreSQL refuses what is too long for a String, whatever the standard allows.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

SCHEMA_VERSION = 5
"""Raised with every change of a table below, with a step in `migrations`. 1: a ledger that has no version yet."""

metadata = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Integer, nullable=False),
)

study = Table(
    "study",
    metadata,
    Column("key", String(21), primary_key=True),
    Column("site", String(64), nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("first_received_at", Float, nullable=False),
    Column("last_received_at", Float, nullable=False),
    Column("instance_count", Integer, nullable=False, default=0),
    # arrival: how many instances the newest revision covers; fewer than instance_count = late images wait
    Column("revision", Integer, nullable=False, default=0),
    Column("arrived_count", Integer, nullable=False, default=0),
    Column("arrived_at", Float),
    Column("expected_instances", Integer),
    Column("registered_revision", Integer, nullable=False, default=0),
    Column("routed_revision", Integer, nullable=False, default=0),
    Column("held_reason", Text),
    Column("patient_id", Text, nullable=False, default=""),
    Column("patient_name", Text, nullable=False, default=""),
    Column("accession_number", Text, nullable=False, default=""),
    Column("study_date", Text, nullable=False, default=""),
    Column("study_time", Text, nullable=False, default=""),
    Column("study_description", Text, nullable=False, default=""),
    Column("institution_name", Text, nullable=False, default=""),
    Column("calling_ae", Text, nullable=False, default=""),
    Column("called_ae", Text, nullable=False, default=""),
    Column("address", Text, nullable=False, default=""),
    Column("purged_at", Float),  # None again when every instance has come again
    Column("retired_at", Float),  # the partition key was retired from Dagster
    Column("given_up_at", Float),  # a person gave it up; None again with a later image or assignment
    # last_received_at as uptime of the machine, see domain.moments
    Column("heard_boot", String(36), nullable=False, default="", server_default=""),
    Column("heard_uptime", Float, nullable=False, default=0.0, server_default="0"),
    UniqueConstraint("site", "study_instance_uid"),
)
Index("study_last_received", study.c.last_received_at)
Index("study_accession", study.c.accession_number)
Index("study_uid", study.c.study_instance_uid)

revision = Table(
    "revision",
    metadata,
    Column("study_key", ForeignKey("study.key"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("instance_count", Integer, nullable=False),  # the study's first so many instances belong to it
    Column("at", Float, nullable=False),
)

instance = Table(
    "instance",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("study_key", ForeignKey("study.key"), nullable=False),
    Column("site", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("sop_class_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("modality", Text, nullable=False, default=""),
    Column("sha256", String(64), nullable=False),  # of the data set, without preamble and file meta
    Column("size_bytes", BigInteger, nullable=False),  # of the file
    Column("path", Text, nullable=False),  # relative to the site's DATADIR
    Column("received_at", Float, nullable=False),
    Column("receptions", Integer, nullable=False, default=1),
    Column("calling_ae", Text, nullable=False, default=""),
    Column("called_ae", Text, nullable=False, default=""),
    Column("address", Text, nullable=False, default=""),
    Column("aside", Boolean, nullable=False, default=False),  # other content under a known UID: held (law 7)
    Column(
        "purged", Boolean, nullable=False, default=False
    ),  # its file was cleaned up, and has not come again
    UniqueConstraint("site", "sop_instance_uid", "sha256"),
)
Index("instance_study", instance.c.study_key)

association = Table(
    "association",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("site", String(64), nullable=False),
    Column("worker", String(64), nullable=False),  # the listener process that holds it
    Column("calling_ae", Text, nullable=False),
    Column("called_ae", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("outcome", String(32)),  # released, aborted, lost
)
Index("association_open", association.c.closed_at)

association_study = Table(
    "association_study",
    metadata,
    Column("association_id", ForeignKey("association.id"), primary_key=True),
    Column("study_key", ForeignKey("study.key"), primary_key=True),
)
Index("association_study_key", association_study.c.study_key)

refusal = Table(
    "refusal",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("site", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("path", Text),  # in the quarantine, relative to the DATADIR; none for a refused Association
    Column("times", Integer, nullable=False, default=1, server_default="1"),  # a flood is summed up
    Column("calling_ae", Text, nullable=False, default=""),
    Column("called_ae", Text, nullable=False, default=""),
    Column("address", Text, nullable=False, default=""),
)

series = Table(
    "series",
    metadata,
    Column("study_key", ForeignKey("study.key"), primary_key=True),
    Column("series_instance_uid", String(64), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("modality", Text, nullable=False, default=""),
    Column("instance_count", Integer, nullable=False, default=0),
    Column("classify_types", JSON, nullable=False, default=list),
    Column("described", JSON, nullable=False, default=dict),  # what registration needs; holds patient data
)

transfer = Table(
    "transfer",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("transfer_key", String(64), nullable=False, unique=True),  # idempotency key in REDCap
    Column("study_key", ForeignKey("study.key"), nullable=False),
    Column("project", String(64), nullable=False),
    Column("participant", Text, nullable=False),
    Column("event", Text, nullable=False, default=""),
    Column("source", String(16), nullable=False),  # assign, coupling, routing, resend
    Column("requested_by", String(64), nullable=False, default=""),
    Column("requested_at", Float, nullable=False),
    Column("rule", Text, nullable=False, default="", server_default=""),  # or the entry of the coupling list
    Column("profile", Text, nullable=False, default="", server_default=""),  # that made the newest copies
    Column("begun_at", Float, nullable=False, default=0.0, server_default="0"),  # the latest attempt
    Column("generation", Integer, nullable=False, default=0),  # raised by a resend
    Column("state", String(16), nullable=False),  # see domain.transfer
    Column("reason", Text, nullable=False, default=""),
    Column(
        "revision", Integer, nullable=False, default=0
    ),  # newest revision that the research PACS confirmed
    Column("packaged_revision", Integer, nullable=False, default=0),  # newest revision that was delivered
    Column("attempts", Integer, nullable=False, default=0),
    Column("registry_state", String(64), nullable=False, default=""),  # what REDCap was told last
    Column("changed_at", Float, nullable=False),
    # the project's key that made the copies; '' before the first release, and where version 2 made them
    Column("key_id", String(16), nullable=False, default="", server_default=""),
    Column(
        "method_digest", String(64), nullable=False, default="", server_default=""
    ),  # of the newest copies
    UniqueConstraint("study_key", "project", "participant", "event"),
)
Index("transfer_state", transfer.c.state)

release = Table(
    "release",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("instance_id", ForeignKey("instance.id"), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("disposition", String(16), nullable=False),  # released, held, excluded, failed
    Column("reason", Text, nullable=False, default=""),
    Column("sop_instance_uid", String(64), nullable=False, default=""),  # of the copy
    Column("series_instance_uid", String(64), nullable=False, default=""),
    Column("study_instance_uid", String(64), nullable=False, default=""),
    Column("sop_class_uid", String(64), nullable=False, default=""),
    Column("transfer_syntax_uid", String(64), nullable=False, default=""),
    Column("modality", Text, nullable=False, default=""),
    Column("path", Text, nullable=False, default=""),  # relative to the DATADIR
    Column("sha256", String(64), nullable=False, default=""),  # of the whole file, since its verification
    Column("size_bytes", BigInteger, nullable=False, default=0),
    # of what is not pixels, as it was written
    Column("header_sha256", String(64), nullable=False, default="", server_default=""),
    # boxes that were masked in its pixels, as JSON without text; '' where nobody searched them
    Column("masking", Text, nullable=False, default="", server_default=""),
    Column("purged", Boolean, nullable=False, default=False),  # the copy was cleaned up with its study
)
Index("release_copy", release.c.sop_instance_uid)
Index("release_study", release.c.study_instance_uid)

verification = Table(
    "verification",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("passed", Boolean, nullable=False),
    Column("at", Float, nullable=False),
    Column("manifest_sha256", String(64), nullable=False),
    Column("checks", JSON, nullable=False),  # name -> {passed, found}; never a value
)

delivery = Table(
    "delivery",
    metadata,
    Column("transfer_id", ForeignKey("transfer.id"), primary_key=True),
    Column("destination", String(128), primary_key=True),
    Column("kind", String(16), primary_key=True),  # pacs, package
    Column("name", String(300), primary_key=True, default=""),  # of the package
    Column("revision", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # confirmed, failed
    Column("instance_count", Integer, nullable=False, default=0),
    Column("size_bytes", BigInteger, nullable=False, default=0),
    Column("checksum", String(64), nullable=False, default=""),
    Column("place", Text, nullable=False, default=""),
    Column("confirmed_at", Float),
    Column("detail", Text, nullable=False, default=""),
    Column(
        "method_digest", String(64), nullable=False, default="", server_default=""
    ),  # of what it confirmed
)

sent_copy = Table(  # what a PACS was given under a SOP Instance UID: known before it is sent
    "sent_copy",
    metadata,
    Column("destination", String(128), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
    Column(
        "identity", String(64), nullable=False
    ),  # for whom and by which policy, see ReleaseRequest.identity
    Column("transfer_id", ForeignKey("transfer.id"), nullable=False),
    Column("at", Float, nullable=False),
    Column("study_instance_uid", String(64), nullable=False, default="", server_default=""),
    # of the file; '' until it accepted one over another, and where version 2 sent it
    Column("sha256", String(64), nullable=False, default="", server_default=""),
    # it held something else under the UID when it was given this, and may have kept that
    Column("over_another", Boolean, nullable=False, default=False, server_default=false()),
)

transition = Table(
    "transition",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("study_key", String(21)),
    Column("instance_id", BigInteger),
    Column("transfer_id", BigInteger),
    Column("stage", String(32), nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("run_id", String(64), nullable=False, default=""),
)
Index("transition_study", transition.c.study_key)

snapshot = Table(
    "snapshot",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("at", Float, nullable=False),
    Column("body", JSON, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("who", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
)
