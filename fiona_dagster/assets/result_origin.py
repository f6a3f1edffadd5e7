"""The originals behind a workstation's results: whoever is named there must not be named in the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.adapters.parallel import cores, run_parts, split
from fiona_dagster.adapters.release_parts import Task, gather_part
from fiona_dagster.adapters.releases import ReleaseRequest, SourceInstance
from fiona_dagster.assets.release_records import sources_of
from fiona_dagster.domain.deid.origin import CopiedStudy, joined_origins, origin_of
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.deid.uids import uid_map
from fiona_dagster.domain.errors import Hold
from fiona_dagster.domain.results import OUR_OWN_COPY, SOURCE_UNREADABLE, SOURCES_GONE, WITHOUT_SOURCE
from fiona_dagster.domain.transfer import Transfer
from fiona_dagster.resources.gateway import GatewayResource

KeyOf = Callable[[Transfer], bytes]


def request_of_result(
    gateway: GatewayResource, study: StudyRecord, transfer: Transfer, request: ReleaseRequest, key_of: KeyOf
) -> ReleaseRequest:
    """The request with what the results were made of. Reads every original behind the copies.

    Raises:
        Hold: the originals are not here any more, or cannot be read: nobody can say whom the results name.
    """
    ledger = gateway.ledger
    numbers = ledger.projects.sources_of_copy(study.study_instance_uid)
    behind = [one for one in map(ledger.transfers.get, numbers) if _is_behind(one, transfer)]
    if not behind:
        raise Hold(WITHOUT_SOURCE)
    origins = []
    for source in behind:
        copied = ledger.studies.get(source.study_key)
        if copied.purged_at is not None:
            raise Hold(SOURCES_GONE)
        key, asked = key_of(source), replace(request, event=source.event)
        values = _values(gateway, copied, source, asked, key)
        known = CopiedStudy(values, copied.study_instance_uid, copied.accession_number)
        origins.append(origin_of(known, asked, key))
    return replace(
        request, made_of=joined_origins(origins, _own_uids(gateway, study, request, key_of(transfer)))
    )


def sources_of_result(gateway: GatewayResource, sources: Sequence[SourceInstance]) -> list[SourceInstance]:
    """The instances of a result; those that are our own copies are held, for they may have been changed."""
    ours = gateway.ledger.projects.copies_among([one.sop_instance_uid for one in sources])
    return [
        replace(one, held_reason=one.held_reason or OUR_OWN_COPY) if one.sop_instance_uid in ours else one
        for one in sources
    ]


def _is_behind(source: Transfer, result: Transfer) -> bool:
    return (
        source.study_key != result.study_key
        and (source.project, source.participant) == (result.project, result.participant)
    )  # fmt: skip


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
