"""Storage Commitment over real Associations: pynetdicom and Orthanc as requesters."""

from __future__ import annotations

import io
import json
import queue
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import decode

from fiona_dagster.adapters.dicom_scu import send as storage_scu
from fiona_dagster.domain.commitment import STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE, Reference
from fiona_dagster.settings import DicomPeer
from tests.conftest import free_port
from tests.domain.test_commitment import asked
from tests.peers import HOST, orthanc
from tests.scp_listener.conftest import Running, Start
from tests.scp_listener.instances import ONLY_SENDS, PEER_AE, SERIES, instance, send, write

SECONDS = 30.0
CT = str(CTImageStorage)


class Scanner:
    """A modality that stores, asks for commitment and takes reports, on its own Association or at `port`."""

    def __init__(self) -> None:
        self.reports: queue.Queue[tuple[int, Dataset]] = queue.Queue()
        self.entity = AE(ae_title=PEER_AE)
        for sop_class in (STORAGE_COMMITMENT, CT):
            self.entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
        self.entity.add_supported_context(STORAGE_COMMITMENT, scu_role=False, scp_role=True)
        self.answers: list[int] = []
        """Statuses of its answers to reports; Success once they are used up."""

    def associate(self, listener: Running) -> Any:
        association = self.entity.associate(
            HOST, listener.port, ae_title="FIONA",
            evt_handlers=[ONLY_SENDS, (evt.EVT_ESTABLISHED, self._answer_beside_requests)],
        )  # fmt: skip
        assert association.is_established
        return association

    def _answer_beside_requests(self, event: Any) -> None:
        """pynetdicom serves a report in a thread of its own, which may leave its Association paused for good, and whose
        answer may come between the fragments of a request: ours does neither.
        """
        association, turn = event.assoc, threading.Lock()
        send_message = association.dimse.send_msg

        def in_turn(message: Any, context_id: int) -> None:
            with turn:
                send_message(message, context_id)

        def serve(request: Any, context_id: int) -> None:
            report = decode(request.EventInformation, is_implicit_vr=False, is_little_endian=True)
            answer = N_EVENT_REPORT()
            answer.MessageIDBeingRespondedTo = request.MessageID
            answer.AffectedSOPClassUID = request.AffectedSOPClassUID
            answer.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
            answer.EventTypeID = request.EventTypeID
            answer.Status = self.answers.pop(0) if self.answers else 0
            in_turn(answer, context_id)
            if answer.Status == 0:
                self.reports.put((request.EventTypeID, report))

        association.dimse.send_msg, association._serve_request = in_turn, serve

    @contextmanager
    def at(self, port: int) -> Iterator[None]:
        server = self.entity.start_server(
            (HOST, port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._report)]
        )
        try:
            yield
        finally:
            assert server is not None
            server.shutdown()

    def report(self) -> tuple[int, set[str], dict[str, int]]:
        """Event type, what is committed, and why other instances are not."""
        kind, report = self.reports.get(timeout=SECONDS)
        return (
            kind,
            {str(one.ReferencedSOPInstanceUID) for one in report.get("ReferencedSOPSequence", ())},
            {str(one.ReferencedSOPInstanceUID): int(one.FailureReason) for one in report.get("FailedSOPSequence", ())},
        )  # fmt: skip

    def _report(self, event: Any) -> tuple[int, None]:
        status = self.answers.pop(0) if self.answers else 0
        if status == 0:
            self.reports.put((event.event_type, event.event_information))
        return status, None


def ask(association: Any, transaction: str, *references: Reference) -> int:
    """The Status of an N-ACTION."""
    information = asked(transaction, *references)
    return int(association.send_n_action(information, 1, STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE)[0].Status)


def image(number: int) -> Reference:
    return Reference(CT, f"{SERIES}.{number}")


