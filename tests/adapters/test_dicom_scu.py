"""The SCU against real peers (DCMTK, Orthanc), our own PACS with faults, and scripted ones that break the protocol."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread

from fiona_dagster.adapters.dicom_scu import (
    Timeouts,
    count_instances,
    echo,
    peer_from_text,
    query_instances,
    read_stored_instance,
    send,
)
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient
from fiona_dagster.embedded.pacs import EmbeddedPacs, Faults
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.settings import DicomPeer
from tests.conftest import free_port
from tests.peers import HOST, Orthanc, orthanc, storescp

US = "TESTSCU"
SHORT = Timeouts(connect=2, acse=1, dimse=1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleStudy]:
    return {study.name: study for study in write_samples(tmp_path_factory.mktemp("samples"))}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, SampleStudy]) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc") / "home") as running:
        for study in samples.values():
            assert not send([*study.files, *study.late], running.peer, US).failed
        yield running


@contextmanager
def scripted(*answers: bytes, then: Callable[[socket.socket], None] | None = None) -> Iterator[DicomPeer]:
    """A peer that sends each answer after it received something, and then closes or does `then`."""
    with socket.create_server((HOST, 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                for answer in answers:
                    connection.recv(65_536)
                    connection.sendall(answer)
                if then is not None:
                    then(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield DicomPeer("SCRIPT", HOST, server.getsockname()[1])
        thread.join(10)


def rejection(result: int, source: int, reason: int) -> bytes:
    return bytes([3, 0, 0, 0, 0, 4, 0, result, source, reason])


def copies(source: Path, folder: Path, count: int) -> list[Path]:
    """`count` small instances of one study, which differ in their SOP Instance UID only."""
    folder.mkdir()
    content, uid = source.read_bytes(), str(dcmread(source).SOPInstanceUID)
    paths = []
    for number in range(count):
        paths.append(folder / f"{number:05d}.dcm")
        other = f"1.2.{number + 10_000}.".ljust(len(uid), "7")
        paths[-1].write_bytes(content.replace(uid.encode(), other.encode()))
    return paths


def data_set_bytes(path: Path) -> bytes:
    return path.read_bytes()[read_stored_instance(path).offset :]


def test_echo_succeeds_with_orthanc_and_storescp(archive: Orthanc, tmp_path: Path) -> None:
    echo(archive.peer, US)
    with storescp(tmp_path / "received") as peer:
        echo(peer, US)


def test_every_sample_arrives_at_storescp_byte_for_byte(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    with storescp(tmp_path / "received", "+xa", "+B") as peer:
        for study in samples.values():
            report = send(study.files, peer, US)
            assert [one.status for one in report.outcomes] == [0] * len(study.files)
    received = {data_set_bytes(path) for path in (tmp_path / "received").iterdir()}
    assert received == {data_set_bytes(path) for study in samples.values() for path in study.files}


def test_orthanc_shows_exactly_what_was_sent(archive: Orthanc, samples: dict[str, SampleStudy]) -> None:
    for study in samples.values():
        sent = {read_stored_instance(path).sop_instance_uid for path in (*study.files, *study.late)}
        assert query_instances(archive.peer, US, study.study_instance_uid) == sent
        assert count_instances(archive.peer, US, study.study_instance_uid) == study.instance_count


def test_a_study_that_a_source_does_not_know_has_no_count_and_no_instances(archive: Orthanc) -> None:
    assert count_instances(archive.peer, US, "1.2.3") is None
    assert query_instances(archive.peer, US, "1.2.3") == frozenset()


def test_a_refused_context_fails_its_own_instances_only(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    files = samples["mr-head"].files
    with storescp(tmp_path / "received", "+x=") as peer:
        report = send(files, peer, US)
    refused = [one.problem for one in report.failed]
    assert len(report.stored) == 8
    assert sorted(refused) == [
        "the peer refuses MR Image Storage in JPEG 2000 Image Compression (Lossless Only)",
        "the peer refuses MR Image Storage in JPEG-LS Lossless Image Compression",
        "the peer refuses MR Image Storage in RLE Lossless",
    ]
    with pytest.raises(Permanent, match="3 of 11 instances were not stored"):
        report.raise_for_failures()


def test_what_is_no_dicom_file_is_reported_and_the_rest_is_sent(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    note, gone = tmp_path / "note.txt", tmp_path / "gone.dcm"
    note.write_text("no DICOM")
    seen = []
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        report = send(
            [note, samples["sr-report"].files[0], gone],
            pacs.peer,
            US,
            progress=lambda one: seen.append(one.path),
        )
    assert [one.stored for one in report.outcomes] == [False, True, False]
    assert report.outcomes[0].problem == "not a DICOM file (no DICM prefix)"
    assert report.outcomes[2].problem == "the file cannot be read (No such file or directory)"
    assert sorted(seen) == sorted([note, gone, samples["sr-report"].files[0]])


def test_more_than_128_kinds_of_instances_take_a_further_association(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    from pynetdicom import AllStoragePresentationContexts

    data_set = dcmread(samples["cr-uncoupled"].files[0])
    paths = []
    for number, context in enumerate(AllStoragePresentationContexts[:130]):
        data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = context.abstract_syntax
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        paths.append(tmp_path / f"{number}.dcm")
        data_set.save_as(paths[-1])
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        report = send(paths, pacs.peer, US)
        assert len(pacs.index) == 130
    assert [one.path for one in report.stored] == paths


def test_a_failure_status_is_reported_with_its_name_and_whether_to_retry(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    files = samples["sr-report"].files
    with EmbeddedPacs(tmp_path / "pacs", faults=Faults(refuse_status=0xA700)) as pacs:
        full = send(files, pacs.peer, US)
        pacs.faults = Faults(refuse_status=0xA900)
        misfit = send(files, pacs.peer, US)
        pacs.faults = Faults(refuse_status=0xB000)
        warned = send(files, pacs.peer, US)
    assert full.outcomes[0].problem == "the peer answered 0xA700 Refused: Out of Resources"
    assert all(one.retry for one in full.outcomes)
    with pytest.raises(Transient, match="2 of 2 instances"):
        full.raise_for_failures()
    assert not any(one.retry for one in misfit.outcomes)
    assert not warned.failed
    warned.raise_for_failures()


def test_an_abort_leaves_a_report_of_what_was_stored_and_what_may_be_retried(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    files = samples["ct-thorax"].files
    with EmbeddedPacs(tmp_path / "pacs", faults=Faults(abort_after=5)) as pacs:
        report = send(files, pacs.peer, US)
        assert len(pacs.index) == len(report.stored) == 5
        assert {one.status for one in report.failed} == {None}
        assert all(one.retry for one in report.failed)
        pacs.faults = Faults()
        again = send([one.path for one in report.failed], pacs.peer, US)
        assert not again.failed
        assert len(pacs.index) == 12


def test_a_peer_that_stalls_ends_in_a_report_within_the_timeout(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    with EmbeddedPacs(tmp_path / "pacs", faults=Faults(slow_seconds=30)) as pacs:
        begin = time.monotonic()
        report = send(samples["sr-report"].files, pacs.peer, US, timeouts=SHORT)
        assert time.monotonic() - begin < 5
    assert [one.retry for one in report.outcomes] == [True, True]
    assert "it did not answer in time" in report.outcomes[0].problem


def test_no_response_is_lost_among_thousands_of_small_instances(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    paths = copies(samples["cr-uncoupled"].files[0], tmp_path / "small", 3000)
    with storescp(tmp_path / "received", "--ignore") as peer:
        begin = time.monotonic()
        report = send(paths, peer, US, timeouts=Timeouts(dimse=60))
        seconds = time.monotonic() - begin
    assert [one.status for one in report.outcomes] == [0] * len(paths)
    # a lost response costs its whole timeout, a delayed acknowledgement 40 ms an instance
    assert seconds < 60


def test_an_object_larger_than_the_buffer_arrives_whole(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    data_set = dcmread(samples["ct-thorax"].files[0])
    data_set.PixelData = bytes(range(256)) * 20_001
    data_set.save_as(tmp_path / "large.dcm")
    with storescp(tmp_path / "received", "+B") as peer:
        assert not send([tmp_path / "large.dcm"], peer, US).failed
    (received,) = (tmp_path / "received").iterdir()
    assert data_set_bytes(received) == data_set_bytes(tmp_path / "large.dcm")


def test_a_file_that_shrank_fails_alone(
    tmp_path: Path, samples: dict[str, SampleStudy], monkeypatch: pytest.MonkeyPatch
) -> None:
    import fiona_dagster.adapters.dicom_scu.store as module

    paths = copies(samples["cr-uncoupled"].files[0], tmp_path / "small", 3)

    def read_then_shrink(path: Path) -> object:
        found = read_stored_instance(path)
        if path == paths[1]:
            path.write_bytes(path.read_bytes()[:-100])
        return found

    monkeypatch.setattr(module, "read_stored_instance", read_then_shrink)
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        report = send(paths, pacs.peer, US)
        assert len(pacs.index) == 2
    assert [one.stored for one in report.outcomes] == [True, False, True]
    assert report.outcomes[1].problem == "the file changed while it was being sent"


def test_a_query_that_fails_after_a_match_never_returns_a_part(
    tmp_path: Path, samples: dict[str, SampleStudy]
) -> None:
    study = samples["ct-thorax"]
    with EmbeddedPacs(tmp_path / "pacs") as pacs:
        send(study.files, pacs.peer, US)
        pacs.faults = Faults(query_status=0xA700)
        for ask in (query_instances, count_instances):
            with pytest.raises(Transient, match="0xA700") as caught:
                ask(pacs.peer, US, study.study_instance_uid)
            assert study.study_instance_uid not in str(caught.value)


def test_nobody_listening_is_transient_and_says_what_to_check() -> None:
    peer = DicomPeer("NOBODY", HOST, free_port())
    for call in (lambda: echo(peer, US), lambda: query_instances(peer, US, "1.2")):
        with pytest.raises(Transient, match=r"no connection to NOBODY@.*check that it runs"):
            call()


def test_nothing_is_reported_as_sent_when_no_association_came_about(samples: dict[str, SampleStudy]) -> None:
    with pytest.raises(Transient, match="no connection"):
        send(samples["sr-report"].files, DicomPeer("NOBODY", HOST, free_port()), US)


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (rejection(1, 1, 7), Permanent, "check that its AE title is SCRIPT"),
        (rejection(1, 1, 3), Permanent, "ask its administrator to admit our AE title TESTSCU"),
        (rejection(1, 1, 1), Permanent, "ask its administrator why"),
        (rejection(2, 1, 1), Transient, "busy"),
        (rejection(1, 3, 2), Transient, "busy"),
        (bytes([7, 0, 0, 0, 0, 4, 0, 0, 0, 0]), Transient, "did not answer the Association request"),
        (bytes([2, 0, 0, 0, 0, 72]) + bytes(68) + bytes([0x21, 0, 0, 9]), Transient, "cannot be understood"),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", Transient, "bytes"),
        (b"", Transient, "closed the connection"),
    ],
    ids=["called", "calling", "no-reason", "transient", "full", "abort", "garbage", "http", "closed"],
)
def test_what_a_peer_answers_to_an_association_request_decides_about_trying_again(
    answer: bytes, kind: type[Exception], text: str
) -> None:
    with scripted(answer) as peer, pytest.raises(kind, match=text):
        echo(peer, US, timeouts=SHORT)


def test_a_called_ae_title_that_the_pacs_does_not_know_is_permanent(tmp_path: Path) -> None:
    with EmbeddedPacs(tmp_path / "pacs") as pacs, pytest.raises(Permanent, match="AE title is OTHER"):
        echo(DicomPeer("OTHER", pacs.host, pacs.port), US)


def test_a_storescp_offers_no_queries_and_that_is_permanent(tmp_path: Path) -> None:
    with (
        storescp(tmp_path / "received") as peer,
        pytest.raises(Permanent, match="does not offer Study Root Query"),
    ):
        query_instances(peer, US, "1.2.3")


def test_a_peer_that_never_answers_ends_within_the_acse_timeout() -> None:
    def listen(connection: socket.socket) -> None:
        while connection.recv(65_536):
            pass

    with scripted(then=listen) as peer:
        begin = time.monotonic()
        with pytest.raises(Transient, match="did not answer in time"):
            echo(peer, US, timeouts=SHORT)
        assert time.monotonic() - begin < 5


def test_a_peer_is_written_as_ae_at_host_and_port() -> None:
    assert peer_from_text("MY PACS@pacs.example:104") == DicomPeer("MY PACS", "pacs.example", 104)
    assert peer_from_text("PACS@[::1]:11112").host == "::1"
    for wrong in ("PACS", "PACS@host", "@host:104", "PACS@host:0", "PACS@host:70000", "A" * 17 + "@host:1"):
        with pytest.raises(ConfigurationError, match="write AE@host:port"):
            peer_from_text(wrong)
