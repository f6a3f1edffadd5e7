"""The de-identified copy and its verification: the gate through which everything that leaves must pass."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    MaterializeResult,
    asset,
    multi_asset_check,
)
from dagster import MetadataValue as Value

from fiona_dagster.assets.costs import Spent
from fiona_dagster.assets.descriptions import OWNER, TRANSFER, stage_tags
from fiona_dagster.assets.failures import reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.progress import now_and_then
from fiona_dagster.assets.readiness import ready
from fiona_dagster.assets.registry_updates import tell_registry
from fiona_dagster.assets.releases import (
    deidentify_transfer,
    stop_transfer,
    transfers_at_work,
    verify_transfer,
)
from fiona_dagster.domain.errors import ConfigurationError, FionaError, Hold, Permanent, Transient
from fiona_dagster.domain.transfer import Balance, Transfer
from fiona_dagster.domain.verification import CHECKS, Check
from fiona_dagster.resources.gateway import GatewayResource

CHECK_SPECS = [
    AssetCheckSpec(
        name, asset="deidentified_copy", blocking=True, description=promise, partitions_def=STUDIES
    )
    for name, promise in CHECKS.items()
]


@asset(
    partitions_def=STUDIES,
    deps=["transfer_decision"],
    group_name=TRANSFER,
    kinds={"dicom"},
    owners=[OWNER],
    tags=stage_tags("deidentification"),
    output_required=False,
)
def deidentified_copy(
    context: AssetExecutionContext, gateway: GatewayResource
) -> Iterator[MaterializeResult[None]]:
    """The study as the project may see it, still inside the quarantine: nothing leaves before it is verified.

    A pure function of the instance, the project's De-identification Profile and the project's key: the same study
    gives the same bytes again, and a late image gets the pseudonym, UIDs and date shift of its study. What the
    profile does not know is removed; an object type without a handler, or pixels that may carry text, is held.
    """
    with reporting_failures():
        spent = Spent()
        ledger = gateway.ledger
        study = ledger.studies.get(context.partition_key)
        transfers, waiting = ready(gateway, transfers_at_work(ledger, study.key))
        if waiting and not transfers:
            raise Transient("; ".join(waiting))
        if not transfers:
            context.log.info("nothing to de-identify: %s", study.held_reason or "no transfer")
            return
        rows = []
        masked: Counter[str] = Counter()
        stopped: list[FionaError] = []
        for transfer in transfers:
            try:
                reading = now_and_then(context.log, "images read for text")
                result = deidentify_transfer(
                    gateway, study, transfer, run_id=context.run.run_id, reading=reading
                )
            except (Hold, Permanent, ConfigurationError) as error:
                stop_transfer(gateway, transfer, error, run_id=context.run.run_id)
                stopped.append(error)
                continue
            balance = ledger.transfers.balance(transfer.id)
            context.log.info("%s: %d instances, %s", transfer.project, balance.received, result.method_digest)
            rows.append((transfer, balance, result.profile, result.reasons))
            masked.update(result.masked)
        if stopped:
            tell_registry(gateway, study, context.log)
        if stopped and not rows:
            raise stopped[0]
        yield MaterializeResult(
            metadata={
                **_metadata(rows, revision=study.revision),
                "waiting": "; ".join(waiting) or "none",
                "stale_transfers": _stale(gateway, {transfer.project for transfer, *_ in rows}),
                **{name: count for name, count in masked.items() if count},
                **spent.metadata,
            }
        )


@multi_asset_check(specs=CHECK_SPECS)
def verification(context: AssetCheckExecutionContext, gateway: GatewayResource) -> Iterator[AssetCheckResult]:
    """Re-reads the copy from disk and compares it with the originals; a failed check holds the whole transfer."""
    with reporting_failures():
        spent = Spent()
        ledger = gateway.ledger
        study = ledger.studies.get(context.partition_key)
        found: dict[str, list[tuple[Transfer, Check]]] = {name: [] for name in CHECKS}
        for transfer in ready(gateway, transfers_at_work(ledger, study.key))[0]:
            progress = now_and_then(context.log, "originals and copies read")
            run_id = context.run.run_id
            for check in verify_transfer(gateway, study, transfer, run_id=run_id, progress=progress):
                found[check.name].append((transfer, check))
        tell_registry(gateway, study, context.log)
        cost = spent.metadata
        for number, (name, results) in enumerate(found.items()):
            yield AssetCheckResult(
                check_name=name,
                asset_key="deidentified_copy",
                passed=all(check.passed for _, check in results),
                metadata={
                    "examined": sum(check.examined for _, check in results),
                    "found": sum(check.found for _, check in results),
                    "places": _places(results) or "none",
                    # one reading of the disk for all six: on the first of them
                    **(cost if number == 0 else {}),
                },
            )


def _stale(gateway: GatewayResource, names: set[str]) -> str:
    """Per project, over all studies: this one's copies are stale until they are forwarded and delivered."""
    from fiona_dagster.adapters.stale_copies import stale_transfers

    projects = [one for name, one in gateway.projects().items() if name in names]
    found = stale_transfers(gateway.ledger, gateway.settings, projects)
    return ", ".join(f"{name}: {one.transfers}" for name, one in found.items()) or "none"


def _places(results: list[tuple[Transfer, Check]]) -> str:
    return "; ".join(
        f"{transfer.project}: {place}" for transfer, check in results for place in check.places[:50]
    )


def _metadata(rows: list[tuple[Transfer, Balance, str, dict[str, int]]], *, revision: int) -> dict[str, Any]:
    lines = [
        "| project | received | awaiting verification | held | excluded | failed |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    reasons: dict[str, int] = {}
    waiting_total = 0
    for transfer, balance, _, why in rows:
        waiting = why.get("awaiting verification", 0)
        waiting_total += waiting
        lines.append(
            f"| {transfer.project} | {balance.received} | {waiting} | {balance.held - waiting} "
            f"| {balance.excluded} | {balance.failed} |"
        )
        for reason, count in why.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return {
        "revision": revision,
        "transfers": len(rows),
        "instances": sum(balance.received for _, balance, _, _ in rows),
        "awaiting_verification": waiting_total,
        "by_project": Value.md("\n".join(lines)),
        "reasons": Value.md(
            "\n".join(f"- {count} x {reason}" for reason, count in sorted(reasons.items())) or "none"
        ),
        "profile": ", ".join(sorted({profile for _, _, profile, _ in rows})),
    }
