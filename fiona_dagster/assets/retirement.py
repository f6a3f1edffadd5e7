"""Copies that are to be nowhere any more: what `fiona withdraw` and `fiona amend` could not finish is tried again."""

from collections import Counter

from dagster import AssetExecutionContext, MaterializeResult, asset

from fiona_dagster.assets.descriptions import HOUSEKEEPING, OWNER, stage_tags
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.resources.gateway import GatewayResource


@asset(group_name=HOUSEKEEPING, kinds={"dicom", "sftp"}, owners=[OWNER], tags=stage_tags("retirement"))
def retired_copies(context: AssetExecutionContext, gateway: GatewayResource) -> MaterializeResult[None]:
    """Copies of withdrawn participants and of wrong assignments, looked for again until they are gone.

    An archive that was down is asked, a run that was under way is cleaned up after, and what a person deleted by hand
    is found gone. `fiona withdraw --project P` shows the receipts.
    """
    with reporting_failures():
        from fiona_dagster.adapters.retirement import carry_out

        ledger, found = gateway.ledger, Counter[str]()
        due = ledger.retirements.due()
        projects = gateway.projects() if due else {}
        for one in due:
            for receipt in carry_out(ledger, gateway.settings, projects, one, clock=gateway.now):
                found[receipt.outcome.value] += 1
        context.log.info("%d transfer(s) looked for: %s", len(due), dict(found))
        return MaterializeResult(
            metadata={"transfers": len(due), **{f"places_{name}": count for name, count in found.items()}}
        )
