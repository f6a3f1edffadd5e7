"""What every series of the study is, by the site's classifyRules.json."""

from dagster import AssetExecutionContext, MaterializeResult, TableColumn, TableRecord, TableSchema, asset
from dagster import MetadataValue as Value

from fiona_dagster.assets.costs import Spent
from fiona_dagster.assets.descriptions import INTAKE, OWNER, stage_tags
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.domain.classification import ClassifiedSeries
from fiona_dagster.resources.gateway import GatewayResource

_COLUMNS = TableSchema(
    [
        TableColumn(
            "series", "int", description="Number in this table; names and UIDs stay in the quarantine"
        ),
        TableColumn("modality", "string"),
        TableColumn("instances", "int"),
        TableColumn("types", "string", description="Labels of the classification rules"),
    ]
)


@asset(
    partitions_def=STUDIES,
    deps=["arrived_study"],
    group_name=INTAKE,
    kinds={"dicom"},
    owners=[OWNER],
    tags=stage_tags("classification"),
)
def classified_series(context: AssetExecutionContext, gateway: GatewayResource) -> MaterializeResult[None]:
    """The types of every series (FIONA's ClassifyType), decided over all its images and in no order of arrival.

    The rules are FIONA's classifyRules.json, checked when they are loaded. The types are written into the series
    JSON, where scripts of the site find them, and go to REDCap with the registration.
    """
    with reporting_failures():
        spent = Spent()
        from fiona_dagster.adapters.classification import classify_received

        ledger = gateway.ledger
        study = ledger.studies.get(context.partition_key)
        rules = gateway.rules
        covered = ledger.studies.instances(study.key)[: study.arrived_count]
        found = classify_received(rules, study, covered, gateway.settings.site(study.site).layout)
        ledger.studies.classify(
            study.key, study.revision, found, now=gateway.now(), run_id=context.run.run_id
        )
        return MaterializeResult(
            metadata={
                "revision": study.revision,
                "series": len(found),
                "instances": sum(one.instance_count for one in found),
                "modalities": ", ".join(sorted({one.modality for one in found})),
                "rules": len(rules.types),
                "types": _table(found),
                **spent.metadata,
            }
        )


def _table(found: tuple[ClassifiedSeries, ...]) -> Value:
    records = [
        TableRecord(
            {
                "series": number,
                "modality": one.modality,
                "instances": one.instance_count,
                "types": ", ".join(one.types),
            }
        )
        for number, one in enumerate(found, start=1)
    ]
    return Value.table(records, schema=_COLUMNS)
