"""What the SCP records: instances, Associations, refusals. Written in batches, by one thread a process."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, and_, select, update

from fiona_dagster.adapters.ledger.schema import (
    association,
    association_study,
    instance,
    refusal,
    study,
    transition,
)
from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.reception import Peer, ReceivedInstance, Refusal

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger

_STUDY_FIELDS = (
    "patient_id", "patient_name", "accession_number", "study_date", "study_time", "study_description",
    "institution_name",
)  # fmt: skip


class Reception:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def record(self, arrivals: Sequence[tuple[ReceivedInstance, str | None]]) -> dict[str, StudyKey]:
        """Record instances, each with the id of the Association that brought it (None when recovered).

        The same content again only counts one more reception: it is no new instance and reopens nothing, but it
        takes back that a study was purged. Other content under a known SOP Instance UID is marked `aside`.

        Returns: study key by Study Instance UID.
        """
        keys: dict[str, StudyKey] = {}
        with self._ledger.begin() as connection:
            for received, association_id in arrivals:
                uid = received.study_instance_uid
                key = keys.get(uid) or self._study(connection, received)
                keys[uid] = key
                self._instance(connection, key, received, recovered=association_id is None)
                if association_id is not None:
                    connection.execute(
                        self._ledger.insert_ignoring(association_study),
                        {"association_id": association_id, "study_key": key},
                    )
        return keys

    def open_association(self, association_id: str, site: str, worker: str, peer: Peer, at: float) -> None:
        """An Association was accepted."""
        with self._ledger.begin() as connection:
            connection.execute(
                self._ledger.insert_ignoring(association),
                {"id": association_id, "site": site, "worker": worker, "opened_at": at, **asdict(peer)},
            )

    def close_association(self, association_id: str, outcome: str, at: float) -> None:
        """An Association ended: `released`, `aborted` or `lost`."""
        with self._ledger.begin() as connection:
            connection.execute(
                update(association)
                .where(association.c.id == association_id)
                .values(closed_at=at, outcome=outcome)
            )

    def close_lost_associations(self, site: str, live_workers: Iterable[str], at: float) -> int:
        """Close what a crashed listener left open; returns how many."""
        with self._ledger.begin() as connection:
            result = connection.execute(
                update(association)
                .where(
                    association.c.site == site,
                    association.c.closed_at.is_(None),
                    association.c.worker.not_in(list(live_workers)),
                )
                .values(closed_at=at, outcome="lost")
            )
            return int(result.rowcount)

    def refuse(self, refused: Refusal) -> None:
        """Record something that was not accepted."""
        values = asdict(refused)
        values.update(values.pop("peer"))
        with self._ledger.begin() as connection:
            connection.execute(refusal.insert(), values)
            connection.execute(
                transition.insert(),
                {"at": refused.at, "stage": "reception", "outcome": "refused",
                 "reason": f"0x{refused.status:04X} {refused.reason}"},
            )  # fmt: skip

    def known_contents(self, site: str, sop_instance_uid: str) -> dict[str, str]:
        """Path by sha256 of what is recorded under a SOP Instance UID."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(instance.c.sha256, instance.c.path).where(
                    instance.c.site == site, instance.c.sop_instance_uid == sop_instance_uid
                )
            )
            return {row.sha256: row.path for row in rows}

    def recorded_paths(self, site: str, study_instance_uid: str) -> set[str]:
        """Paths (relative to the DATADIR) that are recorded for a study."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(instance.c.path)
                .join(study, study.c.key == instance.c.study_key)
                .where(study.c.site == site, study.c.study_instance_uid == study_instance_uid)
            )
            return {row.path for row in rows}

    def _study(self, connection: Connection, received: ReceivedInstance) -> StudyKey:
        where = and_(study.c.site == received.site, study.c.study_instance_uid == received.study_instance_uid)
        found = connection.execute(select(study.c.key).where(where)).scalar()
        if found is None:
            day = time.strftime("%Y%m%d", time.gmtime(received.received_at))
            values = {name: getattr(received, name) for name in _STUDY_FIELDS}
            connection.execute(
                self._ledger.insert_ignoring(study),
                {
                    "key": f"{day}-{secrets.token_hex(6)}",
                    "site": received.site,
                    "study_instance_uid": received.study_instance_uid,
                    "first_received_at": received.received_at,
                    "last_received_at": received.received_at,
                    **asdict(received.peer),
                    **values,
                },
            )
            found = connection.execute(select(study.c.key).where(where)).scalar_one()
        return StudyKey(str(found))

    def _instance(
        self, connection: Connection, key: StudyKey, received: ReceivedInstance, *, recovered: bool
    ) -> None:
        known = and_(
            instance.c.site == received.site, instance.c.sop_instance_uid == received.sop_instance_uid
        )
        same = and_(known, instance.c.sha256 == received.sha256)
        # The archive notices other content only where the first still lies: not in another study or after a purge.
        first = select(instance.c.id).where(
            known, instance.c.sha256 != received.sha256, instance.c.aside.is_(False)
        )
        aside = received.aside or connection.execute(first.limit(1)).first() is not None
        values = {
            name: getattr(received, name)
            for name in ("site", "series_instance_uid", "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid",
                         "modality", "sha256", "size_bytes", "path", "received_at")
        }  # fmt: skip
        result = connection.execute(
            self._ledger.insert_ignoring(instance).values(
                study_key=key, aside=aside, **values, **asdict(received.peer)
            )
        )
        if result.rowcount == 0:
            if not recovered:
                self._again(connection, key, received, same)
            return
        changes = {
            "instance_count": study.c.instance_count + 1,
            "purged_at": None,
            "retired_at": None,
        }
        connection.execute(update(study).where(study.c.key == key).values(**changes))
        connection.execute(
            update(study)
            .where(study.c.key == key, study.c.last_received_at < received.received_at)
            .values(last_received_at=received.received_at)
        )
        identity = connection.execute(select(instance.c.id).where(same)).scalar_one()
        connection.execute(
            transition.insert(),
            {"at": received.received_at, "study_key": key, "instance_id": identity, "stage": "reception",
             "outcome": "aside" if aside else "received",
             "reason": "same SOP Instance UID, other content" if aside else ""},
        )  # fmt: skip

    def _again(
        self, connection: Connection, key: StudyKey, received: ReceivedInstance, same: ColumnElement[bool]
    ) -> None:
        connection.execute(
            update(instance)
            .where(same)
            .values(receptions=instance.c.receptions + 1, path=received.path, size_bytes=received.size_bytes)
        )
        connection.execute(
            update(study)
            .where(study.c.key == key, study.c.purged_at.is_not(None))
            .values(purged_at=None, retired_at=None)
        )
