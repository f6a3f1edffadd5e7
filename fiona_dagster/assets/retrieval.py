"""Studies are completed from their source: what did not come by itself is fetched (FIONA's moveFromScanner.sh)."""

from dagster import AssetExecutionContext, Config, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.assets.descriptions import INTAKE, OWNER, SCANNER, stage_tags
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.resources.gateway import GatewayResource

SOURCE_TAG = "fiona/source"
SECONDS_A_RUN = 1800.0
"""A run begins no further study after this; the sensor asks for the next."""


class RetrievalConfig(Config):
    """Which source; empty: every one, one after the other."""

    site: str = ""
    source: str = ""
    """As AE@host:port."""


@asset(
    deps=[SCANNER],
    group_name=INTAKE,
    kinds={"dicom"},
    owners=[OWNER],
    tags=stage_tags("retrieval"),
    description="Studies compared with their source by C-FIND, and what is missing fetched by C-MOVE or C-GET, one "
    "study at a time. Finished when two looks agree that all is here and every procedure step has ended; given up "
    "after a day. An error, an empty or a smaller answer finishes nothing.",
)
def retrieved_studies(
    context: AssetExecutionContext, gateway: GatewayResource, config: RetrievalConfig
) -> MaterializeResult[None]:
    """What is missing of studies that are known here or at a modality, from scanners and archives."""
    with reporting_failures():
        from fiona_dagster.adapters.retrieval_pass import retrieve

        summary = retrieve(
            gateway.ledger,
            gateway.settings,
            site_name=config.site,
            source_name=config.source,
            clock=gateway.now,
            seconds=SECONDS_A_RUN,
        )
        for problem in summary.problems:
            context.log.warning("%s", problem)
        return MaterializeResult(
            metadata={
                "looked_at": summary.looked,
                "requests": summary.requests,
                "instances": summary.instances,
                "finished": summary.finished,
                "given_up": summary.failed,
                "discovered": summary.discovered,
                "problems": Value.md("\n".join(f"- {one}" for one in summary.problems) or "none"),
            }
        )
