"""The ledger against the disk: every instance that is recorded lies where it should, and nothing else lies there."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.domain.transfer import TransferState
from fiona_dagster.settings import Settings

RECORDED_SECONDS = 120.0
"""A received file is recorded within seconds; while the ledger is down, none is, and this is told."""

RECENT_SECONDS = 7 * 86_400.0
EVERY_SECONDS, TURNS = 900.0, 96
"""Reconciliation runs every quarter of an hour; the studies that rest share a day's runs."""

CONFIRMED = (TransferState.FORWARDED, TransferState.DELIVERED)
"""What is released now is what destinations confirmed."""


@dataclass(frozen=True)
class Discrepancy:
    """Something that does not add up; `problem` holds counts and places by kind, no values."""

    study_key: str
    problem: str


def discrepancies(
    ledger: Ledger, settings: Settings, *, clock: Callable[[], float] = time.time
) -> list[Discrepancy]:
    """Everything that does not add up; what was cleaned up need not be there.

    Studies that changed within a week are looked at every time, of the others one in 96: at every quarter of an hour,
    each once a day. The conservation law is counted over all of them every time (`Inventory.totals`).

    Reception and transfers go on meanwhile: the ledger is read before the disk for what must be there, and a file
    that is younger than two minutes need not be recorded yet (the recorder writes in batches).
    """
    found: list[Discrepancy] = []
    for key, changed_at in ledger.studies.last_changes():
        if not is_due(key, changed_at, now=clock()):
            continue
        study = ledger.studies.get(key)
        found += _received(ledger, settings, study, clock)
        found += _transfers(ledger, settings, study)
    return found


def is_due(study_key: str, changed_at: float, *, now: float) -> bool:
    """Whether a study is looked at now: it changed lately, or it is its turn."""
    turn = int(now / EVERY_SECONDS) % TURNS
    return now - changed_at < RECENT_SECONDS or zlib.crc32(study_key.encode()) % TURNS == turn


def _received(
    ledger: Ledger, settings: Settings, study: StudyRecord, clock: Callable[[], float]
) -> list[Discrepancy]:
    layout = settings.site(study.site).layout
    recorded = ledger.inventory.received_files(study.key)
    found = []
    lost = [path for path in recorded.paths if not (layout.datadir / path).is_file()]
    if lost:  # unless they were cleaned up just now
        lost = sorted(set(lost) - ledger.inventory.received_files(study.key).purged)
    if lost:
        found.append(Discrepancy(study.key, f"{len(lost)} recorded instance(s) are not on disk"))
    known = recorded.paths | recorded.purged
    extra = [
        path
        for path in _files(layout.study_archive(study.study_instance_uid))
        if str(path.relative_to(layout.datadir)) not in known and _is_settled(path, clock())
    ]
    if extra:
        found.append(Discrepancy(study.key, f"{len(extra)} file(s) in the archive are not recorded"))
    if recorded.counted != recorded.recorded:
        found.append(
            Discrepancy(
                study.key, f"{recorded.counted} instances are counted, {recorded.recorded} are recorded"
            )
        )
    return found


def _transfers(ledger: Ledger, settings: Settings, study: StudyRecord) -> list[Discrepancy]:
    datadir = settings.site(study.site).layout.datadir
    found = []
    for transfer in ledger.transfers.of_study(study.key):
        name = f"transfer {transfer.id}"
        balance = ledger.transfers.balance(transfer.id)
        if not balance.holds:
            found.append(Discrepancy(study.key, f"{name}: the conservation law does not hold: {balance}"))
        if transfer.state not in CONFIRMED:
            continue  # a copy is being made anew, or waits for a person: what was confirmed is an older one
        gone = [p for p in ledger.inventory.released_paths(transfer.id) if not (datadir / p).is_file()]
        if gone and ledger.transfers.get(transfer.id).state in CONFIRMED:
            found.append(Discrepancy(study.key, f"{name}: {len(gone)} released file(s) are gone"))
        for delivery in ledger.deliveries.of_transfer(transfer.id):
            if delivery.kind == "export":
                continue
            if delivery.revision == transfer.revision and delivery.instance_count != balance.released:
                found.append(
                    Discrepancy(
                        study.key,
                        f"{name}: {balance.released} released, {delivery.instance_count} confirmed by "
                        f"{delivery.destination}",
                    )
                )
    return found


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _is_settled(path: Path, now: float) -> bool:
    try:
        return now - path.lstat().st_mtime > RECORDED_SECONDS
    except FileNotFoundError:
        return False
