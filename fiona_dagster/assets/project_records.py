"""What research projects are told: their own REDCap of studies that reached the archive; approvals that end."""

import logging
import time
from collections.abc import Iterator

from dagster import AssetCheckResult, AssetCheckSpec, AssetExecutionContext, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.adapters.ledger.projects import RecordDue
from fiona_dagster.assets.descriptions import HOUSEKEEPING, OWNER, stage_tags
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.assets.registry_updates import Log
from fiona_dagster.assets.routing import day_of
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.project_life import approval_sentence
from fiona_dagster.domain.transfer import Disposition
from fiona_dagster.resources.gateway import GatewayResource

APPROVALS = AssetCheckSpec(
    "approvals",
    asset="project_records",
    description="No approval of a project ends within 180 days, and none has ended.",
)


@asset(
    group_name=HOUSEKEEPING,
    kinds={"redcap"},
    owners=[OWNER],
    tags=stage_tags("registration"),
    check_specs=[APPROVALS],
)
def project_records(
    context: AssetExecutionContext, gateway: GatewayResource
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    """Participants, events and `imaging` rows in the projects' own REDCap (FIONA's populateProjects); auto-IDs that
    REDCap missed; approvals that end within 180, 90 or 30 days.
    """
    with reporting_failures():
        from fiona_dagster.adapters.redcap.auto_ids import tell_auto_ids

        written, problems = tell_projects(gateway, context.log)
        auto_ids = 0
        if gateway.registry is not None:
            auto_ids = tell_auto_ids(gateway.ledger, gateway.registry)
            problems += ends_problems(gateway)
        notices = approval_notices(gateway)
        yield MaterializeResult(
            metadata={
                "rows_written": written,
                "auto_ids_told": auto_ids,
                "problems": Value.md("\n".join(f"- {one}" for one in problems) or "none"),
            }
        )
        yield AssetCheckResult(
            check_name=APPROVALS.name,
            passed=not notices,
            metadata={"approvals": Value.md("\n".join(f"- {one}" for one in notices) or "none ends soon")},
        )


def keep_records(gateway: GatewayResource, wanting: set[str], log: Log | logging.Logger) -> int:
    """Take the values of newly confirmed copies into the ledger, while the copies are here; returns how many."""
    ledger, kept = gateway.ledger, 0
    for due in ledger.projects.records_due(wanting):
        if due.fields:
            continue
        try:
            fields = imaging_fields(gateway, due)
        except OSError as error:
            log.warning("transfer %d has no readable copies (%s)", due.transfer_id, type(error).__name__)
            continue
        if fields:
            ledger.projects.keep_record(due, fields)
            kept += 1
    return kept


def tell_projects(gateway: GatewayResource, log: Log | logging.Logger) -> tuple[int, list[str]]:
    """Write the rows that are due into the projects' own REDCap; a project's trouble costs no other.

    Returns: rows written, and what is wrong, by project.
    """
    from fiona_dagster.adapters.redcap.research_project import ImagingRow, ResearchProjectWriter

    registry, ledger = gateway.registry, gateway.ledger
    projects = {name: one for name, one in gateway.projects().items() if _has_records(gateway, one)}
    if registry is None or not projects:
        return 0, []
    keep_records(gateway, set(projects), log)
    by_project: dict[str, list[RecordDue]] = {}
    for due in ledger.projects.records_due(projects):
        if due.fields:
            by_project.setdefault(due.project, []).append(due)
    written, problems = 0, []
    for name, dues in by_project.items():
        project = projects[name]
        try:
            client = registry.research_project(name, project.redcap_token_ref, project.redcap_id)
            writer = ResearchProjectWriter(client, registry.lock_file(f"project-{name}"))
            done = writer.populate([ImagingRow(one.participant, one.event, one.fields) for one in dues])
        except FionaError as error:
            log.warning("REDCap of project %s was not told of %d studies: %s", name, len(dues), error)
            problems.append(f"{name}: {error}")
            continue
        ledger.projects.records_told(dues)
        written += done.rows_written
        problems += [f"{name}: its REDCap has no event '{one}'" for one in sorted(done.unknown_events)]
    return written, problems


def imaging_fields(gateway: GatewayResource, due: RecordDue) -> dict[str, str]:
    """The `img_` fields of a transfer, from its copies alone: what they say of dates and numbers is de-identified."""
    from fiona_dagster.adapters.imaging_values import values_of_copy

    ledger = gateway.ledger
    rows = [
        one
        for one in ledger.transfers.release_rows(due.transfer_id)
        if one.path and one.disposition is Disposition.RELEASED
    ]
    if not rows:
        return {}
    datadir = gateway.datadir(ledger.studies.get(due.study_key).site)
    first = min(rows, key=lambda one: one.path)
    told = time.strftime("%Y-%m-%d %H:%M", time.localtime(ledger.transfers.get(due.transfer_id).changed_at))
    return {
        "img_study_instance_uid": first.study_instance_uid,
        "img_modalities": "\\".join(sorted({one.modality for one in rows if one.modality})),
        "img_num_series": str(len({one.series_instance_uid for one in rows})),
        "img_num_files": str(len(rows)),
        "img_transfer_date": told,
        **values_of_copy(datadir / first.path),
    }


def approval_notices(gateway: GatewayResource) -> list[str]:
    """Approvals that end within the notice days or have ended, with what to do.

    Each threshold is noted once, when it is reached; mail and webhook tell it from there.
    """
    today, notices = day_of(gateway.now()), []
    for name, project in sorted(gateway.projects().items()):
        days = project.life.notice(today)
        if days is None:
            continue
        gateway.ledger.projects.give_notice(name, project.life.approval_ends, days, now=gateway.now())
        notices.append(approval_sentence(name, project.life.approval_ends, today))
    return notices


def ends_problems(gateway: GatewayResource) -> list[str]:
    """Tell REDCap how far projects' ends have come; what is wrong, if it is."""
    from fiona_dagster.adapters.redcap.project_ends import tell_ends

    try:
        if gateway.registry is not None:
            tell_ends(gateway.ledger, gateway.registry)
    except FionaError as error:
        return [f"DataTransferProjects was not told of ends: {error}"]
    return []


def _has_records(gateway: GatewayResource, project: Project) -> bool:
    registry = gateway.registry
    return (
        registry is not None
        and project.writes_imaging
        and registry.has_research_project(project.name, project.redcap_token_ref)
    )
