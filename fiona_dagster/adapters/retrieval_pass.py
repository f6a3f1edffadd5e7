"""One pass over what is due at the sources: of the gateway, of a site, or of one source."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_scu import Timeouts
from fiona_dagster.adapters.retrieval import TIMEOUTS, RetrievalSummary, Retriever, SourceBusy
from fiona_dagster.adapters.retrieval_work import (
    active_sources,
    choose_sources,
    discovery_due,
    show_folders,
    take_up,
)
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.settings import Settings, Site, Source

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger


def retrieve(
    ledger: Ledger,
    settings: Settings,
    *,
    site_name: str = "",
    source_name: str = "",
    only: Collection[str] | None = None,
    clock: Callable[[], float] = time.time,
    seconds: float = float("inf"),
    timeouts: Timeouts = TIMEOUTS,
) -> RetrievalSummary:
    """Take up what is new, look for what is due, fetch what is missing, and show it in FIONA's folders.

    Args:
        ledger: of the gateway.
        settings: of the gateway.
        site_name: empty: every site.
        source_name: AE@host:port; empty: every source.
        only: nothing but these studies (Study Instance UIDs), which are looked for already.
        clock: seconds since the epoch.
        seconds: no further study is begun after so many.
        timeouts: of the sources.

    Raises:
        Transient: the ledger does not answer. What sources answer is in the summary.
    """
    end = time.monotonic() + seconds
    total = RetrievalSummary()
    for site in settings.sites:
        sources = active_sources(site)
        if not sources or site_name not in ("", site.name):
            continue
        if only is None:
            take_up(ledger, site, now=clock())
            total = _discover(ledger, settings, site, sources, source_name, clock, timeouts, total)
        choose_sources(ledger, site, sources, settings.calling_ae_title, timeouts, now=clock(), only=only)
        due = ledger.retrievals.due(site.name, now=clock(), only=only)
        for source in sources:
            if source_name not in ("", str(source.peer)):
                continue
            retriever = Retriever(
                ledger,
                settings,
                site,
                source,
                clock=clock,
                timeouts=timeouts,
                ended=lambda: time.monotonic() > end,
            )
            try:
                done = retriever.run([one for one in due if one.source == str(source.peer)])
            except SourceBusy:
                total = replace(total, busy=(*total.busy, str(source.peer)))
                continue
            total = _sum(total, done)
        show_folders(ledger, site, now=clock())
    return total


def _discover(
    ledger: Ledger,
    settings: Settings,
    site: Site,
    sources: list[Source],
    source_name: str,
    clock: Callable[[], float],
    timeouts: Timeouts,
    total: RetrievalSummary,
) -> RetrievalSummary:
    for source in sources:
        if source_name in ("", str(source.peer)) and discovery_due(ledger, site, source, now=clock()):
            retriever = Retriever(ledger, settings, site, source, clock=clock, timeouts=timeouts)
            try:
                total = replace(total, discovered=total.discovered + retriever.discover())
            except FionaError as error:
                total = replace(total, problems=(*total.problems, str(error)))
            ledger.retrievals.discovered(site.name, str(source.peer), now=clock())
    return total


def _sum(one: RetrievalSummary, other: RetrievalSummary) -> RetrievalSummary:
    return RetrievalSummary(
        looked=one.looked + other.looked,
        requests=one.requests + other.requests,
        instances=one.instances + other.instances,
        finished=one.finished + other.finished,
        failed=one.failed + other.failed,
        discovered=one.discovered + other.discovered,
        problems=tuple(dict.fromkeys([*one.problems, *other.problems])),
        busy=(*one.busy, *other.busy),
    )
