"""The end of a project: its copies, keys and links go, and a signed receipt says what went and what is left to whom."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fiona_dagster.adapters.durable import write_durably
from fiona_dagster.adapters.keyring import Keyring
from fiona_dagster.adapters.signing import SigningKey
from fiona_dagster.domain.layout import safe_name
from fiona_dagster.domain.project_keys import certificate_content
from fiona_dagster.domain.project_life import EndType
from fiona_dagster.domain.transfer import TransferState

if TYPE_CHECKING:
    from pathlib import Path

    from fiona_dagster.adapters.ledger import Ledger
    from fiona_dagster.domain.retirement import CopyReceipt
    from fiona_dagster.settings import Settings

FORMAT = "fiona-project-end/1"
LEFT_IN_REDCAP = (
    "Incoming: transfer_name and transfer_mapped_uid of its transfers",
    "CouplingList and AutoID: its rows",
    "the project's own REDCap: its owner's",
)
"""What a person deletes in REDCap: the gateway's user may not delete records there."""


def open_transfers(ledger: Ledger, project: str) -> dict[str, int]:
    """How many transfers of a project are not delivered, retired or given up, by state."""
    from fiona_dagster.domain.transfer import GIVEN_UP

    done = {TransferState.DELIVERED, TransferState.RETIRED}
    counted: dict[str, int] = {}
    for one in ledger.transfers.all():
        if one.project == project and one.state not in done and not one.reason.startswith(GIVEN_UP):
            counted[one.state.value] = counted.get(one.state.value, 0) + 1
    return counted


def end_project(
    ledger: Ledger,
    settings: Settings,
    project: str,
    kind: EndType,
    receipts: Sequence[CopyReceipt],
    *,
    who: str,
    now: float,
) -> Path:
    """Destroy keys and links of a project, and write the receipt. Repeating it changes nothing.

    Args:
        ledger: whose transfers of the project have been retired, where copies are to be deleted.
        settings: of the gateway.
        project: its name.
        kind: what was agreed.
        receipts: what became of copies and packages.
        who: login name.
        now: seconds since the epoch.

    Returns: the receipt, signed with the site's key; it names no participant and no UID.

    Raises:
        ConfigurationError: a key is given from outside of the keyring, and must be destroyed there first.
    """
    ring = Keyring(settings.keyring, settings.environment)
    signing = SigningKey.beside(settings.keyring, settings.environment)
    target = settings.layout.datadir / "receipts" / f"{safe_name(project)}-end.json"
    signing.public_key()  # before: without it there would be no receipt
    keys = ring.projects().get(project)
    if keys is not None and not keys.destroyed_at:
        keys = ring.destroy(project)
    if not target.exists():
        removed = _remove_traces(ledger, settings, project)
        content: dict[str, Any] = {
            "format": FORMAT,
            "project": project,
            "agreed": kind.name.lower(),
            "at": dt.datetime.fromtimestamp(int(now), dt.UTC).isoformat(),
            "who": who,
            "keys": certificate_content(project, keys) if keys is not None else "it never had a key",
            "copies": [_receipt(one) for one in receipts],
            "removed_here": removed,
            "left_to_a_person": list(LEFT_IN_REDCAP),
        }
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        write_durably(target, signing.sign(content))
    ledger.projects.sever_links(project)
    return target


def _receipt(one: CopyReceipt) -> dict[str, Any]:
    """A receipt without the package's name, which holds the participant."""
    facts = {**asdict(one), "outcome": one.outcome.value, "at": int(one.at)}
    del facts["name"]
    return facts


def _remove_traces(ledger: Ledger, settings: Settings, project: str) -> dict[str, int]:
    """Our own copies and the proofs, whose places lead from a study to its copies; returns how many files."""
    counts = {"copies": 0, "proofs": 0}
    for one in ledger.transfers.all():
        if one.project != project:
            continue
        layout = settings.site(ledger.studies.get(one.study_key).site).layout
        folder = layout.release_folder(one.study_key, f"{project}-{one.id}")
        if folder.exists():
            counts["copies"] += sum(1 for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder)
        proofs = layout.proof(one.study_key, "", 0, "").parent
        for proof in proofs.glob(f"{safe_name(f'{project}-{one.id}')}.*.json"):
            proof.unlink()
            counts["proofs"] += 1
    return counts
