"""A study has arrived: it is quiet and no open Association carries it, so a revision is closed over it."""

from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    MaterializeResult,
    asset,
)
from dagster import MetadataValue as Value

from fiona_dagster.assets.descriptions import INTAKE, OWNER, SCANNER, stage_tags
from fiona_dagster.assets.failures import NETWORK_RETRIES, reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.domain.arrival import ArrivedStudy, StudyActivity, waits_for
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.settings import Site


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
            description="As many instances as the source (C-FIND) says the study has. A warning, not a gate: "
            "images that come later open a new revision.",
        )
    ],
)
def arrived_study(
    context: AssetExecutionContext, gateway: GatewayResource
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    """A study as it stood when it fell quiet: which instances the newest revision covers.

    Completeness comes from the ledger (open Associations, quiet time, the source's own count), never from folder
    times. Late images open a new revision of the same study, under the same key.
    """
    with reporting_failures():
        ledger, now = gateway.ledger, gateway.now()
        study = ledger.studies.get(context.partition_key)
        site = gateway.settings.site(study.site)
        moving = next((one for one in ledger.studies.arriving() if one.key == study.key), None)
        reason = waits_for(moving, now=now, quiet_seconds=site.quiet_seconds) if moving else None
        if reason:
            context.log.info("not complete yet: %s", reason)
            return
        expected, note = _expected(gateway, site, study.study_instance_uid)
        arrived = ledger.studies.arrive(
            study.key,
            instance_count=study.instance_count,
            expected=expected,
            now=now,
            run_id=context.run.run_id,
        )
        context.log.info("revision %d with %d instances", arrived.revision, arrived.instance_count)
        yield MaterializeResult(
            metadata=_metadata(arrived, moving, study.first_received_at, study.last_received_at)
        )
        yield AssetCheckResult(
            check_name="complete_at_source",
            passed=arrived.missing == 0,
            severity=AssetCheckSeverity.WARN,
            metadata={
                "received": arrived.instance_count,
                "expected": expected if expected is not None else note,
            },
        )


def _expected(gateway: GatewayResource, site: Site, study_instance_uid: str) -> tuple[int | None, str]:
    """What the first source that knows the study says, and a note when none does."""
    if not site.sources:
        return None, "no source is configured to be asked"
    from fiona_dagster.adapters.dicom_scu import count_instances

    for source in site.sources:
        try:
            count = count_instances(source, gateway.settings.calling_ae_title, study_instance_uid)
        except (Transient, Permanent):
            continue  # a source that does not answer must not stop the study; the next one may
        if count is not None:
            return count, ""
    return None, "no source knows the study or answers"


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
