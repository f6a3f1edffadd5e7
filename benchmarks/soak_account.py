"""The account of a soak: what senders were told, against what lies on the disk and stands in the ledger.

A data set that was sent whole and never answered may or may not have been stored, once for each attempt. One that was
acknowledged must be there, byte for byte, and be recorded once.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field

from fiona_dagster.adapters.received_files import sha256_of_data_set
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.layout import Layout

SUCCESS, OUT_OF_RESOURCES, NOT_AUTHORISED = 0x0000, 0xA700, 0x0124
_REMEMBERED = 16
Content = tuple[str, str]
"""SOP Instance UID and SHA-256 of the data set."""


@dataclass
class Tally:
    """How often a content was sent whole: with Success, and without any answer."""

    acknowledged: int = 0
    unanswered: int = 0


@dataclass
class Account:
    """What senders did; safe to use from many threads."""

    tallies: dict[Content, Tally] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    doings: Counter[str] = field(default_factory=Counter)
    sent_bytes: int = 0
    faults: list[str] = field(default_factory=list)
    """What befell the listener, and when."""
    _stories: dict[Content, deque[str]] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def attempt(self, content: Content, size: int, by: str = "") -> None:
        """The last piece of it is about to be sent; `by` whom, and how, is remembered."""
        with self._turn:
            self._remember(content, f"sent by {by}")
            self.tallies.setdefault(content, Tally()).unanswered += 1
            self.sent_bytes += size

    def answered(self, content: Content, status: int, by: str = "") -> None:
        """The attempt was answered; 0x0111 of STOW-RS means that it was put aside."""
        with self._turn:
            self._remember(content, f"0x{status:04X} for {by}")
            self.answers[f"0x{status:04X}"] += 1
            tally = self.tallies[content]
            tally.unanswered -= 1
            if status in (SUCCESS, 0x0111):
                tally.acknowledged += 1

    def did(self, what: str) -> None:
        """Count something that a sender or a fault did."""
        with self._turn:
            self.doings[what] += 1

    def befell(self, what: str) -> None:
        """Something was done to the listener, or has ended."""
        with self._turn:
            self.faults.append(f"{self._now()} {what}")

    def story(self, content: Content) -> str:
        """All that was sent and answered under its SOP Instance UID, in order of contents."""
        with self._turn:
            told = [f"{sha256[:8]}: {', '.join(lines)}" for (uid, sha256), lines in self._stories.items()
                    if uid == content[0]]  # fmt: skip
        return "; ".join(told)

    def _remember(self, content: Content, what: str) -> None:
        self._stories.setdefault(content, deque(maxlen=_REMEMBERED)).append(f"{self._now()} {what}")

    def _now(self) -> str:
        return f"{time.monotonic() - self._began:.3f}"

    def is_acknowledged(self, content: Content) -> bool:
        with self._turn:
            tally = self.tallies.get(content)
            return tally is not None and tally.acknowledged > 0

    @property
    def acknowledged(self) -> int:
        """Contents, each counted once."""
        return sum(one.acknowledged > 0 for one in self.tallies.values())


@dataclass(frozen=True)
class Row:
    """An instance of the ledger."""

    study_key: str
    sop_instance_uid: str
    sha256: str
    path: str
    receptions: int
    aside: bool

    @property
    def content(self) -> Content:
        return self.sop_instance_uid, self.sha256


@dataclass(frozen=True)
class Verdict:
    """What the end of a soak found: counts, and everything that breaks the law of conservation."""

    counts: dict[str, int]
    violations: list[str]


def verdict(account: Account, layout: Layout, *, crashed: bool) -> Verdict:
    """Compare; the listener must have been stopped, and started once more where it `crashed`, before."""
    with closing(sqlite3.connect(layout.ledger)) as ledger:
        rows = [
            Row(*one[:5], bool(one[5]))
            for one in ledger.execute(
                "select study_key, sop_instance_uid, sha256, path, receptions, aside from instance"
            )
        ]
        counted = dict(ledger.execute("select key, instance_count from study"))
        open_associations = ledger.execute("select count(*) from association where closed_at is null")
        still_open = int(open_associations.fetchone()[0])
        kept = {one[0] for one in ledger.execute("select path from refusal where path is not null")}
    found = [
        *_acknowledged(account, layout, rows),
        *_recorded(account, rows, crashed=crashed),
        *_files(layout, rows),
        *_refused(layout, kept),
    ]
    by_study = Counter(row.study_key for row in rows)
    found += [f"a study counts {counted[key]} instances, {by_study[key]} stand in it" for key in counted
              if counted[key] != by_study[key]]  # fmt: skip
    if still_open:
        found.append(f"{still_open} Associations never ended in the ledger")
    unexpected = set(account.answers) - {f"0x{one:04X}" for one in (SUCCESS, OUT_OF_RESOURCES, 0x0111)}
    found += [f"a valid instance was answered {one}" for one in sorted(unexpected)]
    counts = {
        "contents_sent": len(account.tallies),
        "contents_acknowledged": account.acknowledged,
        "recorded": len(rows),
        "aside": sum(row.aside for row in rows),
        "recorded_unacknowledged": sum(
            not account.tallies[row.content].acknowledged for row in rows if row.content in account.tallies
        ),
        "receptions": sum(row.receptions for row in rows),
        "refused_and_kept": len(kept),
        "studies": len(counted),
    }
    return Verdict(counts, found)


def _acknowledged(account: Account, layout: Layout, rows: Iterable[Row]) -> Iterable[str]:
    known = {row.content: row for row in rows}
    for content, tally in account.tallies.items():
        if not tally.acknowledged:
            continue
        row = known.get(content)
        if row is None:
            yield (
                f"LOST: acknowledged and not in the ledger: {content}; {account.story(content)}; "
                f"on the disk: {_lying(layout, content[0])}"
            )
            continue
        try:
            there = sha256_of_data_set(layout.datadir / row.path)
        except (OSError, Reject) as error:
            yield f"LOST: acknowledged and not on the disk ({type(error).__name__}): {row.path}"
            continue
        if there != row.sha256:
            yield f"CHANGED: the data set on the disk is not the one that was acknowledged: {row.path}"


def _lying(layout: Layout, uid: str) -> list[str]:
    """Files that have a SOP Instance UID in their name, and the beginning of their data set's hash."""
    found = []
    for path in [*layout.archive.glob(f"*/{uid}"), *layout.aside.glob(f"{uid}.*")]:
        try:
            sha256 = sha256_of_data_set(path)[:8]
        except (OSError, Reject) as error:
            sha256 = type(error).__name__
        found.append(f"{path.relative_to(layout.datadir)} ({sha256})")
    return found


