"""Studies that are looked for at their sources: what was seen of them, and what is here."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select, update

from fiona_dagster.adapters.ledger.retrieval_schema import retrieval
from fiona_dagster.adapters.ledger.schema import association, association_study, instance, snapshot, study
from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.retrieval import Account, Origin, RetrievalState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger

_COLUMNS = [retrieval.c[name] for name in Account.__dataclass_fields__]
_UIDS_A_QUERY = 500
_CLOCK_JUMP_SECONDS = 2 * 3600.0
"""No look is planned so far ahead: a later one was planned before the clock was set back."""


@dataclass(frozen=True)
class StudyHere:
    """What the ledger knows of a study here. `calling_ae`: who sent its first image."""

    key: StudyKey
    calling_ae: str
    last_received_at: float
    open_associations: int


class Retrievals:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def open(
        self,
        site: str,
        study_instance_uids: Collection[str],
        origin: Origin,
        *,
        now: float,
        again: bool = False,
    ) -> int:
        """Begin to look for these studies; those that are known stay as they are.

        `again`: what has ended is begun anew, keeping what its source ever showed, and the others are due at once.
        Returns how many were begun.
        """
        begun = 0
        with self._ledger.begin() as connection:
            # two that begin the same in another order would stop each other
            self._ledger.wait_for_turn(connection)
            for uid in dict.fromkeys(study_instance_uids):
                fresh = {
                    "site": site, "study_instance_uid": uid, "source": "", "origin": origin.value,
                    "state": RetrievalState.ACTIVE.value, "started_at": now, "next_at": now,
                }  # fmt: skip
                begun += connection.execute(self._ledger.insert_ignoring(retrieval).values(fresh)).rowcount
                if again:
                    connection.execute(
                        update(retrieval)
                        .where(_is(site, uid), retrieval.c.state == RetrievalState.ACTIVE.value)
                        .values(next_at=now)
                    )
                    begun += connection.execute(
                        update(retrieval)
                        .where(_is(site, uid), retrieval.c.state != RetrievalState.ACTIVE.value)
                        .values(
                            origin=origin.value, state=RetrievalState.ACTIVE.value, started_at=now, next_at=now,
                            agreed_on={}, agreed_at=None, errors=0, fruitless=0, missing=0, confirmed={}, ended_at=None,
                            reason="",
                        )
                    ).rowcount  # fmt: skip
        return begun

    def due(
        self, site: str, *, now: float, limit: int = 200, only: Collection[str] | None = None
    ) -> list[Account]:
        """Active studies whose next look is due, longest waiting first; `only` of these Study Instance UIDs."""
        query = (
            select(*_COLUMNS)
            .where(
                retrieval.c.site == site,
                retrieval.c.state == RetrievalState.ACTIVE.value,
                or_(retrieval.c.next_at <= now, retrieval.c.next_at > now + _CLOCK_JUMP_SECONDS),
            )
            .order_by(retrieval.c.next_at, retrieval.c.id)
            .limit(limit)
        )
        if only is not None:
            query = query.where(retrieval.c.study_instance_uid.in_(list(only)))
        with self._ledger.read() as connection:
            return [_account(row) for row in connection.execute(query)]

    def get(self, site: str, study_instance_uid: str) -> Account | None:
        """What was seen of a study, None where it was never looked for."""
        with self._ledger.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(_is(site, study_instance_uid))).one_or_none()
        return None if row is None else _account(row)

    def keep(self, account: Account) -> None:
        """Record a look; the study's number of expected instances goes to `study`, for arrival."""
        values = {name: getattr(account, name) for name in Account.__dataclass_fields__}
        values |= {"origin": account.origin.value, "state": account.state.value}
        for name in ("most", "confirmed", "agreed_on"):
            values[name] = dict(values[name])
        with self._ledger.begin() as connection:
            connection.execute(
                update(retrieval).where(_is(account.site, account.study_instance_uid)).values(**values)
            )
            if account.expected:
                connection.execute(
                    update(study)
                    .where(
                        study.c.site == account.site, study.c.study_instance_uid == account.study_instance_uid
                    )
                    .values(expected_instances=account.expected)
                )

    def states(self, site: str, *, ended_since: float) -> dict[RetrievalState, list[str]]:
        """Study Instance UIDs by state, without those that ended before `ended_since` (seconds since the epoch)."""
        found: defaultdict[RetrievalState, list[str]] = defaultdict(list)
        query = select(retrieval.c.state, retrieval.c.study_instance_uid).where(
            retrieval.c.site == site, or_(retrieval.c.ended_at.is_(None), retrieval.c.ended_at >= ended_since)
        )
        with self._ledger.read() as connection:
            for row in connection.execute(query):
                found[RetrievalState(row.state)].append(row.study_instance_uid)
        return dict(found)

    def known(self, site: str, study_instance_uids: Collection[str]) -> list[str]:
        """Those of the studies that were ever looked for."""
        wanted = sorted(set(study_instance_uids))
        found: list[str] = []
        with self._ledger.read() as connection:
            for first in range(0, len(wanted), _UIDS_A_QUERY):
                some = retrieval.c.study_instance_uid.in_(wanted[first : first + _UIDS_A_QUERY])
                query = select(retrieval.c.study_instance_uid).where(retrieval.c.site == site, some)
                found += connection.execute(query).scalars().all()
        return found

    def discovered_at(self, site: str, source: str) -> float | None:
        """When a source was last asked for its recent studies, in seconds since the epoch."""
        with self._ledger.read() as connection:
            query = select(snapshot.c.at).where(snapshot.c.name == _discovery(site, source))
            return connection.execute(query).scalar()

    def discovered(self, site: str, source: str, *, now: float) -> None:
        """A source was asked for its recent studies, whatever it answered."""
        with self._ledger.begin() as connection:
            row = {"name": _discovery(site, source), "at": now, "body": {}}
            self._ledger.upsert(connection, snapshot, [row])

    def totals(self, only: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
        """For `fiona status`: studies by state, and why they are not finished; `only` of these Study Instance UIDs. No
        UIDs."""
        query = select(retrieval.c.state, retrieval.c.reason, func.count().label("studies")).group_by(
            retrieval.c.state, retrieval.c.reason
        )
        if only is not None:
            query = query.where(retrieval.c.study_instance_uid.in_(list(only)))
        found: dict[str, dict[str, Any]] = {
            state.value: {"studies": 0, "because": {}} for state in RetrievalState
        }
        with self._ledger.read() as connection:
            for row in connection.execute(query):
                found[row.state]["studies"] += row.studies
                if row.reason:
                    found[row.state]["because"][row.reason] = row.studies
        return found

    def instances_here(self, site: str, study_instance_uid: str) -> dict[str, frozenset[str]]:
        """SOP Instance UIDs by Series Instance UID of all that was ever received, cleaned up or not."""
        query = (
            select(instance.c.series_instance_uid, instance.c.sop_instance_uid)
            .join(study, study.c.key == instance.c.study_key)
            .where(study.c.site == site, study.c.study_instance_uid == study_instance_uid)
        )
        found: defaultdict[str, set[str]] = defaultdict(set)
        with self._ledger.read() as connection:
            for row in connection.execute(query):
                found[row.series_instance_uid].add(row.sop_instance_uid)
        return {uid: frozenset(uids) for uid, uids in found.items()}

    def study_here(self, site: str, study_instance_uid: str) -> StudyHere | None:
        """The study as far as it is here, None where nothing of it ever came."""
        carrying = (
            select(func.count())
            .select_from(association_study)
            .join(association, association.c.id == association_study.c.association_id)
            .where(association_study.c.study_key == study.c.key, association.c.closed_at.is_(None))
            .scalar_subquery()
        )
        query = select(
            study.c.key, study.c.calling_ae, study.c.last_received_at, carrying.label("open")
        ).where(study.c.site == site, study.c.study_instance_uid == study_instance_uid)
        with self._ledger.read() as connection:
            row = connection.execute(query).one_or_none()
        return (
            None
            if row is None
            else StudyHere(StudyKey(row.key), row.calling_ae, row.last_received_at, row.open)
        )

    def changed_since(self, site: str, since: float) -> tuple[Sequence[str], Sequence[str]]:
        """Studies with images since `since` (seconds since the epoch): those never looked for, and those that were
        finished or given up before their newest image came."""
        query = (
            select(
                study.c.study_instance_uid, retrieval.c.state, retrieval.c.ended_at, study.c.last_received_at
            )
            .outerjoin(
                retrieval,
                and_(
                    retrieval.c.site == study.c.site,
                    retrieval.c.study_instance_uid == study.c.study_instance_uid,
                ),
            )
            .where(study.c.site == site, study.c.last_received_at >= since)
        )
        new, again = [], []
        with self._ledger.read() as connection:
            for row in connection.execute(query):
                if row.state is None:
                    new.append(row.study_instance_uid)
                elif row.ended_at is not None and row.last_received_at > row.ended_at:
                    again.append(row.study_instance_uid)
        return new, again

    def steps_since(self, site: str, since: float) -> dict[str, float]:
        """Study Instance UIDs of procedure steps that we heard of since `since`, with when that was last."""
        from fiona_dagster.adapters.ledger.reception_schema import procedure, procedure_study

        query = (
            select(procedure_study.c.study_instance_uid, func.max(procedure.c.heard_at).label("at"))
            .join(procedure, procedure.c.id == procedure_study.c.procedure_id)
            .where(procedure.c.site == site, procedure.c.heard_at >= since)
            .group_by(procedure_study.c.study_instance_uid)
        )
        with self._ledger.read() as connection:
            return {row.study_instance_uid: row.at for row in connection.execute(query)}

    def ended_before(self, site: str, moments: dict[str, float]) -> list[str]:
        """Of these studies those that ended before the moment beside them."""
        query = select(retrieval.c.study_instance_uid, retrieval.c.ended_at).where(
            retrieval.c.site == site, retrieval.c.ended_at.is_not(None)
        )
        with self._ledger.read() as connection:
            return [
                row.study_instance_uid
                for row in connection.execute(query)
                if row.ended_at < moments.get(row.study_instance_uid, row.ended_at)
            ]


def _discovery(site: str, source: str) -> str:
    """The name of a row of `snapshot`, which has room for 64 characters."""
    return f"discovery {hashlib.sha256(f'{site} {source}'.encode()).hexdigest()[:32]}"


def _is(site: str, study_instance_uid: str) -> Any:
    return and_(retrieval.c.site == site, retrieval.c.study_instance_uid == study_instance_uid)


def _account(row: Any) -> Account:
    values = dict(row._mapping)  # noqa: SLF001 — the documented way to a mapping
    return Account(**values | {"origin": Origin(row.origin), "state": RetrievalState(row.state)})
