"""People are told: of what stopped at once, of what was delivered once a day."""

from dagster import AssetExecutionContext, MaterializeResult, asset

from fiona_dagster.assets.descriptions import HOUSEKEEPING, OWNER, stage_tags
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.domain.errors import Transient
from fiona_dagster.resources.gateway import GatewayResource


@asset(group_name=HOUSEKEEPING, kinds={"email"}, owners=[OWNER], tags=stage_tags("notification"))
def told_people(context: AssetExecutionContext, gateway: GatewayResource) -> MaterializeResult[None]:
    """Notices by mail and webhook: study keys, projects, counts and reasons, never of whom the images are."""
    with reporting_failures():
        from fiona_dagster.adapters.notices import say_what_is_due

        said, problems = say_what_is_due(gateway.ledger, gateway.settings, now=gateway.now())
        context.log.info("%d notice(s) were taken", said)
        if problems:
            raise Transient("; ".join(map(str, problems)))
        return MaterializeResult(metadata={"notices": said})
