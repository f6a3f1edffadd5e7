"""Fetching from scanners and archives what did not come by itself (FIONA's moveFromScanner.sh).

One source is asked by one process at a time, under a file lock, and a study at a time: scanners that acquire have
little to spare. What is fetched comes in through our own receiver, whichever way it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fiona_dagster.adapters.dicom_scu import (
    Gets,
    Moves,
    Queries,
    Relay,
    RetrieveReport,
    Timeouts,
    TooManyMatches,
)
from fiona_dagster.adapters.ledger.arrivals import SeriesExpectation
from fiona_dagster.domain.errors import FionaError, Permanent, Transient
from fiona_dagster.domain.layout import safe_name
from fiona_dagster.domain.retrieval import (
    Account,
    Fetch,
    Origin,
    RetrievalState,
    SeriesThere,
    after_error,
    after_fetch,
    after_look,
    to_compare,
)
from fiona_dagster.domain.retrieval_settings import Method
from fiona_dagster.settings import DicomPeer, Settings, Site, Source

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger import Ledger

STILL_COMING_SECONDS = 60.0
"""After the last image of a study, its sender may only have paused."""
TIMEOUTS = Timeouts(connect=10, acse=30, dimse=300, whole=4 * 3600)
"""A source may take minutes to bring a study back from tape before it sends the first pending response."""


class SourceBusy(Transient):
    """Another process retrieves from this source."""


@dataclass(frozen=True)
class RetrievalSummary:
    """What one pass over the studies of a source did. `problems` hold no patient data."""

    looked: int = 0
    requests: int = 0
    instances: int = 0
    finished: int = 0
    failed: int = 0
    discovered: int = 0
    problems: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    """Sources that somebody else was looking at: nothing was asked of them."""


class Retriever:
    """Looks for studies at one source and fetches what is missing."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        site: Site,
        source: Source,
        *,
        clock: Callable[[], float] = time.time,
        timeouts: Timeouts = TIMEOUTS,
        cancelled: Callable[[], bool] = lambda: False,
        ended: Callable[[], bool] = lambda: False,
    ) -> None:
        """`clock`: seconds since the epoch; `cancelled`: asked between messages, ends what goes on in good order;
        `ended`: asked between studies, begins no further one."""
        self._ledger, self._settings, self._site, self._source = ledger, settings, site, source
        self._clock, self._timeouts = clock, timeouts
        self._cancelled, self._ended = cancelled, ended

    def run(self, accounts: Sequence[Account]) -> RetrievalSummary:
        """Look for these studies, one after the other; an error of one stops none of the others.

        Raises:
            SourceBusy: another process is at it.
        """
        done = RetrievalSummary()
        with self._alone():
            for account in accounts:
                if self._cancelled() or self._ended():
                    break
                done = self._one(account, done)
        return done

    def discover(self) -> int:
        """Begin to look for the source's studies of recent days; returns how many are new.

        Raises:
            Transient, Permanent: it did not answer the query in full.
        """
        options = self._source.options
        if not options.discover_days:
            return 0
        today = datetime.fromtimestamp(self._clock()).astimezone().date()
        first = today - timedelta(days=options.discover_days - 1)
        with Queries(self._source.peer, self._calling, self._timeouts) as queries:
            found = queries.studies_between(first, today, {})
        wanted = [
            one.study_instance_uid
            for one in found
            if not options.modalities or not one.modalities or set(one.modalities) & set(options.modalities)
        ]
        return self._ledger.retrievals.open(self._site.name, wanted, Origin.DISCOVERY, now=self._clock())

    def _one(self, account: Account, done: RetrievalSummary) -> RetrievalSummary:
        done = replace(done, looked=done.looked + 1)
        limit = self._source.options.give_up_seconds
        try:
            account, fetches = self._look(account)
        except FionaError as error:
            lasting = isinstance(error, Permanent)
            account = after_error(
                account, str(error), now=self._clock(), lasting=lasting, give_up_seconds=limit
            )
            done = _with_problem(done, str(error))
            fetches = ()
        self._ledger.retrievals.keep(account)
        if fetches:
            try:
                reports = self._fetch(account.study_instance_uid, fetches)
                done = replace(
                    done,
                    requests=done.requests + len(reports),
                    instances=done.instances + sum(one.completed or 0 for one in reports),
                )
                for report in reports:
                    if report.shortcoming:
                        done = _with_problem(done, report.shortcoming)
                if not any(report.shortcoming for report in reports):
                    account = after_fetch(account, sum(one.completed or 0 for one in reports))
                    self._ledger.retrievals.keep(account)
            except FionaError as error:
                lasting = isinstance(error, Permanent)
                account = after_error(
                    account, str(error), now=self._clock(), lasting=lasting, give_up_seconds=limit
                )
                self._ledger.retrievals.keep(account)
                done = _with_problem(done, str(error))
        return replace(
            done,
            finished=done.finished + (account.state is RetrievalState.FINISHED),
            failed=done.failed + (account.state is RetrievalState.FAILED),
        )

    def _look(self, account: Account) -> tuple[Account, tuple[Fetch, ...]]:
        retrievals, uid = self._ledger.retrievals, account.study_instance_uid
        with Queries(self._source.peer, self._calling, self._timeouts) as queries:
            found = queries.series(uid)
            # read after the source was asked: what came meanwhile is not fetched again
            here = retrievals.instances_here(self._site.name, uid)
            shown = {
                one.series_instance_uid: SeriesThere(one.series_instance_uid, one.instances) for one in found
            }
            acquired = {one.series_instance_uid: one.acquired for one in found}
            for series in to_compare(account, list(shown.values()), here):
                try:
                    uids = frozenset(queries.instances(uid, series))
                    shown[series] = replace(shown[series], uids=uids)
                except TooManyMatches:  # its number has to do
                    shown[series] = replace(
                        shown[series], instances=shown[series].instances or acquired[series]
                    )
        here = retrievals.instances_here(self._site.name, uid)
        study = retrievals.study_here(self._site.name, uid)
        now = self._clock()
        still_coming = study is not None and (
            study.open_associations > 0 or 0 <= now - study.last_received_at < STILL_COMING_SECONDS
        )
        after, fetches = after_look(
            account,
            list(shown.values()),
            here,
            self._ledger.procedures.of_study_uid(self._site.name, uid),
            now=now,
            still_coming=still_coming,
            give_up_seconds=self._source.options.give_up_seconds,
        )
        if study is not None and after.most:
            modalities = {one.series_instance_uid: one.modality for one in found}
            self._ledger.arrivals.expect(
                study.key,
                [
                    SeriesExpectation(one, modalities.get(one, ""), count)
                    for one, count in after.most.items()
                    if count
                ],
                now=now,
            )
        return after, fetches

    def _fetch(self, study_instance_uid: str, fetches: Sequence[Fetch]) -> list[RetrieveReport]:
        """Have everything named sent; a part that failed shows at the next look.

        Raises:
            Transient, Permanent: the source refuses or fails as a whole.
        """
        reports = []
        with self._requests(study_instance_uid, fetches) as request:
            for fetch in fetches:
                if self._cancelled():
                    break
                report = request(study_instance_uid, fetch.series_instance_uid, fetch.sop_instance_uids)
                reports.append(report)
                if report.obstacle:
                    raise Transient(report.shortcoming)
                report.raise_for_status()
        return reports

    @contextmanager
    def _requests(
        self, study_instance_uid: str, fetches: Sequence[Fetch]
    ) -> Iterator[Callable[[str, str, Sequence[str]], RetrieveReport]]:
        options, peer = self._source.options, self._source.peer
        if options.method is Method.MOVE:
            destination = options.destination or self._site.ae_title
            with Moves(peer, self._calling, destination, self._timeouts) as moves:
                yield lambda study, series, names: moves.move(study, series, names, cancelled=self._cancelled)
            return
        folder = self._site.layout.retrieving / _file_name(peer)
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        for left in folder.iterdir():  # by a process that was killed; the source still has it
            left.unlink()
        ours = replace(self._site.peer, ae_title=options.destination or self._site.ae_title)
        classes = self._classes(study_instance_uid, fetches)
        with (
            Relay(ours, peer.ae_title) as relay,
            Gets(peer, self._calling, classes, folder, relay, self._timeouts) as gets,
        ):
            yield lambda study, series, names: gets.get(study, series, names, cancelled=self._cancelled)

    def _classes(self, study_instance_uid: str, fetches: Sequence[Fetch]) -> set[str]:
        """The SOP Classes that will come; none where the source does not say of every instance."""
        classes: set[str] = set()
        with Queries(self._source.peer, self._calling, self._timeouts) as queries:
            for series in dict.fromkeys(fetch.series_instance_uid for fetch in fetches):
                try:
                    classes |= {
                        one.sop_class_uid for one in queries.instances(study_instance_uid, series).values()
                    }
                except TooManyMatches:
                    return set()
        return set() if "" in classes else classes

    @property
    def _calling(self) -> str:
        return self._settings.calling_ae_title

    @contextmanager
    def _alone(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        peer = self._source.peer
        folder = self._settings.layout.datadir / ".locks"
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            with FileLock(folder / f"retrieval.{_file_name(peer)}", timeout=0):
                yield
        except Timeout:
            raise SourceBusy(f"another process retrieves from {peer}") from None


def _file_name(peer: DicomPeer) -> str:
    return safe_name(f"{peer.ae_title}@{peer.host}_{peer.port}")


def _with_problem(done: RetrievalSummary, problem: str) -> RetrievalSummary:
    return replace(done, problems=tuple(dict.fromkeys([*done.problems, problem])))
