"""Brings retired copies out of archive, destinations, outbox and our own disk, and says what became of each.

It can be interrupted and called again: what is gone is found gone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters import cleanup
from fiona_dagster.adapters.dicom_scu import query_instances, send
from fiona_dagster.adapters.package_files import manifest_at, packages_in
from fiona_dagster.adapters.package_retraction import retract
from fiona_dagster.adapters.rejection_note import NoteSubject, RejectedInstance, rejection_note
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient
from fiona_dagster.domain.retirement import CopyReceipt, Outcome, is_settled, pacs_receipt
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.adapters.ledger.retirements import Retirement
    from fiona_dagster.domain.project import Project
    from fiona_dagster.domain.transfer import Transfer
    from fiona_dagster.settings import Settings


def carry_out(
    ledger: Ledger,
    settings: Settings,
    projects: Mapping[str, Project],
    transfer_id: int,
    *,
    clock: Callable[[], float],
) -> list[CopyReceipt]:
    """Retire the copies of one transfer wherever the ledger knows them; a destination that is down is met again.

    Returns a receipt for every place, which the ledger keeps as well.
    """
    transfer = ledger.transfers.get(transfer_id)
    retirement = ledger.retirements.of(transfer_id)
    if retirement is None or transfer.state is not TransferState.RETIRED:
        raise Permanent(f"transfer {transfer_id} is not retired")
    work = _Work(ledger, settings, transfer, retirement, clock)
    receipts = [*work.archives(), *work.packages(projects.get(transfer.project))]
    receipts += [*work.handed_out(), *work.own_files()]
    ledger.retirements.record(receipts, settled=is_settled(receipts), transfer_id=transfer_id, now=clock())
    _let_the_right_one_go_on(ledger, retirement, receipts, now=clock())
    return receipts


def _let_the_right_one_go_on(
    ledger: Ledger, retirement: Retirement, receipts: list[CopyReceipt], *, now: float
) -> None:
    """Within a project both assignments have the same UIDs: the right one is held while the archive has the wrong."""
    pacs = [one for one in receipts if one.kind == "pacs"]
    if retirement.replaced_by is None or any(one.outcome is not Outcome.GONE for one in pacs):
        return
    right = ledger.transfers.get(retirement.replaced_by)
    if pacs and right.state is TransferState.HELD:
        again = TransferRequest(
            right.project, right.participant, right.event, "resend", requested_by=retirement.who
        )
        ledger.transfers.request(right.study_key, again, now=now)


class _Work:
    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        transfer: Transfer,
        retirement: Retirement,
        clock: Callable[[], float],
    ) -> None:
        self._ledger, self._settings, self._clock = ledger, settings, clock
        self._transfer, self._retirement = transfer, retirement
        self._rows = ledger.transfers.release_rows(transfer.id)

    def archives(self) -> Iterator[CopyReceipt]:
        """Every archive that was given copies."""
        pacs = self._settings.research_pacs
        for place in self._ledger.retirements.places_given(self._transfer.id):
            given = self._ledger.deliveries.given_for(self._transfer.id, place)
            if pacs is None or pacs.ae_title != place:
                detail = f"{len(given)} instance(s) were sent to {place}: have them deleted there"
                yield self._receipt("pacs", place, Outcome.PERSON, count=len(given), detail=detail)
                continue
            try:
                yield self._research_pacs(str(pacs), set(given))
            except (Transient, Permanent) as error:  # what somebody mends is met again
                yield self._receipt("pacs", str(pacs), Outcome.LATER, count=len(given), detail=str(error))

    def _research_pacs(self, name: str, given: set[str]) -> CopyReceipt:
        pacs, calling = self._settings.research_pacs, self._settings.calling_ae_title
        assert pacs is not None  # noqa: S101 — the caller looked
        mine = self._ledger.deliveries.given_for(self._transfer.id, pacs.ae_title)
        studies = sorted({one.study_instance_uid for one in mine.values()} - {""})
        studies = studies or sorted({one.study_instance_uid for one in self._rows} - {""})

        def shown() -> set[str]:
            return {uid for study in studies for uid in query_instances(pacs, calling, study)} & given

        there, noted, refused = shown(), bool(self._retirement.note_uid), ""
        if there and self._settings.pacs_takes_rejection_notes:
            for study in studies:
                taken, refused = self._note(study, there)
                noted = noted or taken
            there = shown()
        self._ledger.retirements.forget_given(self._transfer.id, pacs.ae_title, given - there)
        outcome, detail = pacs_receipt(given=len(given), shown=len(there), noted=noted, refused=refused)
        return self._receipt("pacs", name, outcome, count=len(given), detail=detail)

    def _note(self, study: str, there: set[str]) -> tuple[bool, str]:
        """Send the rejection note, once; whether the archive took it, and why not."""
        pacs = self._settings.research_pacs
        assert pacs is not None  # noqa: S101 — the caller looked
        rejected = [
            RejectedInstance(row.sop_instance_uid, row.sop_class_uid, row.series_instance_uid)
            for row in self._rows
            if row.sop_instance_uid in there and row.study_instance_uid == study
        ]
        if not rejected:
            return False, "the ledger does not know their series any more"
        subject = NoteSubject(
            study, self._transfer.participant, f"{self._transfer.transfer_key}/{self._retirement.at}"
        )
        uid, content = rejection_note(
            subject, rejected, self._retirement.cause.note_title, at=self._retirement.at
        )
        if uid == self._retirement.note_uid:
            return True, ""
        with tempfile.TemporaryDirectory(dir=self._settings.layout.output) as folder:
            path = Path(folder) / "note.dcm"
            path.write_bytes(content)
            report = send([path], pacs, self._settings.calling_ae_title)
        if report.failed:
            return False, f"it refuses the rejection note ({report.failed[0].problem})"
        self._ledger.retirements.note_taken(self._transfer.id, uid)
        return True, ""

    def packages(self, project: Project | None) -> Iterator[CopyReceipt]:
        """Every package that a destination confirmed, superseded ones too, and what was begun of others."""
        known = {one.name: one for one in project.destinations} if project else {}
        records = [
            one for one in self._ledger.deliveries.of_transfer(self._transfer.id) if one.kind == "package"
        ]
        sent = [
            (one.destination, one.name, one.size_bytes, True)
            for one in records
            if one.state not in ("retired", "left")
        ]
        whole = {(place, name) for place, name, *_ in sent}
        begun = [
            (one.destination, one.name, one.size_bytes, False)
            for one in self._ledger.parcels.of_transfer(self._transfer.id)
            if one.begun and one.destination and (one.destination, one.name) not in whole
        ]
        for place, name, size_bytes, confirmed in (*sent, *begun):
            if self._ledger.retirements.shares_package(self._transfer.id, place, name):
                detail = "another transfer's package replaced it under the same name"
                yield self._receipt("package", place, Outcome.GONE, name=name, count=1, detail=detail)
                continue
            destination = known.get(place)
            if destination is None:
                where = next(
                    (one.place for one in records if (one.destination, one.name) == (place, name)), place
                )
                detail = f"the destination is not configured any more: delete it at {where}"
                yield self._receipt("package", place, Outcome.PERSON, name=name, count=1, detail=detail)
                continue
            try:
                sftp = destination.type == "sftp"
                secret = self._settings.secret(destination.secret_ref) if sftp else ""
                outcome, detail = retract(destination, name, size_bytes, secret, confirmed=confirmed)
            except (Transient, Permanent, ConfigurationError) as error:  # what somebody mends is met again
                outcome, detail = Outcome.LATER, str(error)
            yield self._receipt("package", place, outcome, name=name, count=1, detail=detail)

    def handed_out(self) -> Iterator[CopyReceipt]:
        """What a person exported: nobody but whoever has it now can delete it."""
        for record in self._ledger.deliveries.of_transfer(self._transfer.id):
            if record.kind == "export" and record.state not in ("retired", "left"):
                detail = f"exported into {record.place}: whoever has it must delete it, and make it anew without this"
                yield self._receipt(
                    "export", record.destination, Outcome.PERSON, name=record.name,
                    count=record.instance_count, detail=detail,
                )  # fmt: skip

    def own_files(self) -> Iterator[CopyReceipt]:
        """The outbox and our own copies; the received images stay the hospital's, and go with retention."""
        layout, mine = self._settings.layout, self._transfer
        found = (*packages_in(layout.outbox), *packages_in(layout.delivered))
        names = [one for one in found if self._is_ours(one)]
        if names:
            for folder in (layout.outbox, layout.delivered):
                mine_there = [one.name for one in names if one.parent == folder]
                cleanup.remove_exports(layout, mine_there, delivered=folder == layout.delivered)
            left = sum(one.exists() for one in names)
            yield self._receipt(
                "outbox", "outbox", Outcome.LATER if left else Outcome.GONE, count=len(names),
                detail="deleted, and not there when looked for",
            )  # fmt: skip
        site = self._settings.site(self._ledger.studies.get(mine.study_key).site).layout
        folders = [site.release_folder(mine.study_key, f"{mine.project}-{mine.id}")]
        folders.append(site.quarantine / "unverified" / folders[0].parent.name / folders[0].name)
        removed = sum(cleanup.remove_release(site, folder).files for folder in folders)
        gone = not any(one.exists() for one in folders)
        yield self._receipt(
            "copies", "gateway", Outcome.GONE if gone else Outcome.LATER, count=removed,
            detail="de-identified files, deleted" if removed else "no file of it is here",
        )  # fmt: skip

    def _is_ours(self, package: Path) -> bool:
        """Whether a package in the outbox is this transfer's, by its manifest."""
        manifest = manifest_at(package)
        uids = {row.study_instance_uid for row in self._rows if row.study_instance_uid}
        named = (manifest.get("project"), manifest.get("participant"), manifest.get("event"))
        wanted = (self._transfer.project, self._transfer.participant, self._transfer.event)
        return named == wanted and manifest.get("study_instance_uid") in uids

    def _receipt(
        self, kind: str, place: str, outcome: Outcome, *, name: str = "", count: int = 0, detail: str = ""
    ) -> CopyReceipt:
        return CopyReceipt(
            self._transfer.id, kind, place, outcome, name, count=count, detail=detail, at=self._clock()
        )
