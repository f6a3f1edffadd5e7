"""The signed statement in packages of changed or converted copies: made, checked, and broken in every way."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom import dcmread

from fiona_dagster.adapters.export_collections import CollectedStudy, build_collection
from fiona_dagster.adapters.package_statement import inspect_statement
from fiona_dagster.adapters.packages import build
from fiona_dagster.adapters.signing import SigningKey, public_pem
from fiona_dagster.cli.verify import verify
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.exports.bids import Session
from fiona_dagster.domain.exports.changes import NO_CONTEXT
from fiona_dagster.domain.exports.collections import Place
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import ExportProfile
from fiona_dagster.domain.exports.statement import STATEMENT_FILE
from fiona_dagster.domain.packaging import Package
from fiona_dagster.domain.verification import VerifiedStudy
from tests.adapters.test_export_formats import CONTEXT, TRANSPARA, study_of
from tests.deliverables import SERIES, instances, verified_study, write_copy

Entries = dict[str, bytes]


@pytest.fixture
def site(tmp_path: Path) -> SigningKey:
    return SigningKey(tmp_path / "signing.pem")


def a_proof(folder: Path, study: VerifiedStudy, site: SigningKey) -> Path:
    path = folder / f"{study.study_instance_uid}.proof"
    path.write_bytes(site.sign({"method": {"digest": study.method_digest}}))
    return path


def one_study(folder: Path, site: SigningKey) -> Package:
    study = study_of(folder / "copy")
    (folder / "outbox").mkdir(exist_ok=True)
    proof = a_proof(folder, study, site)
    return build(study, TRANSPARA, folder / "outbox", proof=proof, context=CONTEXT, site=site)


def two_studies(folder: Path, site: SigningKey) -> Package:
    due = []
    for number in (1, 2):
        study = study_of(folder / f"copy-{number}", participant=f"P_00{number}")
        study = replace(study, study=replace(study.study, study_instance_uid=f"2.25.90{number}"))
        place = Place(study.participant, Session("x", "1"))
        due.append(CollectedStudy(study, place, CONTEXT, a_proof(folder, study, site)))
    (folder / "outbox").mkdir()
    return build_collection(due, TRANSPARA, "PROJ1", "PROJ1_Transpara.zip", folder / "outbox", site=site)


def again(package: Path, change: Callable[[Entries], None]) -> Path:
    """The package with other content."""
    with zipfile.ZipFile(package) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    other = package.with_name("other.zip")
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return other


def converted(export_type: ExportType, *, many: bool) -> Callable[[Path, SigningKey], Package]:
    def made(folder: Path, site: SigningKey) -> Package:
        profile, due = ExportProfile(export_type), []
        for number in (1, 2) if many else (1,):
            study = scanned(folder / f"copy-{number}", participant=f"P00{number}")
            proof = a_proof(folder, study, site)
            study = replace(study, study=replace(study.study, study_instance_uid=f"2.25.90{number}"))
            due.append(
                CollectedStudy(study, Place(study.participant, Session(f"{number}", "1")), NO_CONTEXT, proof)
            )
        (folder / "outbox").mkdir(exist_ok=True)
        if many:
            name = f"PROJ1_{export_type.value}.zip"
            return build_collection(due, profile, "PROJ1", name, folder / "outbox", site=site)
        return build(due[0].study, profile, folder / "outbox", proof=due[0].proof, site=site)

    return made


def scanned(folder: Path, participant: str) -> VerifiedStudy:
    """A series that dcm2niix converts."""
    files = []
    for number in range(1, 4):
        path = folder / f"CT.{number}.dcm"
        write_copy(path, f"2.25.{number}", InstanceNumber=str(number), Modality="CT", PatientID=participant)
        image = dcmread(path)
        image.Rows = image.Columns = 16
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 15, 1, 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.PixelSpacing, image.SliceThickness = ["1", "1"], "1"
        image.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        image.ImagePositionPatient = ["0", "0", str(number)]
        image.RescaleSlope, image.RescaleIntercept = "1", "0"
        image.PixelData = bytes(512)
        image.save_as(path, enforce_file_format=True)
        files.append((path.name, f"2.25.{number}", SERIES))
    return verified_study(folder, instances(folder, files), participant=participant)


CONVERTED = [
    converted(one, many=many) for one in (ExportType.NIFTI, ExportType.BIDS) for many in (False, True)
]


@pytest.mark.parametrize("made", CONVERTED)
def test_a_statement_of_converted_files_says_so_and_is_believed_by_verify_alone(
    tmp_path: Path, site: SigningKey, made: Callable[[Path, SigningKey], Package]
) -> None:
    package = made(tmp_path, site)
    with zipfile.ZipFile(package.path) as archive:
        names = archive.namelist()
    images = [one for one in names if one.endswith((".nii", ".nii.gz"))]
    assert images
    assert not [one for one in names if one.endswith(".dcm")]
    (tmp_path / "site.pem").write_bytes(public_pem(site.public_key()))
    whole = CliRunner().invoke(verify, [str(package.path), "--public-key", str(tmp_path / "site.pem")])
    assert whole.exit_code == 0, whole.output
    assert "not as the proofs of the copies have it: converted to NIfTI" in whole.stderr
    stated = json.loads(whole.stdout)["statement"]
    assert (stated["departures"], stated["signature"]) == (["converted to NIfTI"], "known")
    assert stated["converter"].startswith("dcm2niix v")

    def other_image(entries: Entries) -> None:
        entries[images[0]] = entries[images[0]][:-1] + b"x"

    broken = CliRunner().invoke(verify, [str(again(package.path, other_image))])
    assert broken.exit_code == 1
    assert images[0] in broken.stderr


@pytest.mark.parametrize("made", [one_study, two_studies, *CONVERTED])
def test_every_file_of_a_package_is_covered_by_a_signature(
    tmp_path: Path, site: SigningKey, made: Callable[[Path, SigningKey], Package]
) -> None:
    package = made(tmp_path, site)
    found = inspect_statement(package.path, site.public_key())
    assert found is not None
    assert (found.signed, found.problems) == ("known", ())
    assert found.content["method_digests"] == ["m"] or len(found.content["method_digests"]) == 1
    stranger = SigningKey(tmp_path / "stranger.pem").public_key()
    wrong = inspect_statement(package.path, stranger)
    assert wrong is not None
    assert wrong.problems == (
        (STATEMENT_FILE, "the signature is not right: it was changed, or by another key"),
    )
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(package.path) as archive:
        archive.extractall(unpacked)
        names = [name for name in archive.namelist() if name != STATEMENT_FILE]
    whole = inspect_statement(unpacked, site.public_key())
    assert whole is not None
    assert not whole.problems
    for name in names:

        def changed(entries: Entries, name: str = name) -> None:
            entries[name] += b" "

        def dropped(entries: Entries, name: str = name) -> None:
            del entries[name]

        for change in (changed, dropped):
            broken = inspect_statement(again(package.path, change), site.public_key())
            assert broken is not None
            assert broken.problems, (name, change)

    def added(entries: Entries) -> None:
        entries["more.txt"] = b"x"

    more = inspect_statement(again(package.path, added))
    assert more is not None
    assert more.problems == (("more.txt", "not in the statement"),)


@pytest.mark.parametrize("made", [one_study, two_studies])
def test_a_damaged_package_is_told_and_stops_nothing(
    tmp_path: Path, site: SigningKey, made: Callable[[Path, SigningKey], Package]
) -> None:
    package = made(tmp_path, site)
    content = package.path.read_bytes()
    with zipfile.ZipFile(package.path) as archive:
        entries = {one.filename: one.header_offset + 30 + len(one.filename) for one in archive.infolist()}
    for name, begins in entries.items():
        damaged = bytearray(content)
        damaged[begins + 4] ^= 0xFF
        (tmp_path / "damaged.zip").write_bytes(damaged)
        if name == STATEMENT_FILE:
            with pytest.raises(ConfigurationError, match="no signed document"):
                inspect_statement(tmp_path / "damaged.zip")
        else:
            found = inspect_statement(tmp_path / "damaged.zip")
            assert found is not None
            assert found.problems, name
    (tmp_path / "damaged.zip").write_bytes(content[:-30])
    assert inspect_statement(tmp_path / "damaged.zip") is None


def test_the_same_package_has_the_same_statement_and_is_not_built_again(
    tmp_path: Path, site: SigningKey
) -> None:
    first = one_study(tmp_path, site)
    content, changed_at = first.path.read_bytes(), first.path.stat().st_mtime_ns
    assert one_study(tmp_path, site) == first
    assert first.path.stat().st_mtime_ns == changed_at
    first.path.unlink()
    assert one_study(tmp_path, site).path.read_bytes() == content


def test_fiona_verify_tells_whose_statement_it_is_and_fails_a_changed_package(
    tmp_path: Path, site: SigningKey
) -> None:
    package = one_study(tmp_path, site)
    (tmp_path / "site.pem").write_bytes(public_pem(site.public_key()))

    def outcome(path: Path) -> tuple[dict[str, object], str]:
        result = CliRunner().invoke(verify, [str(path), "--public-key", str(tmp_path / "site.pem")])
        return json.loads(result.stdout), result.stderr

    shown, said = outcome(package.path)
    assert shown["statement"] is not None
    assert "statement of the package: signed by the key of --public-key" in said
    assert "statement" not in said.replace("statement of the package", "")

    def changed(entries: Entries) -> None:
        entries["fiona.txt"] += b" "

    _, said = outcome(again(package.path, changed))
    assert "fiona.txt: its bytes are not those of the statement" in said
