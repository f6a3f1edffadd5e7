"""What may be deleted, gathered from the ledger, decided by `domain.retention`, done by `adapters.cleanup`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiona_dagster.adapters import cleanup
from fiona_dagster.adapters.delivered_packages import put_away
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.adapters.package_files import packages_in
from fiona_dagster.domain.identifiers import StudyKey
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.retention import (
    DiskUse,
    ExportStanding,
    StudyStanding,
    TransferStanding,
    choose_delivered,
    choose_expired,
    choose_exports,
    choose_leftovers,
    choose_studies,
    reasons,
)
from fiona_dagster.domain.transfer import Disposition, Transfer, TransferState
from fiona_dagster.settings import Settings, Site


@dataclass
class DiskReport:
    """What was deleted, as counts and bytes, and how many studies stay for which reason."""

    counts: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)

    @property
    def kept_text(self) -> str:
        """The reasons as a list in Markdown."""
        return "\n".join(f"- {count} x {reason}" for reason, count in sorted(self.kept.items()))

    def add(self, name: str, count: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + count


def clean_disk(
    ledger: Ledger,
    settings: Settings,
    *,
    now: float,
    usage: Callable[[Path], Any] = shutil.disk_usage,
) -> DiskReport:
    """Archive folders above the limit, stale links, leftovers and confirmed exports, at every site.

    Args:
        now: seconds since the epoch.
        usage: what says how full the file system of a folder is.

    Raises:
        Transient, Permanent: the disk refuses.
    """
    report = DiskReport()
    for site in settings.sites:
        _studies(ledger, settings, site, report, cleanup.disk_use(site.layout.datadir, usage), now=now)
        links = cleanup.stale_links(site.layout, now=now)
        report.add("stale_links", links.links)
    _exports(ledger, settings, report, cleanup.disk_use(settings.layout.outbox, usage), now=now)
    return report


def standing_of(ledger: Ledger, study: StudyRecord) -> StudyStanding:
    """All that decides whether a study's files may go."""
    instances = ledger.studies.instances(study.key)
    transfers = ledger.transfers.of_study(study.key)
    return StudyStanding(
        study_key=study.key,
        study_instance_uid=study.study_instance_uid,
        last_received_at=study.last_received_at,
        instance_count=study.instance_count,
        arrived_count=study.arrived_count,
        transfers=tuple(_transfer(ledger, study, one) for one in transfers),
        revision=study.revision,
        ended=study.routed_revision == study.revision
        and not any(t.state in (TransferState.REQUESTED, TransferState.FORWARDED) for t in transfers),
        held_reason=study.held_reason or "",
        bytes=sum(one.size_bytes for one in instances),
        given_up=study.given_up_at is not None,
        aside_count=sum(one.aside for one in instances),
    )


def _transfer(ledger: Ledger, study: StudyRecord, transfer: Transfer) -> TransferStanding:
    settled = sum(
        row.disposition in (Disposition.RELEASED, Disposition.EXCLUDED)
        for row in ledger.transfers.release_rows(transfer.id)
    )
    return TransferStanding(
        transfer.project,
        transfer.state,
        transfer.revision,
        transfer.packaged_revision,
        unconfirmed_instances=study.instance_count - settled,
    )


def _studies(
    ledger: Ledger, settings: Settings, site: Site, report: DiskReport, disk: DiskUse, *, now: float
) -> None:
    present = ledger.studies.kept(site.name)
    by_key = {one.key: one for one in present}
    decided = choose_studies(
        [standing_of(ledger, one) for one in present],
        disk,
        now=now,
        limit_percent=settings.disk_limit_percent,
    )
    for decision in decided:
        if not decision.delete:
            continue
        study = by_key[StudyKey(decision.name)]
        instances = ledger.studies.instances(study.key)
        # first the files: what a crash leaves half done is still listed, and finished by the next call
        names = {one.sop_instance_uid for one in instances}
        done = cleanup.remove_study(site.layout, study.study_instance_uid, only=names)
        done_copies = cleanup.remove_copies(site.layout, study.key)
        gone = [one.id for one in instances if not (site.layout.datadir / one.path).exists()]
        ledger.studies.purge(study.key, gone, now=now)  # an image that came while we deleted goes on
        report.add("bytes_freed", done.bytes + done_copies.bytes)
        report.add("studies_deleted", 1)
    for reason, count in reasons(decided, deleted=False).items():
        report.kept[reason] = report.kept.get(reason, 0) + count


def _exports(ledger: Ledger, settings: Settings, report: DiskReport, disk: DiskUse, *, now: float) -> None:
    layout = settings.layout
    if not settings.outbox.leave_delivered:
        report.add("exports_moved", put_away(layout, choose_delivered(_packages(ledger, layout))))
    packages = _packages(ledger, layout)
    aside = {one.name for one in packages if one.delivered}
    decided = choose_expired(packages, now=now, keep_days=settings.outbox.keep_days)
    expired = {one.name for one in decided if one.delete}
    full = [one for one in choose_exports(packages, disk) if one.delete]
    left = choose_leftovers(cleanup.leftovers(layout.outbox), now=now)
    for delivered, names in (
        (True, sorted(expired | {one.name for one in full if one.name in aside})),
        (False, [one.name for one in (*full, *left) if one.delete and one.name not in aside]),
    ):
        done = cleanup.remove_exports(layout, names, delivered=delivered)
        report.add("exports_deleted", len(names))
        report.add("bytes_freed", done.bytes)


def _packages(ledger: Ledger, layout: Layout) -> list[ExportStanding]:
    """Packages in the outbox with the destinations that confirmed them; a transfer that is not delivered is pending."""
    confirmed: dict[str, int] = {}
    unfinished: dict[str, int] = {}
    last: dict[str, float] = {}
    for transfer in ledger.transfers.all():
        done = transfer.state == TransferState.DELIVERED and transfer.packaged_revision == transfer.revision
        for record in ledger.deliveries.of_transfer(transfer.id):
            last[record.name] = max(last.get(record.name, 0.0), record.confirmed_at or 0.0)
            if record.state == "superseded":
                confirmed[record.name] = confirmed.get(record.name, 0) + 1
                unfinished.setdefault(record.name, 0)
            elif record.kind == "package":
                current = record.state == "confirmed" and record.revision == transfer.revision
                confirmed[record.name] = confirmed.get(record.name, 0) + current
                # DELIVERED is only reached when every destination of the project confirmed
                unfinished[record.name] = unfinished.get(record.name, 0) + (not done or not current)
    standings = []
    for path in (*packages_in(layout.outbox), *packages_in(layout.delivered)):
        facts = path.stat()
        standings.append(
            ExportStanding(
                path.name,
                facts.st_size,
                facts.st_mtime,
                pending=unfinished.get(path.name, 1),
                confirmed=confirmed.get(path.name, 0),
                confirmed_at=last.get(path.name, 0.0),
                delivered=path.parent == layout.delivered,
            )
        )
    return standings
