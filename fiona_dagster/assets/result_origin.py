"""The originals behind a workstation's results: whoever is named there must not be named in the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.adapters.parallel import cores, run_parts, split
from fiona_dagster.adapters.release_parts import Task, gather_part
from fiona_dagster.adapters.releases import ReleaseRequest, SourceInstance
from fiona_dagster.assets.release_records import sources_of
from fiona_dagster.domain.deid.origin import (
    CopiedStudy,
    joined_origins,
    known_values,
    origin_of,
    strange_origin,
)
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.uids import uid_map
from fiona_dagster.domain.deidentification import Origin
from fiona_dagster.domain.errors import Hold
from fiona_dagster.domain.results import OUR_OWN_COPY, SOURCE_UNREADABLE, SOURCES_GONE, WITHOUT_SOURCE
from fiona_dagster.domain.transfer import Transfer
from fiona_dagster.resources.gateway import GatewayResource

KeyOf = Callable[[Transfer], bytes]


def with_origin(
    gateway: GatewayResource,
    study: StudyRecord,
    transfer: Transfer,
    request: ReleaseRequest,
    sources: list[SourceInstance],
    key_of: KeyOf,
) -> tuple[ReleaseRequest, list[SourceInstance]]:
    """The request with the copies that a study was made of, if it was, and its instances. Reads their originals.

    Raises:
        Hold: the originals of a result are not here any more, or cannot be read: nobody can say whom it names.
    """
    is_result = transfer.source == "result"
    numbers = gateway.ledger.projects.sources_of_copy(study.study_instance_uid)
    # with UIDs retained a study's copies have its own UID
    behind = [one for one in map(gateway.ledger.transfers.get, numbers) if one.study_key != study.key]
    if is_result and not any(_is_same(one, transfer) for one in behind):
        raise Hold(WITHOUT_SOURCE)
    if not behind:
        return request, sources
    origins = [_origin(gateway, one, transfer, request, key_of, strict=is_result) for one in behind]
    own_uids = _own_uids(gateway, study, request, key_of(transfer)) if is_result else set()
    asked = replace(request, made_of=joined_origins(origins, own_uids))
    return asked, sources_of_result(gateway, sources) if is_result else sources


def _origin(
    gateway: GatewayResource,
    source: Transfer,
    transfer: Transfer,
    request: ReleaseRequest,
    key_of: KeyOf,
    *,
    strict: bool,
) -> Origin:
    """What is known of the originals behind one transfer; the ledger alone is enough only where a person assigned."""
    copied = gateway.ledger.studies.get(source.study_key)
    known = _ledger_values(gateway, copied)
    if copied.purged_at is None:
        project = gateway.projects().get(source.project)
        asked = ReleaseRequest(project or request.project, source.participant, source.event, request.folder)
        known.merge(_values(gateway, copied, source, asked, key_of(source)))
    elif strict:
        raise Hold(SOURCES_GONE)
    if not _is_same(source, transfer):
        return strange_origin(known)
    asked = replace(request, event=source.event)
    return origin_of(
        CopiedStudy(known, copied.study_instance_uid, copied.accession_number), asked, key_of(source)
    )


def _ledger_values(gateway: GatewayResource, study: StudyRecord) -> OriginalValues:
    """What stands in the ledger, cleaned up or not. UIDs are those of the study and of all instances."""
    values = known_values(
        {
            0x00100010: ("PN", study.patient_name),
            0x00100020: ("LO", study.patient_id),
            0x00080050: ("SH", study.accession_number),
            0x0020000D: ("UI", study.study_instance_uid),
        }
    )
    for one in gateway.ledger.studies.instances(study.key):
        values.uids |= {one.sop_instance_uid, one.series_instance_uid}
    return values


def sources_of_result(gateway: GatewayResource, sources: Sequence[SourceInstance]) -> list[SourceInstance]:
    """The instances of a result; those that are our own copies are held, for they may have been changed."""
    ours = gateway.ledger.projects.copies_among([one.sop_instance_uid for one in sources])
    return [
        replace(one, held_reason=one.held_reason or OUR_OWN_COPY) if one.sop_instance_uid in ours else one
        for one in sources
    ]


def _is_same(source: Transfer, result: Transfer) -> bool:
    return (source.project, source.participant) == (result.project, result.participant)


def _values(
    gateway: GatewayResource, study: StudyRecord, source: Transfer, request: ReleaseRequest, key: bytes
) -> OriginalValues:
    """What was taken out of the originals, by the project's profile, and what the ledger knows of the patient."""
    sources = sources_of(gateway, study, study.revision)
    copied = {one.instance_id for one in gateway.ledger.transfers.release_rows(source.id) if one.path}
    released = frozenset(index for index, one in enumerate(sources) if one.identity in copied)
    task = Task(request, key, request.project.profile, tuple(sources))
    values = OriginalValues()
    for found, _, problems in run_parts(
        gather_part, [(task, part, released) for part in split(len(sources), cores())]
    ):
        if any(problems.problems.values()):
            raise Hold(SOURCE_UNREADABLE)
        values.merge(found)
    return values


def _own_uids(gateway: GatewayResource, study: StudyRecord, request: ReleaseRequest, key: bytes) -> set[str]:
    """New UIDs of this and earlier results: a result that was made of another refers to them."""
    mapped = uid_map(request.project, key)
    instances = gateway.ledger.studies.instances(study.key)
    originals = {one.sop_instance_uid for one in instances} | {one.series_instance_uid for one in instances}
    return {mapped(uid) for uid in originals}
