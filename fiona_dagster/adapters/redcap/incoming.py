"""Writing into Incoming: studies, series and transfers, each row once, whatever is repeated or lost on the way.

REDCap numbers new rows; what is written is read back by its key, what is missing is written again, and of rows that
two gateways made of one thing the lowest stays. Writers of one gateway take turns under a file lock besides, which
spares them most of that.
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
    NEW,
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
                        if row["series_instance_uid"]
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
        """Read, write what is wanting, read again. Returns the last rows read, rows written, rows left alone.

        An import of new rows is not repeated as it is, for it may have been carried out: it is read back first.
        """
        written = unchanged = 0
        carried_out = False
        failure = Transient(
            "Incoming does not keep what is written into it; who else is writing the same rows?"
        )
        try:
            with self._lock.acquire(timeout=_LOCK_SECONDS):
                for number in range(_ROUNDS):
                    rows = self._project.rows(records=records, forms=forms)
                    todo = plan(rows, again=carried_out)
                    unchanged = todo.unchanged if number == 0 else unchanged
                    if not todo.writes and not todo.erasures:
                        return rows, written, unchanged
                    written += len(todo.writes)
                    try:
                        self._project.write_rows([self._known(row) for row in todo.writes])
                    except Transient as error:
                        if not any(row.get(INSTANCE) == NEW for row in todo.writes):
                            raise
                        failure = error
                        continue
                    carried_out = True
                    self._project.write_rows(todo.erasures, overwrite=True)
        except Timeout as error:
            raise Transient("another process has been writing into Incoming for minutes") from error
        raise failure

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
                self._weigh_instance(plan, name, row, instances, numbers, again=again)
                self._erase(plan, instances, numbers[1:], SERIES)
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
                for number in numbers[1:]:
                    row = _with_what_the_double_knows(row, instances.rows[number])
                if numbers:
                    _keep_newer_request(row, instances.rows[numbers[0]])
                key = one.transfer_key or "\x1f".join((one.project, one.participant, one.event))
                self._weigh_instance(plan, key, row, instances, numbers, again=again and len(numbers) < 2)
                self._erase(plan, instances, numbers[1:], TRANSFERS)
        return plan

    def _weigh_instance(
        self,
        plan: _Plan,
        key: str,
        row: dict[str, Any],
        instances: Instances,
        numbers: Sequence[int],
        *,
        again: bool,
    ) -> None:
        if numbers:
            self._weigh(plan, {**row, INSTANCE: numbers[0]}, instances.rows[numbers[0]], again=again)
            return
        new = instances.add(key, row)
        if new is not None:
            plan.writes.append(new)

    def _erase(self, plan: _Plan, instances: Instances, numbers: Sequence[int], form: str) -> None:
        columns = self._columns_of(form)
        plan.erasures += [blank_row(instances.rows[number], RECORD, columns) for number in numbers]

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
    """Numbers of the rows with its key, else the latest with equal project, name and event, as FIONA does."""
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
    return by_key or same[-1:]


def _with_what_the_double_knows(row: dict[str, Any], double: Row) -> dict[str, Any]:
    """`row` before its double is erased: what the double tells of a later end, or of a later request, is kept."""
    values = {
        name: value for name, value in double.items() if name.startswith(TRANSFERS[:-1]) and value != ""
    }
    if str(values.get("transfer_date", "")) > str(row.get("transfer_date", "")):
        row = {**row, **values}
    _keep_newer_request(row, double, adopt=True)
    return row


def _keep_newer_request(row: dict[str, Any], stored: Row, *, adopt: bool = False) -> None:
    """A person may have asked again since: a request is never dated back. `adopt` takes it over from another row."""
    if str(stored.get("transfer_requested_date", "")) > str(row.get("transfer_requested_date", "")):
        for name in ("transfer_requested_date", "transfer_requested_by"):
            row.pop(name, None)
            if adopt and stored.get(name):
                row[name] = stored[name]
