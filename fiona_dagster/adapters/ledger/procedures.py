"""Performed Procedure Steps in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, and_, delete, insert, select, update

from fiona_dagster.adapters.clock import moment
from fiona_dagster.adapters.ledger.reception_schema import procedure, procedure_instance, procedure_study
from fiona_dagster.adapters.ledger.schema import study
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.procedures import (
    DUPLICATE_INSTANCE,
    NO_SUCH_INSTANCE,
    CreatedProcedure,
    Procedure,
    ProcedureChange,
    ProcedureState,
    state_after,
)

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger


class Procedures:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def create(self, site: str, calling_ae: str, created: CreatedProcedure) -> None:
        """Record a step that begins.

        Raises:
            Reject: there is one of this UID.
        """
        now = moment()
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            if self._find(connection, site, created.mpps_uid) is not None:
                raise Reject(DUPLICATE_INSTANCE, "the step exists already")
            procedure_id = connection.execute(
                insert(procedure)
                .values(
                    site=site,
                    mpps_uid=created.mpps_uid,
                    state=ProcedureState.IN_PROGRESS.value,
                    station=_storable(created.station),
                    modality=_storable(created.modality),
                    calling_ae=_storable(calling_ae),
                    started_at=now.at,
                    heard_at=now.at,
                    heard_boot=now.boot,
                    heard_uptime=now.uptime,
                )
                .returning(procedure.c.id)
            ).scalar_one()
            connection.execute(
                insert(procedure_study),
                [
                    {"procedure_id": procedure_id, "study_instance_uid": uid, "site": site}
                    for uid in created.study_instance_uids
                ],
            )
            _expect(connection, procedure_id, created.expected)

    def change(self, site: str, mpps_uid: str, change: ProcedureChange) -> ProcedureState:
        """Change a step; returns its state.

        Raises:
            Reject: there is none of this UID, or it has ended.
        """
        now = moment()
        with self._ledger.begin() as connection:
            self._ledger.wait_for_turn(connection)
            row = self._find(connection, site, mpps_uid)
            if row is None:
                raise Reject(NO_SUCH_INSTANCE, "there is no such step")
            state = state_after(ProcedureState(row.state), change)
            connection.execute(
                update(procedure)
                .where(procedure.c.id == row.id)
                .values(
                    state=state.value,
                    ended_at=now.at if state.is_final else None,
                    heard_at=now.at,
                    heard_boot=now.boot,
                    heard_uptime=now.uptime,
                )
            )
            if change.expected is not None:
                connection.execute(
                    delete(procedure_instance).where(procedure_instance.c.procedure_id == row.id)
                )
                _expect(connection, row.id, change.expected)
        return state

    def of_study(self, key: str) -> list[Procedure]:
        """The steps that name this study, in the order in which they began."""
        of_study = (
            select(procedure)
            .join(procedure_study, procedure_study.c.procedure_id == procedure.c.id)
            .join(
                study,
                and_(
                    study.c.site == procedure_study.c.site,
                    study.c.study_instance_uid == procedure_study.c.study_instance_uid,
                ),
            )
            .where(study.c.key == key)
            .order_by(procedure.c.started_at, procedure.c.id)
        )
        with self._ledger.read() as connection:
            return [_procedure(connection, row) for row in connection.execute(of_study).all()]

    def of_study_uid(self, site: str, study_instance_uid: str) -> list[Procedure]:
        """The same, also before the study's first image came."""
        of_study = (
            select(procedure)
            .join(procedure_study, procedure_study.c.procedure_id == procedure.c.id)
            .where(procedure_study.c.site == site, procedure_study.c.study_instance_uid == study_instance_uid)
            .order_by(procedure.c.started_at, procedure.c.id)
        )
        with self._ledger.read() as connection:
            return [_procedure(connection, row) for row in connection.execute(of_study).all()]

    def waiting(self, site: str, *, since: float) -> list[str]:
        """Study Instance UIDs of steps that we heard of since `since` (seconds since the epoch), newest first."""
        query = (
            select(procedure_study.c.study_instance_uid)
            .join(procedure, procedure.c.id == procedure_study.c.procedure_id)
            .where(procedure.c.site == site, procedure.c.heard_at >= since)
            .order_by(procedure.c.heard_at.desc())
        )
        with self._ledger.read() as connection:
            return list(dict.fromkeys(connection.execute(query).scalars()))

    def _find(self, connection: Connection, site: str, mpps_uid: str) -> Any:
        where = and_(procedure.c.site == site, procedure.c.mpps_uid == mpps_uid)
        return connection.execute(select(procedure.c.id, procedure.c.state).where(where)).one_or_none()


def _expect(connection: Connection, procedure_id: int, expected: Mapping[str, tuple[str, ...]]) -> None:
    rows = {
        uid: {"procedure_id": procedure_id, "sop_instance_uid": uid, "series_instance_uid": series}
        for series, uids in expected.items()
        for uid in uids
    }
    if rows:
        connection.execute(insert(procedure_instance), list(rows.values()))


def _procedure(connection: Connection, row: Row[Any]) -> Procedure:
    expected: dict[str, list[str]] = {}
    made = (
        select(procedure_instance)
        .where(procedure_instance.c.procedure_id == row.id)
        .order_by(procedure_instance.c.series_instance_uid, procedure_instance.c.sop_instance_uid)
    )
    for one in connection.execute(made):
        expected.setdefault(one.series_instance_uid, []).append(one.sop_instance_uid)
    return Procedure(
        row.mpps_uid,
        ProcedureState(row.state),
        row.station,
        row.modality,
        {series: tuple(uids) for series, uids in expected.items()},
        row.started_at,
        row.ended_at,
    )


def _storable(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
