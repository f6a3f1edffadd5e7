"""The package at its destination: sent under a temporary name, read back, renamed."""

from dagster import AssetExecutionContext, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.adapters.ledger.deliveries import DELIVERY_FAILED, DeliveryRecord
from fiona_dagster.assets.costs import Spent
from fiona_dagster.assets.descriptions import EXPORT, OWNER, stage_tags
from fiona_dagster.assets.failures import NETWORK_RETRIES, reporting_failures
from fiona_dagster.assets.packaging import build_packages
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.project_records import tell_projects
from fiona_dagster.assets.registry_updates import tell_registry
from fiona_dagster.domain.delivery import DeliveryReceipt, destinations_of
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Resting, Transient, Unreachable
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.resources.gateway import GatewayResource


@asset(
    partitions_def=STUDIES,
    deps=["outbox_package"],
    group_name=EXPORT,
    kinds={"sftp"},
    owners=[OWNER],
    tags=stage_tags("delivery"),
    retry_policy=NETWORK_RETRIES,
)
def delivered_package(context: AssetExecutionContext, gateway: GatewayResource) -> MaterializeResult[None]:
    """The package where the project wants it, confirmed: size and checksum were read back from the destination.

    A destination that already has the same bytes is left alone. A project without a destination collects its
    packages from the outbox.
    """
    with reporting_failures():
        spent = Spent()
        ledger = gateway.ledger
        study = ledger.studies.get(context.partition_key)
        receipts: list[tuple[Transfer, DeliveryReceipt]] = []
        later: list[Transient] = []
        by_transfer: dict[int, tuple[Transfer, list[Package]]] = {}
        for transfer, package in build_packages(gateway, study.key):
            by_transfer.setdefault(transfer.id, (transfer, []))[1].append(package)
        for transfer, packages in by_transfer.values():
            try:
                receipts += [(transfer, one) for one in _deliver_all(context, gateway, transfer, packages)]
            except Transient as error:
                later.append(error)
            except (Permanent, ConfigurationError) as error:
                ledger.transfers.set_state(
                    transfer.id,
                    TransferState.FAILED,
                    now=gateway.now(),
                    reason=f"{DELIVERY_FAILED}{error}",
                    generation=transfer.generation,
                    run_id=context.run.run_id,
                )
        tell_registry(gateway, study, context.log)
        tell_projects(gateway, context.log)
        if later:
            raise _all_of(later)
        lines = [f"- {t.project}: `{r.package}` at {r.destination}" for t, r in receipts]
        return MaterializeResult(
            metadata={
                "deliveries": len(receipts),
                "bytes": sum(receipt.size_bytes for _, receipt in receipts),
                "already_there": sum(receipt.sent_bytes == 0 for _, receipt in receipts),
                "where": Value.md("\n".join(lines) or "in the outbox"),
                **spent.metadata,
            }
        )


def _deliver_all(
    context: AssetExecutionContext, gateway: GatewayResource, transfer: Transfer, packages: list[Package]
) -> list[DeliveryReceipt]:
    from fiona_dagster.adapters.delivered_packages import put_away
    from fiona_dagster.adapters.destinations import bring

    project = gateway.project(transfer.project)
    ledger, receipts = gateway.ledger, []
    copies = [row.sop_instance_uid for row in ledger.transfers.release_rows(transfer.id) if row.path]
    revision = ledger.transfers.released_revision(transfer.id)
    method = ledger.transfers.get(transfer.id).method_digest
    later: list[Transient] = []
    stopped: list[Permanent | ConfigurationError] = []
    for package in packages:
        for destination in destinations_of(package, project.destinations):
            try:
                receipt = bring(
                    package, destination, gateway.settings, transfer_id=transfer.id, clock=gateway.now,
                    breakers=ledger.breakers,
                )  # fmt: skip
            except Transient as error:  # what one destination lacks costs no other
                later.append(error)
                continue
            except (Permanent, ConfigurationError) as error:
                stopped.append(error)
                continue
            ledger.deliveries.record(
                DeliveryRecord(
                    transfer.id, destination.name, "package", revision, "confirmed", name=package.name,
                    instance_count=len(copies), size_bytes=receipt.size_bytes, checksum=package.md5,
                    place=receipt.place, confirmed_at=receipt.confirmed_at, method_digest=method,
                ),
                copies, now=gateway.now(), run_id=context.run.run_id,
            )  # fmt: skip
            receipts.append(receipt)
    if later:
        raise _all_of(later)
    if stopped:
        raise stopped[0]
    for destination in project.destinations:
        ledger.deliveries.supersede(
            transfer.id, destination.name, [one.name for one in packages],
            now=gateway.now(), run_id=context.run.run_id,
        )  # fmt: skip
    ledger.transfers.set_state(
        transfer.id,
        TransferState.DELIVERED,
        now=gateway.now(),
        run_id=context.run.run_id,
        reason=transfer.reason,
        packaged_revision=revision,
        generation=transfer.generation,
    )
    if not gateway.settings.outbox.leave_delivered:
        layout = gateway.settings.layout
        confirmed = {one.package for one in receipts}
        put_away(
            layout,
            [one.name for one in packages if one.name in confirmed and one.path.parent == layout.outbox],
        )
    return receipts


def _all_of(errors: list[Transient]) -> Transient:
    """One error for all: worth another try within this run only if one of them may pass so soon."""
    text = "; ".join(dict.fromkeys(map(str, errors)))
    soon = any(not isinstance(one, (Resting, Unreachable)) for one in errors)
    return Transient(text) if soon else Resting(text, 0.0)