def configured(folder: Path, requester: DicomPeer) -> tuple[str, ...]:
    """Options of a listener whose site knows a requester."""
    file = folder / "config.json"
    file.write_text(
        json.dumps({
            "DATADIR": str(folder / "data"),
            "DICOMIP": HOST,
            "STORAGECOMMITMENT": {
                "REQUESTERS": [{"AETITLE": requester.ae_title, "IP": requester.host, "PORT": requester.port}]
            },
        })
    )  # fmt: skip
    return ("--site", "ABCD", "--config", str(file))


def test_a_scanner_that_waits_on_its_association_has_its_report_there_and_sends_on(listener: Running) -> None:
    scanner = Scanner()
    association = scanner.associate(listener)
    assert [send(association, instance(number)) for number in (1, 2, 3)] == [0, 0, 0]
    assert ask(association, "1.2.9.1", image(1), image(2)) == 0
    assert [send(association, instance(number)) for number in range(4, 24)] == [0] * 20
    assert scanner.report() == (1, {f"{SERIES}.1", f"{SERIES}.2"}, {})
    wrong = Reference(str(MRImageStorage), f"{SERIES}.3")
    assert send(association, instance(4, PatientName="Other")) == 0, "goes aside"
    assert ask(association, "1.2.9.2", image(1), wrong, image(4), image(99)) == 0
    assert scanner.report() == (
        2, {f"{SERIES}.1"}, {f"{SERIES}.3": 0x0119, f"{SERIES}.4": 0x0110, f"{SERIES}.99": 0x0112},
    )  # fmt: skip
    association.release()
    listener.eventually(
        "select state, committed, failed from commitment order by id",
        [("reported", 2, 0), ("reported", 1, 3)],
    )
    for secret in (SERIES, "1.2.9.1", "Doe"):
        assert secret not in listener.log.read_text()


def test_requests_that_cannot_be_are_refused_and_the_same_one_again_is_reported_again(
    listener: Running,
) -> None:
    scanner = Scanner()
    association = scanner.associate(listener)
    assert send(association, instance(1)) == 0
    assert ask(association, "1.2.9.1") == 0x0115
    assert ask(association, "1.2.9.1", image(1)) == 0
    assert scanner.report() == (1, {f"{SERIES}.1"}, {})
    assert ask(association, "1.2.9.1", image(2)) == 0x0115, "its Transaction UID is another request's"
    assert ask(association, "1.2.9.1", image(1)) == 0
    assert scanner.report() == (1, {f"{SERIES}.1"}, {})
    listener.eventually("select count(*), min(state) from commitment", [(1, "reported")])
    association.release()


def test_information_that_is_no_data_set_is_refused_and_the_association_goes_on(listener: Running) -> None:
    association = Scanner().associate(listener)
    for information in (b"", b"\0" * 7, b"(0008,1195) is no data set", bytes(range(256)) * 40):
        request = N_ACTION()
        request.MessageID, request.ActionTypeID = 7, 1
        request.RequestedSOPClassUID, request.RequestedSOPInstanceUID = (
            STORAGE_COMMITMENT,
            WELL_KNOWN_INSTANCE,
        )
        request.ActionInformation = io.BytesIO(information) if information else None
        with association_paused(association):
            association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
            _, answer = association.dimse.get_msg(block=True)
        assert answer.Status in (0x0110, 0x0115)
    assert send(association, instance(1)) == 0
    association.release()
    assert listener.query("select count(*) from commitment") == [(0,)]


@contextmanager
def association_paused(association: Any) -> Iterator[None]:
    """As pynetdicom does in its own requests: its thread leaves the answer to us."""
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.001)
    try:
        yield
    finally:
        association._reactor_checkpoint.set()


def test_a_file_that_is_gone_or_cut_is_not_committed(start: Start) -> None:
    listener, scanner = start(), Scanner()
    association = scanner.associate(listener)
    assert [send(association, instance(number)) for number in (1, 2)] == [0, 0]
    listener.eventually("select count(*) from instance", [(2,)])
    first, second = sorted(path for path in listener.layout.archive.rglob("*") if path.is_file())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    assert ask(association, "1.2.9.1", image(1), image(2)) == 0
    assert scanner.report() == (2, set(), {f"{SERIES}.1": 0x0110, f"{SERIES}.2": 0x0110})
    association.release()


