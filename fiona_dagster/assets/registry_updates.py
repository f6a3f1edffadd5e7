"""What REDCap's Incoming is told: the study, its series, and what became of its transfers."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Protocol

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.studies import StudyRecord
from fiona_dagster.domain.classification import ClassifiedSeries
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.pixels.series_state import burned_in_states, is_redacted, tells_of_pixels
from fiona_dagster.domain.registration import (
    BurnedIn,
    PendingTransfer,
    StudyRegistration,
    StudyStatus,
    TransferRow,
    TransferStatus,
    patient_hash,
)
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.resources.gateway import GatewayResource

_STATUS = {
    TransferState.REQUESTED: TransferStatus.REQUESTED,
    TransferState.FORWARDED: TransferStatus.DONE,
    TransferState.DELIVERED: TransferStatus.DONE,
    TransferState.HELD: TransferStatus.FAILED,
    TransferState.FAILED: TransferStatus.FAILED,
    TransferState.RETIRED: TransferStatus.CANCELLED,
}


class Log(Protocol):
    """The part of Dagster's log manager, or of a logger, that is used here."""

    def warning(self, msg: str, *args: object) -> None: ...


def registration_of(gateway: GatewayResource, study: StudyRecord) -> StudyRegistration:
    """The study as Incoming is to know it: patient identifiers only as keyed hashes."""
    key = gateway.keyring.site_key()
    transfers = gateway.ledger.transfers.of_study(study.key)
    series = tuple(gateway.ledger.studies.series(study.key))
    return StudyRegistration(
        study_instance_uid=study.study_instance_uid,
        institution=study.institution_name,
        sender_ae_title=study.calling_ae,
        addressed_ae_title=study.called_ae,
        patient_name_hash=patient_hash(study.patient_name, key),
        patient_id_hash=patient_hash(study.patient_id, key),
        description=study.study_description,
        study_date=study.study_date,
        study_time=study.study_time,
        accession_number=study.accession_number,
        arrival_date=_minute(study.first_received_at),
        last_instance_date=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(study.last_received_at)),
        sender_ip=study.address,
        status=_study_status(transfers),
        series=series,
        burned_in=_burned_in(gateway.ledger, study, series, transfers),
    )


def tell_registry(gateway: GatewayResource, study: StudyRecord, log: Log | logging.Logger) -> int:
    """Tell REDCap what became of the study's transfers, where it does not know yet; returns how many rows.

    REDCap being down is no reason to stop: what it missed is told at the next occasion, at the latest by
    `reconciliation`.
    """
    registry, ledger = gateway.registry, gateway.ledger
    if registry is None:
        return 0
    news = [one for one in ledger.transfers.of_study(study.key) if one.registry_state != standing(one)]
    if not news:
        return 0
    try:
        written = registry.record_transfer([_row(ledger, study, one) for one in news])
        registration = registration_of(gateway, study)
        if registration.burned_in:
            registry.register([registration])
    except FionaError as error:
        log.warning("REDCap was not told of %d transfer(s), later: %s", len(news), error)
        return 0
    for one in news:
        ledger.transfers.told_registry(one.id, standing(one))
    return written


def standing(transfer: Transfer) -> str:
    """All that REDCap is told about, in a word: when it changes, REDCap is told again."""
    return f"{transfer.state.value}:{transfer.revision}:{transfer.generation}"


def is_unanswered(pending: PendingTransfer, known: Sequence[Transfer]) -> bool:
    """Whether a row of `transfers` asks for something that the ledger does not know.

    Our own rows come back as pending until they are carried out; a person who asks again sets a later date.
    """
    return not any(
        (one.project, one.participant, one.event) == (pending.project, pending.participant, pending.event)
        and pending.requested_date <= _minute(one.requested_at)
        for one in known
    )


def _row(ledger: Ledger, study: StudyRecord, transfer: Transfer) -> TransferRow:
    rows = [one for one in ledger.transfers.release_rows(transfer.id) if one.path]
    failed = transfer.state in (TransferState.HELD, TransferState.FAILED)
    done = failed or transfer.state in (TransferState.FORWARDED, TransferState.DELIVERED)
    sending = transfer.reason.startswith("delivery") or (
        transfer.state == TransferState.FAILED and bool(rows)
    )
    attempt = ledger.attempts.latest(transfer)
    return TransferRow(
        study_instance_uid=study.study_instance_uid,
        project=transfer.project,
        participant=transfer.participant,
        event=transfer.event,
        transfer_key=transfer.transfer_key,
        status=_STATUS[transfer.state],
        requested_date=_minute(transfer.requested_at),
        requested_by=transfer.requested_by,
        source=transfer.source,
        rule=transfer.rule or None,
        transfer_date=_minute(transfer.changed_at) if done else None,
        deidentification_failed=failed and not sending,
        send_failed=failed and sending,
        pixels_redacted=is_redacted(rows),
        mapped_uid=",".join(sorted({one.study_instance_uid for one in rows})) or None,
        messages=(transfer.reason,) if transfer.reason else (),
        active_seconds=attempt.seconds if attempt else None,
        profile=_profile(transfer),
        num_files=len(rows) if rows else None,
        run_id=attempt.run_id if attempt else None,
        attempts=transfer.attempts,
    )


def _profile(transfer: Transfer) -> str | None:
    """The profile, and the beginning of the digest that names its rules and the project's."""
    if not transfer.profile:
        return None
    return f"{transfer.profile}, {transfer.method_digest[:12]}"


def _burned_in(
    ledger: Ledger, study: StudyRecord, series: Sequence[ClassifiedSeries], transfers: Sequence[Transfer]
) -> dict[str, BurnedIn]:
    rows = [row for one in transfers for row in ledger.transfers.release_rows(one.id)]
    rows = [row for row in rows if tells_of_pixels(row)]
    series_of = (
        {one.id: one.series_instance_uid for one in ledger.studies.instances(study.key)} if rows else {}
    )
    return burned_in_states(series, series_of, rows)


def _study_status(transfers: list[Transfer]) -> StudyStatus:
    transfers = [one for one in transfers if one.state is not TransferState.RETIRED]
    if not transfers:
        return StudyStatus.COMPLETE
    if all(one.state in (TransferState.FORWARDED, TransferState.DELIVERED) for one in transfers):
        return StudyStatus.TRANSFERRED
    if any(one.state in (TransferState.HELD, TransferState.FAILED) for one in transfers):
        return StudyStatus.FAILED
    return StudyStatus.ASSIGNED


def _minute(at: float) -> str:
    """Local time to the minute, as FIONA writes it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
