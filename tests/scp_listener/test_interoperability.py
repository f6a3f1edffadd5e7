"""Other people's programs send to one listener: DCMTK, GDCM, Orthanc, pynetdicom's own applications.

Each test sends a study of its own, and finds it as it was sent.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    ComprehensiveSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

from fiona_dagster.settings import DicomPeer
from tests.conftest import free_port, need_program
from tests.peers import orthanc, running, storescp
from tests.scp_listener.conftest import Running, starting
from tests.scp_listener.instances import instance, write

HOST = "127.0.0.1"
PATIENCE_SECONDS = 60
TOKEN = "interoperability-0123456789"
DICOMWEB = ("/usr/share/orthanc/plugins/libOrthancDicomWeb.so",)
SENT_BY = (
    "select instance.calling_ae, receptions from instance join study on study.key = study_key "
    "where study_instance_uid = '{}'"
)
_STUDIES = count(1)


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One listener with both doors for the whole module."""
    folder = tmp_path_factory.mktemp("interoperability")
    (folder / "token").write_text(TOKEN)
    sender = {"aetitle": "WEBORTHANC", "token": f"file:{folder / 'token'}"}
    stow = {"ip": HOST, "port": free_port(), "senders": [sender]}
    config = folder / "config.json"
    config.write_text(json.dumps({"DATADIR": str(folder / "data"), "DICOMIP": HOST, "STOW": stow}))
    with starting(folder) as start:
        yield start("--site", "ABCD", "--config", str(config), "--workers", "2")


@pytest.fixture
def study() -> str:
    return f"1.2.826.0.1.3680043.8.498.7.{next(_STUDIES)}"


def image(study: str, number: int = 1, **attributes: object) -> Dataset:
    series = f"{study}.1"
    more = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": f"{series}.{number}"}
    return instance(
        number, **{**more, "Rows": 16, "Columns": 16, "PixelData": bytes(range(256)) * 2, **attributes}
    )


