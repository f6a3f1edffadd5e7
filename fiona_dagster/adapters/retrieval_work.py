"""Which studies are looked for, and at which source; and FIONA's folders that show how far each is.

Studies come from procedure steps that modalities announced (FIONA's newStudyOnScanner), from images that came, from
files that somebody puts into active-scans, and from queries for recent studies where a source asks for that.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_scu import Queries, Timeouts
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.identifiers import is_safe_uid_path
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.retrieval import Account, Origin, RetrievalState, after_error, after_look
from fiona_dagster.settings import Site, Source

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger

RECENT_SECONDS = 86_400.0
"""Studies whose images or steps came so recently are looked for at their source (FIONA gives up after a day)."""
SHOWN_SECONDS = 30 * 86_400.0
"""Ended studies stay so long in FIONA's folders."""
DISCOVERY_SECONDS = 900.0
"""Between two queries for recent studies of a source."""


def active_sources(site: Site) -> list[Source]:
    """The sources of a site from which studies may be fetched now, by FIONA's control file."""
    if not site.retrieval:
        return []
    control: str | None
    try:
        control = site.layout.enabled.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        control = None
    except OSError:
        control = "00"  # what cannot be read allows nothing
    return [source for source in site.retrieval if source.options.enabled(control)]


def discovery_due(ledger: Ledger, site: Site, source: Source, *, now: float) -> bool:
    """Whether the source is to be asked for its recent studies again."""
    if not source.options.discover_days:
        return False
    asked = ledger.retrievals.discovered_at(site.name, str(source.peer))
    return asked is None or not 0 <= now - asked < DISCOVERY_SECONDS


def work_of(ledger: Ledger, site: Site, source: Source, *, now: float) -> bool:
    """Whether anything is to be done at a source now; looks only."""
    due = ledger.retrievals.due(site.name, now=now)
    if any(account.source in ("", str(source.peer)) for account in due) or discovery_due(
        ledger, site, source, now=now
    ):
        return True
    steps, renewed, new, again = _news(ledger, site, now)
    known = set(ledger.retrievals.known(site.name, [*steps, *new]))
    return bool(renewed or again or {*steps, *new} - known or _asked_for(ledger, site))


def take_up(ledger: Ledger, site: Site, *, now: float) -> int:
    """Begin to look for what is new; returns for how many studies."""
    steps, renewed, new, again = _news(ledger, site, now)
    retrievals, name = ledger.retrievals, site.name
    begun = retrievals.open(name, steps, Origin.STEP, now=now)
    begun += retrievals.open(name, renewed, Origin.STEP, now=now, again=True)
    begun += retrievals.open(name, new, Origin.ARRIVAL, now=now)
    begun += retrievals.open(name, again, Origin.ARRIVAL, now=now, again=True)
    return begun + retrievals.open(name, _asked_for(ledger, site), Origin.PERSON, now=now, again=True)


def choose_sources(
    ledger: Ledger,
    site: Site,
    sources: Sequence[Source],
    calling: str,
    timeouts: Timeouts,
    *,
    now: float,
    only: Collection[str] | None = None,
) -> None:
    """Find out which source shows each due study that has none yet; `only` of these Study Instance UIDs.

    The one that sent its first image, or whose AE title a procedure step names, is asked first, then the others as
    they are configured. The first that shows a series keeps the study.
    """
    by_name = {str(source.peer): source for source in sources}
    for account in ledger.retrievals.due(site.name, now=now, only=only):
        if account.source in by_name:
            continue
        if len(sources) == 1:
            ledger.retrievals.keep(replace(account, source=str(sources[0].peer)))
            continue
        ledger.retrievals.keep(_chosen(ledger, site, account, sources, calling, timeouts, now))


def _chosen(
    ledger: Ledger,
    site: Site,
    account: Account,
    sources: Sequence[Source],
    calling: str,
    timeouts: Timeouts,
    now: float,
) -> Account:
    uid = account.study_instance_uid
    here = ledger.retrievals.study_here(site.name, uid)
    steps = ledger.procedures.of_study_uid(site.name, uid)
    titles = {step.station for step in steps} | ({here.calling_ae} if here else set())
    limit = min(source.options.give_up_seconds for source in sources)
    problem = ""
    for source in sorted(sources, key=lambda one: one.peer.ae_title not in titles):
        try:
            with Queries(source.peer, calling, timeouts) as queries:
                if queries.series(uid):
                    return replace(account, source=str(source.peer))
        except FionaError as error:
            problem = str(error)
    if problem:
        return after_error(account, problem, now=now, give_up_seconds=limit)
    received = ledger.retrievals.instances_here(site.name, uid)
    return after_look(account, (), received, steps, now=now, give_up_seconds=limit)[0]


def show_folders(ledger: Ledger, site: Site, *, now: float) -> None:
    """Bring FIONA's active-scans, finished-scans and failed-scans in line with the ledger."""
    wanted = ledger.retrievals.states(site.name, ended_since=now - SHOWN_SECONDS)
    for state in RetrievalState:
        folder = site.layout.scans(state.value)
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        shown, should = _files(site.layout, state), set(wanted.get(state, ()))
        for uid in should - shown.keys():
            (folder / uid).touch(mode=0o640)
        gone = shown.keys() - should
        if state is RetrievalState.ACTIVE and gone:
            gone -= set(_asked_for(ledger, site))  # put there since they were taken up
        for uid in gone:
            with suppress(FileNotFoundError):
                (folder / uid).unlink()


def _news(
    ledger: Ledger, site: Site, now: float
) -> tuple[list[str], list[str], Sequence[str], Sequence[str]]:
    """Studies of steps, those of them that had ended before, studies that came, those of them that had ended."""
    since = now - RECENT_SECONDS
    steps = ledger.retrievals.steps_since(site.name, since)
    new, again = ledger.retrievals.changed_since(site.name, since)
    return list(steps), ledger.retrievals.ended_before(site.name, steps), new, again


def _asked_for(ledger: Ledger, site: Site) -> list[str]:
    """Studies that somebody put into active-scans: unknown ones, and ended ones whose file is newer than their end."""
    asked = []
    for uid, at in _files(site.layout, RetrievalState.ACTIVE).items():
        account = ledger.retrievals.get(site.name, uid)
        if account is None or (account.ended_at is not None and at > account.ended_at):
            asked.append(uid)
    return asked


def _files(layout: Layout, state: RetrievalState) -> dict[str, float]:
    """Study Instance UIDs of the files in one of FIONA's folders, with when they were touched; no other files."""
    found: dict[str, float] = {}
    with suppress(FileNotFoundError):
        for entry in _entries(layout, state):
            if is_safe_uid_path(entry.name):
                with suppress(FileNotFoundError):
                    found[entry.name] = entry.stat().st_mtime
    return found


def _entries(layout: Layout, state: RetrievalState) -> Iterable[os.DirEntry[str]]:
    with os.scandir(layout.scans(state.value)) as entries:
        return [entry for entry in entries if entry.is_file()]
