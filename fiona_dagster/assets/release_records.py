"""A release as the ledger has it: a transfer's sources, what became of each, and the copy that this describes."""

from __future__ import annotations

from pathlib import Path

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.adapters.releases import ReleaseRequest, SourceInstance
from fiona_dagster.domain.deid.method import method_digest
from fiona_dagster.domain.deidentification import DeidentifiedInstance, DeidentifiedStudy
from fiona_dagster.domain.pixels.masks import Masking
from fiona_dagster.domain.pixels.suspicion import classified_reason
from fiona_dagster.domain.transfer import AWAITING_VERIFICATION, Disposition, ReleaseRow, Transfer
from fiona_dagster.resources.gateway import GatewayResource

SAME_UID_OTHER_CONTENT = "same SOP Instance UID, other content"


def sources_of(gateway: GatewayResource, study: StudyRecord, revision: int) -> list[SourceInstance]:
    """What a revision of a study covers, as de-identification takes it."""
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


def row_of(one: DeidentifiedInstance, folder: Path, datadir: Path) -> ReleaseRow:
    """The ledger\'s row of what became of an instance; released ones await verification."""
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


def recorded_copy(
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
