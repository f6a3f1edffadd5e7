"""What the ledger knows of studies that are arriving: activity, announcements, and what was found of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection, and_, case, delete, exists, func, insert, select

from fiona_dagster.adapters.ledger.reception_schema import (
    arrival_finding,
    expectation,
    procedure,
    procedure_instance,
    procedure_study,
)
from fiona_dagster.adapters.ledger.schema import association, association_study, instance, study
from fiona_dagster.domain.arrival import NOTHING_ANNOUNCED, Announced, Completes, Shortfall, StudyActivity
from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.moments import Moment
from fiona_dagster.domain.procedures import ProcedureState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger

WHOLE_STUDY = ""
"""Instead of a Series Instance UID, where a source counted the study alone."""

_IN_PROGRESS = ProcedureState.IN_PROGRESS.value
_KEYS_A_QUERY = 500
_Shortfalls = Mapping[str, Shortfall]
"""By Series Instance UID."""
_ACTIVITY_COLUMNS = [study.c[name] for name in (
    "key", "site", "revision", "instance_count", "arrived_count", "last_received_at", "heard_boot", "heard_uptime",
)]  # fmt: skip
_NAMES_STUDY = and_(
    procedure_study.c.site == study.c.site, procedure_study.c.study_instance_uid == study.c.study_instance_uid
)


@dataclass(frozen=True)
class SeriesExpectation:
    """How many instances of a series a source says that there are."""

    series_instance_uid: str
    modality: str
    instance_count: int

    def __repr__(self) -> str:
        return f"SeriesExpectation({self.instance_count})"


@dataclass(frozen=True)
class IncompleteStudy:
    """A study whose newest revision was closed although something is missing."""

    key: StudyKey
    revision: int
    at: float
    because: str
    shortfalls: tuple[Shortfall, ...]


class Arrivals:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def expect(self, key: str, series: Sequence[SeriesExpectation], *, now: float) -> None:
        """Replace what a source says that a study has; nothing where none knows it."""
        with self._ledger.begin() as connection:
            connection.execute(delete(expectation).where(expectation.c.study_key == key))
            if series:
                rows = [{"study_key": key, "at": now, **asdict(one)} for one in series]
                connection.execute(insert(expectation), rows)

    def counted_at(self, key: str) -> float | None:
        """When a source last said what a study has (seconds since the epoch); None: none did."""
        with self._ledger.read() as connection:
            found = connection.execute(
                select(func.max(expectation.c.at)).where(expectation.c.study_key == key)
            ).scalar_one()
        return None if found is None else float(found)

    def announced(self, key: str) -> Announced:
        """What others said of a study, as it stands now."""
        with self._ledger.read() as connection:
            return _announced(connection, [key]).get(key, NOTHING_ANNOUNCED)

    def incomplete(self, limit: int = 50) -> list[IncompleteStudy]:
        """Studies that went on incomplete, newest first, as long as no later revision was complete."""
        query = (
            select(arrival_finding)
            .join(
                study,
                and_(
                    study.c.key == arrival_finding.c.study_key, study.c.revision == arrival_finding.c.revision
                ),
            )
            .where(arrival_finding.c.complete.is_(False))
            .order_by(arrival_finding.c.at.desc())
            .limit(limit)
        )
        with self._ledger.read() as connection:
            return [
                IncompleteStudy(
                    StudyKey(row.study_key),
                    row.revision,
                    row.at,
                    row.because,
                    tuple(Shortfall(**one) for one in row.shortfalls),
                )
                for row in connection.execute(query)
            ]


def activities(connection: Connection, limit: int, counted_since: float) -> list[StudyActivity]:
    """Studies with instances that no revision covers yet, longest quiet first; see `Studies.arriving`."""
    carried = (
        select(association_study.c.study_key, func.count().label("open_associations"))
        .join(association, association.c.id == association_study.c.association_id)
        .where(association.c.closed_at.is_(None))
        .group_by(association_study.c.study_key)
        .subquery()
    )
    rows = connection.execute(
        select(*_ACTIVITY_COLUMNS, func.coalesce(carried.c.open_associations, 0).label("open_associations"))
        .outerjoin(carried, carried.c.study_key == study.c.key)
        .where(study.c.instance_count > study.c.arrived_count)
        .order_by(study.c.last_received_at)
        .limit(limit)
    ).all()
    found = [
        StudyActivity(
            StudyKey(row.key),
            row.site,
            row.revision,
            row.instance_count,
            row.arrived_count,
            Moment(row.last_received_at, row.heard_boot, row.heard_uptime),
            row.open_associations,
        )
        for row in rows
    ]
    announced = _announced(connection, [one.key for one in found], counted_since)
    return [replace(one, announced=announced.get(one.key, NOTHING_ANNOUNCED)) for one in found]


def record_finding(
    connection: Connection,
    key: str,
    revision: int,
    finding: Completes | None,
    shortfalls: Sequence[Shortfall],
    *,
    now: float,
) -> None:
    """Keep why a revision was closed, and what it lacks."""
    if finding is not None:
        connection.execute(
            insert(arrival_finding),
            {"study_key": key, "revision": revision, "at": now, "complete": finding.complete,
             "because": finding.because, "shortfalls": [asdict(one) for one in shortfalls]},
        )  # fmt: skip


def _announced(
    connection: Connection, keys: Sequence[str], counted_since: float = 0.0
) -> dict[str, Announced]:
    """By study key; only those of which anything was said."""
    found: dict[str, Announced] = {}
    for first in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[first : first + _KEYS_A_QUERY]
        counted, by_source = _expected(connection, some, counted_since)
        steps = _steps(connection, some)
        ended = [key for key, one in steps.items() if one.ended]
        by_steps = _missing_of_steps(connection, ended)
        unannounced = _unannounced(connection, [key for key in ended if not steps[key].in_progress])
        for key in {*counted, *steps}:
            found[key] = replace(
                steps.get(key, NOTHING_ANNOUNCED),
                unannounced=unannounced.get(key, 0),
                shortfalls=_larger(by_steps.get(key, {}), by_source.get(key, {})),
                expected=counted.get(key),
            )
    return found


def _larger(one: _Shortfalls, other: _Shortfalls) -> tuple[Shortfall, ...]:
    """A step and a source may miss the same instances of a series: what more is missing counts, once."""
    return tuple(
        max(
            (some[series] for some in (one, other) if series in some), key=lambda shortfall: shortfall.missing
        )
        for series in sorted({*one, *other})
    )


def _steps(connection: Connection, keys: Sequence[str]) -> dict[str, Announced]:
    rows = connection.execute(
        select(
            study.c.key,
            procedure.c.state,
            procedure.c.heard_at,
            procedure.c.heard_boot,
            procedure.c.heard_uptime,
        )
        .join(procedure_study, _NAMES_STUDY)
        .join(procedure, procedure.c.id == procedure_study.c.procedure_id)
        .where(study.c.key.in_(keys))
        .order_by(procedure.c.heard_at)
    )
    found: dict[str, Announced] = {}
    for row in rows:
        before, runs = found.get(row.key, NOTHING_ANNOUNCED), row.state == _IN_PROGRESS
        found[row.key] = replace(
            before,
            in_progress=before.in_progress + runs,
            ended=before.ended + (not runs),
            heard=Moment(row.heard_at, row.heard_boot, row.heard_uptime),
        )
    return found


def _missing_of_steps(connection: Connection, keys: Sequence[str]) -> dict[str, dict[str, Shortfall]]:
    """Series of ended steps of which not every instance came; one that is purged or aside has come."""
    here = exists(
        select(instance.c.id).where(
            instance.c.site == procedure.c.site,
            instance.c.sop_instance_uid == procedure_instance.c.sop_instance_uid,
        )
    )
    series, received = procedure_instance.c.series_instance_uid, func.sum(case((here, 1), else_=0))
    query = (
        select(
            study.c.key,
            series,
            func.max(procedure.c.modality).label("modality"),
            func.count().label("expected"),
            received.label("received"),
        )
        .join(procedure_study, _NAMES_STUDY)
        .join(procedure, procedure.c.id == procedure_study.c.procedure_id)
        .join(procedure_instance, procedure_instance.c.procedure_id == procedure.c.id)
        .where(study.c.key.in_(keys), procedure.c.state != _IN_PROGRESS)
        .group_by(study.c.key, series)
        .having(func.count() > received)
    )
    found: dict[str, dict[str, Shortfall]] = {}
    for row in connection.execute(query) if keys else ():
        shortfall = Shortfall(row.modality or "?", row.expected, row.received)
        found.setdefault(row.key, {})[row.series_instance_uid] = shortfall
    return found


def _unannounced(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    """Instances that no ended step names."""
    named = exists(
        select(procedure_instance.c.procedure_id)
        .join(procedure, procedure.c.id == procedure_instance.c.procedure_id)
        .where(
            procedure_instance.c.sop_instance_uid == instance.c.sop_instance_uid,
            procedure.c.site == instance.c.site,
            procedure.c.state != _IN_PROGRESS,
        )
    )
    query = (
        select(instance.c.study_key, func.count().label("instances"))
        .where(instance.c.study_key.in_(keys), ~named)
        .group_by(instance.c.study_key)
    )
    return {row.study_key: row.instances for row in connection.execute(query)} if keys else {}


def _expected(
    connection: Connection, keys: Sequence[str], since: float
) -> tuple[dict[str, int], dict[str, dict[str, Shortfall]]]:
    """How many instances a source counted in a study, and the series of which not as many came."""
    wanted = and_(expectation.c.study_key.in_(keys), expectation.c.at >= since)
    rows = connection.execute(select(expectation).where(wanted)).all()
    counted: dict[str, int] = {}
    short: dict[str, dict[str, Shortfall]] = {}
    here = _received(connection, sorted({row.study_key for row in rows}))
    for row in rows:
        series = row.series_instance_uid
        counted[row.study_key] = counted.get(row.study_key, 0) + row.instance_count
        came = here.get((row.study_key, series), 0)
        if came < row.instance_count:
            modality = "" if series == WHOLE_STUDY else row.modality or "?"
            short.setdefault(row.study_key, {})[series] = Shortfall(modality, row.instance_count, came)
    return counted, short


def _received(connection: Connection, keys: Sequence[str]) -> dict[tuple[str, str], int]:
    """SOP Instances by study key and Series Instance UID, and of whole studies."""
    counted = func.count(instance.c.sop_instance_uid.distinct())
    query = (
        select(instance.c.study_key, instance.c.series_instance_uid, counted.label("instances"))
        .where(instance.c.study_key.in_(keys))
        .group_by(instance.c.study_key, instance.c.series_instance_uid)
    )
    here: dict[tuple[str, str], int] = {}
    for row in connection.execute(query) if keys else ():
        here[row.study_key, row.series_instance_uid] = row.instances
        here[row.study_key, WHOLE_STUDY] = here.get((row.study_key, WHOLE_STUDY), 0) + row.instances
    return here
