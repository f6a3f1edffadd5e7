"""After a crash the archive tells what the ledger has not heard of; nothing that was acknowledged is lost.

What lies in `.incoming` was never acknowledged and goes to the quarantine. What lies in the archive or aside was
made durable, and may have been acknowledged, before its record reached the ledger: it is recorded now. Study folders
that did not change since everything was last known to be recorded are not opened. What was refused and kept has its
reason beside it, and is recorded as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fiona_dagster.adapters import fiona_layout
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.received_files import Part10File, read_instance, sha256_of_data_set
from fiona_dagster.adapters.spool import Spool
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import Peer, ReceivedInstance, Refusal, StoreRequest, received_instance
from fiona_dagster.settings import Site
from scp_listener.log import LOG

MARGIN_SECONDS = 120.0
"""A folder's time may be older than the moment when its file was placed, by the clock's and the disk's steps."""

_BATCH = 200
_UNACKNOWLEDGED = "unacknowledged at a crash"


@dataclass(frozen=True)
class Recovered:
    """Counts of what a start found."""

    lost_associations: int = 0
    unacknowledged: int = 0
    recorded: int = 0
    unreadable: int = 0
    rebuilt_studies: int = 0
    refusals_recorded: int = 0

    def __str__(self) -> str:
        return (
            f"{self.recorded} instances recorded, {self.unacknowledged} unacknowledged files kept in the "
            f"quarantine, {self.unreadable} unreadable, {self.lost_associations} lost Associations closed, "
            f"side files of {self.rebuilt_studies} studies made again, {self.refusals_recorded} refusals recorded"
        )


def recover(site: Site, ledger: Ledger, live_workers: Iterable[str] = ()) -> Recovered:
    """Bring the ledger up to date with the disk; `live_workers` are listener processes that are at work.

    Raises:
        Transient: the ledger does not answer.
        OSError: the data directory cannot be read or written.
    """
    began = time.time()
    live = list(live_workers)
    spool = Spool(site.layout)
    refusals = _unrecorded_refusals(site, spool, ledger, began - MARGIN_SECONDS if live else float("inf"))
    found = replace(_abandoned(site, spool, ledger, live), refusals_recorded=refusals)
    found = _unrecorded(site, spool, ledger, found)
    ledger.commitments.release_claims(site.name, live, now=time.time())
    lost = ledger.reception.close_lost_associations(site.name, live, time.time())
    if not live and not found.unreadable:
        spool.mark_recorded(began)
    return replace(found, lost_associations=lost)


def _abandoned(site: Site, spool: Spool, ledger: Ledger, live: list[str]) -> Recovered:
    count = 0
    for upload in spool.abandoned(live):
        if upload.stat().st_nlink > 1:
            upload.unlink()  # it reached the archive, where it is found like any other
            continue
        peer = fiona_layout.UNKNOWN_PEER
        refusal = Refusal(
            site.name, int(Status.PROCESSING_FAILURE), _UNACKNOWLEDGED, upload.stat().st_mtime, peer
        )
        ledger.reception.refuse(spool.refuse(upload, refusal))
        count += 1
    return Recovered(unacknowledged=count)


def _unrecorded_refusals(site: Site, spool: Spool, ledger: Ledger, before: float) -> int:
    """Record what was refused and kept before a moment, and never reached the ledger: later ones a worker that is alive
    may still have in its queue."""
    known = ledger.reception.refused_paths(site.name)
    count = 0
    for path in sorted(site.layout.refused.glob("*.dcm")):
        place = spool.relative(path)
        if place not in known and path.stat().st_ctime < before:
            ledger.reception.refuse(spool.told_refusal(path, site.name))
            count += 1
    return count


def _unrecorded(site: Site, spool: Spool, ledger: Ledger, found: Recovered) -> Recovered:
    until = spool.recorded_until()
    since = (
        until - MARGIN_SECONDS if until <= time.time() else 0.0
    )  # the clock was put back since: nothing is known
    peers = fiona_layout.arrived_peers(site.layout)
    batch: list[ReceivedInstance] = []
    recorded = unreadable = rebuilt = 0
    for study_uid, paths in _candidates(site, spool, ledger, since):
        peer = peers.get(study_uid or "")
        for path in paths:
            try:
                batch.append(_instance(site, spool, path, peers))
                peer = batch[-1].peer
            except Reject:
                unreadable += 1
            if len(batch) == _BATCH:
                ledger.reception.record([(instance, None) for instance in batch])
                recorded, batch = recorded + len(batch), []
        if study_uid and not fiona_layout.is_complete(site.layout, study_uid):
            rebuilt += _rebuild(site.layout, study_uid, peer)
    ledger.reception.record([(instance, None) for instance in batch])
    return replace(found, recorded=recorded + len(batch), unreadable=unreadable, rebuilt_studies=rebuilt)


def _candidates(
    site: Site, spool: Spool, ledger: Ledger, since: float
) -> Iterator[tuple[str | None, list[Path]]]:
    """Study Instance UID and unrecorded files of every changed study; then, without one, those kept aside."""
    for folder in sorted(site.layout.archive.iterdir()):
        if folder.name.startswith("scp_") and folder.stat().st_mtime >= since:
            study_uid = folder.name.removeprefix("scp_")
            known = ledger.reception.recorded_paths(site.name, study_uid)
            yield study_uid, [path for path in sorted(folder.iterdir()) if spool.relative(path) not in known]
    for path in sorted(site.layout.aside.iterdir()):
        if path.stat().st_ctime >= since:
            known = set(ledger.reception.known_contents(site.name, path.name.rpartition(".")[0]).values())
            if spool.relative(path) not in known:
                yield None, [path]


def _instance(site: Site, spool: Spool, path: Path, peers: dict[str, Peer]) -> ReceivedInstance:
    meta, header = read_instance(path)
    study_uid = header.study_instance_uid
    known = peers.get(study_uid) or fiona_layout.study_peer(site.layout, study_uid)
    peer = _peer(meta, known or fiona_layout.UNKNOWN_PEER)
    status = path.stat()
    return received_instance(
        header,
        StoreRequest(meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid),
        site=site.name,
        sha256=sha256_of_data_set(path),
        size_bytes=status.st_size,
        path=spool.relative(path),
        received_at=status.st_mtime,
        peer=peer,
        aside=path.parent == site.layout.aside,
    )


def _peer(meta: Part10File, of_study: Peer) -> Peer:
    """Who sent a file, under which called AE title: it says so itself, where its study may have several senders."""
    unknown = fiona_layout.UNKNOWN_PEER
    if of_study != unknown and (
        not meta.receiving_ae
        or (of_study.calling_ae, of_study.called_ae) == (meta.source_ae, meta.receiving_ae)
    ):
        return of_study
    return replace(
        unknown,
        calling_ae=meta.source_ae or unknown.calling_ae,
        called_ae=meta.receiving_ae or unknown.called_ae,
    )


def _rebuild(layout: Layout, study_uid: str, peer: Peer | None) -> int:
    try:
        fiona_layout.rebuild_study(layout, study_uid, peer)
    except (OSError, Reject) as error:
        LOG.warning("side files of a study were not made again (%s)", type(error).__name__)
        return 0
    return 1
