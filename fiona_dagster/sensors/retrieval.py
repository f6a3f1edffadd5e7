"""Studies that are due for a look at their source: a run a source."""

from dagster import (
    AssetSelection,
    DagsterInstance,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    define_asset_job,
    in_process_executor,
    sensor,
)

from fiona_dagster.adapters.retrieval_work import active_sources, work_of
from fiona_dagster.assets.housekeeping import NOT_FINISHED_STATUSES
from fiona_dagster.assets.retrieval import SOURCE_TAG
from fiona_dagster.resources.gateway import GatewayResource
from fiona_dagster.settings import Site, Source

RETRIEVAL_JOB = define_asset_job(
    "retrieval_job",
    selection=AssetSelection.assets("retrieved_studies"),
    executor_def=in_process_executor,
    run_tags={"fiona/phase": "housekeeping"},  # its runs go with the others that belong to no study
    description="Compares due studies with their source, and fetches what is missing.",
)


@sensor(
    job=RETRIEVAL_JOB,
    minimum_interval_seconds=15,  # FIONA's moveFromScanner ran every 15 s
    default_status=DefaultSensorStatus.RUNNING,
    description="Requests a run for every source at which a study is due for a look, one at a time a source.",
)
def retrievals(context: SensorEvaluationContext, gateway: GatewayResource) -> SensorResult | SkipReason:
    """Requests a run for every source at which a study is due for a look, and at which no run goes on."""
    due = sources_due(gateway)
    requests = [
        RunRequest(
            tags={SOURCE_TAG: _tag(site, source)},
            run_config={
                "ops": {"retrieved_studies": {"config": {"site": site.name, "source": str(source.peer)}}}
            },
        )
        for site, source in due
        if not _goes_on(context.instance, _tag(site, source))
    ]
    if not requests:
        return SkipReason("in progress" if due else "nothing is due at any source")
    return SensorResult(run_requests=requests)


def sources_due(gateway: GatewayResource) -> list[tuple[Site, Source]]:
    """Sites and sources with work."""
    now = gateway.now()
    return [
        (site, source)
        for site in gateway.settings.sites
        for source in active_sources(site)
        if work_of(gateway.ledger, site, source, now=now)
    ]


def _goes_on(instance: DagsterInstance, tag: str) -> bool:
    going = RunsFilter(tags={SOURCE_TAG: tag}, statuses=NOT_FINISHED_STATUSES)
    return instance.get_runs_count(going) > 0


def _tag(site: Site, source: Source) -> str:
    return f"{site.name} {source.peer}"
