"""A study with names in its pixels, through the whole gateway: found, masked, proven, delivered, and told."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw, ImageFont
from pydicom import dcmread
from pydicom.uid import generate_uid

from fiona_dagster.adapters.redcap.client import RedcapProject
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.adapters.text_in_pixels import read_text
from fiona_dagster.cli.main import fiona
from fiona_dagster.domain.pixels.masks import Masking
from fiona_dagster.domain.signed import parsed
from fiona_dagster.domain.transfer import Balance, TransferState
from tests.gateway import Gateway, running_gateway
from tests.pixels.images import image_file

NAME, NUMBER = "ODEGARD BJORN", "13885512345"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as made:
        limit = RateLimit(tmp_path / "calls", 60_000)
        projects = RedcapProject(made.redcap.url, made.tokens["DataTransferProjects"], limit)
        exclusion = {"redcap_repeat_instrument": "rewritepixelexclusions", "redcap_repeat_instance": 1}
        projects.write_rows([
            {"record_id": "BRAINAGE", "deid_pixel_mode": "2", "deid_pixel_review": "100"},
            {"record_id": "BRAINAGE", **exclusion, "rewrite_ex_tag": "2", "rewrite_ex_reg": "phantom"},
        ])  # fmt: skip
        yield made
        assert made.ledger.inventory.totals().balance.holds


def ground(text: str) -> npt.NDArray[np.uint8]:
    """White text of 24 pixels on grey."""
    picture = Image.new("L", (320, 96), 60)
    ImageDraw.Draw(picture).text((20, 30), text, fill=255, font=ImageFont.load_default(24))
    return np.asarray(picture)


def study(gateway: Gateway) -> list[Path]:
    """Three secondary captures of a coupled patient: in colour, in 16 bits, and one that the project excludes."""
    sample = gateway.samples["ct-thorax"]
    series, phantom = generate_uid(), generate_uid()
    of_patient = {
        "PatientName": sample.patient_name, "PatientID": sample.patient_id, "PatientBirthDate": "19550813",
        "SpecificCharacterSet": "ISO_IR 100", "AccessionNumber": sample.accession_number, "Modality": "OT",
        "StudyInstanceUID": sample.study_instance_uid, "StudyDate": "20040119", "ConversionType": "WSD",
    }  # fmt: skip
    colour = np.repeat(ground(NAME)[None, ..., None], 3, axis=3)
    grey = ground(NUMBER).astype(np.uint16)[None] * 16
    plain = {"SeriesInstanceUID": series, "SeriesDescription": "Screen"}
    kept = {"SeriesInstanceUID": phantom, "SeriesDescription": "phantom"}
    return [
        image_file(gateway.folder / "1.dcm", colour, interpretation="RGB", **of_patient, **plain),
        image_file(gateway.folder / "2.dcm", grey, bits_stored=12, **of_patient, **plain),
        image_file(gateway.folder / "3.dcm", grey + 1, bits_stored=12, **of_patient, **kept),
    ]


def test_names_in_pixels_are_masked_and_everybody_is_told_of_it(gateway: Gateway) -> None:
    originals = study(gateway)
    gateway.send(*originals)
    gateway.settle()
    record = gateway.study("ct-thorax")
    (transfer,) = gateway.ledger.transfers.of_study(record.key)
    assert (transfer.state, transfer.reason) == (TransferState.DELIVERED, "")
    assert gateway.ledger.transfers.balance(transfer.id) == Balance(3, released=3)
    maskings = [Masking.from_json(row.masking) for row in gateway.ledger.transfers.release_rows(transfer.id)]
    assert [one.excluded_by for one in maskings if one] == ["", "", "SeriesDescription"]

    (package,) = (gateway.folder / "sftp" / "incoming").glob("*.zip")
    with zipfile.ZipFile(package) as archive:
        archive.extractall(gateway.folder / "arrived")
        proof, _ = parsed(archive.read("proof.json"))
    masked = {Path(one["path"]).name for one in proof["instances"] if not one["pixels"]["excluded_by"]}
    arrived = [path for path in (gateway.folder / "arrived").rglob("*.dcm") if path.name in masked]
    copies = {dcmread(path).SamplesPerPixel: path for path in arrived}
    read = "".join(box.text for path in copies.values() for box in read_text(path).boxes)
    assert not any(part in read for part in ("ODE", "GARD", "BJO", "1388", "2345"))
    assert dcmread(copies[1]).pixel_array[0, 0] == 60 * 16
    assert proof["pixel_data"] == "masked"
    told = [one["pixels"] for one in proof["instances"]]
    assert sorted((one["excluded_by"], one["boxes"] > 0) for one in told) == [
        ("", True), ("", True), ("SeriesDescription", False),
    ]  # fmt: skip
    metadata = materialized(gateway, record.key)
    assert (metadata["masked_images"], metadata["excluded_images"]) == (2, 1)
    assert len(list(gateway.settings.default_site.layout.pixel_previews.rglob("*.png"))) == 2

    public = gateway.folder / "site.pem"
    public.write_text(command(gateway, "keys", "--config", str(gateway.config_file), "public"))
    assert command(gateway, "verify", str(package), "--public-key", str(public))


def materialized(gateway: Gateway, key: str) -> dict[str, object]:
    """Metadata of the newest `deidentified_copy`."""
    found = gateway.instance.get_latest_materialization_event(dg.AssetKey("deidentified_copy"))
    assert found is not None
    assert found.asset_materialization is not None
    assert found.asset_materialization.partition == key
    return {name: one.value for name, one in found.asset_materialization.metadata.items()}


def command(gateway: Gateway, *arguments: str) -> str:
    result = CliRunner().invoke(fiona, list(arguments))
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout
