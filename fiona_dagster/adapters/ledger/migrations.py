"""Steps from a ledger of an older version to the present one, so that a site keeps its account.

A step only adds: a gateway that still runs while another one is started goes on until it ends.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from fiona_dagster.adapters.ledger.schema import metadata

STEPS: Mapping[int, tuple[str, ...]] = {
    2: (
        "ALTER TABLE transfer ADD COLUMN key_id VARCHAR(16) NOT NULL DEFAULT ''",
        "ALTER TABLE transfer ADD COLUMN method_digest VARCHAR(64) NOT NULL DEFAULT ''",
        "ALTER TABLE release ADD COLUMN header_sha256 VARCHAR(64) NOT NULL DEFAULT ''",
        "ALTER TABLE delivery ADD COLUMN method_digest VARCHAR(64) NOT NULL DEFAULT ''",
        "ALTER TABLE sent_copy ADD COLUMN study_instance_uid VARCHAR(64) NOT NULL DEFAULT ''",
        "ALTER TABLE sent_copy ADD COLUMN sha256 VARCHAR(64) NOT NULL DEFAULT ''",
        "ALTER TABLE sent_copy ADD COLUMN over_another BOOLEAN NOT NULL DEFAULT false",
    ),
    3: (
        "ALTER TABLE refusal ADD COLUMN times INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE study ADD COLUMN heard_boot VARCHAR(36) NOT NULL DEFAULT ''",
        "ALTER TABLE release ADD COLUMN masking TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE study ADD COLUMN heard_uptime FLOAT NOT NULL DEFAULT 0",
    ),
    4: (
        "ALTER TABLE transfer ADD COLUMN rule TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE transfer ADD COLUMN profile TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE transfer ADD COLUMN begun_at FLOAT NOT NULL DEFAULT 0",
        "CREATE INDEX IF NOT EXISTS release_copy ON release (sop_instance_uid)",
        "CREATE INDEX IF NOT EXISTS release_study ON release (study_instance_uid)",
    ),
}
"""Statements by the version that they start from, in the SQL that SQLite and PostgreSQL share.

New columns and indices only: tables that are missing are made from `metadata` afterwards.
"""


def migrate(connection: Connection, found: int, wanted: int) -> bool:
    """Bring the tables from version `found` to `wanted`, within the caller's transaction.

    Returns:
        False where no steps lead there; nothing was done then.
    """
    steps = range(found, wanted)
    if not all(version in STEPS for version in steps):
        return False
    for version in steps:
        for statement in STEPS[version]:
            connection.execute(text(statement))
    metadata.create_all(connection)
    return True
