"""`kill -9` of every process of the gateway, at random points of a stream of studies: nothing acknowledged is lost,
the conservation law holds, and everything arrives once.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import func, select

from fiona_dagster.adapters.dicom_scu import SendOutcome, query_instances, send
from fiona_dagster.adapters.ledger.schema import association
from fiona_dagster.adapters.received_files import sha256_of_data_set
from fiona_dagster.adapters.reconciliation import discrepancies
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.transfer import Disposition, TransferState
from fiona_dagster.settings import DicomPeer
from tests.journeys.processes import RunningGateway, embedded_destinations, running_processes
from tests.scp_listener.instances import instance, write

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

SEED = 20_240_131
STUDIES = 10
KILLS = {"receiver": 42, "run worker": 4, "daemon": 2, "code server": 2}
"""Fifty; the receiver takes most: it is what acknowledges, and it is back in a second."""
QUIET_SECONDS = 4
"""Longer than a receiver is away, so that most studies arrive in one revision."""
SERVICES = {"receiver": "receiver-ABCD", "daemon": "daemon", "code server": "code-server"}
LIVES_SECONDS = {"receiver": 0.8, "run worker": 2.0, "run server": 4.0, "daemon": 4.0, "code server": 4.0}
"""A victim is killed at a random point of so many seconds after it was found."""
PATIENCE, SETTLED_SECONDS = 120.0, 400.0
UID = "1.2.826.0.1.3680043.8.498"


@dataclass
class Scanner:
    """Sends studies while the gateway is being killed, and again what was not acknowledged, as a real scanner does.

    How far it has come is told by the test (`released`, in studies), so that the stream lasts as long as the killing.
    Between new studies it sends old ones again.
    """

    studies: list[list[Path]]
    peer: DicomPeer
    chance: random.Random
    released: int = 1
    acknowledged: dict[str, Path] = field(default_factory=dict)
    failed: int = 0
    resent: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="scanner", daemon=True)

    def __enter__(self) -> Scanner:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    @property
    def is_done(self) -> bool:
        return len(self.acknowledged) == sum(map(len, self.studies))

    def _run(self) -> None:
        while not self._stop.wait(self.chance.uniform(0, 0.2)):
            known = set(self.acknowledged.values())
            missing = [path for one in self.studies[: self.released] for path in one if path not in known]
            if missing:
                self._send([path for path in missing if path.parent == missing[0].parent])
            elif known and not self.is_done:
                self.resent += 1
                self._send(sorted(self.chance.choice(sorted(known)).parent.iterdir()))

    def _send(self, paths: list[Path]) -> None:
        by_path: list[Path] = []

        def note(outcome: SendOutcome) -> None:
            if outcome.stored:
                by_path.append(outcome.path)
                self.acknowledged[outcome.sop_instance_uid] = outcome.path

        with suppress(FionaError):  # the receiver is away: what was not acknowledged is sent again
            send(paths, self.peer, "SCANNER", progress=note)
        self.failed += len(by_path) < len(paths)


def make_studies(folder: Path, chance: random.Random) -> list[list[Path]]:
    """Studies of three to five images of less than a kilobyte, each of one patient."""
    made = []
    for study in range(STUDIES):
        uid, patient = f"{UID}.{9000 + study}", f"{chance.randrange(10**10, 10**11)}"
        made.append([
            write(
                folder / f"{study:02d}" / f"{number}.dcm",
                instance(
                    number, StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.{number}",
                    AccessionNumber=f"HUS77{study:04d}", PatientID=patient,
                    PatientName=f"Fjellheim^Torbjorg{study}", PixelData=chance.randbytes(32),
                ),
            )
            for number in range(1, chance.randint(3, 5) + 1)
        ])  # fmt: skip
    return made


@pytest.fixture
def chance() -> random.Random:
    print(f"seed {SEED}")
    return random.Random(SEED)


@pytest.fixture
def studies(tmp_path: Path, chance: random.Random) -> list[list[Path]]:
    return make_studies(tmp_path / "scanner", chance)


@pytest.fixture
def gateway(tmp_path: Path, studies: list[list[Path]]) -> Iterator[RunningGateway]:
    coupling = [
        {
            "cl_accessionnumber": f"HUS77{number:04d}",
            "cl_projectname": "BRAINAGE",
            "cl_subjectid": f"BA-{number:03d}",
        }
        for number in range(len(studies))
    ]
    with (
        embedded_destinations(tmp_path) as destinations,
        running_processes(
            tmp_path,
            destinations,
            projects=[{"project_name": "BRAINAGE", "project_patient_naming": r"BA-\d{3}"}],
            coupling=coupling,
            pages=False,
            QUIETSECONDS=QUIET_SECONDS,
        ) as running,
    ):
        yield running


def test_whatever_is_killed_whenever_nothing_is_lost_and_everything_arrives_once(
    gateway: RunningGateway, studies: list[list[Path]], chance: random.Random
) -> None:
    with Scanner(studies, gateway.receiver, random.Random(SEED + 1)) as scanner:
        killed = kill_at_random(gateway, scanner, chance)
        gateway.wait_for(lambda: scanner.is_done, 60, lambda: f"{len(scanner.acknowledged)} acknowledged")
    assert_acknowledged_is_on_disk(gateway, scanner)
    gateway.wait_for(lambda: all_delivered(gateway), SETTLED_SECONDS, lambda: standings(gateway))
    lost = lost_associations(gateway)
    print(
        f"killed {dict(killed)}; {lost} Associations lost, {scanner.failed} sendings failed, {scanner.resent} again"
    )
    assert killed.total() >= 50
    assert lost > 0
    assert_nothing_is_missing_or_twice(gateway, studies)
    assert_destinations_have_what_was_released(gateway)


def kill_at_random(gateway: RunningGateway, scanner: Scanner, chance: random.Random) -> Counter[str]:
    """Kill every victim as often as it should be, in any order, at any point of what it does; after every restart of
    the receiver look at what it acknowledged.
    """
    killed: Counter[str] = Counter()
    victims = list(Counter(KILLS).elements())
    chance.shuffle(victims)
    for number, victim in enumerate(victims, start=1):
        strike(gateway, victim, chance)
        killed[victim] += 1
        scanner.released = 1 + number * len(scanner.studies) // len(victims)
        if victim == "receiver":
            gateway.wait_for(lambda: is_there(gateway, "receiver"), PATIENCE, lambda: "it stays away")
            assert_acknowledged_is_on_disk(gateway, scanner)
    return killed


def strike(gateway: RunningGateway, victim: str, chance: random.Random) -> None:
    """Wait for a victim, and kill it at a random point of the seconds that follow; another one if it ended first."""
    for _ in range(10):
        delivered = [one for one in gateway.ledger.transfers.all() if one.state == TransferState.DELIVERED]
        if victim == "run worker" and delivered and not is_there(gateway, victim):
            gateway.fiona("resend", chance.choice(delivered).study_key)  # else there may be no run for long
        gateway.wait_for(lambda: is_there(gateway, victim), PATIENCE, lambda: f"there is no {victim}")
        threading.Event().wait(chance.uniform(0, LIVES_SECONDS[victim]))
        if kill(gateway, victim, chance):
            return
    raise AssertionError(f"no {victim} could be killed")


def is_there(gateway: RunningGateway, victim: str) -> bool:
    """Whether there is something to kill: a service that is ready, or a run that is carried out."""
    if victim in RUN_PROCESSES:
        return bool(RUN_PROCESSES[victim](gateway))
    return gateway.supervisor.is_ready(SERVICES[victim])


def kill(gateway: RunningGateway, victim: str, chance: random.Random) -> bool:
    """`kill -9` of a victim; False where there is none at this moment."""
    if not is_there(gateway, victim):
        return False
    if victim in RUN_PROCESSES:
        found = RUN_PROCESSES[victim](gateway)
        if found:
            os.kill(chance.choice(found), signal.SIGKILL)
        return bool(found)
    pid = gateway.supervisor.pid(SERVICES[victim])
    if victim == "receiver" or (victim == "code server" and chance.random() < 0.5):
        os.killpg(pid, signal.SIGKILL)  # with its workers, which would else finish what they have open
    else:
        os.kill(pid, signal.SIGKILL)
    return True


def run_servers(gateway: RunningGateway) -> list[int]:
    """The process that runs are forked from: a child of the code server."""
    return [
        pid for pid in children(gateway.supervisor.pid("code-server")) if b"forkserver" in command_line(pid)
    ]


def run_workers(gateway: RunningGateway) -> list[int]:
    """Processes that carry out a run."""
    return [pid for server in run_servers(gateway) for pid in children(server)]


RUN_PROCESSES = {"run worker": run_workers, "run server": run_servers}


def children(parent: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # a thread that ended, or the parent itself
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(text) for text in (task / "children").read_text().split()]
    return sorted(found)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def assert_acknowledged_is_on_disk(gateway: RunningGateway, scanner: Scanner) -> None:
    layout = gateway.settings.layout
    for uid, sent in dict(scanner.acknowledged).items():
        there = layout.archived_instance(uid.rsplit(".", 2)[0], uid)
        assert there.is_file(), "an acknowledged instance is lost"
        assert sha256_of_data_set(there) == sha256_of_data_set(sent)


def lost_associations(gateway: RunningGateway) -> int:
    """Associations that were open when their receiver was killed: kills that hit it at work."""
    with gateway.ledger.read() as connection:
        lost = select(func.count()).select_from(association).where(association.c.outcome == "lost")
        return int(connection.execute(lost).scalar_one())


def all_delivered(gateway: RunningGateway) -> bool:
    ledger = gateway.ledger
    transfers = ledger.transfers.all()
    return (
        len(transfers) == STUDIES
        and all(one.state == TransferState.DELIVERED for one in transfers)
        and all(one.arrived_count == one.instance_count for one in ledger.studies.all())
        and all(one.routed_revision == one.revision for one in ledger.studies.all())
    )


def standings(gateway: RunningGateway) -> str:
    states = Counter(one.state.value for one in gateway.ledger.transfers.all())
    return f"{states}, {gateway.ledger.inventory.totals()}"


def assert_nothing_is_missing_or_twice(gateway: RunningGateway, studies: list[list[Path]]) -> None:
    ledger, sent = gateway.ledger, sum(map(len, studies))
    assert discrepancies(ledger, gateway.settings) == []
    totals = ledger.inventory.totals()
    assert totals.balance.holds
    assert (totals.balance.received, totals.balance.released, totals.studies) == (sent, sent, STUDIES)
    assert totals.open_associations == 0
    received = {one.study_instance_uid: one.instance_count for one in ledger.studies.all()}
    assert received == {f"{UID}.{9000 + number}": len(paths) for number, paths in enumerate(studies)}


def assert_destinations_have_what_was_released(gateway: RunningGateway) -> None:
    ledger, destinations = gateway.ledger, gateway.destinations
    packages = {}
    for transfer in ledger.transfers.all():
        rows = ledger.transfers.release_rows(transfer.id)
        released = {row.sop_instance_uid for row in rows if row.disposition == Disposition.RELEASED}
        assert query_instances(destinations.research_pacs, "TEST", rows[0].study_instance_uid) == released
        (package,) = [one for one in ledger.deliveries.of_transfer(transfer.id) if one.kind == "package"]
        packages[package.name] = package.checksum
    assert len(destinations.pacs_files()) == ledger.inventory.totals().balance.released
    assert {path.name for path in destinations.packages.glob("*.zip")} == set(packages)
    for name, checksum in packages.items():
        path = destinations.packages / name
        listed = path.with_name(f"{name}.md5").read_text().split()[0]
        assert listed == checksum == hashlib.md5(path.read_bytes()).hexdigest()
