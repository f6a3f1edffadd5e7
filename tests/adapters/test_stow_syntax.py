"""A DICOMweb service that takes no compressed instances: they are sent uncompressed, and every pixel is the same."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from fiona_dagster.adapters.stow_client import StowClient


class Choosy(ThreadingHTTPServer):
    """Keeps what is Explicit VR Little Endian; of anything else it says no, instance by instance or by HTTP 415."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kept: dict[str, Dataset] = {}
        self.whole = False

    def answer(self, parts: list[Dataset]) -> tuple[int, dict[str, Any]]:
        good = [one for one in parts if one.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian]
        bad = [one for one in parts if one not in good]
        if bad and self.whole:
            return 415, {}
        self.kept |= {one.SOPInstanceUID: one for one in good}
        said: dict[str, Any] = {}
        if good:
            said["00081199"] = {"vr": "SQ", "Value": [_item(one) for one in good]}
        if bad:
            reason = {"00081197": {"vr": "US", "Value": [0xC122]}}
            said["00081198"] = {"vr": "SQ", "Value": [_item(one) | reason for one in bad]}
        return (202 if bad else 200), said


class Handler(BaseHTTPRequestHandler):
    server: Choosy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = self.headers["Content-Type"].rpartition("boundary=")[2].encode()
        parts = [one.partition(b"\r\n\r\n")[2] for one in body.split(b"\r\n--" + boundary)[1:-1]]
        status, said = self.server.answer([dcmread(io.BytesIO(one)) for one in parts])
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 — the base class has it so
        pass


def _item(instance: Dataset) -> dict[str, Any]:
    return {"00081155": {"vr": "UI", "Value": [str(instance.SOPInstanceUID)]}}


@pytest.fixture
def service() -> Iterator[Choosy]:
    server = Choosy()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def an_image(path: Path, *, compressed: bool, broken: bool = False) -> str:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.Rows = image.Columns = 8
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 15, 0, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = bytes(range(128))
    image["PixelData"].VR = "OW"
    if compressed:
        image.compress(RLELossless, generate_instance_uid=False)
    if broken:
        image.Rows = 9
    image.save_as(path, enforce_file_format=True)
    return str(image.SOPInstanceUID)


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_refused_in_its_transfer_syntax_is_sent_uncompressed_with_the_same_pixels_and_uid(
    service: Choosy, tmp_path: Path, whole: bool
) -> None:
    service.whole = whole
    paths = [tmp_path / f"{number}.dcm" for number in range(3)]
    plain = an_image(paths[0], compressed=False)
    packed = an_image(paths[1], compressed=True)
    odd = an_image(paths[2], compressed=True, broken=True)
    with StowClient(f"http://127.0.0.1:{service.server_address[1]}") as client:
        report = client.send(paths)
    assert [one.stored for one in report.outcomes] == [True, True, False]
    assert [one.sent_as for one in report.outcomes] == ["", ExplicitVRLittleEndian, ""]
    assert service.kept.keys() == {plain, packed}
    assert service.kept[packed].PixelData == bytes(range(128))
    (failed,) = report.failed
    assert (failed.sop_instance_uid, failed.path, failed.retry) == (odd, paths[2], False)
    assert "refuses RLE Lossless" in failed.problem
    assert "cannot be transcoded" in failed.problem
