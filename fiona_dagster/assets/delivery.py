"""The package at its destination: sent under a temporary name, read back, renamed."""

from collections.abc import Callable

from dagster import AssetExecutionContext, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.adapters.ledger.deliveries import DeliveryRecord
from fiona_dagster.adapters.ledger.parcels import Parcel
from fiona_dagster.assets.costs import Spent
from fiona_dagster.assets.descriptions import EXPORT, OWNER, stage_tags
from fiona_dagster.assets.failures import NETWORK_RETRIES, reporting_failures
from fiona_dagster.assets.packaging import Exports, build_packages, stop_packages, stopping_no_other
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.project_records import tell_projects
from fiona_dagster.assets.registry_updates import tell_registry
from fiona_dagster.domain.delivery import DeliveryReceipt, TakenOut, destinations_of
from fiona_dagster.domain.errors import Resting, Transient, Unreachable
from fiona_dagster.domain.forwarding import SendingState
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.project import Destination
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.resources.gateway import GatewayResource

ASK_SECONDS = 2.0
"""As often at most the ledger is asked whether a person took a package out of the queue."""


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
    packages from the outbox. What a person takes out of the queue does not go, and the transfer says so.
    """
    with reporting_failures():
        spent = Spent()
        ledger = gateway.ledger
        study = ledger.studies.get(context.partition_key)
        receipts: list[tuple[Transfer, DeliveryReceipt]] = []
        built = build_packages(gateway, study.key, run_id=context.run.run_id)
        later = [error for error in built.others if isinstance(error, Transient)]
        for exports in built.exports:
            sent = _deliver_all(context, gateway, exports)
            _clear_up(context, gateway, exports.transfer)
            receipts += [(exports.transfer, one) for one in sent]
            later += exports.later
            if not exports.later and not exports.stopped:
                _conclude(context, gateway, exports, sent)
            elif not exports.later:
                stop_packages(gateway, exports, run_id=context.run.run_id)
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
    context: AssetExecutionContext, gateway: GatewayResource, exports: Exports
) -> list[DeliveryReceipt]:
    """Every package to every destination that it is queued for: what one of them lacks costs no other."""
    project = gateway.project(exports.transfer.project)
    queued = {(one.destination, one.export): one for one in exports.parcels}
    receipts = []
    for package in exports.packages:
        destinations = destinations_of(package, project.destinations)
        if not destinations:
            _confirm(gateway, queued["", package.export])
        for destination in destinations:
            one = queued[destination.name, package.export]
            if one.state is SendingState.CANCELLED:
                continue
            with stopping_no_other(gateway, exports, [one]):
                try:
                    receipt = _bring(gateway, exports, package, destination, one)
                except TakenOut:
                    gateway.ledger.parcels.taken_back(exports.transfer.id, destination.name, package.name)
                    continue
                _record(context, gateway, exports.transfer, package, receipt)
                _confirm(gateway, one)
                receipts.append(receipt)
    return receipts


def _bring(
    gateway: GatewayResource, exports: Exports, package: Package, destination: Destination, one: Parcel
) -> DeliveryReceipt:
    from fiona_dagster.adapters.destinations import bring, remove_part

    ledger, settings = gateway.ledger, gateway.settings
    if (
        one.begun and one.name != package.name
    ):  # it was called otherwise, and nobody would look for that any more
        remove_part(
            destination, one.name, settings,
            transfer_id=exports.transfer.id, breakers=ledger.breakers, clock=gateway.now,
        )  # fmt: skip
    return bring(
        package, destination, settings, transfer_id=exports.transfer.id, clock=gateway.now,
        breakers=ledger.breakers, stop=_now_and_then(lambda: ledger.parcels.is_taken_out(one), gateway.now),
        begin=lambda: ledger.parcels.begin(one, package.name, package.size_bytes),
    )  # fmt: skip


def _now_and_then(asked: Callable[[], bool], clock: Callable[[], float]) -> Callable[[], bool]:
    """The question with its last answer, asked again after `ASK_SECONDS`; a yes lasts."""
    at, said = 0.0, False

    def answer() -> bool:
        nonlocal at, said
        if not said and abs(clock() - at) >= ASK_SECONDS:
            said, at = asked(), clock()
        return said

    return answer


def _confirm(gateway: GatewayResource, one: Parcel) -> None:
    gateway.ledger.parcels.settle(one, SendingState.CONFIRMED, now=gateway.now())


def _record(
    context: AssetExecutionContext, gateway: GatewayResource, transfer: Transfer, package: Package,
    receipt: DeliveryReceipt,
) -> None:  # fmt: skip
    ledger = gateway.ledger
    copies = [row.sop_instance_uid for row in ledger.transfers.release_rows(transfer.id) if row.path]
    ledger.deliveries.record(
        DeliveryRecord(
            transfer.id, receipt.destination, "package", ledger.transfers.released_revision(transfer.id),
            "confirmed", name=package.name, instance_count=len(copies), size_bytes=receipt.size_bytes,
            checksum=package.md5, place=receipt.place, confirmed_at=receipt.confirmed_at,
            method_digest=ledger.transfers.get(transfer.id).method_digest,
        ),
        copies, now=gateway.now(), run_id=context.run.run_id,
    )  # fmt: skip


def _conclude(
    context: AssetExecutionContext,
    gateway: GatewayResource,
    exports: Exports,
    receipts: list[DeliveryReceipt],
) -> None:
    """Everything is where it was to go, or a person decided that it does not go there."""
    from fiona_dagster.adapters.delivered_packages import put_away

    ledger, transfer = gateway.ledger, exports.transfer
    project = gateway.project(transfer.project)
    present = [one.name for one in exports.packages]
    held_back = [one.name for one in exports.parcels if one.state is SendingState.CANCELLED]
    for destination in project.destinations:
        ledger.deliveries.supersede(
            transfer.id, destination.name, [*present, *held_back],
            now=gateway.now(), run_id=context.run.run_id,
        )  # fmt: skip
    ledger.transfers.set_state(
        transfer.id,
        TransferState.DELIVERED,
        now=gateway.now(),
        run_id=context.run.run_id,
        reason=ledger.parcels.notes(transfer.id, so_far=transfer.reason),
        packaged_revision=ledger.transfers.released_revision(transfer.id),
        generation=transfer.generation,
    )
    if not gateway.settings.outbox.leave_delivered:
        layout = gateway.settings.layout
        confirmed = {one.package for one in receipts}
        put_away(
            layout,
            [
                one.name
                for one in exports.packages
                if one.name in confirmed and one.path.parent == layout.outbox
            ],
        )


def _clear_up(context: AssetExecutionContext, gateway: GatewayResource, transfer: Transfer) -> None:
    """Delete what is left of packages that a person took out; what cannot be deleted now is tried again by itself."""
    from fiona_dagster.adapters.cancelled_packages import clear_up

    ledger = gateway.ledger
    projects = {transfer.project: gateway.project(transfer.project)}
    mine = ledger.parcels.of_transfer(transfer.id)
    for place, problem in clear_up(ledger, gateway.settings, projects, mine, clock=gateway.now).problems:
        context.log.warning("a part of a package stays at %s for now: %s", place, problem)


def _all_of(errors: list[Transient]) -> Transient:
    """One error for all: worth another try within this run only if one of them may pass so soon."""
    text = "; ".join(dict.fromkeys(map(str, errors)))
    soon = any(not isinstance(one, (Resting, Unreachable)) for one in errors)
    return Transient(text) if soon else Resting(text, 0.0)
