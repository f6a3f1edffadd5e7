"""The listener over real sockets, with DCMTK and pynetdicom as peers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from fiona_dagster.adapters.received_files import sha256_of_data_set
from tests.conftest import need_program
from tests.scp_listener.conftest import Running, Start, wait_for
from tests.scp_listener.instances import (
    ABORTED,
    SERIES,
    STUDY,
    associate,
    encoded,
    instance,
    send,
    send_bytes,
    write,
)

COMPRESSED = {
    "JPEG2000.dcm": "-xw",
    "JPEG-lossy.dcm": "-xx",
    "JPGExtended.dcm": "-xx",
    "MR_small_RLE.dcm": "-xr",
    "MR_small_bigendian.dcm": "-xb",
    "MR_small_jpeg_ls_lossless.dcm": "-xt",
    "image_dfl.dcm": "-xd",
}
"""pydicom's files and the storescu option that proposes their Transfer Syntax."""


def file_of(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


def archived(listener: Running) -> list[Path]:
    return sorted(path for path in listener.layout.archive.rglob("*") if path.is_file())


def test_an_echo_is_answered_and_leaves_no_trace(listener: Running) -> None:
    subprocess.run([need_program("echoscu"), "127.0.0.1", str(listener.port)], check=True, timeout=30)
    assert listener.stop() == 0
    assert listener.query("select count(*) from association") == [(0,)]


@pytest.mark.parametrize("name", sorted(COMPRESSED))
def test_a_data_set_is_stored_as_it_was_sent_in_every_transfer_syntax(listener: Running, name: str) -> None:
    sent = file_of(name)
    subprocess.run(
        [need_program("storescu"), COMPRESSED[name], "127.0.0.1", str(listener.port), str(sent)],
        check=True,
        timeout=60,
    )
    (path,) = archived(listener)
    got, original = dcmread(path), dcmread(sent)
    assert got.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
    assert got.file_meta.SourceApplicationEntityTitle == "STORESCU"
    assert got.file_meta.ImplementationVersionName.startswith("FIONA")
    assert got.PixelData == original.PixelData
    listener.eventually(
        "select transfer_syntax_uid, sha256 from instance",
        [(str(original.file_meta.TransferSyntaxUID), sha256_of_data_set(path))],
    )


def test_several_senders_of_one_study_at_once_lose_nothing(listener: Running, tmp_path: Path) -> None:
    senders = []
    for sender in range(4):
        for number in range(10):
            write(
                tmp_path / f"out{sender}" / f"{number}.dcm",
                instance(sender * 10 + number, PixelData=b"x" * 32),
            )
        senders.append(
            subprocess.Popen(
                [need_program("dcmsend"), "-aet", f"AE{sender}", "+sd", "127.0.0.1", str(listener.port),
                 str(tmp_path / f"out{sender}")]
            )
        )  # fmt: skip
    assert [sender.wait(60) for sender in senders] == [0, 0, 0, 0]
    assert len(archived(listener)) == 40
    listener.eventually("select instance_count from study", [(40,)])
    listener.eventually("select count(*), count(closed_at) from association", [(4, 4)])
    links = listener.layout.study_raw(STUDY)
    wait_for(lambda: len(list(links.glob("*/*"))) == 40, 20, listener.log.read_text)


def test_a_study_has_fionas_side_files(listener: Running) -> None:
    association = associate(listener.port, called="PROJ A")
    assert send(association, instance(1)) == 0
    assert send(association, instance(2)) == 0
    association.release()
    layout = listener.layout
    link = layout.raw_link(STUDY, SERIES, f"{SERIES}.1")
    last = layout.raw_link(STUDY, SERIES, f"{SERIES}.2")
    wait_for(last.is_symlink, 20, listener.log.read_text)
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert dcmread(link).InstanceNumber == 1
    assert (layout.participants / "PAT1" / "20240131_101500" / SERIES / f"{SERIES}.2").exists()
    assert {path.name for path in layout.arrived.iterdir()} == {
        f"SCANNER1 PROJA 127.0.0.1 scp_{STUDY}",
        f"SCANNER1 PROJA 127.0.0.1 {STUDY} {SERIES}",
    }
    assert listener.stop() == 0
    found = json.loads(layout.series_json(STUDY, SERIES).read_text())
    assert found["NumFiles"] == "2"
    assert found["IncomingConnection"]["AETitleCalled"] == "PROJ A"


def test_a_private_sop_class_and_an_unknown_one_are_accepted(listener: Running) -> None:
    for sop_class in ("1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.999.7"):
        association = associate(listener.port, sop_class)
        image = instance(1, SOPClassUID=sop_class, SOPInstanceUID=f"{SERIES}{sop_class[-2:]}")
        assert send(association, image) == 0
        association.release()
    assert len(archived(listener)) == 2


def test_a_private_transfer_syntax_is_taken_only_where_nothing_better_is_proposed(listener: Running) -> None:
    entity = AE()
    entity.add_requested_context(CTImageStorage, ["1.2.840.113619.5.2", ExplicitVRLittleEndian])
    association = entity.associate("127.0.0.1", listener.port)
    assert association.accepted_contexts[0].transfer_syntax == [ExplicitVRLittleEndian]
    association.release()


def test_a_resend_is_counted_and_writes_nothing(listener: Running) -> None:
    association = associate(listener.port)
    assert [send(association, instance(1)) for _ in range(3)] == [0, 0, 0]
    association.release()
    listener.eventually("select receptions, aside from instance", [(3, 0)])
    assert len(archived(listener)) == 1
    assert listener.stop() == 0
    assert json.loads(listener.layout.series_json(STUDY, SERIES).read_text())["NumFiles"] == "1"


def test_other_content_under_a_known_uid_is_kept_aside(listener: Running) -> None:
    association = associate(listener.port)
    assert send(association, instance(1)) == 0
    (first,) = archived(listener)
    before = first.read_bytes()
    assert [send(association, instance(1, PatientName="Other")) for _ in range(2)] == [0, 0]
    association.release()
    (kept,) = listener.layout.aside.iterdir()
    assert dcmread(kept).PatientName == "Other"
    assert kept.name == f"{SERIES}.1.{sha256_of_data_set(kept)[:16]}"
    assert first.read_bytes() == before
    listener.eventually(
        "select aside, path, receptions from instance order by aside",
        [
            (0, f"site/archive/scp_{STUDY}/{SERIES}.1", 1),
            (1, f"quarantine/aside/{kept.name}", 2),
        ],
    )


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({"StudyInstanceUID": None}, 0xC101),
        ({"SeriesInstanceUID": None}, 0xC102),
        ({"SOPInstanceUID": None}, 0xC103),
        ({"StudyInstanceUID": "1.2/../../etc"}, 0xC105),
        ({"SOPInstanceUID": "1.2.3.99"}, 0xA900),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, 0xA900),
    ],
)
def test_what_cannot_be_filed_is_refused_by_name_and_kept_with_the_reason(
    listener: Running, attributes: dict[str, str | None], status: int
) -> None:
    data = encoded(instance(1, **attributes))
    association = associate(listener.port)
    answered, comment = send_bytes(association, data, sop_instance_uid=f"{SERIES}.1")
    assert answered == status
    assert comment
    association.release()
    assert not archived(listener)
    (kept,) = listener.layout.refused.glob("*.dcm")
    told = json.loads(kept.with_suffix(".json").read_text())
    assert (told["status"], told["peer"]["calling_ae"]) == (f"0x{status:04X}", "SCANNER1")
    assert comment == told["reason"][:64]
    assert kept.read_bytes().endswith(data)
    listener.eventually("select status, path from refusal", [(status, f"quarantine/refused/{kept.name}")])


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        (lambda data: data[:-5], 0xC000),
        (lambda data: data[:60], 0xC000),
        (lambda _: b"this has never been a data set of DICOM", 0xC104),
    ],
    ids=["short pixel data", "short header", "text"],
)
def test_a_broken_data_set_is_refused(listener: Running, damage, status: int) -> None:  # type: ignore[no-untyped-def]
    association = associate(listener.port)
    data = damage(encoded(instance(1)))
    assert send_bytes(association, data, sop_instance_uid=f"{SERIES}.1")[0] == status
    assert send(association, instance(2)) == 0, "the Association goes on"
    association.release()
    assert len(archived(listener)) == 1
    assert len(list(listener.layout.refused.glob("*.dcm"))) == 1


