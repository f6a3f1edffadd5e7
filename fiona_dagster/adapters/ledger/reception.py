"""What the SCP records: instances, Associations, refusals. Written in batches, by one thread a process."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, bindparam, case, or_, select, update

from fiona_dagster.adapters.clock import moment
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
_INSTANCE_FIELDS = (
    "site", "series_instance_uid", "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid", "modality",
    "sha256", "size_bytes", "path", "received_at",
)  # fmt: skip

_Content = tuple[str, str, str]
"""Site, SOP Instance UID and sha256: one row of `instance`."""
_Keys = dict[tuple[str, str], StudyKey]
"""Key of a study by site and Study Instance UID."""


@dataclass(frozen=True)
class OpenedAssociation:
    """An Association was accepted, by a process called `worker`; `at` in seconds since the epoch."""

    association_id: str
    site: str
    worker: str
    peer: Peer
    at: float


@dataclass(frozen=True)
class ClosedAssociation:
    """An Association ended: `released`, `aborted` or `lost`; `at` in seconds since the epoch."""

    association_id: str
    outcome: str
    at: float


class Reception:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def record(self, arrivals: Sequence[tuple[ReceivedInstance, str | None]]) -> dict[str, StudyKey]:
        """Record instances, each with the id of the Association that brought it (None when recovered).

        The same content again only counts one more reception: it is no new instance and reopens nothing. When all
        that was purged of a study has come again, the study is no longer purged. Other content under a known SOP
        Instance UID is marked `aside`.

        Returns: study key by Study Instance UID.
        """
        if not arrivals:
            return {}
        with self._ledger.begin() as connection:
            return self._record(connection, arrivals)

    def record_group(
        self,
        opened: Sequence[OpenedAssociation],
        arrivals: Sequence[tuple[ReceivedInstance, str | None]],
        closed: Sequence[ClosedAssociation],
        refused: Sequence[Refusal],
    ) -> None:
        """What happened at reception since the last time, all of it or nothing: one transaction, in this order.

        Short Associations come by the hundred, and a transaction for each of their ends costs more than their images.
        """
        with self._ledger.begin() as connection:
            if arrivals:
                self._ledger.wait_for_turn(connection)  # before any row is locked
            if opened:
                connection.execute(
                    self._ledger.insert_ignoring(association),
                    [
                        {"id": one.association_id, "site": one.site, "worker": one.worker, "opened_at": one.at,
                         **asdict(one.peer)}
                        for one in opened
                    ],
                )  # fmt: skip
            if arrivals:
                self._record(connection, arrivals)
            if closed:
                connection.execute(
                    update(association)
                    .where(association.c.id == bindparam("of_id"))
                    .values(closed_at=bindparam("at"), outcome=bindparam("ended")),
                    [{"of_id": one.association_id, "at": one.at, "ended": one.outcome} for one in closed],
                )
            for one in refused:
                self._refuse(connection, one)

    def _record(
        self, connection: Connection, arrivals: Sequence[tuple[ReceivedInstance, str | None]]
    ) -> dict[str, StudyKey]:
        self._ledger.wait_for_turn(connection)  # else two at once would both be the first under a UID
        keys: _Keys = {}
        for received, _ in arrivals:
            if _study_of(received) not in keys:
                keys[_study_of(received)] = self._study(connection, received)
        new = self._insert(connection, keys, arrivals)
        self._count_again(connection, keys, arrivals, new)
        brought = {
            (association_id, keys[_study_of(received)])
            for received, association_id in arrivals
            if association_id is not None
        }
        if brought:
            connection.execute(
                self._ledger.insert_ignoring(association_study),
                [{"association_id": one, "study_key": key} for one, key in sorted(brought)],
            )
        return {study_uid: key for (_, study_uid), key in keys.items()}

    def open_association(self, association_id: str, site: str, worker: str, peer: Peer, at: float) -> None:
        """An Association was accepted."""
        self.record_group([OpenedAssociation(association_id, site, worker, peer, at)], (), (), ())

    def close_association(self, association_id: str, outcome: str, at: float) -> None:
        """An Association ended: `released`, `aborted` or `lost`."""
        self.record_group((), (), [ClosedAssociation(association_id, outcome, at)], ())

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
        self.record_group((), (), (), [refused])

    def _refuse(self, connection: Connection, refused: Refusal) -> None:
        values = asdict(refused)
        values.update(values.pop("peer"))
        connection.execute(refusal.insert(), values)
        connection.execute(
            transition.insert(),
            {"at": refused.at, "stage": "reception", "outcome": "refused",
             "reason": f"0x{refused.status:04X} {refused.reason}"},
        )  # fmt: skip

    def refused_paths(self, site: str) -> set[str]:
        """Paths (relative to the DATADIR) of what was refused, kept and recorded."""
        with self._ledger.read() as connection:
            query = select(refusal.c.path).where(refusal.c.site == site, refusal.c.path.is_not(None))
            return set(connection.execute(query).scalars())

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
            values = {name: _storable(getattr(received, name)) for name in _STUDY_FIELDS}
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

    def _insert(
        self, connection: Connection, keys: _Keys, arrivals: Sequence[tuple[ReceivedInstance, str | None]]
    ) -> dict[_Content, int]:
        """Insert what is new, raise its studies' counts; returns the new rows' ids by content.

        What came again before its first reception was recorded by another process counts for both: the first will
        find it here, and counts no more (see `_count_again`).
        """
        rows = []
        first = self._first_contents(connection, [received for received, _ in arrivals])
        for received, association_id in arrivals:
            # The archive notices other content where the first still lies: not in another study or after a purge.
            uid = received.site, received.sop_instance_uid
            if (
                not received.aside
            ):  # which of two that wait here together was put aside, the archive has decided
                first.setdefault(uid, received.sha256)
            rows.append(
                {
                    "study_key": keys[_study_of(received)],
                    **{name: getattr(received, name) for name in _INSTANCE_FIELDS},
                    "modality": _storable(received.modality),
                    **asdict(received.peer),
                    "aside": received.aside or first[uid] != received.sha256,
                    "receptions": 1 if received.new or association_id is None else 2,
                }
            )
        inserted = connection.execute(
            self._ledger.insert_ignoring(instance).returning(
                instance.c.id, instance.c.study_key, instance.c.aside, instance.c.received_at,
                instance.c.site, instance.c.sop_instance_uid, instance.c.sha256,
            ),
            rows,
        ).all()  # fmt: skip
        now = moment()
        for key in {row.study_key for row in inserted}:
            of_study = [row.received_at for row in inserted if row.study_key == key]
            newest = case(
                (study.c.last_received_at < max(of_study), max(of_study)), else_=study.c.last_received_at
            )
            heard = now.before(max(0.0, now.at - max(of_study)))
            connection.execute(
                update(study)
                .where(study.c.key == key)
                .values(
                    instance_count=study.c.instance_count + len(of_study),
                    last_received_at=newest,
                    heard_boot=heard.boot,
                    heard_uptime=heard.uptime,
                    retired_at=None,
                    given_up_at=None,
                    held_reason=case((study.c.given_up_at.is_not(None), None), else_=study.c.held_reason),
                )
            )
        if inserted:
            connection.execute(transition.insert(), [_transition(row) for row in inserted])
        return {(row.site, row.sop_instance_uid, row.sha256): row.id for row in inserted}

    def _first_contents(
        self, connection: Connection, arrivals: Sequence[ReceivedInstance]
    ) -> dict[tuple[str, str], str]:
        """The sha256 under which a SOP Instance UID was recorded first, by site and UID."""
        rows = connection.execute(
            select(instance.c.site, instance.c.sop_instance_uid, instance.c.sha256).where(
                instance.c.site.in_({received.site for received in arrivals}),
                instance.c.sop_instance_uid.in_({received.sop_instance_uid for received in arrivals}),
                instance.c.aside.is_(False),
            )
        )
        return {(row.site, row.sop_instance_uid): row.sha256 for row in rows}

    def _count_again(
        self,
        connection: Connection,
        keys: _Keys,
        arrivals: Sequence[tuple[ReceivedInstance, str | None]],
        new: Mapping[_Content, int],
    ) -> None:
        """Count what was there already; a recovered file is no further reception.

        Nor is one whose file was new, where it still lies: after the crash of another process recovery has found it
        while it waited to be recorded. Where the file was purged, it has come again.
        """
        unseen = set(new)
        again = []
        for received, association_id in arrivals:
            content = (received.site, received.sop_instance_uid, received.sha256)
            if content in unseen:
                unseen.remove(content)
            elif association_id is not None:
                again.append(received)
        if again:
            connection.execute(
                update(instance)
                .where(
                    instance.c.site == bindparam("of_site"),
                    instance.c.sop_instance_uid == bindparam("of_uid"),
                    instance.c.sha256 == bindparam("of_sha256"),
                )
                .values(
                    receptions=instance.c.receptions
                    + case((or_(instance.c.purged, bindparam("counts")), 1), else_=0),
                    path=bindparam("at_path"),
                    size_bytes=bindparam("of_size"),
                    purged=False,
                ),
                [
                    {"of_site": one.site, "of_uid": one.sop_instance_uid, "of_sha256": one.sha256,
                     "at_path": one.path, "of_size": one.size_bytes, "counts": not one.new}
                    for one in again
                ],
            )  # fmt: skip
        missing = select(instance.c.id).where(instance.c.study_key == study.c.key, instance.c.purged)
        for key in {keys[_study_of(received)] for received in again}:
            connection.execute(
                update(study)
                .where(study.c.key == key, study.c.purged_at.is_not(None), ~missing.exists())
                .values(
                    purged_at=None,
                    retired_at=None,
                    given_up_at=None,  # it is decided anew where it goes
                    routed_revision=case(
                        (study.c.given_up_at.is_not(None), study.c.revision - 1),
                        else_=study.c.routed_revision,
                    ),
                )
            )


def _study_of(received: ReceivedInstance) -> tuple[str, str]:
    return received.site, received.study_instance_uid


def _storable(text: str) -> str:
    """`text` without what no database takes: NUL, which PostgreSQL refuses, and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _transition(row: Any) -> dict[str, Any]:
    return {
        "at": row.received_at,
        "study_key": row.study_key,
        "instance_id": row.id,
        "stage": "reception",
        "outcome": "aside" if row.aside else "received",
        "reason": "same SOP Instance UID, other content" if row.aside else "",
    }
