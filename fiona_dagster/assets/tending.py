"""Packages on their way that nobody works on at present: what they wait for may have come."""

from dagster import AssetExecutionContext, MaterializeResult, asset

from fiona_dagster.assets.descriptions import HOUSEKEEPING, OWNER, stage_tags
from fiona_dagster.assets.exports import export_password
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.domain.delivery import NOT_SEALED
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.forwarding import SendingState
from fiona_dagster.resources.gateway import GatewayResource

WHO = "tended_packages"
"""Whom the audit names."""
RUN_SECONDS = 600.0
"""A run that is sending what was cancelled stops within seconds, and clears up by itself."""


@asset(group_name=HOUSEKEEPING, kinds={"sftp"}, owners=[OWNER], tags=stage_tags("delivery"))
def tended_packages(context: AssetExecutionContext, gateway: GatewayResource) -> MaterializeResult[None]:
    """What waits for no run: packages that could not be made for want of a password are tried again once it is there,
    and what is left of cancelled ones is deleted.
    """
    with reporting_failures():
        from fiona_dagster.adapters.cancelled_packages import clear_up

        ledger = gateway.ledger
        cancelled = ledger.parcels.cancelled(before=gateway.now() - RUN_SECONDS)
        done = clear_up(ledger, gateway.settings, gateway.projects(), cancelled, clock=gateway.now)
        for place, problem in done.problems:
            context.log.warning("a part of a package stays at %s for now: %s", place, problem)
        return MaterializeResult(
            metadata={
                "passwords_found": find_passwords(gateway),
                "parts_deleted": done.parts,
                "parts_left": len(done.problems),
                "packages_deleted": done.packages,
            }
        )


def find_passwords(gateway: GatewayResource) -> int:
    """Have packages tried again whose password is there now; returns how many."""
    found = 0
    for one in gateway.ledger.parcels.queue((SendingState.FAILED,)):
        project = gateway.projects().get(one.project) if one.reason.startswith(NOT_SEALED) else None
        if project is None:
            continue
        try:
            for export in project.exports:
                if export.label == one.export:
                    export_password(gateway, export)
        except ConfigurationError:
            continue
        gateway.ledger.parcels.retry(one, "", who=WHO, now=gateway.now())
        found += 1
    return found