def test_a_kill_between_request_and_report_delays_the_report_and_loses_nothing(
    start: Start, tmp_path: Path
) -> None:
    port, scanner = free_port(), Scanner()
    options = (*configured(tmp_path, DicomPeer(PEER_AE, HOST, port)), "--workers", "1")
    listener = start(*options)
    with socket.create_server((HOST, port)) as deaf:  # takes the connection and never says anything
        association = scanner.associate(listener)
        assert send(association, instance(1)) == 0
        assert ask(association, "1.2.9.1", image(1)) == 0
        association.release()
        deaf.settimeout(SECONDS)
        with deaf.accept()[0]:
            listener.kill()
    assert listener.query("select state from commitment") == [("pending",)]
    with scanner.at(port):
        again = start(*options)
        assert scanner.report() == (1, {f"{SERIES}.1"}, {})
        again.eventually("select state, committed from commitment", [("reported", 1)])


def test_a_report_that_the_requester_does_not_take_is_sent_again(start: Start, tmp_path: Path) -> None:
    port, scanner = free_port(), Scanner()
    scanner.answers = [0x0110]
    listener = start(*configured(tmp_path, DicomPeer(PEER_AE, HOST, port)))
    with scanner.at(port):
        association = scanner.associate(listener)
        assert send(association, instance(1)) == 0
        assert ask(association, "1.2.9.1", image(1)) == 0
        assert scanner.report() == (1, {f"{SERIES}.1"}, {}), "its Association refused it, our own brings it"
        association.release()
        listener.eventually("select state from commitment", [("reported",)])


def test_what_one_process_received_is_committed_by_another(start: Start) -> None:
    listener = start("--workers", "2")
    scanners = [Scanner() for _ in range(4)]
    associations = [scanner.associate(listener) for scanner in scanners]
    for number, association in enumerate(associations):
        assert send(association, instance(number)) == 0
    everything = [image(number) for number in range(4)]
    for number, association in enumerate(associations):
        assert ask(association, f"1.2.9.{number}", *everything) == 0
    for scanner in scanners:
        assert scanner.report() == (1, {one.sop_instance_uid for one in everything}, {})
    for association in associations:
        association.release()


def test_a_requester_without_an_address_that_does_not_wait_is_shown(start: Start) -> None:
    listener, scanner = start(), Scanner()
    association = scanner.associate(listener)
    assert send(association, instance(1)) == 0
    assert ask(association, "1.2.9.1", image(1), image(99)) == 0
    association.release()
    listener.eventually(
        "select state, attempts, problem from commitment",
        [("pending", 1, "no address is known for this AE title (STORAGECOMMITMENT.REQUESTERS)")],
    )


def test_orthanc_learns_that_its_images_are_committed(start: Start, tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc") as archive:
        listener = start(*configured(tmp_path, archive.peer))
        _put(f"{archive.url}/modalities/fiona", ["FIONA", HOST, listener.port])
        files = [write(tmp_path / f"{number}.dcm", instance(number)) for number in (1, 2)]
        peer = DicomPeer("FIONA", HOST, listener.port)
        storage_scu(files, archive.peer, PEER_AE)
        (study,) = archive.get("/studies")
        answer = archive.post("/modalities/fiona/store", {"Resources": [study], "StorageCommitment": True})
        report = archive.settled(f"/storage-commitment/{answer['StorageCommitmentTransactionUID']}")
        assert (report["Status"], len(report["Success"]), report["RemoteAET"]) == (
            "Success",
            2,
            peer.ae_title,
        )
        unknown = {"DicomInstances": [[CT, f"{SERIES}.1"], [CT, f"{SERIES}.99"]]}
        transaction = archive.post("/modalities/fiona/storage-commitment", unknown)["ID"]
        report = archive.settled(f"/storage-commitment/{transaction}")
        assert report["Status"] == "Failure"
        assert [one["SOPInstanceUID"] for one in report["Failures"]] == [f"{SERIES}.99"]


def _put(url: str, body: Any) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")  # noqa: S310 — our own loopback
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