def run(*command: object) -> None:
    done = subprocess.run(
        [str(one) for one in command], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def received(listener: Running, study: str, sent: Sequence[Path], *, calling_ae: str) -> None:
    """What lies in the archive is what was sent, and the ledger knows who sent it."""
    for path in sent:
        there = dcmread(listener.layout.archived_instance(study, str(dcmread(path).SOPInstanceUID)))
        wanted = dcmread(path)
        assert there == wanted
        assert there.file_meta.TransferSyntaxUID == wanted.file_meta.TransferSyntaxUID
    listener.eventually(SENT_BY.format(study), [(calling_ae, 1)] * len(sent))


def test_echoes_of_two_makers(listener: Running) -> None:
    port = listener.port
    run(need_program("echoscu"), "-aet", "ECHO", "-aec", "FIONA", HOST, port)
    run(sys.executable, "-m", "pynetdicom", "echoscu", HOST, port)


@pytest.fixture(scope="module")
def gdcmscu(tmp_path_factory: pytest.TempPathFactory) -> str:
    """GDCM's sender, where it works at all: some builds fail before they send a byte, whoever listens."""
    program = need_program("gdcmscu")
    with storescp(tmp_path_factory.mktemp("control") / "received") as peer:
        done = subprocess.run(
            [program, "--echo", HOST, str(peer.port)],
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    if done.returncode:
        pytest.skip("gdcmscu of this machine does not reach DCMTK's storescp either")
    return program


@pytest.mark.parametrize("kind", ["CT", "MR", "SR"])
def test_gdcm_sends(listener: Running, study: str, tmp_path: Path, kind: str, gdcmscu: str) -> None:
    chosen = {
        "CT": {},
        "MR": {"SOPClassUID": MRImageStorage, "Modality": "MR"},
        "SR": {"SOPClassUID": ComprehensiveSRStorage, "Modality": "SR", "PixelData": None},
    }[kind]  # fmt: skip
    paths = [write(tmp_path / f"{number}.dcm", image(study, number, **chosen)) for number in (1, 2)]
    for path in paths:
        run(
            gdcmscu,
            "--store",
            "--aetitle",
            "GDCM",
            "--call",
            "FIONA",
            HOST,
            listener.port,
            path,
        )
    received(listener, study, paths, calling_ae="GDCM")


@pytest.mark.parametrize(
    ("command", "proposed", "syntax"),
    [
        ("dcmconv +te", "-xe", ExplicitVRLittleEndian),
        ("dcmconv +ti", "-xi", ImplicitVRLittleEndian),
        ("dcmconv +tb", "-xb", ExplicitVRBigEndian),
        ("dcmconv +td", "-xd", DeflatedExplicitVRLittleEndian),
        ("dcmcrle", "-xr", RLELossless),
        ("dcmcjpeg", "-xs", JPEGLosslessSV1),
    ],
)
def test_dcmtk_sends_in_many_transfer_syntaxes(
    listener: Running, study: str, tmp_path: Path, command: str, proposed: str, syntax: str
) -> None:
    plain = write(tmp_path / "plain.dcm", image(study))
    sent = tmp_path / "sent.dcm"
    program, *options = command.split()
    run(need_program(program), *options, plain, sent)
    assert dcmread(sent).file_meta.TransferSyntaxUID == syntax
    run(need_program("storescu"), proposed, "-aet", "STORESCU", "-aec", "FIONA", HOST, listener.port, sent)
    received(listener, study, [sent], calling_ae="STORESCU")


def test_storescu_sends_a_folder_over_one_association(listener: Running, study: str, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    paths = [write(folder / f"{number}.dcm", image(study, number)) for number in range(1, 6)]
    run(need_program("storescu"), "-aet", "STORESCU", "-aec", "FIONA", "+sd", HOST, listener.port, folder)
    received(listener, study, paths, calling_ae="STORESCU")


def test_names_in_unicode_reach_the_ledger(listener: Running, study: str, tmp_path: Path) -> None:
    name = "Łukaszewicz^Øyvind=山田^太郎"
    path = write(tmp_path / "one.dcm", image(study, SpecificCharacterSet="ISO_IR 192", PatientName=name))
    run(need_program("dcmsend"), "-aet", "DCMSEND", HOST, listener.port, path)
    received(listener, study, [path], calling_ae="DCMSEND")
    listener.eventually(
        f"select patient_name from study where study_instance_uid = '{study}'",  # noqa: S608  ours
        [(name,)],
    )


def test_a_private_sop_class(listener: Running, study: str, tmp_path: Path) -> None:
    private = generate_uid(entropy_srcs=["a private class"])
    path = write(tmp_path / "one.dcm", image(study, SOPClassUID=private))
    run(need_program("dcmsend"), "-aet", "DCMSEND", "-nuc", HOST, listener.port, path)
    received(listener, study, [path], calling_ae="DCMSEND")


def test_pynetdicoms_application_sends(listener: Running, study: str, tmp_path: Path) -> None:
    path = write(tmp_path / "one.dcm", image(study))
    run(sys.executable, "-m", "pynetdicom", "storescu", "-aet", "PYNETDICOM", HOST, listener.port, path)
    received(listener, study, [path], calling_ae="PYNETDICOM")


def test_movescu_has_an_archive_send_to_us(listener: Running, study: str, tmp_path: Path) -> None:
    storage, port = tmp_path / "archive", free_port()
    storage.mkdir()
    config = tmp_path / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nours = (FIONA, {HOST}, {listener.port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nARCHIVE {storage} RW (200, 1024mb) ANY\nAETable END\n"
    )
    paths = [write(tmp_path / f"{number}.dcm", image(study, number)) for number in (1, 2, 3)]
    with running([need_program("dcmqrscp"), "-c", str(config)], tmp_path / "log", ports=(port,)):
        run(need_program("storescu"), "-aec", "ARCHIVE", HOST, port, *paths)
        run(
            need_program("movescu"), "-S", "-aec", "ARCHIVE", "-aem", "FIONA",
            "-k", "0008,0052=STUDY", "-k", f"0020,000d={study}", HOST, port,
        )  # fmt: skip
        received(listener, study, paths, calling_ae="ARCHIVE")


def test_orthanc_sends_by_c_store_and_by_stow_rs(listener: Running, tmp_path: Path) -> None:
    plugin = next((one for one in DICOMWEB if Path(one).exists()), None)
    if plugin is None:
        pytest.skip("needs the program orthanc-dicomweb")
    url = f"http://{HOST}:{stow_port(listener)}/"
    server = {"Url": url, "HttpHeaders": {"Authorization": f"Bearer {TOKEN}"}, "ChunkedTransfers": True}
    ours = DicomPeer("FIONA", HOST, listener.port)
    options = {"Plugins": [plugin], "DicomWeb": {"Enable": True, "Servers": {"ours": server}}}
    with orthanc(tmp_path / "orthanc", modalities={"ours": ours}, **options) as peer:
        assert peer.post("/modalities/ours/echo", {}) == {}
        for way, calling in (("c-store", "ORTHANC"), ("stow", "WEBORTHANC")):
            study = f"1.2.826.0.1.3680043.8.498.8.{len(way)}"
            paths = [write(tmp_path / f"{way}{number}.dcm", image(study, number)) for number in (1, 2, 3)]
            run(need_program("dcmsend"), HOST, peer.peer.port, *paths)
            (found,) = peer.post("/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": study}})
            if way == "c-store":
                assert peer.post("/modalities/ours/store", found)["FailedInstancesCount"] == 0
            else:
                peer.post("/dicom-web/servers/ours/stow", {"Resources": [found], "Synchronous": True})
            received(listener, study, paths, calling_ae=calling)


def stow_port(listener: Running) -> int:
    """The port of the second door, from the listener's log."""
    (line,) = [one for one in listener.log.read_text().splitlines() if "STOW-RS on http" in one]
    return int(line.rpartition(":")[2].partition("/")[0])
