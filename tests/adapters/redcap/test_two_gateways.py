"""Two gateways and a person write the same studies: no order of their calls, no fault between them costs a row.

The calls go through the whole client into the embedded REDCap's functions, one at a time in an order that hypothesis
chooses, so that every failure can be repeated.
"""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st
from requests.adapters import BaseAdapter

from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.adapters.redcap.incoming import IncomingWriter
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.domain.classification import ClassifiedSeries
from fiona_dagster.domain.errors import Transient
from fiona_dagster.domain.registration import StudyRegistration, TransferRow, TransferStatus
from fiona_dagster.embedded.redcap.database import Database
from fiona_dagster.embedded.redcap.dispatch import answer
from fiona_dagster.embedded.redcap.faults import BAD_GATEWAY_PAGE, OUT_OF_MEMORY_PAGE
from fiona_dagster.embedded.redcap.parameters import Parameters, form_pairs
from tests.adapters.redcap.conftest import PLENTY, follow

PROJECTS = ("BRAIN1", "HEART1")
STEPS = ("well", "well", "well", "refused", "page", "lost", "lost", "cut")
"""How a call goes: `refused` and `page` are not carried out, `lost` and `cut` are, and nobody hears of it."""


class Server:
    """A REDCap without HTTP that can be stopped and started."""

    def __init__(self, path: Path) -> None:
        self.path, self.database = path, Database(path, durable=False)
        self.running = True

    def restart(self) -> None:
        self.database, self.running = Database(self.path, durable=False), True

    def call(self, body: bytes) -> tuple[int, bytes]:
        found = answer(self.database, Parameters(form_pairs(body)))
        return found.status, found.body.encode() if isinstance(found.body, str) else found.body


class Line(BaseAdapter):
    """The way of one gateway to the server. `fate` is asked before each call, and waits for its turn."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server, self.fate = server, lambda: "well"

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        fate = self.fate()  # type: ignore[no-untyped-call]
        if fate == "refused" or not self.server.running:
            raise requests.ConnectionError("refused")
        made = requests.Response()
        made.status_code, made._content = 200, OUT_OF_MEMORY_PAGE.encode()
        if fate == "page":
            return made
        body = request.body or b""
        made.status_code, made._content = self.server.call(body.encode() if isinstance(body, str) else body)
        if fate == "cut":
            raise requests.ConnectionError("reset")
        if fate == "lost":
            made.status_code, made._content = 502, BAD_GATEWAY_PAGE.encode()
        return made

    def close(self) -> None:
        """Nothing is open."""


class Gateway(NamedTuple):
    line: Line
    writer: IncomingWriter


class Hospital(NamedTuple):
    server: Server
    gateways: tuple[Gateway, Gateway]
    token: str

    def rows(self, study: str) -> list[dict[str, Any]]:
        """Read past everybody's line."""
        found = self.ask({"content": "record", "format": "json", "records[0]": study})
        return list(found)

    def ask(self, values: dict[str, str]) -> Any:
        request = requests.Request("POST", "http://here/api/", data={"token": self.token, **values}).prepare()
        status, body = self.server.call(str(request.body).encode())
        assert status == 200, body
        return json.loads(body)


class Client(RedcapProject):
    line: Line

    @property
    def _session(self) -> requests.Session:
        session = requests.Session()
        session.mount("http://", self.line)
        return session