def test_a_request_without_a_data_set_is_answered(listener: Running) -> None:
    association = associate(listener.port)
    assert send_bytes(association, b"", sop_instance_uid=f"{SERIES}.1")[0] == 0xC104
    association.release()


def test_a_request_without_its_sop_instance_uid_ends_the_association_and_leaves_nothing(
    listener: Running,
) -> None:
    association = associate(listener.port)
    assert send_bytes(association, encoded(instance(1)), sop_instance_uid="")[0] == ABORTED
    listener.eventually("select count(*) from association where outcome in ('aborted', 'lost')", [(1,)])
    assert not list(listener.layout.incoming.rglob("*.dcm"))
    association = associate(listener.port)
    assert send(association, instance(1)) == 0
    association.release()


def test_an_association_that_breaks_off_leaves_no_part_behind(listener: Running) -> None:
    association = associate(listener.port)
    assert send(association, instance(1)) == 0
    listener.eventually("select count(*), count(closed_at) from association", [(1, 0)])
    association.dul.socket.socket.close()  # as if the cable had been pulled
    association.abort()
    listener.eventually("select outcome from association", [("aborted",)])
    assert len(archived(listener)) == 1


def test_the_control_file_switches_a_running_listener_off_and_on(listener: Running) -> None:
    listener.layout.enabled.write_text("000")
    refused = associate(listener.port)
    assert refused.is_rejected
    listener.eventually("select status, path from refusal", [(0x0124, None)])
    listener.layout.enabled.write_text("111")
    accepted = associate(listener.port)
    assert accepted.is_established
    accepted.release()


