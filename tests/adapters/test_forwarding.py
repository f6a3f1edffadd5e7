"""A verified copy to archives: real ones, and ours with faults. What is not confirmed is never taken for sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from fiona_dagster.adapters.dicom_scu import read_stored_instance
from fiona_dagster.adapters.forwarding import CancelledError, bring
from fiona_dagster.adapters.image_peers import DicomArchive, ImagePeer, WebArchive
from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.stow_client import StowClient
from fiona_dagster.domain.deidentification import DeidentifiedInstance, DeidentifiedStudy
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Resting, Transient, Unreachable
from fiona_dagster.domain.forwarding import ForwardReceipt, SendingState, SentState
from fiona_dagster.domain.image_destinations import Confirm
from fiona_dagster.domain.outgoing_security import OutgoingSecurity
from fiona_dagster.domain.routing import TransferRequest
from fiona_dagster.domain.transfer import Transfer, TransferState
from fiona_dagster.domain.verification import VerifiedStudy
from fiona_dagster.embedded.pacs import EmbeddedPacs
from fiona_dagster.embedded.pacs_faults import Faults
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.settings import DicomPeer
from tests.adapters.test_dicom_scu import US, copies
from tests.certificates import Authority
from tests.conftest import free_port
from tests.factories import received
from tests.peers import HOST, orthanc, storescp

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
ONLY_MR_EXPLICIT = """
[[TransferSyntaxes]]
[Explicit]
TransferSyntax1 = LittleEndianExplicit
[[PresentationContexts]]
[MR]
PresentationContext1 = MRImageStorage\\Explicit
[[Profiles]]
[Default]
PresentationContexts = MR
"""


@dataclass
class Bench:
    """A ledger with one transfer, and a clock that is turned by hand."""

    ledger: Ledger
    transfer: Transfer
    time: list[float] = field(default_factory=lambda: [1000.0])

    def now(self) -> float:
        return self.time[0]

    def bring(self, copy: VerifiedStudy, archive: ImagePeer) -> ForwardReceipt:
        self.ledger.sendings.enter(self.transfer, [(archive.key, archive.name)], revision=1, now=self.now())
        return bring(
            copy, archive, transfer_id=self.transfer.id, identity="x", ledger=self.ledger, clock=self.now
        )

    def state(self, archive: ImagePeer) -> SendingState:
        return self.ledger.sendings.of_transfer(self.transfer.id)[archive.key].state

    def attempts(self, archive: ImagePeer) -> dict[SentState, int]:
        found: dict[SentState, int] = {}
        for one in self.ledger.sendings.instances(self.transfer.id, archive.key):
            found[one.state] = found.get(one.state, 0) + 1
        return found

    def due(self) -> int:
        return len(self.ledger.transfers.studies_with_work(TransferState.REQUESTED, now=self.now()))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_on(tmp_path / "ledger.sqlite") as made:
        yield made


@contextmanager
def bench_on(path: Path) -> Iterator[Bench]:
    """A transfer of a study of one instance, in the ledger at `path`."""
    ledger = Ledger(f"sqlite:///{path}")
    key = ledger.reception.record([(received(), None)])["1.2.3"]
    ledger.studies.arrive(key, instance_count=1, expected=None, now=1.0, run_id="r")
    ledger.studies.register(key, 1, now=1.0, run_id="r")
    yield Bench(ledger, ledger.transfers.request(key, TransferRequest("HEART", "P1", "", "assign"), now=1.0))
    ledger.close()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleStudy]:
    return {study.name: study for study in write_samples(tmp_path_factory.mktemp("samples"))}


def verified(paths: Sequence[Path]) -> VerifiedStudy:
    found = []
    for path in paths:
        one = read_stored_instance(path)
        found.append(
            DeidentifiedInstance(
                None, "", "released", path=str(path), sop_instance_uid=one.sop_instance_uid,
                sop_class_uid=one.sop_class_uid, sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            )
        )  # fmt: skip
    study = str(dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
    copy = DeidentifiedStudy(study, tuple(found), profile="p", method_digest="m")
    return VerifiedStudy(copy, Path("/"), "HEART", "P1", "", 1)


def archive(peer: DicomPeer, confirm: Confirm = Confirm.BEST, associations: int = 1) -> DicomArchive:
    return DicomArchive(peer, US, str(peer), "lab", confirm, associations)


@pytest.mark.parametrize(("confirm", "by"), [("best", "commitment"), ("query", "query")])
def test_a_pacs_that_answers_success_and_drops_one_in_a_hundred_gets_those_again_and_no_others(
    bench: Bench, samples: dict[str, SampleStudy], tmp_path: Path, confirm: str, by: str
) -> None:
    copy = verified(copies(samples["sr-report"].files[0], tmp_path / "copies", 100))
    with EmbeddedPacs(tmp_path / "pacs", faults=Faults(drop_every=100)) as pacs:
        target = archive(pacs.peer, Confirm(confirm), associations=3)
        receipt = bench.bring(copy, target)
        assert len(pacs.index) == 100
        assert pacs._received == 101
    assert (receipt.confirmed, receipt.sent, receipt.confirmed_by) == (100, 100, by)
    assert bench.attempts(target) == {SentState.CONFIRMED: 100}
    assert bench.state(target) is SendingState.CONFIRMED


def test_a_pacs_that_keeps_nothing_is_never_taken_for_reached(
    bench: Bench, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    copy = verified(samples["sr-report"].files)
    with EmbeddedPacs(tmp_path / "pacs", faults=Faults(drop_every=1)) as pacs:
        target = archive(pacs.peer)
        with pytest.raises(Transient, match="does not show"):
            bench.bring(copy, target)
    assert bench.attempts(target) == {SentState.LACKING: len(copy.instances)}
    assert bench.state(target) is SendingState.WAITING


def test_what_a_peer_refuses_as_it_is_goes_uncompressed_and_a_class_that_it_refuses_stops_nothing_else(
    bench: Bench, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    pytest.importorskip("openjpeg")
    (tmp_path / "scp.cfg").write_text(ONLY_MR_EXPLICIT)
    images, report = samples["mr-head"].files, samples["sr-report"].files[0]
    copy = verified([*images, report])
    with storescp(tmp_path / "received", "-xf", str(tmp_path / "scp.cfg"), "Default") as peer:
        target = archive(peer, Confirm.ANSWERS)
        with pytest.raises(
            Permanent, match=rf"1 of {len(images) + 1} instances were not stored: the peer refuses"
        ):
            bench.bring(copy, target)
    there = {one.SOPInstanceUID: one for one in map(dcmread, (tmp_path / "received").iterdir())}
    originals = {one.SOPInstanceUID: one for one in map(dcmread, images)}
    assert there.keys() == originals.keys()
    assert {str(one.file_meta.TransferSyntaxUID) for one in there.values()} == {"1.2.840.10008.1.2.1"}
    for uid, original in originals.items():
        assert (there[uid].pixel_array == original.pixel_array).all()
    found = bench.ledger.sendings.instances(bench.transfer.id, target.key)
    (refused,) = [one for one in found if one.state is SentState.REFUSED]
    assert refused.sop_instance_uid == str(dcmread(report).SOPInstanceUID)
    assert sum(one.sent_as == "1.2.840.10008.1.2.1" for one in found) >= 3
    assert bench.state(target) is SendingState.FAILED


def test_orthanc_over_tls_and_over_the_web(
    bench: Bench, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    if not PLUGIN.exists():
        pytest.skip("needs the program orthanc-dicomweb")
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    server, client = authority.issue("localhost"), authority.issue("gateway")
    options: dict[str, Any] = {
        "DicomTlsEnabled": True, "DicomTlsCertificate": str(server.certificate),
        "DicomTlsPrivateKey": str(server.key), "DicomTlsTrustedCertificates": str(authority.certificate),
        "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True},
        "AuthenticationEnabled": True, "RegisteredUsers": {"ann": "secret"},
    }  # fmt: skip
    trusted = OutgoingSecurity(authority.certificate, client.certificate, client.key)
    images = samples["ct-thorax"].files
    with orthanc(tmp_path / "orthanc", **options) as running:
        peer = DicomPeer("ORTHANC", "localhost", running.peer.port, trusted)
        wrong = OutgoingSecurity(stranger.certificate, client.certificate, client.key)
        with pytest.raises(ConfigurationError, match="not trusted"):
            archive(DicomPeer("ORTHANC", "localhost", running.peer.port, wrong)).check()
        assert "over TLS" in archive(peer).check()
        half = verified(images[:6])
        assert bench.bring(half, archive(peer, Confirm.QUERY)).confirmed == 6

        url = f"{running.url}/dicom-web"
        web = WebArchive(url, "web", lambda: StowClient(url, user="ann", secret="secret"))
        assert "lets us in" in web.check()
        with pytest.raises(ConfigurationError, match="does not let us in"):
            WebArchive(url, "web", lambda: StowClient(url, user="ann", secret="no")).check()
        other = verified(samples["sr-report"].files)
        first, second = bench.bring(other, web), bench.bring(other, web)
        assert (first.sent, first.confirmed, second.sent) == (len(other.instances), len(other.instances), 0)
        with StowClient(url, user="ann", secret="secret") as direct:
            assert direct.instances(half.study_instance_uid) == {i.sop_instance_uid for i in half.instances}


def test_a_dead_destination_is_left_alone_delays_nobody_and_wakes_what_waits_when_it_is_back(
    bench: Bench, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    copy = verified(samples["sr-report"].files)
    dead = archive(DicomPeer("PACS", HOST, free_port()))
    with pytest.raises(Unreachable):
        bench.bring(copy, dead)
    assert bench.due() == 0  # the sensor asks for no run that could do nothing
    with pytest.raises(Resting, match="is left alone"):
        bench.bring(copy, dead)
    bench.time[0] += 7200.0
    assert bench.due() == 1
    with pytest.raises(Unreachable):
        bench.bring(copy, dead)
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        alive = archive(pacs.peer)
        assert bench.bring(copy, alive).confirmed == len(copy.instances)
    assert bench.state(dead) is SendingState.WAITING
    (work,) = bench.ledger.transfers.studies_with_work(TransferState.REQUESTED)
    assert bench.ledger.breakers.reached(dead.key, now=bench.now()) == 1
    assert bench.due() == 1
    (again,) = bench.ledger.transfers.studies_with_work(TransferState.REQUESTED)
    assert again[2] > work[2]  # new work, so that the back-off of earlier runs does not count


def test_what_a_person_takes_out_of_the_queue_stops_at_once_and_can_be_put_back(
    bench: Bench, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    copy = verified(samples["mr-head"].files)
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        target = archive(pacs.peer)
        queue = bench.ledger.sendings
        queue.enter(bench.transfer, [(target.key, "lab")], revision=1, now=1.0)
        assert queue.cancel(bench.transfer.id, target.key, "wrong", who="ann", now=2.0)
        with pytest.raises(CancelledError):
            bench.bring(copy, target)
        assert len(pacs.index) == 0
        assert bench.state(target) is SendingState.CANCELLED
        queue.retry(bench.transfer.id, target.key, who="ann", now=3.0)
        assert bench.bring(copy, target).confirmed == len(copy.instances)
        assert not queue.cancel(bench.transfer.id, target.key, "late", who="ann", now=4.0)


def test_an_archive_that_can_be_asked_nothing_needs_a_persons_word_for_it(
    bench: Bench, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    copy = verified(samples["sr-report"].files)
    with storescp(tmp_path / "received") as peer:
        with pytest.raises(Permanent, match="set confirm to 'answers'"):
            bench.bring(copy, archive(peer))
        receipt = bench.bring(copy, archive(peer, Confirm.ANSWERS))
    assert receipt.confirmed_by == "answers"
    assert "not confirmed by anything but its answers" in receipt.note
