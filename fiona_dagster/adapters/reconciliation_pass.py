"""One pass of reconciliation: the four accounts are read, the archive's is kept, and what differs is put on record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fiona_dagster.adapters.dicom_scu import Timeouts
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.ledger.reconciliations import LedgerAccount
from fiona_dagster.adapters.reconciliation_inventory import Inventory, InventoryTaker
from fiona_dagster.adapters.reconciliation_registry import (
    InventoryReceipt,
    expected_studies,
    keep_inventory,
    registered_studies,
)
from fiona_dagster.adapters.redcap.registry import RedcapRegistry
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.reconciliation import (
    IN_ARCHIVE,
    IN_REDCAP,
    Accounts,
    ArchivedStudy,
    Difference,
    ExpectedStudy,
    Kind,
    RegisteredRow,
    differences,
)
from fiona_dagster.settings import Settings

SETTLED_SECONDS = 900.0
"""What changed within a quarter of an hour is worked on: other runs and REDCap's own news need as long."""
SHORT_DAYS = 100
"""FIONA asked for so many days by day, and for everything by night."""
_PROJECT = "InstitutionName"
"""Where FIONA writes the project."""
EXPECTED_SECONDS = 3 * 86_400.0
"""An examination of the coupling list may be some days away."""


@dataclass(frozen=True)
class PassReport:
    """What a pass found. `problems`: what could not be read, a sentence each, without patient data."""

    found: tuple[Difference, ...]
    archived: int
    gone: int
    unknown: int
    inventory: InventoryReceipt | None
    problems: tuple[str, ...] = field(default=())
    unsettled: int = 0
    """Studies that were not judged, because they are worked on."""

    @property
    def counts(self) -> Counter[str]:
        """Differences by kind."""
        return Counter(one.kind.value for one in self.found)


@dataclass
class _Reading:
    """What was read, and what was not."""

    registered: dict[str, RegisteredRow] | None = None
    expected: list[ExpectedStudy] | None = None
    inventory: Inventory | None = None
    receipt: InventoryReceipt | None = None
    problems: list[str] = field(default_factory=list)


def reconcile(
    ledger: Ledger,
    settings: Settings,
    registry: RedcapRegistry | None,
    *,
    whole: bool,
    believe: bool = False,
    settled_seconds: float = SETTLED_SECONDS,
    timeouts: Timeouts | None = None,
    clock: Callable[[], float] = time.time,
) -> PassReport:
    """Read the four accounts and put on record what differs.

    An account that cannot be read is a problem of the report; what was known of it stays, and is not judged.

    Args:
        ledger: the gateway's account.
        settings: name the research PACS.
        registry: REDCap, or None.
        whole: ask the archive for everything (by night), not only for the last 100 days and what is in question.
        believe: a person confirmed that many studies are gone from the archive.
        settled_seconds: what changed later is not judged.
        timeouts: of the queries.
        clock: seconds since the epoch.
    """
    begin = clock()
    place = str(settings.research_pacs) if settings.research_pacs else ""
    before = ledger.reconciliations.account(place, settled_before=begin - settled_seconds)
    reading = _Reading()
    if registry is not None:
        _read_registry(registry, reading, begin)
    if settings.research_pacs is not None:
        _read_archive(ledger, settings, before, reading, whole=whole, now=begin, timeouts=timeouts)
        if reading.inventory is not None and registry is not None and reading.registered is not None:
            known = before.sent | {
                uid for row in reading.registered.values() for t in row.transfers for uid in t.copies
            }
            try:
                reading.receipt = keep_inventory(
                    registry, reading.inventory.entries, reading.inventory.gone, known=known,
                    day=_minute(begin)[:10], believe=believe,
                )  # fmt: skip
            except FionaError as error:
                reading.problems.append(f"WhatIsInIDS7 is not up to date: {error}")
    if reading.receipt is not None and reading.receipt.doubted:
        reading.problems.append(
            f"the research PACS says that {reading.receipt.doubted} studies are gone, more than vanish in a day: their "
            "entries stay; if it is true, `fiona reconcile --now --believe-gone`"
        )
    after = ledger.reconciliations.account(place, settled_before=begin - settled_seconds)
    changed = {key for key, version in after.versions.items() if before.versions.get(key) != version}
    inventory = reading.inventory
    found = differences(
        Accounts(
            before.studies, before.transfers, before.released, before.sent | after.sent,
            reading.registered,
            _archived(ledger, place, inventory) if inventory is not None else None,
            inventory.gone if inventory is not None else frozenset(),
            reading.expected or (),
            before.unsettled | changed,
            _minute(begin - settled_seconds),
        )
    )  # fmt: skip
    ledger.reconciliations.replace(found, lambda one: _is_judged(one, reading), now=begin)
    return PassReport(
        tuple(found),
        archived=len(inventory.entries) if inventory else 0,
        gone=len(inventory.gone) if inventory else 0,
        unknown=len(inventory.silent) if inventory else 0,
        inventory=reading.receipt,
        problems=tuple(reading.problems),
        unsettled=len(before.unsettled),
    )


