"""The verified copy in the research PACS: one Association, confirmed by the PACS itself."""

from typing import Any

from dagster import AssetExecutionContext, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.adapters.ledger.deliveries import DeliveryRecord
from fiona_dagster.assets.descriptions import OWNER, TRANSFER, stage_tags
from fiona_dagster.assets.failures import NETWORK_RETRIES, reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.registry_updates import tell_registry
from fiona_dagster.assets.releases import recall_verified, release_identity, stop_transfer, transfers_at_work
from fiona_dagster.domain.errors import ConfigurationError, Hold, Permanent, Transient
from fiona_dagster.domain.forwarding import ForwardReceipt
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.domain.verification import VerifiedStudy
from fiona_dagster.resources.gateway import GatewayResource


@asset(
    partitions_def=STUDIES,
    deps=["deidentified_copy"],
    group_name=TRANSFER,
    kinds={"dicom"},
    owners=[OWNER],
    tags=stage_tags("forwarding"),
    retry_policy=NETWORK_RETRIES,
)
def research_pacs_copy(context: AssetExecutionContext, gateway: GatewayResource) -> MaterializeResult[None]:
    """The de-identified copy in the research PACS, confirmed by a query for its set of SOP Instance UIDs.

    Only a copy that passed verification can come here. The PACS is asked first what it has, only what is missing or
    was made anew by another method is sent, and it is asked again: 'sent' is never taken for 'stored'. Materialising
    this again changes nothing at a PACS that already has the study. A PACS may keep the first instance it got under a
    UID and say Success: what it was given in place of another is noted in the transfer.
    """
    with reporting_failures():
        ledger = gateway.ledger
        study = ledger.studies.get(context.partition_key)
        receipts: list[tuple[Transfer, ForwardReceipt]] = []
        later: list[str] = []
        for transfer in transfers_at_work(ledger, study.key):
            try:
                verified = recall_verified(gateway, study, transfer)
                if verified is not None:
                    receipts.append((transfer, _forward(context, gateway, transfer, verified)))
            except Transient as error:
                later.append(f"{transfer.project}: {error}")
            except Hold as error:
                ledger.transfers.set_state(
                    transfer.id, TransferState.HELD, now=gateway.now(), reason=str(error),
                    run_id=context.run.run_id, generation=transfer.generation,
                )  # fmt: skip
            except Permanent as error:
                stop_transfer(gateway, transfer, error, run_id=context.run.run_id)
        tell_registry(gateway, study, context.log)
        if later:
            raise Transient("; ".join(later))
        return MaterializeResult(metadata=_metadata(receipts))


def _forward(
    context: AssetExecutionContext, gateway: GatewayResource, transfer: Transfer, verified: VerifiedStudy
) -> ForwardReceipt:
    from fiona_dagster.adapters.forwarding import forward

    pacs, ledger = gateway.settings.research_pacs, gateway.ledger
    if pacs is None:
        raise ConfigurationError("no research PACS is configured", remedy="set RESEARCHPACS in config.json")
    ledger.transfers.count_attempt(transfer.id)
    receipt = forward(
        verified, pacs, gateway.settings.calling_ae_title, transfer_id=transfer.id,
        identity=release_identity(gateway, transfer), sent=ledger.deliveries, clock=gateway.now,
    )  # fmt: skip
    context.log.info("%s: %d sent, %d confirmed", transfer.project, receipt.sent, receipt.confirmed)
    now = gateway.now()
    ledger.deliveries.record(
        DeliveryRecord(
            transfer.id, str(pacs), "pacs", verified.revision, "confirmed", instance_count=receipt.confirmed,
            place=str(pacs), confirmed_at=receipt.confirmed_at, detail=receipt.note,
            method_digest=verified.method_digest,
        ),
        [one.sop_instance_uid for one in verified.instances], now=now, run_id=context.run.run_id,
    )  # fmt: skip
    unchanged = transfer.state == TransferState.DELIVERED and transfer.packaged_revision == verified.revision
    ledger.transfers.set_state(
        transfer.id, TransferState.DELIVERED if unchanged and not receipt.sent else TransferState.FORWARDED,
        now=now, run_id=context.run.run_id, revision=verified.revision, generation=transfer.generation,
        reason=receipt.note,
    )  # fmt: skip
    return receipt


def _metadata(receipts: list[tuple[Transfer, ForwardReceipt]]) -> dict[str, Any]:
    total = [receipt for _, receipt in receipts]
    return {
        "transfers": len(receipts),
        "instances": sum(one.total for one in total),
        "already_there": sum(one.already_there for one in total),
        "sent": sum(one.sent for one in total),
        "confirmed": sum(one.confirmed for one in total),
        "to_look_at": Value.md(
            "\n".join(f"- {t.project}: {r.note}" for t, r in receipts if r.note) or "nothing"
        ),
        "destinations": Value.md(
            "\n".join(f"- {t.project}: {r.confirmed} at {r.destination}" for t, r in receipts) or "none"
        ),
    }
