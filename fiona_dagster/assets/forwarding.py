"""The verified copy in the research PACS and the project's own archives, confirmed by each of them itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster import AssetExecutionContext, MaterializeResult, asset
from dagster import MetadataValue as Value

from fiona_dagster.adapters.ledger.deliveries import DeliveryRecord
from fiona_dagster.assets.costs import Spent
from fiona_dagster.assets.descriptions import OWNER, TRANSFER, stage_tags
from fiona_dagster.assets.failures import NETWORK_RETRIES, reporting_failures
from fiona_dagster.assets.partitions import STUDIES
from fiona_dagster.assets.registry_updates import tell_registry
from fiona_dagster.assets.releases import recall_verified, release_identity, stop_transfer, transfers_at_work
from fiona_dagster.domain.errors import (
    ConfigurationError,
    FionaError,
    Hold,
    Permanent,
    Resting,
    Transient,
    Unreachable,
)
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
    """The de-identified copy in the research PACS and the project's archives, confirmed by each of them.

    Only a copy that passed verification can come here. An archive is asked first what it has, only what is missing or
    was made anew by another method is sent, and it is asked again: 'sent' is never taken for 'stored'. Materialising
    this again changes nothing at an archive that already has the study. One may keep the first instance it got under
    a UID and say Success: what it was given in place of another is noted in the transfer. An archive that is down is
    left alone for a while and delays no other.
    """
    with reporting_failures():
        spent = Spent()
        ledger = gateway.ledger
        study = ledger.studies.get(context.partition_key)
        receipts: list[tuple[Transfer, ForwardReceipt]] = []
        later: list[FionaError] = []
        for transfer in transfers_at_work(ledger, study.key):
            try:
                verified = recall_verified(gateway, study, transfer)
                if verified is not None:
                    found = _forward(context, gateway, transfer, verified)
                    receipts += [(transfer, one) for one in found.receipts]
                    later += found.later
            except Transient as error:
                later.append(error)
            except (Hold, Permanent) as error:
                stop_transfer(gateway, transfer, error, run_id=context.run.run_id)
        tell_registry(gateway, study, context.log)
        if later:
            raise _all_of(later)
        return MaterializeResult(metadata={**_metadata(receipts), **spent.metadata})


@dataclass
class _Found:
    """How it went with the archives of one transfer."""

    receipts: list[ForwardReceipt] = field(default_factory=list)
    later: list[FionaError] = field(default_factory=list)
    stopped: list[Hold | Permanent] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)


def _forward(
    context: AssetExecutionContext, gateway: GatewayResource, transfer: Transfer, verified: VerifiedStudy
) -> _Found:
    """To every archive of the project, each by itself: what one of them refuses or misses costs no other.

    Raises:
        Hold, Permanent: an archive will not take it, and none is to be tried again.
        ConfigurationError: there is no archive.
    """
    from fiona_dagster.adapters.forwarding import CancelledError, bring, is_there
    from fiona_dagster.adapters.image_peers import archives_of

    ledger, found = gateway.ledger, _Found()
    archives = archives_of(gateway.projects()[transfer.project].image_destinations, gateway.settings)
    if not archives:
        raise ConfigurationError("no research PACS is configured", remedy="set RESEARCHPACS in config.json")
    ledger.attempts.count(transfer.id)
    wanted = [(one.key, one.name) for one in archives]
    ledger.sendings.enter(transfer, wanted, revision=verified.revision, now=gateway.now())
    identity = release_identity(gateway, transfer)
    for archive in archives:
        if ledger.sendings.is_cancelled(transfer.id, archive.key):
            found.cancelled.append(str(archive))
            continue
        again = transfer.state != TransferState.REQUESTED
        if not again and is_there(verified, archive, transfer_id=transfer.id, ledger=ledger):
            found.there.append(str(archive))
            continue
        try:
            receipt = bring(
                verified,
                archive,
                transfer_id=transfer.id,
                identity=identity,
                ledger=ledger,
                clock=gateway.now,
            )
        except CancelledError:
            found.cancelled.append(str(archive))
        except (Transient, ConfigurationError) as error:
            found.later.append(error)
        except (Hold, Permanent) as error:
            found.stopped.append(error)
        else:
            context.log.info("%s: %d sent, %d confirmed", transfer.project, receipt.sent, receipt.confirmed)
            _record(context, gateway, transfer, verified, receipt)
            found.receipts.append(receipt)
    _conclude(context, gateway, transfer, verified, found)
    return found


def _conclude(
    context: AssetExecutionContext, gateway: GatewayResource, transfer: Transfer, verified: VerifiedStudy,
    found: _Found,
) -> None:  # fmt: skip
    """The transfer's state, once nothing of it waits for an archive any more."""
    if found.later:
        return
    if found.stopped:
        raise found.stopped[0] if len(found.stopped) == 1 else _both(found.stopped)
    if not found.receipts and not found.there:
        raise Hold(
            "taken out of the queue of every destination by a person: `fiona queue retry` puts it back"
        )
    notes = [one.note for one in found.receipts if one.note]
    notes += [f"not sent to {one}, by a person's decision" for one in found.cancelled]
    unchanged = transfer.state == TransferState.DELIVERED and transfer.packaged_revision == verified.revision
    sent = any(one.sent for one in found.receipts)
    gateway.ledger.transfers.set_state(
        transfer.id, TransferState.DELIVERED if unchanged and not sent else TransferState.FORWARDED,
        now=gateway.now(), run_id=context.run.run_id, revision=verified.revision, generation=transfer.generation,
        reason="; ".join(notes),
    )  # fmt: skip


def _record(
    context: AssetExecutionContext, gateway: GatewayResource, transfer: Transfer, verified: VerifiedStudy,
    receipt: ForwardReceipt,
) -> None:  # fmt: skip
    gateway.ledger.deliveries.record(
        DeliveryRecord(
            transfer.id, receipt.destination, "pacs", verified.revision, "confirmed",
            instance_count=receipt.confirmed, place=receipt.destination, confirmed_at=receipt.confirmed_at,
            detail=receipt.note, method_digest=verified.method_digest,
        ),
        [one.sop_instance_uid for one in verified.instances], now=gateway.now(), run_id=context.run.run_id,
    )  # fmt: skip


def _both(errors: Sequence[Hold | Permanent]) -> Hold | Permanent:
    """Several refusals: a person must look, if of one of them a person must."""
    text = "; ".join(map(str, errors))
    return Hold(text) if any(isinstance(one, Hold) for one in errors) else Permanent(text)


def _all_of(errors: Sequence[FionaError]) -> FionaError:
    """One error for all: worth another try within this run only if one of them may pass so soon."""
    text = "; ".join(dict.fromkeys(map(str, errors)))
    if any(isinstance(one, Transient) and not isinstance(one, (Resting, Unreachable)) for one in errors):
        return Transient(text)
    if any(isinstance(one, Transient) for one in errors):
        return Resting(text, 0.0)
    return errors[0]


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