def _read_registry(registry: RedcapRegistry, reading: _Reading, now: float) -> None:
    try:
        reading.registered = registered_studies(registry)
        reading.expected = expected_studies(registry, before=_minute(now - EXPECTED_SECONDS))
    except FionaError as error:
        reading.problems.append(f"REDCap's account is unknown: {error}")


def _read_archive(
    ledger: Ledger, settings: Settings, account: LedgerAccount, reading: _Reading,
    *, whole: bool, now: float, timeouts: Timeouts | None,
) -> None:  # fmt: skip
    peer = settings.research_pacs
    assert peer is not None  # noqa: S101 — the caller looked
    place, parts = str(peer), ledger.reconciliations
    today = datetime.fromtimestamp(now).astimezone().date()
    span = None if whole else (today - timedelta(days=SHORT_DAYS), today + timedelta(days=1))
    in_question = {one.difference.uid for one in parts.standing() if one.difference.kind in IN_ARCHIVE}
    recent = now - SHORT_DAYS * 86_400.0
    named = {
        uid
        for one in account.transfers
        for uid in one.copies
        if whole or account.changed_at.get(one.id, 0.0) >= recent
    } | in_question
    if whole:
        named |= parts.archived(place).keys()
    try:
        inventory = InventoryTaker(peer, settings.calling_ae_title, timeouts=timeouts).take(
            span, named=named - {""}, released=account.released
        )
    except FionaError as error:
        reading.problems.append(f"the research PACS's account is unknown: {error}")
        return
    reading.inventory = inventory
    if inventory.silent or inventory.unanswered:
        reading.problems.append(
            f"the research PACS did not answer for {len(inventory.silent)} studies and {inventory.unanswered} spans of "
            "dates: they stay as they were"
        )
    parts.note_archived(
        place,
        [ArchivedStudy(uid, one.values.get(_PROJECT, ""), one.images) for uid, one in inventory.entries.items()],
        {uid: one.series for uid, one in inventory.entries.items()},
        now=now,
    )  # fmt: skip
    parts.forget_archived(place, inventory.gone)


def _archived(ledger: Ledger, place: str, inventory: Inventory) -> dict[str, ArchivedStudy]:
    """What the archive has, without what it gave no answer for now: its older answers are no evidence."""
    stored = ledger.reconciliations.archived(place)
    return {uid: one for uid, one in stored.items() if uid not in inventory.silent}


def _is_judged(one: Difference, reading: _Reading) -> bool:
    """Whether this pass could say that a difference of an earlier one is over."""
    if one.kind is Kind.NEVER_CAME and reading.expected is None:
        return False
    if (one.kind in IN_REDCAP or one.kind is Kind.STRANGER_IN_PACS) and reading.registered is None:
        return False
    if one.kind in IN_ARCHIVE:
        return reading.inventory is not None and one.uid not in reading.inventory.silent
    return True


def _minute(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
