"""Between the ledger and the engine: a transfer's sources, its copies, and the proof that they were verified."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.adapters.ledger.transfer_keys import settle_key
from fiona_dagster.adapters.proofs import prove_release
from fiona_dagster.adapters.releases import ReleaseRequest, SourceInstance, deidentify_study, verify_release
from fiona_dagster.domain.deid.method import method_digest
from fiona_dagster.domain.deidentification import DeidentifiedInstance, DeidentifiedStudy
from fiona_dagster.domain.errors import FionaError, Hold
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.pixels.masks import Masking
from fiona_dagster.domain.pixels.suspicion import classified_reason
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.retirement import WITHDRAWN_BEFORE
from fiona_dagster.domain.transfer import (
    AWAITING_VERIFICATION,
    CLEANED_UP,
    MADE_ANEW,
    Disposition,
    ReleaseRow,
    Transfer,
    TransferState,
)
from fiona_dagster.domain.verification import Check, VerifiedStudy
from fiona_dagster.resources.gateway import GatewayResource

SAME_UID_OTHER_CONTENT = "same SOP Instance UID, other content"


@dataclass(frozen=True)
class DeidentificationResult:
    """What the asset shows of a de-identification: no values."""

    profile: str
    method_digest: str
    reasons: dict[str, int]


def transfers_at_work(ledger: Ledger, study_key: str) -> list[Transfer]:
    """The transfers that a run is about: those that wait for work; when none does, this is a re-materialisation,
    and it is about all of them, the held and failed ones too (a person asked to try again).
    """
    study = ledger.studies.get(study_key)
    every = [
        one for one in ledger.transfers.of_study(study_key) if one.state is not TransferState.RETIRED
    ]
    due = [one for one in every if one.state == TransferState.REQUESTED or _images_are_back(one, study)]
    if due or study.purged_at is None:
        return due or every
    # confirmed, delivered and cleaned up: a re-materialisation has nothing to do, and must not undo what is done
    return [one for one in every if one.state != TransferState.DELIVERED or one.revision < study.revision]


def _images_are_back(transfer: Transfer, study: StudyRecord) -> bool:
    return transfer.state == TransferState.HELD and transfer.reason == CLEANED_UP and study.purged_at is None


def deidentify_transfer(
    gateway: GatewayResource, study: StudyRecord, transfer: Transfer, *, run_id: str
) -> DeidentificationResult:
    """De-identify what the newest revision covers, into the transfer's folder, and record what became of each.

    Raises:
        Hold: images of the study were cleaned up after an earlier delivery.
    """
    ledger = gateway.ledger
    if study.purged_at is not None:
        raise Hold(CLEANED_UP)
    if ledger.retirements.is_withdrawn(transfer.project, transfer.participant):
        raise Hold(WITHDRAWN_BEFORE)
    request = _request(gateway, study, transfer)
    sources = _sources(gateway, study, study.revision)
    layout = gateway.settings.site(study.site).layout
    review = layout.pixel_review(study.key, request.folder.name)
    result = deidentify_study(
        sources, request, _key(gateway, transfer), request.project.profile, review=review
    )
    rows = [_row(one, request.folder, gateway.datadir(study.site)) for one in result.instances]
    ledger.transfers.record_release(
        transfer.id,
        study.revision,
        rows,
        now=gateway.now(),
        run_id=run_id,
        method_digest=result.method_digest,
    )
    if transfer.state in (TransferState.HELD, TransferState.FAILED):
        ledger.transfers.set_state(
            transfer.id, TransferState.REQUESTED, now=gateway.now(), reason="tried again", run_id=run_id,
            generation=transfer.generation,
        )  # fmt: skip
    reasons: dict[str, int] = {}
    for row in rows:
        reasons[row.reason] = reasons.get(row.reason, 0) + 1
    return DeidentificationResult(result.profile, result.method_digest, reasons)


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
    gateway: GatewayResource, study: StudyRecord, transfer: Transfer, *, run_id: str
) -> tuple[Check, ...]:
    """Verify a transfer's copy and record the outcome; a copy that does not pass moves to the quarantine.

    One that replaces another which was forwarded before is due for forwarding again.
    """
    ledger, now = gateway.ledger, gateway.now()
    revision = ledger.transfers.released_revision(transfer.id)
    request = _request(gateway, study, transfer)
    key = _key(gateway, transfer)
    copy = _deidentified(ledger, transfer, request, gateway.datadir(study.site))
    # of that revision: late images may have arrived since the copies were made
    sources = _sources(gateway, study, revision)
    before = ledger.transfers.verified_manifest(transfer.id, revision)
    accepted = ledger.acceptances.places(transfer.id, revision, copy.method_digest)
    outcome = verify_release(
        copy, sources, request, key, request.project.profile, revision=revision,
        accepted=frozenset(one.place for one in accepted),
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
    copy = _deidentified(ledger, transfer, request, gateway.datadir(study.site))
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


def _folder(layout: Layout, study: StudyRecord, transfer: Transfer, project: Project) -> Path:
    # the number tells apart two participants or events of one study in one project
    return layout.release_folder(study.key, f"{project.name}-{transfer.id}")


def _proof(
    gateway: GatewayResource, study: StudyRecord, transfer: Transfer, revision: int, manifest: str
) -> Path:
    layout = gateway.settings.site(study.site).layout
    return layout.proof(study.key, f"{transfer.project}-{transfer.id}", revision, manifest)


def _sources(gateway: GatewayResource, study: StudyRecord, revision: int) -> list[SourceInstance]:
    datadir = gateway.datadir(study.site)
    classified = {
        one.series_instance_uid: classified_reason(one.types, one.series_description)
        for one in gateway.ledger.studies.series(study.key)
    }
    return [
        SourceInstance(
            path=datadir / one.path,
            identity=one.id,
            sop_instance_uid=one.sop_instance_uid,
            held_reason=SAME_UID_OTHER_CONTENT if one.aside else "",
            classified=classified.get(one.series_instance_uid, ""),
        )
        for one in gateway.ledger.studies.covered(study.key, revision)
    ]


def _row(one: DeidentifiedInstance, folder: Path, datadir: Path) -> ReleaseRow:
    released = one.disposition == "released"
    return ReleaseRow(
        instance_id=int(one.identity or 0),
        disposition=Disposition.HELD if released else Disposition(one.disposition),
        reason=AWAITING_VERIFICATION if released else one.reason,
        sop_instance_uid=one.sop_instance_uid if released else "",
        series_instance_uid=one.series_instance_uid if released else "",
        study_instance_uid=one.study_instance_uid if released else "",
        sop_class_uid=one.sop_class_uid,
        transfer_syntax_uid=one.transfer_syntax_uid,
        modality=one.modality,
        path=str((folder / one.path).relative_to(datadir)) if released else "",
        sha256=one.sha256,
        size_bytes=one.size_bytes,
        header_sha256=one.header_sha256,
        masking=one.masking.to_json() if one.masking is not None else "",
    )


def _deidentified(
    ledger: Ledger, transfer: Transfer, request: ReleaseRequest, datadir: Path
) -> DeidentifiedStudy:
    """The copy as the ledger describes it, for a step that runs in another process than the engine did."""
    rows = ledger.transfers.release_rows(transfer.id)
    sops = {one.id: one.sop_instance_uid for one in ledger.studies.instances(transfer.study_key)}
    instances = []
    for row in rows:
        released = bool(row.path)
        instances.append(
            DeidentifiedInstance(
                identity=row.instance_id,
                source_sop_instance_uid=sops.get(row.instance_id, ""),
                disposition="released" if released else row.disposition.value,
                reason="" if released else row.reason,
                path=str((datadir / row.path).relative_to(request.folder)) if released else "",
                sop_instance_uid=row.sop_instance_uid,
                series_instance_uid=row.series_instance_uid,
                study_instance_uid=row.study_instance_uid,
                sop_class_uid=row.sop_class_uid,
                transfer_syntax_uid=row.transfer_syntax_uid,
                modality=row.modality,
                sha256=row.sha256,
                size_bytes=row.size_bytes,
                header_sha256=row.header_sha256,
                masking=Masking.from_json(row.masking),
            )
        )
    uids = {one.study_instance_uid for one in instances if one.study_instance_uid}
    profile = request.project.profile
    return DeidentifiedStudy(
        study_instance_uid=min(uids, default=""), instances=tuple(instances), profile=profile.name,
        method_digest=ledger.transfers.get(transfer.id).method_digest or method_digest(profile, request.project),
    )  # fmt: skip


def _to_quarantine(layout: Layout, folder: Path) -> None:
    if not folder.exists():
        return
    target = layout.quarantine / "unverified" / folder.parent.name / folder.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)