def _recorded(account: Account, rows: list[Row], *, crashed: bool) -> Iterable[str]:
    for row in rows:
        tally = account.tallies.get(row.content)
        if tally is None:
            yield f"MADE UP: nobody sent it whole: {row.path}"
            continue
        if row.receptions > tally.acknowledged + tally.unanswered:
            yield f"COUNTED TWICE: {row.receptions} receptions of {tally}: {row.path}"
        if not crashed and row.receptions < tally.acknowledged:
            yield f"NOT COUNTED: {row.receptions} receptions of {tally}: {row.path}"
    firsts = Counter(row.sop_instance_uid for row in rows if not row.aside)
    yield from (
        f"{count} contents are no other's beside: {uid}" for uid, count in firsts.items() if count > 1
    )
    uids = {row.sop_instance_uid for row in rows}
    yield from (f"everything under a UID is aside: {uid}" for uid in uids if not firsts[uid])


def _files(layout: Layout, rows: Iterable[Row]) -> Iterable[str]:
    recorded = Counter(row.path for row in rows)
    yield from (f"{count} rows are one file: {path}" for path, count in recorded.items() if count > 1)
    lying = {str(path.relative_to(layout.datadir)) for path in layout.archive.glob("*/*")}
    lying |= {str(path.relative_to(layout.datadir)) for path in layout.aside.iterdir()}
    yield from (f"on the disk, not in the ledger: {path}" for path in sorted(lying - set(recorded)))
    yield from (f"in the ledger, not on the disk: {path}" for path in sorted(set(recorded) - lying))
    left = [path for path in layout.incoming.rglob("*") if path.suffix == ".dcm"]
    yield from (f"still in .incoming: {path.name}" for path in left)
    linked = {path.name for path in layout.raw.glob("*/*/*")}
    yield from (
        f"no link in raw: {row.path}" for row in rows if not row.aside and row.sop_instance_uid not in linked
    )


def _refused(layout: Layout, kept: set[str]) -> Iterable[str]:
    lying = {str(path.relative_to(layout.datadir)) for path in layout.refused.glob("*.dcm")}
    yield from (f"kept in the quarantine, not in the ledger: {path}" for path in sorted(lying - kept))
    yield from (f"refused in the ledger, not in the quarantine: {path}" for path in sorted(kept - lying))
