"""The four accounts of every study compared: REDCap, received, released, research PACS (FIONA's inventory scripts)."""

from collections.abc import Iterator

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    Config,
    MaterializeResult,
    asset,
)
from dagster import MetadataValue as Value

from fiona_dagster.assets.descriptions import HOUSEKEEPING, OWNER, stage_tags
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.resources.gateway import GatewayResource


class PassConfig(Config):
    """How much the research PACS is asked for."""

    whole: bool = False
    """Everything, not only the last 100 days and what is in question."""


@asset(group_name=HOUSEKEEPING, kinds={"dicom", "sql"}, owners=[OWNER], tags=stage_tags("reconciliation"),
       check_specs=[AssetCheckSpec("accounts_agree", asset="four_accounts",
                                   description="REDCap = received = released = research PACS; each difference has "
                                   "a next action: `fiona reconcile`.")])  # fmt: skip
def four_accounts(
    context: AssetExecutionContext, config: PassConfig, gateway: GatewayResource
) -> Iterator[MaterializeResult[None] | AssetCheckResult]:
    """What the research PACS has, kept in WhatIsInIDS7, and every difference between the four accounts on record."""
    with reporting_failures():
        from fiona_dagster.adapters.reconciliation_pass import reconcile

        report = reconcile(
            gateway.ledger, gateway.settings, gateway.registry, whole=config.whole, clock=gateway.now
        )
        for problem in report.problems:
            context.log.warning(problem)
        receipt = report.inventory
        yield MaterializeResult(
            metadata={
                "whole": config.whole,
                "studies_answered": report.archived,
                "studies_gone": report.gone,
                "studies_unknown": report.unknown,
                "whatisinids7_written": receipt.written if receipt else 0,
                "whatisinids7_deleted": receipt.deleted if receipt else 0,
                "problems": Value.md("\n".join(f"- {one}" for one in report.problems) or "none"),
            }
        )
        lines = [f"- {count} x {kind}" for kind, count in report.counts.items()]
        yield AssetCheckResult(
            check_name="accounts_agree",
            passed=not report.found and not report.problems,
            severity=AssetCheckSeverity.WARN,
            metadata={"differences": len(report.found), "by_kind": Value.md("\n".join(lines) or "none")},
        )
