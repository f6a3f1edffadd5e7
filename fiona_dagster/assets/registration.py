"""The study and its series in REDCap's Incoming."""

from typing import Any

from dagster import AssetExecutionContext, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.assets.costs import Spent
from fiona_dagster.assets.descriptions import INTAKE, OWNER, stage_tags
from fiona_dagster.assets.failures import NETWORK_RETRIES, reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.registry_updates import registration_of
from fiona_dagster.resources.gateway import GatewayResource


@asset(
    partitions_def=STUDIES,
    deps=["classified_series"],
    group_name=INTAKE,
    kinds={"redcap"},
    owners=[OWNER],
    tags=stage_tags("registration"),
    retry_policy=NETWORK_RETRIES,
)
def incoming_record(context: AssetExecutionContext, gateway: GatewayResource) -> MaterializeResult[None]:
    """The study's record in REDCap's Incoming with a repeating row a series: FIONA's names and meanings.

    Patient identifiers only as keyed hashes. Doing it again writes nothing that is there already; late series get
    the next free instance, read back and never guessed.
    """
    with reporting_failures():
        spent = Spent()
        ledger = gateway.ledger
        study = ledger.studies.get(context.partition_key)
        registry = gateway.registry
        metadata: dict[str, Any] = {"revision": study.revision, "registry": "none is configured"}
        if registry is not None:
            receipt = registry.register([registration_of(gateway, study)])
            metadata = {
                "revision": study.revision,
                "series": len(ledger.studies.series(study.key)),
                "rows_written": receipt.rows_written,
                "rows_unchanged": receipt.rows_unchanged,
                "registry": Value.url(registry.url),
            }
        ledger.studies.register(study.key, study.revision, now=gateway.now(), run_id=context.run.run_id)
        return MaterializeResult(metadata={**metadata, **spent.metadata})
