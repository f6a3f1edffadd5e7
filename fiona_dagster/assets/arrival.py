"""A study has arrived: what was announced is here or nothing comes any more, so a revision is closed over it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetObservation,
    MaterializeResult,
    asset,
)
from dagster import MetadataValue as Value

from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.assets.costs import Spent
from fiona_dagster.assets.descriptions import INTAKE, OWNER, SCANNER, stage_tags
from fiona_dagster.assets.failures import NETWORK_RETRIES, reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.domain.arrival import (
    Announced,
    ArrivedStudy,
    Completes,
    StudyActivity,
    Waits,
    arrival_of,
    missing_of,
)
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.domain.moments import Moment
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.settings import Site

ASK_AGAIN_SECONDS = 3600.0
"""A source that had more is asked again after so long: it may have less by now."""

JUST_COUNTED_SECONDS = 120.0
"""A source that was asked so recently, after the last image, is not asked again."""


@asset(
    partitions_def=STUDIES,
    deps=[SCANNER],
    group_name=INTAKE,
    kinds={"dicom"},
    owners=[OWNER],
    tags=stage_tags("arrival"),
    retry_policy=NETWORK_RETRIES,
    output_required=False,
    check_specs=[
        AssetCheckSpec(
            "complete_at_source",
            asset="arrived_study",
            partitions_def=STUDIES,
            description="As many instances as the source (C-FIND) and the modality's procedure steps (MPPS) say. A "
            "warning, not a gate: the study waited for the rest, and images that come later open a new revision.",
        )
    ],
)
def arrived_study(
    context: AssetExecutionContext, gateway: GatewayResource
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    """A study as it stood when it was complete: which instances the newest revision covers.

    Completeness comes from the ledger (open Associations, quiet time, procedure steps, the source's own count), never
    from folder times. What is known to be incomplete waits, and after a day goes on marked so. Late images open a new
    revision of the same study, under the same key.
    """
    with reporting_failures():
        spent = Spent()
        ledger, now = gateway.ledger, gateway.moment()
        study = ledger.studies.get(context.partition_key)
        site = gateway.settings.site(study.site)
        moving = next((one for one in arriving(gateway) if one.key == study.key), None)
        if moving and isinstance(found := arrival_at(site, moving, now), Waits):
            context.log.info("not complete yet: %s", found.reason)
            yield _check(study.instance_count, moving.announced, found.reason, passed=False)
            return
        note = _ask_sources(gateway, site, study)
        announced, finding = ledger.arrivals.announced(study.key), None
        if moving:
            found = arrival_at(site, replace(moving, announced=announced), now)
            if isinstance(found, Waits):
                context.log.info("not complete yet: %s", found.reason)
                context.log_event(
                    AssetObservation(
                        "arrived_study",
                        partition=study.key,
                        metadata={"waits": found.reason, **_completeness(None, announced)},
                    )
                )
                yield _check(moving.instance_count, announced, found.reason, passed=False)
                return
            finding = found
        arrived = ledger.studies.arrive(
            study.key,
            instance_count=moving.instance_count if moving else study.instance_count,
            expected=announced.expected,
            now=now.at,
            run_id=context.run.run_id,
            finding=finding,
            shortfalls=announced.shortfalls,
        )
        context.log.info("revision %d with %d instances", arrived.revision, arrived.instance_count)
        yield MaterializeResult(
            metadata={
                **_metadata(arrived, moving, study.first_received_at, study.last_received_at),
                **_completeness(finding, announced),
                **spent.metadata,
            }
        )
        yield _check(arrived.instance_count, announced, note, passed=arrived.missing == 0)


def _check(received: int, announced: Announced, note: str, *, passed: bool) -> AssetCheckResult:
    """The verdict on completeness; also where the study waits, since a run must not end without one."""
    return AssetCheckResult(
        check_name="complete_at_source",
        passed=passed,
        severity=AssetCheckSeverity.WARN,
        metadata={
            "received": received,
            "expected": announced.expected if announced.expected is not None else note,
            "missing": missing_of(announced.shortfalls),
        },
    )


def arriving(gateway: GatewayResource) -> list[StudyActivity]:
    """Studies that are arriving, by counts of their sources that are not too old."""
    return gateway.ledger.studies.arriving(counted_since=gateway.now() - ASK_AGAIN_SECONDS)


def arrival_at(site: Site, activity: StudyActivity, now: Moment) -> Waits | Completes:
    """Whether a revision is to be closed, on the terms of its site."""
    return arrival_of(
        activity, now=now, quiet_seconds=site.quiet_seconds, patience_seconds=site.patience_seconds
    )


def work_of(activity: StudyActivity) -> str:
    """The next revision as work of a run; of a study whose source was asked before, once for each count."""
    asked = activity.announced.expected is not None
    return f"{activity.revision + 1}.{activity.instance_count}" if asked else f"{activity.revision + 1}"


def _ask_sources(gateway: GatewayResource, site: Site, study: StudyRecord) -> str:
    """Record what the first source that knows the study says; a note where none does."""
    if not site.sources:
        return "no source is configured to be asked"
    counted_at, now = gateway.ledger.arrivals.counted_at(study.key), gateway.now()
    if (
        counted_at is not None
        and now - JUST_COUNTED_SECONDS < counted_at <= now
        and (counted_at >= study.last_received_at)
    ):
        return ""  # retrieval has asked since the last image came
    from fiona_dagster.adapters.arrival_sources import expectations

    for source in site.sources:
        try:
            counted = expectations(source, gateway.settings.calling_ae_title, study.study_instance_uid)
        except (Transient, Permanent):
            continue  # a source that does not answer must not stop the study; the next one may
        if counted is not None:
            gateway.ledger.arrivals.expect(study.key, counted, now=gateway.now())
            return ""
    return "no source knows the study or answers"


def _completeness(finding: Completes | None, announced: Announced) -> dict[str, Any]:
    """What is known of it, counts only: the UIDs of series stay in the ledger."""
    known: dict[str, Any] = {}
    if finding is not None:
        known = {"arrived_because": finding.because, "incomplete": finding.complete is False}
    steps = announced.in_progress + announced.ended
    if steps:
        known["procedure_steps"] = f"{announced.ended} of {steps} ended"
    if announced.shortfalls:
        known["missing_instances"] = missing_of(announced.shortfalls)
        known["incomplete_series"] = Value.json(
            [
                {"modality": one.modality or "all series", "expected": one.expected, "received": one.received}
                for one in announced.shortfalls
            ]
        )
    return known


def _metadata(
    arrived: ArrivedStudy, moving: StudyActivity | None, first: float, last: float
) -> dict[str, Any]:
    return {
        "revision": arrived.revision,
        "instances": arrived.instance_count,
        "new_instances": arrived.instance_count - moving.arrived_count if moving else 0,
        "late_addition": arrived.is_late_addition,
        "site": arrived.site,
        "first_received": Value.timestamp(first),
        "last_received": Value.timestamp(last),
        "reception_seconds": round(last - first, 1),
    }
