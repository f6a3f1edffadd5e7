"""Between the ledger and the engine: a transfer's sources, its copies, and the proof that they were verified."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.adapters.ledger.transfer_keys import settle_key
from fiona_dagster.adapters.proofs import prove_release
from fiona_dagster.adapters.release_parts import Progress
from fiona_dagster.adapters.releases import ReleaseRequest, SourceInstance, deidentify_study, verify_release
from fiona_dagster.assets.release_records import recorded_copy, row_of, sources_of
from fiona_dagster.domain.errors import FionaError, Hold
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.pixels.masks import masked_images
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.retirement import WITHDRAWN_BEFORE
from fiona_dagster.domain.transfer import (
    CLEANED_UP,
    MADE_ANEW,
    Transfer,
    TransferState,
)
from fiona_dagster.domain.verification import Check, VerifiedStudy
from fiona_dagster.resources.gateway import GatewayResource


@dataclass(frozen=True)
class DeidentificationResult:
    """What the asset shows of a de-identification: no values."""

    profile: str
    method_digest: str
    reasons: dict[str, int]
    masked: dict[str, int]
    """How many images, as `masks.masked_images` counts."""


def transfers_at_work(ledger: Ledger, study_key: str) -> list[Transfer]:
    """The transfers that a run is about: those that wait for work; when none does, this is a re-materialisation,
    and it is about all of them, the held and failed ones too (a person asked to try again).
    """
    study = ledger.studies.get(study_key)
    every = [one for one in ledger.transfers.of_study(study_key) if one.state is not TransferState.RETIRED]
    due = [one for one in every if one.state == TransferState.REQUESTED or _images_are_back(one, study)]
    if due or study.purged_at is None:
        return due or every
    # confirmed, delivered and cleaned up: a re-materialisation has nothing to do, and must not undo what is done
    return [one for one in every if one.state != TransferState.DELIVERED or one.revision < study.revision]


def _images_are_back(transfer: Transfer, study: StudyRecord) -> bool:
    return transfer.state == TransferState.HELD and transfer.reason == CLEANED_UP and study.purged_at is None


def deidentify_transfer(
    gateway: GatewayResource,
    study: StudyRecord,
    transfer: Transfer,
    *,
    run_id: str,
    reading: Progress | None = None,
) -> DeidentificationResult:
    """De-identify what the newest revision covers, into the transfer's folder, and record what became of each.

    `reading` is told how many of the images that may carry text have been read.

    Raises:
        Hold: images of the study were cleaned up after an earlier delivery.
    """
    ledger = gateway.ledger
    if study.purged_at is not None:
        raise Hold(CLEANED_UP)
    if ledger.retirements.is_withdrawn(transfer.project, transfer.participant):
        raise Hold(WITHDRAWN_BEFORE)
    request = _request(gateway, study, transfer)
    done = (TransferState.FORWARDED, TransferState.DELIVERED)
    closed = request.project.closed_problem(time.strftime("%Y-%m-%d", time.localtime(gateway.now())))
    if closed and (transfer.state not in done or transfer.revision < study.revision):
        raise Hold(closed)
    request, sources = _with_origin(gateway, study, transfer, request, study.revision)
    layout = gateway.settings.site(study.site).layout
    review = layout.pixel_review(study.key, request.folder.name)
    ledger.attempts.begin(transfer.id, now=gateway.now())
    result = deidentify_study(
        sources,
        request,
        _key(gateway, transfer),
        request.project.profile,
        review=review,
        reading=reading,
    )
    rows = [row_of(one, request.folder, gateway.datadir(study.site)) for one in result.instances]
    ledger.transfers.record_release(
        transfer.id,
        study.revision,
        rows,
        now=gateway.now(),
        run_id=run_id,
        method_digest=result.method_digest,
        profile=result.profile,
    )
    if transfer.state in (TransferState.HELD, TransferState.FAILED):
        ledger.transfers.set_state(
            transfer.id, TransferState.REQUESTED, now=gateway.now(), reason="tried again", run_id=run_id,
            generation=transfer.generation,
        )  # fmt: skip
    reasons: dict[str, int] = {}
    for row in rows:
        reasons[row.reason] = reasons.get(row.reason, 0) + 1
    masked = masked_images(one.masking for one in result.instances)
    return DeidentificationResult(result.profile, result.method_digest, reasons, masked)


def stop_transfer(gateway: GatewayResource, transfer: Transfer, error: FionaError, *, run_id: str) -> None:
    """Trying again would not help: the transfer waits for a person, with the reason."""
    state = TransferState.HELD if isinstance(error, Hold) else TransferState.FAILED
    gateway.ledger.transfers.set_state(
        transfer.id,
        state,
        now=gateway.now(),
        reason=str(error),
        run_id=run_id,
        generation=transfer.generation,
    )


def verify_transfer(
    gateway: GatewayResource,
    study: StudyRecord,
    transfer: Transfer,
    *,
    run_id: str,
    progress: Progress | None = None,
) -> tuple[Check, ...]:
    """Verify a transfer's copy and record the outcome; a copy that does not pass moves to the quarantine.

    `progress` is told how many of its originals and copies have been read.
    One that replaces another which was forwarded before is due for forwarding again.
    """
    ledger, now = gateway.ledger, gateway.now()
    revision = ledger.transfers.released_revision(transfer.id)
    key = _key(gateway, transfer)
    # of that revision: late images may have arrived since the copies were made
    request, sources = _with_origin(gateway, study, transfer, _request(gateway, study, transfer), revision)
    copy = recorded_copy(ledger, transfer, request, gateway.datadir(study.site))
    before = ledger.transfers.verified_manifest(transfer.id, revision)
    accepted = ledger.acceptances.places(transfer.id, revision, copy.method_digest)
    outcome = verify_release(
        copy, sources, request, key, request.project.profile, revision=revision,
        accepted=frozenset(one.place for one in accepted), progress=progress,
    )  # fmt: skip
    verified = outcome if isinstance(outcome, VerifiedStudy) else None
    manifest = verified.study.manifest_sha256 if verified is not None else ""
    if verified is not None and verified.instances:
        # before the ledger says that it passed: nothing leaves without its proof
        target = _proof(gateway, study, transfer, revision, manifest)
        site_key = gateway.signing_key
        prove_release(target, verified, sources, request.project, request.project.profile, key, site_key, now)
    ledger.transfers.verify(
        transfer.id, revision, passed=verified is not None, manifest_sha256=manifest,
        sums={one.identity: one.sha256 for one in outcome.study.released if one.identity is not None},
        checks={c.name: {"passed": c.passed, "found": c.found, "places": list(c.places), "accepted": dict(c.accepted)}
                for c in outcome.checks},
        now=now, run_id=run_id,
    )  # fmt: skip
    problem = ""
    if verified is None:
        _to_quarantine(gateway.settings.site(study.site).layout, request.folder)
        problem = "verification: " + ", ".join(check.name for check in outcome.checks if not check.passed)
    elif not verified.instances:
        problem = "nothing may be released: every instance is held, excluded or failed"
    if problem:
        ledger.transfers.set_state(
            transfer.id,
            TransferState.HELD,
            now=now,
            reason=problem,
            run_id=run_id,
            generation=transfer.generation,
        )
    elif transfer.state in (TransferState.FORWARDED, TransferState.DELIVERED) and before not in (
        None,
        manifest,
    ):
        ledger.transfers.set_state(
            transfer.id, TransferState.REQUESTED, now=now, reason=MADE_ANEW, run_id=run_id,
            generation=transfer.generation,
        )  # fmt: skip
    return outcome.checks


def recall_verified(gateway: GatewayResource, study: StudyRecord, transfer: Transfer) -> VerifiedStudy | None:
    """The verified copy of a transfer, or None where there is nothing to release.

    Raises:
        Permanent: files changed since they were verified.
    """
    from fiona_dagster.adapters.releases import recall_release

    ledger = gateway.ledger
    if ledger.transfers.get(transfer.id).state in (  # as it is now: a person may have retired it meanwhile
        TransferState.HELD,
        TransferState.FAILED,
        TransferState.RETIRED,
    ):
        return None
    revision = ledger.transfers.released_revision(transfer.id)
    if study.purged_at is not None:
        return None  # confirmed, delivered and cleaned up: there is nothing here to bring anywhere
    manifest = ledger.transfers.verified_manifest(transfer.id, revision)
    if manifest is None:
        return None
    request = _request(gateway, study, transfer)
    copy = recorded_copy(ledger, transfer, request, gateway.datadir(study.site))
    if any(not one.sha256 for one in copy.released):
        return None  # made anew since, and not verified yet
    return recall_release(copy, request, verified_manifest=manifest, revision=revision)


def release_proof(gateway: GatewayResource, study: StudyRecord, transfer: Transfer) -> Path | None:
    """The proof of what a transfer released last; None where it was verified before there were proofs."""
    revision = gateway.ledger.transfers.released_revision(transfer.id)
    manifest = gateway.ledger.transfers.verified_manifest(transfer.id, revision)
    path = _proof(gateway, study, transfer, revision, manifest or "")
    return path if manifest and path.exists() else None


def release_identity(gateway: GatewayResource, transfer: Transfer) -> str:
    """For whom and by which policy the copies of a transfer are made."""
    return _request(gateway, gateway.ledger.studies.get(transfer.study_key), transfer).identity


def release_key(gateway: GatewayResource, transfer: Transfer) -> bytes:
    """The project's key that the copies of a transfer were made with."""
    return _key(gateway, transfer)


