"""Writing into Incoming: studies, series and transfers, each row once, whatever is repeated or lost on the way.

Writers of one gateway take turns under a file lock, because REDCap has none: two that number instances at once would
overwrite each other. What is written is read back; what is missing then is written again under a free number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fiona_dagster.adapters.redcap.client import RedcapProject, batches
from fiona_dagster.adapters.redcap.repeating import (
    INSTANCE,
    INSTRUMENT,
    Instances,
    Row,
    base_rows,
    blank_row,
    differs,
    instances_by_record,
)
from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.registration import (
    RECORD,
    SERIES,
    STUDIES,
    TRANSFERS,
    RegisteredStudy,
    RegistrationReceipt,
    StudyRegistration,
    StudyStatus,
    TransferRow,
    TransferStatus,
    incoming_rows,
    transfer_fields,
)

STUDIES_AT_ONCE = 50
_ROUNDS = 5
_LOCK_SECONDS = 300.0
_STATUS_OF_STUDY = {TransferStatus.DONE: StudyStatus.TRANSFERRED, TransferStatus.FAILED: StudyStatus.FAILED}


@dataclass
class _Plan:
    """What one round of reading found wanting."""

    writes: list[dict[str, Any]] = field(default_factory=list)
    erasures: list[dict[str, Any]] = field(default_factory=list)
    unchanged: int = 0


class IncomingWriter:
    """Writes rows of Incoming through one client."""

    def __init__(self, project: RedcapProject, lock_file: Path) -> None:
        self._project = project
        self._lock = FileLock(lock_file)
        self._columns = _columns(project)

    def register(self, studies: Sequence[StudyRegistration]) -> RegistrationReceipt:
        """Studies and their series; see `RedcapRegistry.register`."""
        receipt = RegistrationReceipt((), 0, 0)
        for part in batches(studies, STUDIES_AT_ONCE):
            wanted = {one.study_instance_uid: incoming_rows(one) for one in part}

            def plan(rows: Sequence[Row], *, again: bool, wanted: Any = wanted) -> _Plan:
                return self._plan_studies(wanted, rows, again=again)

            rows, written, unchanged = self._until_there(list(wanted), [STUDIES, SERIES], plan)
            found = instances_by_record(rows, RECORD, SERIES)
            registered = tuple(
                RegisteredStudy(
                    uid,
                    {
                        str(row["series_instance_uid"]): n
                        for n, row in found.get(uid, Instances()).rows.items()
                    },
                )
                for uid in wanted
            )
            receipt = replace(
                receipt,
                studies=receipt.studies + registered,
                rows_written=receipt.rows_written + written,
                rows_unchanged=receipt.rows_unchanged + unchanged,
            )
        return receipt

    def record_transfers(self, transfers: Sequence[TransferRow]) -> int:
        """Rows of `transfers`; returns how many were written."""
        total = 0
        by_study: dict[str, list[TransferRow]] = {}
        for one in transfers:
            by_study.setdefault(one.study_instance_uid, []).append(one)
        for part in batches(list(by_study), STUDIES_AT_ONCE):
            wanted = {uid: by_study[uid] for uid in part}

            def plan(rows: Sequence[Row], *, again: bool, wanted: Any = wanted) -> _Plan:
                return self._plan_transfers(wanted, rows, again=again)

            total += self._until_there(part, [STUDIES, TRANSFERS], plan)[1]
        return total

    def _until_there(
        self, records: Sequence[str], forms: Sequence[str], plan: Callable[..., _Plan]
    ) -> tuple[list[dict[str, Any]], int, int]:
        """Read, write what is wanting, read again. Returns the last rows read, rows written, rows left alone."""
        written = unchanged = 0
        try:
            with self._lock.acquire(timeout=_LOCK_SECONDS):
                for number in range(_ROUNDS):
                    rows = self._project.rows(records=records, forms=forms)
                    todo = plan(rows, again=number > 0)
                    unchanged = todo.unchanged if number == 0 else unchanged
                    if not todo.writes and not todo.erasures:
                        return rows, written, unchanged
                    written += self._project.write_rows([self._known(row) for row in todo.writes])
                    self._project.write_rows(todo.erasures, overwrite=True)
        except Timeout as error:
            raise Transient("another process has been writing into Incoming for minutes") from error
        raise Transient(
            "Incoming does not keep what is written into it; somebody else may be writing the same rows"
        )

    def _known(self, row: dict[str, Any]) -> dict[str, Any]:
        """Only columns that the live dictionary has; `fiona redcap check` names the others."""
        return {name: value for name, value in row.items() if name in self._columns}

    def _plan_studies(
        self,
        wanted: dict[str, tuple[dict[str, str], list[dict[str, str]]]],
        rows: Sequence[Row],
        *,
        again: bool,
    ) -> _Plan:
        """`again`: only what is missing or double counts, because a server may store a value in its own spelling."""
        plan = _Plan()
        bases, series = base_rows(rows, RECORD), instances_by_record(rows, RECORD, SERIES)
        for uid, (base, series_rows) in wanted.items():
            stored = bases.get(uid)
            base = _kept(base, stored)  # noqa: PLW2901 — what Incoming knows better
            self._weigh(plan, base, stored, again=again)
            instances = series.setdefault(uid, Instances())
            for row in series_rows:
                name = row["series_instance_uid"]
                numbers = instances.having("series_instance_uid", name)
                self._weigh_instance(plan, row, instances, numbers, again=again)
                plan.erasures += [
                    blank_row(instances.rows[number], RECORD, self._columns_of(SERIES))
                    for number in numbers[1:]
                ]
        return plan

    def _plan_transfers(
        self, wanted: dict[str, list[TransferRow]], rows: Sequence[Row], *, again: bool
    ) -> _Plan:
        plan = _Plan()
        bases, transfers = base_rows(rows, RECORD), instances_by_record(rows, RECORD, TRANSFERS)
        for uid, ones in wanted.items():
            status = _STATUS_OF_STUDY.get(ones[-1].status, StudyStatus.ASSIGNED)
            base = {RECORD: uid, "study_status": str(int(status))}
            self._weigh(plan, base, bases.get(uid), again=again)
            instances = transfers.setdefault(uid, Instances())
            for one in ones:
                numbers = _same_transfer(instances, one)
                row = {RECORD: uid, INSTRUMENT: TRANSFERS, **transfer_fields(one)}
                if numbers:
                    _keep_newer_request(row, instances.rows[numbers[0]])
                self._weigh_instance(plan, row, instances, numbers, again=again)
        return plan

    def _weigh_instance(
        self, plan: _Plan, row: dict[str, Any], instances: Instances, numbers: Sequence[int], *, again: bool
    ) -> None:
        number = numbers[0] if numbers else instances.next_free()
        row = {**row, INSTANCE: number}
        self._weigh(plan, row, instances.rows.get(number), again=again)
        instances.rows.setdefault(number, row)

    def _weigh(self, plan: _Plan, row: dict[str, Any], stored: Row | None, *, again: bool) -> None:
        if stored is None or (not again and differs(self._known(row), stored)):
            plan.writes.append(row)
        else:
            plan.unchanged += 1

    def _columns_of(self, form: str) -> list[str]:
        return [name for name, own in self._columns.items() if own == form]


def _columns(project: RedcapProject) -> dict[str, str]:
    """Instrument by column of the live project, with the columns that say where a row belongs."""
    forms = {str(row["field_name"]): str(row["form_name"]) for row in project.metadata}
    columns = {
        str(row["export_field_name"]): forms.get(str(row["original_field_name"]), "")
        for row in project.export_field_names()
    }
    columns |= {f"{form}_complete": form for form in forms.values()}
    return columns | {INSTRUMENT: "", INSTANCE: ""}


def _kept(base: dict[str, str], stored: Row | None) -> dict[str, str]:
    """The study's row without what Incoming knows better: when it first arrived, and how far it has come since."""
    if stored is None:
        return base
    kept = {
        name: value for name, value in base.items() if name != "study_arrival_date" or not stored.get(name)
    }
    if str(stored.get("study_status", "")).isdigit() and int(stored["study_status"]) > int(
        base["study_status"]
    ):
        del kept["study_status"]
    return kept


def _same_transfer(instances: Instances, one: TransferRow) -> list[int]:
    """By the key, else the latest with equal project, name and event, as FIONA does."""
    by_key = instances.having("transfer_key", one.transfer_key) if one.transfer_key else []
    names = {
        "transfer_project_name": one.project,
        "transfer_name": one.participant,
        "transfer_event_name": one.event,
    }
    same = [
        number
        for number, row in sorted(instances.rows.items())
        if not row.get("transfer_key") and all(row.get(name, "") == value for name, value in names.items())
    ]
    return by_key[:1] or same[-1:]


def _keep_newer_request(row: dict[str, Any], stored: Row) -> None:
    """A person may have asked again since: a request is never dated back."""
    if str(stored.get("transfer_requested_date", "")) > str(row.get("transfer_requested_date", "")):
        for name in ("transfer_requested_date", "transfer_requested_by"):
            row.pop(name, None)