def test_memory_does_not_grow_with_the_object(listener: Running, tmp_path: Path) -> None:
    megabytes = 320
    sent = write(tmp_path / "large.dcm", instance(1, PixelData=None, Rows=8192, Columns=20480))
    with sent.open("ab") as stream:
        stream.write(b"\xe0\x7f\x10\x00OW\0\0" + (megabytes << 20).to_bytes(4, "little"))
        stream.truncate(stream.tell() + (megabytes << 20))
    subprocess.run(
        [need_program("dcmsend"), "127.0.0.1", str(listener.port), str(sent)], check=True, timeout=200
    )
    (stored,) = archived(listener)
    assert stored.stat().st_size > megabytes << 20
    assert sha256_of_data_set(stored) == sha256_of_data_set(sent)
    status = Path(f"/proc/{listener.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 150 * 1024, f"{peak} kB"
    stored.unlink()
    sent.unlink()


def test_no_patient_data_and_no_uid_reaches_the_log(listener: Running) -> None:
    association = associate(listener.port)
    assert send(association, instance(1)) == 0
    assert send(association, instance(1, PatientName="Other")) == 0
    send_bytes(association, encoded(instance(3))[:-5], sop_instance_uid=f"{SERIES}.3")
    association.release()
    assert listener.stop() == 0
    written = listener.log.read_text()
    assert "0xC000" in written
    for secret in ("Doe", "Other", "PAT1", "ACC1", STUDY, "20240131"):
        assert secret not in written


def test_a_second_listener_in_one_data_directory_does_not_start(start: Start, listener: Running) -> None:
    with pytest.raises(AssertionError, match="another listener"):
        start("--grace", "-39")  # one second of patience
    wait_for(lambda: listener.process.poll() is None, 1, lambda: "the first one runs on")
