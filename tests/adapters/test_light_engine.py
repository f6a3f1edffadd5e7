"""De-identification and verification start without the libraries that take long to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from tests.domain.deid.planted import ct_instance, saved

HEAVY = (
    "pydicom",
    "numpy",
    "pandas",
    "requests",
    "dagster",
    "sqlalchemy",
    "pypdf",
    "yaml",
    "importlib.metadata",
    "fiona_dagster.domain.packaging",
    "fiona_dagster.domain.layout",
)
PROGRAM = """
import sys
from pathlib import Path
from fiona_dagster.adapters.releases import (
    ReleaseRequest, SourceInstance, deidentify_study, recall_release, verify_release
)
from fiona_dagster.domain.deid.profile import Option, Profile
from fiona_dagster.domain.project import Project

folder, uid, options, heavy = Path(sys.argv[1]), *sys.argv[2:]
sources = [SourceInstance(folder / "in.dcm", 1, uid)]
profile = Profile(options=frozenset(map(Option, options.split())))
request = ReleaseRequest(Project(name="STUDY_A", date_mode="per_participant"), "P-001", "baseline", folder / "out")
study = deidentify_study(sources, request, b"k" * 32, profile)
outcome = verify_release(study, sources, request, b"k" * 32, profile)
assert type(outcome).__name__ == "VerifiedStudy", outcome.checks
recall_release(outcome.study, request, verified_manifest=outcome.study.manifest_sha256, revision=1)
print(" ".join(name for name in heavy.split() if name in sys.modules))
"""
EVERY_OPTION = "clean_descriptors retain_safe_private retain_device_identity retain_patient_characteristics"


def imported_for(dataset: FileDataset, folder: Path, options: str = "") -> list[str]:
    """Libraries of `HEAVY` that a fresh interpreter has imported when the copy is verified."""
    saved(dataset, folder / "in.dcm")
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(dataset.SOPInstanceUID), options, " ".join(HEAVY)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.split()


@pytest.mark.parametrize("character_set", ["ISO_IR 100", "ISO_IR 192", "ISO-IR 100", "ISO 2022 IR 100", None])
def test_a_usual_study_loads_no_library_that_takes_time(character_set: str | None, tmp_path: Path) -> None:
    dataset = ct_instance()
    dataset.add_new(0x00080005, "CS", character_set or "")
    if character_set in {"ISO_IR 100", "ISO_IR 192"}:
        dataset.PatientName = "Ærfugl^Åse"
    assert imported_for(dataset, tmp_path) == []


def test_a_profile_that_looks_into_values_loads_none_either(tmp_path: Path) -> None:
    assert imported_for(ct_instance(), tmp_path, EVERY_OPTION) == []


def test_escape_sequences_are_what_pydicom_is_loaded_for(tmp_path: Path) -> None:
    dataset = ct_instance()
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = "Yamada^Tarou=山田^太郎"
    assert "pydicom" in imported_for(dataset, tmp_path)
