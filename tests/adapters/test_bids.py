"""Datasets of real images judged by the BIDS validator, and NIfTI of released copies beside that of their originals."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fiona_dagster.adapters import nifti
from fiona_dagster.adapters.export_collections import CollectedStudy, build_collection
from fiona_dagster.adapters.packages import build
from fiona_dagster.adapters.releases import deidentify_study, verify_release
from fiona_dagster.adapters.signing import SigningKey
from fiona_dagster.domain.deid.named_profiles import fiona_profile, named_profile
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import ReleaseRequest, SourceInstance
from fiona_dagster.domain.exports.changes import NO_CONTEXT
from fiona_dagster.domain.exports.collections import Member, places
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import ExportProfile
from fiona_dagster.domain.exports.statement import STATEMENT_FILE
from fiona_dagster.domain.project import Project
from fiona_dagster.domain.verification import VerifiedStudy
from tests.adapters.test_package_statement import a_proof
from tests.conftest import NEEDS, need_shared

BIDS = ExportProfile(ExportType.BIDS)
PROJECT = Project("PROJ1", pixels_are_clean=True)
_DESCRIP, _DESCRIP_END = 148, 228
_TIMING = ("RepetitionTime", "EchoTime", "EchoTime1", "EchoTime2", "SliceTiming", "EffectiveEchoSpacing",
           "TotalReadoutTime", "PhaseEncodingDirection", "FlipAngle", "DwellTime", "MagneticFieldStrength",
           "AcquisitionTime")  # fmt: skip


def released(files: list[Path], folder: Path, participant: str, profile: Profile) -> VerifiedStudy:
    """A study of these originals, de-identified and verified."""
    sources = [SourceInstance(path, number, "") for number, path in enumerate(files)]
    request = ReleaseRequest(replace(PROJECT, profile=profile), participant, "Baseline", folder / participant)
    request.folder.mkdir(parents=True)
    key = b"k" * 32
    copies = deidentify_study(sources, request, key, profile, workers=1)
    verified = verify_release(copies, sources, request, key, profile, revision=1)
    assert isinstance(verified, VerifiedStudy), verified
    assert len(verified.instances) == len(files), copies.counts()
    return verified


@pytest.fixture(scope="module")
def series() -> dict[str, list[Path]]:
    nih = need_shared("corpus", "dcm_qa_nih", "In")
    return {
        "Siemens": sorted((nih / "20180918Si" / "mr_0003").glob("*.dcm")),
        "GE": sorted((nih / "20180918GE" / "mr_0004").glob("*.dcm")),
        "Philips": sorted(need_shared("corpus", "dcm_qa_enh", "In", "Philips").glob("*.dcm")),
    }


@pytest.fixture(scope="module")
def studies(
    series: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, VerifiedStudy]:
    folder = tmp_path_factory.mktemp("copies")
    return {name: released(files, folder, f"P_{name}", fiona_profile()) for name, files in series.items()}


@pytest.mark.parametrize("name", ["Siemens", "GE", "Philips"])
def test_the_images_of_released_copies_are_those_of_the_originals(
    series: dict[str, list[Path]], studies: dict[str, VerifiedStudy], tmp_path: Path, name: str
) -> None:
    """Volumes, affine and all else of the image's header but for its remark, and timing; none of them is diffusion."""
    original = replace(studies[name], folder=series[name][0].parent)
    paths = [replace(one, path=path.name) for one, path in zip(original.instances, series[name], strict=True)]
    original = replace(original, study=replace(original.study, instances=tuple(paths)))
    made = []
    for number, study in enumerate((original, studies[name])):
        (tmp_path / str(number)).mkdir()
        made.append(nifti.convert(study, tmp_path / str(number)))
    before, after = (sorted(one.files, key=_kind) for one in made)
    assert [_kind(path) for path in before] == [_kind(path) for path in after]
    assert [path.suffix for path in before].count(".nii") > 0
    for one, other in zip(before, after, strict=True):
        if one.suffix == ".json":
            assert _timing(one) == _timing(other)
        else:
            assert _without_remark(one) == _without_remark(other)