@pytest.fixture(scope="module")
def hospital(provisioned: Path, tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    folder = tmp_path_factory.mktemp("two-gateways")
    shutil.copy(provisioned / "redcap.sqlite", folder / "redcap.sqlite")
    server = Server(folder / "redcap.sqlite")
    token = follow(f"file:{provisioned / 'tokens' / 'Incoming.token'}")
    gateways = []
    for name in ("a", "b"):  # each on its own machine: neither lock nor rate limit in common
        client = Client("http://here/api/", token, RateLimit(folder / name, PLENTY), first_wait_seconds=0.0)
        client.line = Line(server)
        gateways.append(Gateway(client.line, IncomingWriter(client, folder / f"{name}.writing")))
    for one in gateways:  # what a client asks once is asked, so that the calls of every example are the same
        one.writer.record_transfers([transfer("1.1", Told(0, done=False))])
    return Hospital(server, (gateways[0], gateways[1]), token)


class Over(BaseException):
    """The example has ended."""


class Turns:
    """Lets one gateway go on to its next call at a time."""

    def __init__(self, gateways: Sequence[Gateway], works: Sequence[Callable[[], None]]) -> None:
        self._waiting = threading.Semaphore(0)
        self._go = [threading.Semaphore(0) for _ in gateways]
        self._fates = ["well"] * len(gateways)
        self._over = False
        self.live = set(range(len(gateways)))
        self.failures: list[BaseException] = []
        for number, (gateway, work) in enumerate(zip(gateways, works, strict=True)):
            gateway.line.fate = lambda number=number: self._turn(number)  # type: ignore[misc]
            threading.Thread(target=self._run, args=(number, work), daemon=True).start()
            self._waiting.acquire()

    def _turn(self, number: int) -> str:
        self._waiting.release()
        self._go[number].acquire()
        if self._over:
            raise Over
        return self._fates[number]

    def _run(self, number: int, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 — told to the test, in its own thread
            self.failures.append(error)
        self.live.discard(number)
        self._waiting.release()

    def end(self) -> None:
        """Whoever still works lets go of everything."""
        self._over = True
        for number in sorted(self.live):
            self.give(number, "refused")

    def give(self, number: int, fate: str) -> None:
        self._fates[number] = fate
        self._go[number].release()
        self._waiting.acquire()


class Late(NamedTuple):
    """What a gateway knows at a time: these series of the study, with so many images each."""

    series: frozenset[int]
    images: int


class Told(NamedTuple):
    """What a gateway tells of a transfer."""

    project: int
    done: bool


NEWS = st.builds(
    Late, st.frozensets(st.integers(1, 5), min_size=1, max_size=3), st.integers(1, 9)
) | st.builds(Told, st.integers(0, 1), st.booleans())
EVENTS = st.tuples(st.integers(0, 1), st.sampled_from(STEPS)) | st.sampled_from(
    [("person", 0), ("person", 1), ("stop", 0), ("start", 0)]
)
NUMBERS = itertools.count(1)


def registration(uid: str, news: Late) -> StudyRegistration:
    series = tuple(
        ClassifiedSeries(f"{uid}.{n}", "MR", (), news.images, series_number=str(n)) for n in news.series
    )
    return StudyRegistration(uid, "W", "S", "F", "", "", "", "", "", "", "2026-01-02 10:20", series)


def transfer(uid: str, news: Told) -> TransferRow:
    status = TransferStatus.DONE if news.done else TransferStatus.REQUESTED
    return TransferRow(
        uid, PROJECTS[news.project], "P1", "", f"key{news.project}", status,
        requested_date="2026-01-02 10:30", transfer_date="2026-01-02 10:40" if news.done else None,
    )  # fmt: skip


def until_it_works(writer: IncomingWriter, uid: str, news: Late | Told, receipts: list[Any]) -> None:
    """As the ledger does: what failed in passing waits, and is tried again."""
    while True:
        try:
            if isinstance(news, Late):
                receipts.append(writer.register([registration(uid, news)]))
            else:
                writer.record_transfers([transfer(uid, news)])
        except Transient:
            continue
        return


@settings(max_examples=25)
@given(news=st.tuples(*[st.lists(NEWS, min_size=1, max_size=3)] * 2), events=st.lists(EVENTS, max_size=40))
@example(  # both tell of one transfer at once: who takes the other's row away keeps what it knew
    news=([Told(0, done=False)], [Told(0, done=True)]),
    events=[(who, "well") for who in (0, 1, 0, 1, 0)],
)
def test_nothing_is_lost_doubled_or_overwritten(
    hospital: Hospital, news: tuple[list[Late | Told], list[Late | Told]], events: list[tuple[Any, Any]]
) -> None:
    uid = f"1.2.{next(NUMBERS)}"
    receipts: list[Any] = []
    asked: dict[str, str] = {}

    def work(one: Gateway, own: Sequence[Late | Told]) -> Callable[[], None]:
        def all_of_it() -> None:
            for each in own:
                until_it_works(one.writer, uid, each, receipts)

        return all_of_it

    turns = Turns(
        hospital.gateways, [work(one, own) for one, own in zip(hospital.gateways, news, strict=True)]
    )
    seen: dict[tuple[str, int], str] = {}
    try:
        for who, what in itertools.chain(events, [("start", 0)], _in_turns(turns)):
            if who == "stop":
                hospital.server.running = False
            elif who == "start":
                hospital.server.restart()
            elif who == "person":
                asked[PROJECTS[what]] = f"2026-02-02 09:{len(asked) + len(seen):02}"
                _ask_for(hospital, uid, PROJECTS[what], asked[PROJECTS[what]])
            elif who in turns.live:
                turns.give(who, what)
            for place, key in _keys(hospital.rows(uid)).items():
                assert seen.setdefault(place, key) == key or not key, "a row was overwritten"
    finally:
        turns.end()
    assert not turns.failures
    rows = hospital.rows(uid)
    _check_end(rows, uid, [one for own in news for one in own])
    numbers = {key: place[1] for place, key in _keys(rows).items() if key}
    for receipt in receipts:
        assert all(numbers[series] == number for series, number in receipt.studies[0].instances.items())
    for project, date in asked.items():
        assert date in {
            row["transfer_requested_date"] for row in rows if row["transfer_project_name"] == project
        }


def _in_turns(turns: Turns) -> Iterator[tuple[int, str]]:
    """Everybody comes to an end once nothing fails any more."""
    for number in range(1000):
        if not turns.live:
            return
        yield number % 2, "well"
    raise AssertionError("the gateways do not come to an end")


def _keys(rows: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """What each instance is of. A row that a person made is of its project until a gateway takes it over."""
    return {
        (row["redcap_repeat_instrument"], row["redcap_repeat_instance"]): row["series_instance_uid"]
        or row["transfer_project_name"]
        for row in rows
        if row["redcap_repeat_instrument"]
    }


def _check_end(rows: list[dict[str, Any]], uid: str, news: Sequence[Late | Told]) -> None:
    assert [row["study_instance_uid"] for row in rows if not row["redcap_repeat_instrument"]] == [uid]
    series = Counter(row["series_instance_uid"] for row in rows if row["series_instance_uid"])
    assert series == {f"{uid}.{n}": 1 for one in news if isinstance(one, Late) for n in one.series}
    keys = Counter(row["transfer_key"] for row in rows if row["transfer_key"])
    assert keys == {f"key{one.project}": 1 for one in news if isinstance(one, Told)}
    for one in news:
        if isinstance(one, Told) and one.done:
            row = next(row for row in rows if row["transfer_key"] == f"key{one.project}")
            assert row["transfer_date"] == "2026-01-02 10:40"


def _ask_for(hospital: Hospital, uid: str, project: str, date: str) -> None:
    place = {"redcap_repeat_instrument": "transfers", "redcap_repeat_instance": "new"}
    request = {"transfer_project_name": project, "transfer_name": "P1", "transfer_requested_date": date}
    data = json.dumps([{"study_instance_uid": uid, **place, **request}])
    hospital.ask({"content": "record", "format": "json", "data": data})
