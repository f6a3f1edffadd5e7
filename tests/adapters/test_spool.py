from __future__ import annotations

import json
import os
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import dcmread

from fiona_dagster.adapters import spool as spool_module
from fiona_dagster.adapters.received_files import file_meta, read_file_meta, sha256_of_data_set
from fiona_dagster.adapters.spool import Placed, Spool
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.errors import Reject
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import IMPLEMENTATION_CLASS_UID, Peer, Refusal
from tests.scp_listener.instances import SERIES, STUDY, encoded, instance, write

UID = f"{SERIES}.1"


@pytest.fixture
def spool(layout: Layout) -> Spool:
    return Spool(layout)


def place(spool: Spool, name: str = "upload", **attributes: object) -> Placed:
    upload = write(spool.incoming("w") / f"{name}.dcm", instance(1, **attributes))
    with closing(Upload.complete(upload)) as complete:
        placed = spool.place(complete, STUDY, UID)
    assert not upload.exists()
    return placed


def test_a_new_instance_lies_in_the_archive_readable_for_our_group_only(spool: Spool, layout: Layout) -> None:
    placed = place(spool)
    assert placed == Placed(str(layout.archived_instance(STUDY, UID)), resent=False, aside=False)
    assert stat.S_IMODE(placed.path.stat().st_mode) == 0o640
    assert placed.path.stat().st_nlink == 1


@pytest.mark.parametrize("in_order", [False, True])
def test_content_and_folders_are_on_the_disk_before_it_counts(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, in_order: bool
) -> None:
    synced: list[str] = []
    real = os.fsync

    def named(descriptor: int) -> str:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())

    def recording(descriptor: int) -> None:
        synced.append(named(descriptor))
        real(descriptor)

    def written_back(descriptor: int) -> None:
        assert not layout.archived_instance(STUDY, UID).exists()
        synced.append(f"content of {named(descriptor)}")

    monkeypatch.setattr(spool_module, "commits_in_order", lambda _: in_order)
    monkeypatch.setattr(spool_module, "write_back", written_back)
    monkeypatch.setattr(os, "fsync", recording)
    place(Spool(layout))
    upload = str(layout.incoming / "w" / "upload.dcm")
    assert synced == [
        f"content of {upload}" if in_order else upload, str(layout.archive), str(layout.study_archive(STUDY)),
    ]  # fmt: skip


def test_what_cannot_be_written_gets_no_name(
    spool: Spool, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(spool, "_content", failing)
    with pytest.raises(OSError, match="Input/output"):
        place(spool)
    assert not layout.archived_instance(STUDY, UID).exists()


def test_the_same_content_again_changes_nothing(spool: Spool) -> None:
    first = place(spool)
    before = first.path.stat()
    again = place(spool)
    assert (again.path, again.resent, again.aside) == (first.path, True, False)
    assert again.path.stat().st_ino == before.st_ino


def test_other_content_goes_aside_and_so_does_its_resend(spool: Spool, layout: Layout) -> None:
    first = place(spool)
    other = place(spool, PatientName="Other")
    assert (other.path.parent, other.resent, other.aside) == (layout.aside, False, True)
    assert place(spool, PatientName="Other") == Placed(other.place, resent=True, aside=True)
    assert dcmread(first.path).PatientName == "Doe^Jane"


def test_of_many_associations_with_one_uid_exactly_one_is_first(spool: Spool, layout: Layout) -> None:
    results: list[Placed] = []
    together = threading.Barrier(8)

    def one(number: int) -> None:
        upload = write(spool.incoming("w") / f"{number}.dcm", instance(1, PatientName=f"N{number}"))
        with closing(Upload.complete(upload)) as complete:
            together.wait()
            results.append(spool.place(complete, STUDY, UID))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [placed.aside for placed in results].count(False) == 1
    assert len(list(layout.aside.iterdir())) == 7


def test_a_study_folder_that_cleanup_took_is_made_again(spool: Spool, layout: Layout) -> None:
    place(spool).path.unlink()
    layout.study_archive(STUDY).rmdir()
    assert place(spool).path.exists()


def test_a_refused_file_is_kept_with_its_reason(spool: Spool, layout: Layout) -> None:
    upload = spool.incoming("w") / "bad"
    upload.write_bytes(b"bad")
    kept = spool.refuse(upload, Refusal("ABCD", 0xC000, "broken", 0.0, Peer("A", "B", "10.0.0.1")))
    path = layout.datadir / str(kept.path)
    assert path.name.startswith("19700101T000000-")
    assert path.read_bytes() == b"bad"
    assert json.loads(path.with_suffix(".json").read_text()) == {
        "at": 0.0, "path": kept.path, "reason": "broken", "site": "ABCD", "status": "0xC000", "times": 1,
        "peer": {"address": "10.0.0.1", "called_ae": "B", "calling_ae": "A"},
    }  # fmt: skip


def test_pydicom_reads_the_file_meta_that_we_write(tmp_path: Path) -> None:
    data = encoded(instance(1))
    path = tmp_path / "one"
    path.write_bytes(file_meta("1.2.840.10008.5.1.4.1.1.2", UID, "1.2.840.10008.1.2.1", "ODD", "PRJ") + data)
    meta = dcmread(path).file_meta
    assert meta.FileMetaInformationGroupLength > 0
    assert meta.MediaStorageSOPInstanceUID == UID
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.SourceApplicationEntityTitle == "ODD"
    assert meta.ReceivingApplicationEntityTitle == "PRJ"
    with path.open("rb") as stream:
        found = read_file_meta(stream)
        assert stream.read() == data
    assert found.offset == path.stat().st_size - len(data)
    assert (found.transfer_syntax_uid, found.source_ae, found.receiving_ae) == (
        "1.2.840.10008.1.2.1", "ODD", "PRJ",
    )  # fmt: skip


def test_the_hash_covers_the_data_set_alone(tmp_path: Path) -> None:
    data = encoded(instance(1))
    hashes = set()
    for source in ("A", "SCANNER1"):
        path = tmp_path / source
        path.write_bytes(file_meta("1.2", UID, "1.2.840.10008.1.2.1", source) + data)
        hashes.add(sha256_of_data_set(path))
    assert len(hashes) == 1


@pytest.mark.parametrize(
    "content", [b"", b"x" * 200, b"\0" * 128 + b"DICM" + b"\x08\0\0\0UL\x04\0\xff\0\0\0"]
)
def test_a_file_that_is_not_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "one"
    path.write_bytes(content)
    with pytest.raises(Reject, match="0xC104"):
        sha256_of_data_set(path)


def test_the_marker_of_what_is_recorded_survives_and_may_be_absent(spool: Spool, layout: Layout) -> None:
    assert spool.recorded_until() == 0.0
    spool.mark_recorded(1234.5)
    assert Spool(layout).recorded_until() == 1234.5
