"""Transfers in the ledger: requests, what became of every instance, verification."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Row,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from fiona_dagster.adapters.ledger.schema import release, revision, study, transfer, transition, verification
from fiona_dagster.adapters.ledger.sendings import rests, wakes
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import (
    AWAITING_VERIFICATION,
    CLEANED_UP,
    Balance,
    Disposition,
    ReleaseRow,
    Transfer,
    TransferState,
    state_for_request,
)

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.ledger import Ledger

_COLUMNS = [transfer.c[name] for name in Transfer.__dataclass_fields__]
_RELEASE_COLUMNS = [release.c[name] for name in ReleaseRow.__dataclass_fields__]


class Transfers:
    """Part of the ledger, see the package."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def request(self, study_key: str, request: TransferRequest, *, now: float, run_id: str = "") -> Transfer:
        """Ask for a transfer, or for one more time of an existing one. The same request again changes nothing
        unless a person asked, or the study has a newer revision than was confirmed.
        """
        with self._ledger.begin() as connection:
            key = request.key(study_key)
            revision = connection.execute(
                select(study.c.revision).where(study.c.key == study_key)
            ).scalar_one()
            row = connection.execute(select(*_COLUMNS).where(transfer.c.transfer_key == key)).one_or_none()
            existing = _transfer(row) if row is not None else None
            state = state_for_request(existing, request, study_revision=revision)
            if existing is None:
                connection.execute(
                    self._ledger.insert_ignoring(transfer),
                    {"transfer_key": key, "study_key": study_key, "project": request.project,
                     "participant": request.participant, "event": request.event, "source": request.source,
                     "requested_by": request.requested_by, "requested_at": now, "rule": request.rule,
                     "state": state.value, "changed_at": now},
                )  # fmt: skip
            elif state != existing.state or (
                request.source in ("assign", "resend") and state != TransferState.RETIRED
            ):
                connection.execute(
                    update(transfer).where(transfer.c.transfer_key == key).values(
                        state=state.value, reason="", requested_at=now, requested_by=request.requested_by,
                        generation=transfer.c.generation + 1, changed_at=now, registry_state="")
                )  # fmt: skip
            if (
                state == TransferState.REQUESTED
            ):  # work again: its key is back in Dagster, to be retired once more
                back = {"retired_at": None, "given_up_at": None}
                connection.execute(update(study).where(study.c.key == study_key).values(**back))
            if existing is None or state != existing.state:
                connection.execute(
                    insert(transition),
                    {"at": now, "study_key": study_key, "stage": "routing", "outcome": state.value,
                     "reason": f"{request.source} {request.project}", "run_id": run_id},
                )  # fmt: skip
            return _transfer(
                connection.execute(select(*_COLUMNS).where(transfer.c.transfer_key == key)).one()
            )

    def of_study(self, study_key: str, states: Iterable[TransferState] | None = None) -> list[Transfer]:
        """The transfers of a study, oldest first."""
        where = transfer.c.study_key == study_key
        if states is not None:
            where = and_(where, transfer.c.state.in_([state.value for state in states]))
        with self._ledger.read() as connection:
            return [
                _transfer(row)
                for row in connection.execute(select(*_COLUMNS).where(where).order_by(transfer.c.id))
            ]

    def all(self) -> list[Transfer]:
        """Every transfer, oldest first."""
        with self._ledger.read() as connection:
            return [_transfer(row) for row in connection.execute(select(*_COLUMNS).order_by(transfer.c.id))]

    def get(self, transfer_id: int) -> Transfer:
        """One transfer.

        Raises:
            Permanent: there is none.
        """
        with self._ledger.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(transfer.c.id == transfer_id)).one_or_none()
        if row is None:
            raise Permanent(f"the ledger has no transfer {transfer_id}")
        return _transfer(row)

    def studies_with_work(
        self, state: TransferState, limit: int = 200, *, now: float = math.inf
    ) -> list[tuple[StudyKey, int, int]]:
        """Studies with transfers in `state` that are complete at present: key, revision, and a number that grows
        when they are asked for anew or a destination that they waited for is back.

        Among the requested ones count those that were held only until their images came back; none that waits for a
        destination which is left alone beyond `now` (seconds since the epoch).
        """
        wanted = transfer.c.state == state.value
        if state == TransferState.REQUESTED:
            back = and_(transfer.c.state == TransferState.HELD.value, transfer.c.reason == CLEANED_UP)
            wanted = and_(or_(wanted, back), ~rests(now))
        query = (
            select(study.c.key, study.c.revision, func.sum(transfer.c.generation + wakes()).label("generation"))
            .join(transfer, transfer.c.study_key == study.c.key)
            .where(wanted, study.c.registered_revision == study.c.revision,
                   study.c.purged_at.is_(None))
            .group_by(study.c.key, study.c.revision)
            .order_by(func.min(transfer.c.requested_at))
            .limit(limit)
        )  # fmt: skip
        with self._ledger.read() as connection:
            return [
                (StudyKey(row.key), row.revision, int(row.generation)) for row in connection.execute(query)
            ]

    def set_state(
        self,
        transfer_id: int,
        state: TransferState,
        *,
        now: float,
        reason: str = "",
        run_id: str = "",
        generation: int | None = None,
        **columns: Any,
    ) -> bool:
        """Move a transfer on; `reason` holds no patient data.

        With `generation`, only while nobody asked for it anew: a request that came in during a run is not lost under
        the run's result. Returns whether it moved.
        """
        where = transfer.c.id == transfer_id
        if generation is not None:
            where = and_(where, transfer.c.generation == generation)
        with self._ledger.begin() as connection:
            moved = connection.execute(
                update(transfer)
                .where(where)
                .values(state=state.value, reason=reason, changed_at=now, **columns)
            )
            if moved.rowcount == 0:
                return False
            key = connection.execute(
                select(transfer.c.study_key).where(transfer.c.id == transfer_id)
            ).scalar_one()
            connection.execute(
                insert(transition),
                {"at": now, "study_key": key, "transfer_id": transfer_id, "stage": "transfer", "outcome": state.value,
                 "reason": reason, "run_id": run_id},
            )  # fmt: skip
            return True

    def record_release(
        self, transfer_id: int, revision: int, rows: Sequence[ReleaseRow], *, now: float, run_id: str,
        method_digest: str = "", profile: str = "",
    ) -> None:  # fmt: skip
        """What became of every instance, per instance, with a transition each. Replaces what stood there.

        `method_digest` names what made the copies (see `domain.deid.method`), `profile` is the profile's name.
        """
        with self._ledger.begin() as connection:
            key = connection.execute(
                select(transfer.c.study_key).where(transfer.c.id == transfer_id)
            ).scalar_one()
            connection.execute(delete(release).where(release.c.transfer_id == transfer_id))
            connection.execute(
                update(transfer)
                .where(transfer.c.id == transfer_id)
                .values(method_digest=method_digest, profile=profile)
            )
            if not rows:
                return
            connection.execute(
                insert(release),
                [{"transfer_id": transfer_id, "revision": revision, **asdict(row)} for row in rows],
            )
            connection.execute(
                insert(transition),
                [{"at": now, "study_key": key, "transfer_id": transfer_id, "instance_id": row.instance_id,
                  "stage": "deidentification", "outcome": row.disposition.value, "reason": row.reason,
                  "run_id": run_id} for row in rows],
            )  # fmt: skip

    def release_rows(self, transfer_id: int) -> list[ReleaseRow]:
        """What became of every instance of the newest de-identified revision."""
        with self._ledger.read() as connection:
            rows = connection.execute(
                select(*_RELEASE_COLUMNS)
                .where(release.c.transfer_id == transfer_id)
                .order_by(release.c.instance_id)
            )
            return [
                ReleaseRow(**{**row._mapping, "disposition": Disposition(row.disposition)})  # noqa: SLF001
                for row in rows
            ]

    def released_revision(self, transfer_id: int) -> int:
        """The revision that the release rows belong to; 0 when there are none."""
        with self._ledger.read() as connection:
            return int(
                connection.execute(
                    select(func.coalesce(func.max(release.c.revision), 0)).where(
                        release.c.transfer_id == transfer_id
                    )
                ).scalar_one()
            )

    def verify(
        self, transfer_id: int, revision: int, *, passed: bool, manifest_sha256: str,
        checks: Mapping[str, Mapping[str, Any]], now: float, run_id: str, sums: Mapping[int, str] | None = None,
    ) -> None:  # fmt: skip
        """Record a verification. Passed: what awaited it is released; failed: it is held, with the checks' names.

        `sums` are SHA-256 of the copies' files, by the instances' numbers.
        """
        failed = ", ".join(name for name, result in checks.items() if not result["passed"])
        outcome = Disposition.RELEASED if passed else Disposition.HELD
        reason = "" if passed else f"verification: {failed}"
        awaiting = and_(release.c.transfer_id == transfer_id, release.c.reason == AWAITING_VERIFICATION)
        with self._ledger.begin() as connection:
            self._ledger.upsert(connection, verification, [
                {"transfer_id": transfer_id, "revision": revision, "passed": passed, "at": now,
                 "manifest_sha256": manifest_sha256, "checks": dict(checks)},
            ])  # fmt: skip
            key = connection.execute(
                select(transfer.c.study_key).where(transfer.c.id == transfer_id)
            ).scalar_one()
            if sums:
                connection.execute(
                    update(release)
                    .where(
                        release.c.transfer_id == transfer_id,
                        release.c.instance_id == bindparam("of_instance"),
                    )
                    .values(sha256=bindparam("of_sha256")),
                    [{"of_instance": one, "of_sha256": digest} for one, digest in sums.items()],
                )
            moved = connection.execute(select(release.c.instance_id).where(awaiting)).scalars().all()
            connection.execute(
                update(release).where(awaiting).values(disposition=outcome.value, reason=reason)
            )
            if moved:
                connection.execute(
                    insert(transition),
                    [{"at": now, "study_key": key, "transfer_id": transfer_id, "instance_id": one,
                      "stage": "verification", "outcome": outcome.value, "reason": reason, "run_id": run_id}
                     for one in moved],
                )  # fmt: skip

    def verified_manifest(self, transfer_id: int, revision: int) -> str | None:
        """Hash of the manifest that passed verification at this revision, or None."""
        with self._ledger.read() as connection:
            row = connection.execute(
                select(verification.c.passed, verification.c.manifest_sha256).where(
                    verification.c.transfer_id == transfer_id, verification.c.revision == revision
                )
            ).one_or_none()
        return str(row.manifest_sha256) if row is not None and row.passed else None

    def untold(self) -> list[StudyKey]:
        """Registered studies that are there with transfers of which REDCap does not know the standing."""
        text = [cast(one, String) for one in (transfer.c.state, transfer.c.revision, transfer.c.generation)]
        standing = text[0] + ":" + text[1] + ":" + text[2]  # as registry_updates.standing writes it
        query = (
            select(study.c.key)
            .join(transfer, transfer.c.study_key == study.c.key)
            .where(transfer.c.registry_state != standing, study.c.purged_at.is_(None),
                   study.c.registered_revision > 0)
            .distinct()
        )  # fmt: skip
        with self._ledger.read() as connection:
            return [StudyKey(key) for key in connection.execute(query).scalars()]

    def told_registry(self, transfer_id: int, state: str) -> None:
        """What REDCap was told of the transfer."""
        with self._ledger.begin() as connection:
            connection.execute(
                update(transfer).where(transfer.c.id == transfer_id).values(registry_state=state)
            )

    def balance(self, transfer_id: int) -> Balance:
        """The conservation law of a transfer, from three counts that nothing keeps equal but being right.

        `received` is the study's own counter; the dispositions are counted rows; held as well is what came after the
        revision that was de-identified. An instance of that revision without a row is missing in the sum.
        """
        with self._ledger.read() as connection:
            row = connection.execute(coverage().where(transfer.c.id == transfer_id)).one()
            rows = connection.execute(
                select(release.c.disposition, func.count())
                .where(release.c.transfer_id == transfer_id)
                .group_by(release.c.disposition)
            )
            counted = {str(disposition): int(count) for disposition, count in rows}
        return Balance(
            received=row.received,
            released=counted.get("released", 0),
            held=counted.get("held", 0) + row.received - row.covered,
            excluded=counted.get("excluded", 0),
            failed=counted.get("failed", 0),
        )


def coverage() -> Select[Any]:
    """For every transfer: `received` by its study, and how many of them the de-identified revision `covered`."""
    rows = select(func.max(release.c.revision)).where(release.c.transfer_id == transfer.c.id)
    newest = rows.correlate(transfer).scalar_subquery()
    done = transfer.c.state.in_([TransferState.FORWARDED.value, TransferState.DELIVERED.value])
    covered_revision = func.coalesce(newest, case((done, transfer.c.revision), else_=0))
    return (
        select(
            transfer.c.id,
            study.c.instance_count.label("received"),
            func.coalesce(revision.c.instance_count, 0).label("covered"),
        )
        .join(study, study.c.key == transfer.c.study_key)
        .outerjoin(
            revision, and_(revision.c.study_key == study.c.key, revision.c.revision == covered_revision)
        )
    )


def _transfer(row: Row[Any]) -> Transfer:
    return Transfer(**{**row._mapping, "state": TransferState(row.state)})  # noqa: SLF001 — the documented way
