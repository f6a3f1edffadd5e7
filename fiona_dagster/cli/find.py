"""`fiona find`: from what people know (accession, UID, participant, AE title) to study keys and where each stands."""

from __future__ import annotations

from pathlib import Path

import click

from fiona_dagster.cli.arrival_status import what_is_missing, where_it_stands
from fiona_dagster.cli.opening import config_option, now, open_gateway, whoami
from fiona_dagster.cli.tables import console


@click.command()
@click.argument("text")
@config_option
def find(text: str, config_file: Path | None) -> None:
    """Study keys for TEXT, and where each stands. Every search is audited; nothing about the patient is shown."""
    from rich.table import Table

    gateway = open_gateway(config_file)
    ledger = gateway.ledger
    by_key = {one.key: one for one in ledger.studies.find(text)}
    for transfer in ledger.transfers.all():
        if transfer.participant == text and transfer.study_key not in by_key:
            by_key[transfer.study_key] = ledger.studies.get(transfer.study_key)
    ledger.inventory.note_access(whoami(), "find", f"{len(by_key)} found", now=now())
    table = Table("study", "site", "revision", "instances", "where it stands")
    missing = what_is_missing(ledger) if by_key else {}
    for study in by_key.values():
        transfers = ledger.transfers.of_study(study.key)
        stands = "; ".join(
            f"{t.project}: {t.state.value}{f' ({t.reason})' if t.reason else ''}" for t in transfers
        )
        if not stands:
            stands = study.held_reason or where_it_stands(ledger, gateway.settings, study.key) or "in intake"
        stands = "; ".join(one for one in (stands, missing.get(study.key, "")) if one)
        table.add_row(study.key, study.site, str(study.revision), str(study.instance_count), stands)
    console().print(table if by_key else "nothing is known by that name")
    raise SystemExit(0 if by_key else 1)