def test_a_mosaic_that_lost_its_private_elements_is_named_and_never_passes_for_a_slice(
    series: dict[str, list[Path]], tmp_path: Path
) -> None:
    basic = named_profile("ps315")
    assert basic is not None
    study = released(series["Siemens"], tmp_path, "P001", basic)
    (tmp_path / "work").mkdir()
    conversion = nifti.convert(study, tmp_path / "work")
    assert conversion.files == ()
    assert "Retain Safe Private" in conversion.not_converted[0][1]


def _kind(path: Path) -> tuple[str, str]:
    """What tells the images of one series apart, whatever it is called: the echo and what dcm2niix made of it."""
    return path.stem.partition("_e")[2].partition("_")[0] if "_e" in path.stem else "", path.suffix


def _timing(sidecar: Path) -> dict[str, Any]:
    content = json.loads(sidecar.read_bytes())
    found = {name: content[name] for name in _TIMING if name in content}
    assert found
    return found


def _without_remark(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    if path.suffix == ".nii":
        assert struct.unpack_from("<i", content)[0] == 348
        content[_DESCRIP:_DESCRIP_END] = bytes(_DESCRIP_END - _DESCRIP)
    return bytes(content)


def validate(dataset: Path) -> list[dict[str, Any]]:
    """The errors that the BIDS validator finds; skips, by name, where it is not installed."""
    program = Path(sys.executable).with_name("bids-validator-deno")
    if not program.exists():
        pytest.skip(f"{NEEDS}the BIDS validator (bids-validator-deno)")
    answer = subprocess.run(
        [str(program), "--format", "json", str(dataset)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    issues = json.loads(answer.stdout)["issues"]["issues"]
    return [one for one in issues if one["severity"] == "error"]


def collected(studies: dict[str, VerifiedStudy], folder: Path, site: SigningKey) -> Iterator[CollectedStudy]:
    members = [Member(one.participant, one.event, name) for name, one in studies.items()]
    where = places(members, BIDS)
    for name, one in sorted(studies.items()):
        yield CollectedStudy(one, where[name], NO_CONTEXT, a_proof(folder, one, site))


def test_a_whole_project_is_a_valid_dataset(studies: dict[str, VerifiedStudy], tmp_path: Path) -> None:
    site = SigningKey(tmp_path / "signing.pem")
    package = build_collection(
        collected(studies, tmp_path, site), BIDS, "PROJ1", "PROJ1_BIDS.zip", tmp_path, site=site
    )
    with zipfile.ZipFile(package.path) as archive:
        archive.extractall(tmp_path / "dataset")
        names = archive.namelist()
    assert {"fiona.txt", "manifest.json", STATEMENT_FILE} < set(
        names
    )  # our own files do not disturb the validator
    assert validate(tmp_path / "dataset") == []
    assert [name for name in names if name.endswith("_bold.nii.gz")]
    assert [name for name in names if name.endswith("_fieldmap.nii.gz")]
    table = (tmp_path / "dataset" / "participants.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in table] == [
        "participant_id",
        "sub-PGE",
        "sub-PPhilips",
        "sub-PSiemens",
    ]
    assert [path for path in tmp_path.iterdir() if path.name.startswith("tmp_")] == []


def test_a_study_is_a_dataset_of_its_own_and_the_same_twice(
    studies: dict[str, VerifiedStudy], tmp_path: Path
) -> None:
    packages, site = [], SigningKey(tmp_path / "signing.pem")
    proof = a_proof(tmp_path, studies["Philips"], site)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made = build(studies["Philips"], BIDS, tmp_path / name, proof=proof, site=site)
        packages.append(made.path.read_bytes())
    assert packages[0] == packages[1]
    with zipfile.ZipFile(next((tmp_path / "a").glob("*.zip"))) as archive:
        assert {"dataset_description.json", STATEMENT_FILE} < set(archive.namelist())
        archive.extractall(tmp_path / "dataset")
    assert validate(tmp_path / "dataset") == []


def test_an_image_is_packed_without_name_and_time(tmp_path: Path) -> None:
    from fiona_dagster.adapters.bids import _compressed

    content = []
    for name in ("one.nii", "two.nii"):
        (tmp_path / name).write_bytes(bytes(1000))
        content.append(_compressed(tmp_path / name).read_bytes())
    assert content[0] == content[1]
    assert shutil.which("gzip") is None or b"one" not in content[0]