def _key(gateway: GatewayResource, transfer: Transfer) -> bytes:
    """The project's key that the transfer was begun under, which a rotation does not change."""
    project, ring = transfer.project, gateway.keyring
    key_id = settle_key(
        gateway.ledger,
        transfer.id,
        ring.active_key_id(project),
        lambda when: ring.active_key_id_at(project, when),
    )
    return ring.project_key(project, key_id)


def _request(gateway: GatewayResource, study: StudyRecord, transfer: Transfer) -> ReleaseRequest:
    project = gateway.project(transfer.project)
    layout = gateway.settings.site(study.site).layout
    return ReleaseRequest(
        project, transfer.participant, transfer.event, _folder(layout, study, transfer, project)
    )


def _with_origin(
    gateway: GatewayResource, study: StudyRecord, transfer: Transfer, request: ReleaseRequest, revision: int
) -> tuple[ReleaseRequest, list[SourceInstance]]:
    """What a revision covers, and the copies that it was made of, if a workstation made it of copies."""
    from fiona_dagster.assets.result_origin import with_origin

    sources = sources_of(gateway, study, revision)
    return with_origin(gateway, study, transfer, request, sources, lambda one: _key(gateway, one))


def _folder(layout: Layout, study: StudyRecord, transfer: Transfer, project: Project) -> Path:
    # the number tells apart two participants or events of one study in one project
    return layout.release_folder(study.key, f"{project.name}-{transfer.id}")


def _proof(
    gateway: GatewayResource, study: StudyRecord, transfer: Transfer, revision: int, manifest: str
) -> Path:
    layout = gateway.settings.site(study.site).layout
    return layout.proof(study.key, f"{transfer.project}-{transfer.id}", revision, manifest)


def _to_quarantine(layout: Layout, folder: Path) -> None:
    if not folder.exists():
        return
    target = layout.quarantine / "unverified" / folder.parent.name / folder.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)
