"""The ledger against the disk: every instance that is recorded lies where it should, and nothing else lies there."""

from __future__ import annotations

from dataclasses import dataclass

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.domain.transfer import Disposition
from fiona_dagster.settings import Settings


@dataclass(frozen=True)
class Discrepancy:
    """Something that does not add up; `problem` holds counts and places by kind, no values."""

    study_key: str
    problem: str


def discrepancies(ledger: Ledger, settings: Settings) -> list[Discrepancy]:
    """Everything that does not add up, over all studies that were not cleaned up.

    Files that arrived in the last moments may not be recorded yet (the recorder writes in batches): extra files of a
    study that is still arriving do not count.
    """
    arriving = {one.key for one in ledger.studies.arriving(limit=1_000_000)}
    found: list[Discrepancy] = []
    for study in ledger.studies.all():
        if study.purged_at is None:
            found += _received(ledger, settings, study, still_arriving=study.key in arriving)
        found += _transfers(ledger, settings, study)
    return found


def _received(
    ledger: Ledger, settings: Settings, study: StudyRecord, *, still_arriving: bool
) -> list[Discrepancy]:
    layout = settings.site(study.site).layout
    recorded = set(ledger.inventory.received_paths(study.key))
    lost = [path for path in recorded if not (layout.datadir / path).is_file()]
    found = []
    if lost:
        found.append(Discrepancy(study.key, f"{len(lost)} recorded instance(s) are not on disk"))
    folder = layout.study_archive(study.study_instance_uid)
    on_disk = (
        {str(path.relative_to(layout.datadir)) for path in folder.iterdir()} if folder.is_dir() else set()
    )
    extra = on_disk - recorded
    if extra and not still_arriving:
        found.append(Discrepancy(study.key, f"{len(extra)} file(s) in the archive are not recorded"))
    if study.instance_count != len(recorded):
        found.append(
            Discrepancy(
                study.key, f"{study.instance_count} instances are counted, {len(recorded)} are recorded"
            )
        )
    return found


def _transfers(ledger: Ledger, settings: Settings, study: StudyRecord) -> list[Discrepancy]:
    datadir = settings.site(study.site).layout.datadir
    found = []
    for transfer in ledger.transfers.of_study(study.key):
        balance = ledger.transfers.balance(transfer.id)
        if not balance.holds:
            found.append(
                Discrepancy(
                    study.key, f"transfer {transfer.id}: the conservation law does not hold: {balance}"
                )
            )
        released = [
            row
            for row in ledger.transfers.release_rows(transfer.id)
            if row.disposition == Disposition.RELEASED
        ]
        gone = [row for row in released if not (datadir / row.path).is_file()]
        if gone and study.purged_at is None:
            found.append(
                Discrepancy(study.key, f"transfer {transfer.id}: {len(gone)} released file(s) are gone")
            )
        for delivery in ledger.deliveries.of_transfer(transfer.id):
            if (
                delivery.revision == transfer.revision
                and delivery.instance_count != len(released)
                and not gone
            ):
                found.append(
                    Discrepancy(
                        study.key,
                        f"transfer {transfer.id}: {len(released)} released, {delivery.instance_count} confirmed "
                        f"by {delivery.destination}",
                    )
                )
    return found
