"""C-FIND, C-MOVE and C-GET against real archives (Orthanc, DCMTK's dcmqrscp) and our own with faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest

from fiona_dagster.adapters.dicom_scu import (
    Gets,
    Moves,
    Queries,
    Relay,
    RetrieveReport,
    Timeouts,
    TooManyMatches,
    messages,
    read_stored_instance,
    send,
)
from fiona_dagster.adapters.dicom_scu.find import (
    IMPLICIT_VR_LITTLE_ENDIAN,
    PATIENT_ROOT_FIND,
    encoded_identifier,
)
from fiona_dagster.adapters.dicom_scu.get import _Incoming
from fiona_dagster.domain.errors import Permanent, Transient
from fiona_dagster.embedded.pacs import EmbeddedPacs, Faults
from fiona_dagster.embedded.samples import SampleStudy, write_samples
from fiona_dagster.settings import DicomPeer
from tests.conftest import free_port
from tests.peers import HOST, dcmqrscp, orthanc, storescp

US = "TESTSCU"
CT = "1.2.840.10008.5.1.4.1.1.2"
SHORT = Timeouts(connect=2, acse=2, dimse=0.5)


@dataclass(frozen=True)
class Source:
    """A peer that holds `studies`; what it moves to DEST arrives in the folder `moved`."""

    peer: DicomPeer
    moved: Path
    studies: dict[str, SampleStudy]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleStudy]:
    return {study.name: study for study in write_samples(tmp_path_factory.mktemp("samples"))}


@pytest.fixture(scope="module", params=["orthanc", "dcmqrscp", "embedded"])
def source(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    samples: dict[str, SampleStudy],
) -> Iterator[Source]:
    folder = tmp_path_factory.mktemp("source")
    with storescp(folder / "moved", "+xa", "+B", ae_title="DEST") as destination:
        if request.param == "orthanc":
            with orthanc(folder / "home", modalities={"dest": destination}) as made:
                fill(made.peer, samples)
                yield Source(made.peer, folder / "moved", samples)
        elif request.param == "dcmqrscp":
            some = {
                name: samples[name] for name in ("ct-thorax", "sr-report")
            }  # it takes one syntax of a class
            with dcmqrscp(folder / "home", destination) as peer:
                fill(peer, some)
                yield Source(peer, folder / "moved", some)
        else:
            with EmbeddedPacs(folder / "home", known_peers={"DEST": destination}) as pacs:
                fill(pacs.peer, samples)
                yield Source(pacs.peer, folder / "moved", samples)


@pytest.fixture
def pacs(tmp_path: Path, samples: dict[str, SampleStudy]) -> Iterator[EmbeddedPacs]:
    with EmbeddedPacs(tmp_path / "pacs") as made:
        made.index.add_files(path for study in samples.values() for path in (*study.files, *study.late))
        yield made


def fill(peer: DicomPeer, samples: dict[str, SampleStudy]) -> None:
    for study in samples.values():
        assert not send([*study.files, *study.late], peer, US).failed


def content(path: Path) -> tuple[str, bytes]:
    stored = read_stored_instance(path)
    return stored.transfer_syntax_uid, path.read_bytes()[stored.offset :]


def uids(study: SampleStudy) -> set[str]:
    return {str(read_stored_instance(path).sop_instance_uid) for path in (*study.files, *study.late)}


class Kept:
    """A receiver that keeps what it was given."""

    def __init__(self, status: int = 0) -> None:
        self.status, self.contents = status, dict[str, tuple[str, bytes]]()

    def store(self, file: Path) -> int:
        self.contents[str(read_stored_instance(file).sop_instance_uid)] = content(file)
        return self.status


def test_series_and_instances_of_every_sample_are_found(
    source: Source,
) -> None:
    with Queries(source.peer, US) as queries:
        for study in source.studies.values():
            series = queries.series(study.study_instance_uid)
            found = {
                uid: one
                for part in series
                for uid, one in queries.instances(study.study_instance_uid, part.series_instance_uid).items()
            }
            assert set(found) == uids(study)
            assert all(one.instances is None or one.instances > 0 for one in series)
            assert [one.study_instance_uid for one in queries.studies({"AccessionNumber": study.accession_number})] == [
                study.study_instance_uid
            ]  # fmt: skip
        assert queries.series("1.2.3.4") == []


def test_studies_are_found_by_a_name_in_another_character_set(source: Source) -> None:
    study = source.studies["ct-thorax"]
    assert "Ødegård" in study.patient_name
    with Queries(source.peer, US) as queries:
        found = {one.study_instance_uid for one in queries.studies({"PatientName": "Ødegård*"})}
    # DCMTK compares the bytes of names, whatever character set they are in
    assert study.study_instance_uid in found or source.peer.ae_title == "QRSCP"


def test_a_patient_is_found_at_patient_level(source: Source, samples: dict[str, SampleStudy]) -> None:
    with Queries(source.peer, US, root=PATIENT_ROOT_FIND) as queries:
        assert queries.patients(samples["ct-thorax"].patient_id) == 1
        assert queries.patients("nobody has this one") == 0


def test_a_series_is_moved_whole_and_named_instances_alone(source: Source) -> None:
    peer, moved = source.peer, source.moved
    study = source.studies["ct-thorax"]
    wanted = sorted(uids(study))
    with Queries(peer, US) as queries:
        (series,) = queries.series(study.study_instance_uid)
    reached = {path.name for path in moved.iterdir()}
    with Moves(peer, US, "DEST") as moves:
        some = moves.move(study.study_instance_uid, series.series_instance_uid, wanted[:2])
        some.raise_for_status()
        arrived = [content(path) for path in moved.iterdir() if path.name not in reached]
        assert len(arrived) == 2
        pending: list[int | None] = []
        whole = moves.move(
            study.study_instance_uid,
            series.series_instance_uid,
            progress=lambda answer: pending.append(answer.remaining),
        )
    assert (whole.status, whole.completed, whole.failed) == (0, len(wanted), 0)
    held = {str(read_stored_instance(path).sop_instance_uid) for path in moved.iterdir()}
    assert uids(study) <= held
    assert pending


def test_a_destination_that_the_source_does_not_know_is_permanent(
    source: Source, samples: dict[str, SampleStudy]
) -> None:
    with Moves(source.peer, US, "NOWHERE") as moves:
        report = moves.move(samples["sr-report"].study_instance_uid)
    with pytest.raises((Permanent, Transient), match="0x") as caught:
        report.raise_for_status()
    if report.status == 0xA801:
        assert isinstance(caught.value, Permanent)
        assert "does not know our AE title NOWHERE" in str(caught.value)


@pytest.mark.parametrize("name", ["ct-thorax", "mr-head", "sr-report"])
def test_what_is_got_is_what_was_stored_in_its_own_transfer_syntax(
    source: Source, tmp_path: Path, name: str
) -> None:
    if name not in source.studies:
        return
    study, receiver = source.studies[name], Kept()
    classes = {str(read_stored_instance(path).sop_class_uid) for path in (*study.files, *study.late)}
    with Gets(source.peer, US, classes, tmp_path, receiver) as gets:
        report = gets.get(study.study_instance_uid)
    assert (report.status, report.failed) == (0, 0)
    expected = {
        str(read_stored_instance(path).sop_instance_uid): content(path)
        for path in (*study.files, *study.late)
    }
    assert set(receiver.contents) == set(expected)
    for uid, (syntax, encoded) in receiver.contents.items():
        assert syntax == expected[uid][0]
        # Orthanc and our own archive encode anew what they read; nothing of it may be missing
        assert elements(encoded, syntax) == elements(expected[uid][1], syntax)
    assert list(tmp_path.iterdir()) == []


def elements(encoded: bytes, transfer_syntax_uid: str) -> dict[int, object]:
    """Values by tag, of what stands at the root; padding and group lengths count for nothing."""
    from io import BytesIO

    from pynetdicom.dsutils import decode

    implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    return {
        int(one.tag): one.value
        for one in decode(BytesIO(encoded), is_implicit_vr=implicit, is_little_endian=True)
        if one.tag.element != 0 and one.tag != 0xFFFCFFFC and one.VR != "SQ"
    }


def test_what_is_got_goes_on_to_a_receiver_before_it_is_acknowledged(
    pacs: EmbeddedPacs, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    study = samples["mr-head"]
    classes = {str(read_stored_instance(path).sop_class_uid) for path in study.files}
    with EmbeddedPacs(tmp_path / "ours", ae_title="OURS") as ours:
        with Relay(ours.peer, "SOURCE") as relay, Gets(pacs.peer, US, classes, tmp_path, relay) as gets:
            assert gets.get(study.study_instance_uid).status == 0
        assert ours.index.sop_instance_uids(study.study_instance_uid) == uids(study)
        ours.faults = Faults(refuse_status=0xA700)
        with Relay(ours.peer, "SOURCE") as relay, Gets(pacs.peer, US, classes, tmp_path, relay) as gets:
            refused = gets.get(study.study_instance_uid)
    assert refused.failed == len(uids(study))
    assert set(refused.problems.values()) == {0xA700}
    assert refused.status != 0


def test_a_receiver_that_is_gone_makes_every_sub_operation_fail_and_loses_nothing(
    pacs: EmbeddedPacs, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    nobody = DicomPeer("OURS", HOST, free_port())
    with Relay(nobody, "SOURCE") as relay, Gets(pacs.peer, US, (), tmp_path, relay) as gets:
        report = gets.get(samples["sr-report"].study_instance_uid)
    assert set(report.problems.values()) == {0x0110}
    assert "our receiver did not take over what came: no connection to OURS@" in report.shortcoming


def test_an_instance_that_finds_no_room_is_refused_and_the_association_goes_on(
    pacs: EmbeddedPacs, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    receiver = Kept()
    with Gets(pacs.peer, US, (), tmp_path / "gone", receiver) as gets:
        report = gets.get(samples["sr-report"].study_instance_uid)
    assert set(report.problems.values()) == {0xA700}
    assert "answered 2 instances with 0xA700" in report.shortcoming
    assert receiver.contents == {}


@pytest.mark.parametrize(
    ("sop_class", "sop_instance"), [(CT, "../../etc/passwd"), ("1.2.3", "1.2"), (CT, "")]
)
def test_a_c_store_that_was_not_agreed_or_names_no_usable_uid_is_read_and_refused(
    tmp_path: Path, sop_class: str, sop_instance: str
) -> None:
    command = messages.decode_command(
        messages.encode_request(
            messages.C_STORE_RQ, 1, sop_class, sop_instance_uid=sop_instance, with_data_set=True
        )
    )
    with _Incoming(tmp_path, {3: (CT, IMPLICIT_VR_LITTLE_ENDIAN)}) as incoming:
        sink = incoming.sink(3, command)
        assert sink is not None
        sink.write(memoryview(b"x" * 1000))
        assert incoming.refused == 0xC000
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_an_instance_comes_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = messages.decode_command(
        messages.encode_request(messages.C_STORE_RQ, 1, CT, sop_instance_uid="1.2", with_data_set=True)
    )
    with _Incoming(tmp_path, {3: (CT, IMPLICIT_VR_LITTLE_ENDIAN)}) as incoming:
        sink = incoming.sink(3, command)
        assert sink is not None
        monkeypatch.setattr(sink, "_stream", Full())
        sink.write(memoryview(b"x"))
        assert incoming.refused == 0xA700
    assert list(tmp_path.iterdir()) == []


class Full:
    def write(self, _: object) -> int:
        raise OSError(28, "No space left on device")


def test_a_retrieval_that_ends_early_names_what_failed(
    pacs: EmbeddedPacs, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    study = samples["ct-thorax"]
    with storescp(tmp_path / "moved", "+xa", ae_title="DEST") as destination:
        pacs.known_peers["DEST"] = destination
        pacs.faults = Faults(retrieve_status=0xA702, retrieve_limit=5)
        with Moves(pacs.peer, US, "DEST") as moves:
            report = moves.move(study.study_instance_uid)
    assert len(report.failed_sop_instance_uids) >= len(uids(study)) - 5
    assert report.completed == 5
    with pytest.raises(Transient, match="out of resources"):
        report.raise_for_status()
    assert not any(uid in repr(report) for uid in uids(study))


def test_a_cancelled_move_ends_with_what_was_moved(
    pacs: EmbeddedPacs, samples: dict[str, SampleStudy], tmp_path: Path
) -> None:
    with storescp(tmp_path / "moved", "+xa", ae_title="DEST") as destination:
        pacs.known_peers["DEST"] = destination
        with Moves(pacs.peer, US, "DEST") as moves:
            report = moves.move(samples["ct-thorax"].study_instance_uid, cancelled=lambda: True)
            assert report.cancelled
            # the Association is still good
            again = moves.move(samples["sr-report"].study_instance_uid)
    assert again.status == 0
    if report.status:  # it may have been through before it heard
        with pytest.raises(Transient, match="cancelled"):
            report.raise_for_status()


@pytest.mark.parametrize("faults", [Faults(retrieve_hang_seconds=20), Faults(query_hang_seconds=20)])
def test_a_source_that_hangs_is_left_after_the_timeout(
    pacs: EmbeddedPacs, samples: dict[str, SampleStudy], tmp_path: Path, faults: Faults
) -> None:
    pacs.faults = faults
    pacs.known_peers["DEST"] = DicomPeer("DEST", HOST, free_port())
    uid = samples["sr-report"].study_instance_uid
    calls: list[Callable[[], object]] = (
        [lambda: ask(Queries(pacs.peer, US, SHORT), uid)]
        if faults.query_hang_seconds
        else [lambda: fetch(Gets(pacs.peer, US, (), tmp_path, Kept(), SHORT), uid)]
    )
    for call in calls:
        with pytest.raises(Transient, match="did not answer in time"):
            call()


def ask(queries: Queries, uid: str) -> object:
    with queries:
        return queries.series(uid)


def fetch(gets: Gets, uid: str) -> object:
    with gets:
        return gets.get(uid)


def test_a_whole_operation_has_an_end_even_while_matches_keep_coming(
    pacs: EmbeddedPacs, samples: dict[str, SampleStudy]
) -> None:
    pacs.faults = Faults(query_hang_seconds=20)
    timeouts = replace(SHORT, dimse=30, whole=0.3)
    with (
        pytest.raises(Transient, match="did not answer in time"),
        Queries(pacs.peer, US, timeouts) as queries,
    ):
        queries.series(samples["sr-report"].study_instance_uid)


@pytest.mark.parametrize("status", [0xA700, 0xFE00, 0xC001])
def test_days_that_a_pacs_refuses_as_too_many_are_asked_in_parts(
    pacs: EmbeddedPacs, samples: dict[str, SampleStudy], status: int
) -> None:
    dated = {one.StudyDate for path in samples.values() for one in [_head(path.files[0])]}
    first, last = (date.fromisoformat(f"{day[:4]}-{day[4:6]}-{day[6:]}") for day in (min(dated), max(dated)))
    with Queries(pacs.peer, US) as queries:
        everything = {one.study_instance_uid for one in queries.studies_between(first, last, {})}
        assert everything == {study.study_instance_uid for study in samples.values()}
        pacs.faults = Faults(query_status=status, query_limit=2)
        with pytest.raises(TooManyMatches):
            queries.studies({})
        parted = {one.study_instance_uid for one in queries.studies_between(first, last, {})}
    timed = {s.study_instance_uid for s in samples.values() if _head(s.files[0]).get("StudyTime")}
    assert timed <= parted <= everything


def _head(path: Path) -> object:
    from pydicom import dcmread

    return dcmread(path, stop_before_pixels=True)


def test_a_query_stops_at_its_bound_and_the_association_goes_on(
    pacs: EmbeddedPacs, samples: dict[str, SampleStudy]
) -> None:
    study = samples["ct-thorax"]
    with Queries(pacs.peer, US, limit=3) as queries:
        (series,) = queries.series(study.study_instance_uid)
        with pytest.raises(TooManyMatches, match="more than 3 matches"):
            queries.instances(study.study_instance_uid, series.series_instance_uid)
        assert queries.series(study.study_instance_uid) == [series]


def test_orthanc_that_limits_its_answers_is_noticed(tmp_path: Path, samples: dict[str, SampleStudy]) -> None:
    with orthanc(tmp_path / "home", LimitFindInstances=5, LimitFindResults=2) as made:
        fill(made.peer, samples)
        with Queries(made.peer, US) as queries:
            with pytest.raises(TooManyMatches):
                queries.studies({})
            study = samples["ct-thorax"]
            (series,) = queries.series(study.study_instance_uid)
            assert series.instances == len(uids(study))
            with pytest.raises(TooManyMatches):
                queries.instances(study.study_instance_uid, series.series_instance_uid)


def test_a_value_goes_in_the_smallest_character_set_that_holds_it() -> None:
    def sets(name: str) -> bytes:
        return encoded_identifier("STUDY", {"PatientName": name}, IMPLICIT_VR_LITTLE_ENDIAN)

    assert b"ISO_IR" not in sets("Smith*")
    assert b"ISO_IR 100" in sets("Ødegård")
    assert "Ødegård".encode("latin-1") in sets("Ødegård")
    assert b"ISO_IR 192" in sets("王^小东")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(0xA801, Permanent), (0xA900, Permanent), (0x0124, Permanent), (0xA701, Transient), (0xC001, Transient)],
)
def test_a_status_says_whether_to_try_again(status: int, kind: type[Exception]) -> None:
    report = RetrieveReport(DicomPeer("A", "b", 1), status, destination="OURS")
    with pytest.raises(kind, match=f"0x{status:04X}"):
        report.raise_for_status()


def test_partial_failures_are_no_error_of_the_whole() -> None:
    RetrieveReport(DicomPeer("A", "b", 1), 0xB000, failed=3).raise_for_status()
