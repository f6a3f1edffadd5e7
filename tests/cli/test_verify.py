from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.dataset import FileDataset

from fiona_dagster.adapters.encryption import Seal, container
from fiona_dagster.adapters.proofs import prove_release
from fiona_dagster.adapters.releases import deidentify_study, verify_release
from fiona_dagster.adapters.signing import SigningKey, public_pem
from fiona_dagster.cli.verify import verify
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import SourceInstance
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.exports.formats import Encryption
from fiona_dagster.domain.verification import VerifiedStudy
from tests.domain.deid.planted import KEY, ct_instance, request, saved


@pytest.fixture
def release(tmp_path: Path) -> Path:
    sources = [SourceInstance(saved(ct_instance(n), tmp_path / "in" / f"{n}"), n, "") for n in (1, 2)]
    deidentify_study(sources, request(tmp_path / "out"), KEY, Profile())
    return tmp_path / "out"


def run(path: Path, *more: str) -> Result:
    return CliRunner(env={"COLUMNS": "250"}).invoke(verify, [str(path), *more])


def manifest(folder: Path) -> dict[str, object]:
    return {
        "files": [
            {
                "name": p.relative_to(folder).as_posix(),
                "sha256": hashlib.sha256(p.read_bytes()).hexdigest(),
                "size": p.stat().st_size,
                "sop_instance_uid": str(dcmread(p).SOPInstanceUID),
            }
            for p in sorted(folder.rglob("*.dcm"))
        ]
    }


def zipped(folder: Path, *, inside: bool) -> Path:
    path = folder.parent / "release.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.dcm")):
            archive.write(file, file.relative_to(folder).as_posix())
        if inside:
            archive.writestr("manifest.json", json.dumps(manifest(folder)))
        else:
            path.with_name("release.zip.manifest.json").write_text(json.dumps(manifest(folder)))
    return path


def test_a_sound_release_passes_as_folder_and_as_zip(release: Path) -> None:
    result = run(release)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["instances"] == 2
    (release / "manifest.json").write_text(json.dumps(manifest(release)))
    assert run(release).exit_code == 0
    for inside in (True, False):
        assert run(zipped(release, inside=inside)).exit_code == 0


def _edit(change: Callable[[FileDataset], None]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        dataset = dcmread(path)
        change(dataset)
        dataset.save_as(path, enforce_file_format=False)

    return edit


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_edit(lambda d: setattr(d, "PatientComments", "x")), "PatientComments is there"),
        (_edit(lambda d: setattr(d, "OperatorsName", "Jones")), "OperatorsName is"),
        (_edit(lambda d: delattr(d, "PatientIdentityRemoved")), "PatientIdentityRemoved"),
        (_edit(lambda d: setattr(d, "SOPInstanceUID", "1.2.3")), "SOPInstanceUID"),
        (lambda p: p.write_bytes(p.read_bytes()[:-60]), "ends inside"),
        (lambda p: p.write_bytes(b"x"), "not a DICOM file"),
    ],
)
def test_a_release_with_a_problem_fails_and_says_where(
    release: Path, change: Callable[[Path], None], words: str
) -> None:
    path = sorted(release.rglob("*.dcm"))[0]
    change(path)
    result = run(release)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Jones" not in result.output


def test_the_manifest_is_binding(release: Path) -> None:
    named = manifest(release)
    (release / "manifest.json").write_text(json.dumps(named))
    first, second = sorted(release.rglob("*.dcm"))
    first.rename(first.with_name("other.dcm"))
    second.write_bytes(second.read_bytes() + b"\0\0")
    result = run(release)
    assert result.exit_code == 1
    for words in ("not in the manifest", "in the manifest, but not there", "bytes are not those"):
        assert words in result.stderr


def test_nothing_to_check_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty").exit_code == 1


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_what_is_no_release_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    assert isinstance(run(tmp_path / "x.zip").exception, ConfigurationError)


@pytest.mark.parametrize("encryption", ["zip", "7z"])
def test_an_encrypted_package_is_to_be_opened_first(tmp_path: Path, encryption: Encryption) -> None:
    path = tmp_path / f"x.{encryption}"
    with (
        path.open("w+b") as stream,
        container(stream, Seal(encryption, "correct horse battery", "x.zip")) as inside,
    ):
        inside.write(b"PK")
    problem = run(path).exception
    assert isinstance(problem, ConfigurationError)
    assert "open it with its password, and verify the package inside" in str(problem)


def test_a_broken_manifest_is_refused(release: Path) -> None:
    (release / "manifest.json").write_text("[")
    assert isinstance(run(release).exception, ConfigurationError)


@pytest.fixture
def proven(tmp_path: Path) -> Path:
    sources = [
        SourceInstance(saved(ct_instance(n), tmp_path / "in" / f"{n}"), n, str(ct_instance(n).SOPInstanceUID))
        for n in (1, 2)
    ]
    asked = request(tmp_path / "out")
    study = verify_release(deidentify_study(sources, asked, KEY, Profile()), sources, asked, KEY, Profile())
    assert isinstance(study, VerifiedStudy), study.checks
    site = SigningKey(tmp_path / "signing.pem")
    prove_release(tmp_path / "out.proof.json", study, sources, asked.project, Profile(), KEY, site, 0.0)
    (tmp_path / "site.pem").write_bytes(public_pem(site.public_key()))
    (tmp_path / "other.pem").write_bytes(public_pem(SigningKey(tmp_path / "other_signing.pem").public_key()))
    return tmp_path / "out"


def test_it_is_said_whose_signature_a_proof_has(proven: Path) -> None:
    for arguments, signature, words, status in (
        ((), "unknown", "nobody vouches", 0),
        (("--public-key", str(proven.with_name("site.pem"))), "known", "signed by the key of", 0),
        (("--public-key", str(proven.with_name("other.pem"))), "wrong", "NOT signed", 1),
    ):
        result = run(proven, *arguments)
        assert result.exit_code == status, result.output
        assert words in result.stderr
        (proof,) = json.loads(result.stdout)["proofs"]
        assert proof["signature"] == signature
        assert proof["counts"]["released"] == 2


def test_a_named_proof_is_used_and_a_missing_one_told(proven: Path, tmp_path: Path) -> None:
    proof = proven.with_name("out.proof.json")
    away = proof.rename(tmp_path / "away.json")
    assert run(proven, "--proof", str(away)).exit_code == 0
    without = run(proven)
    assert (without.exit_code, json.loads(without.stdout)["proofs"]) == (0, [])
    assert "there is no proof" in without.stderr
    for unknown in (
        "who made this release",
        "missing, added or changed",
        "value of an original",
        "--public-key",
    ):
        assert unknown in without.stderr[without.stderr.index("NOT checked") :]
    asked = run(proven, "--public-key", str(proven.with_name("site.pem")))
    assert asked.exit_code == 1
    assert "NOT checked" not in run(proven, "--proof", str(away)).stderr
    away.write_text("{}")
    assert isinstance(run(proven, "--proof", str(away)).exception, ConfigurationError)


def test_a_release_that_is_not_as_proven_fails(proven: Path) -> None:
    next(proven.rglob("*.dcm")).unlink()
    result = run(proven)
    assert result.exit_code == 1
    assert "in the proof, but not there" in result.stderr


def test_where_there_is_nothing_to_check_it_says_so_and_fails(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("nothing")
    result = CliRunner().invoke(verify, [str(tmp_path)])
    assert result.exit_code == 1
    assert "there is nothing to check" in result.stderr
