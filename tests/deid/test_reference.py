"""The engine's copies equal those of a plain pydicom implementation, on the suite and on files of the real world."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import config as pydicom_config
from pydicom import dcmread
from pydicom.dataset import FileDataset

from fiona_dagster.adapters.releases import deidentify_study
from fiona_dagster.domain.deid.dates import shift_days
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import SourceInstance
from tests.conftest import need_shared
from tests.deid.generator import follow_up, modalities, scripts
from tests.deid.reference import Reference
from tests.deid.scoring import KEY, PARTICIPANT, profile_with, request

OF_ONE_FOLDER = 12
"""Files of one folder that are looked at: acquisitions of hundreds of like images say the same again and again."""
AT_LEAST = 250
MISREAD = {
    "GH179A.dcm": "a VR of two blanks: DCMTK and we take a length of 16 bit, pydicom one of 32 and loses what follows"
}
"""Files in which the reference is wrong, with the reason."""
RETAINING = (
    "retain_patient_characteristics",
    "retain_device_identity",
    "retain_institution_identity",
    "retain_uids",
)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def compared(path: Path, folder: Path, profile: Profile) -> list[str] | None:
    """Differences between the engine's copy and the reference; None where either cannot read the original."""
    asked = request(folder, pixels_are_clean=True)
    (one,) = deidentify_study([SourceInstance(path, 1, "")], asked, KEY, profile).instances
    if one.disposition != "released":
        return None
    try:
        original = _read(path)
    except Exception:  # noqa: BLE001 — pydicom raises whatever it likes for what it cannot parse
        unread.append(path.name)
        return None
    copy = _read(asked.folder / one.path)
    rules = profile.rules(str(original.SOPClassUID), asked.project.date_mode)
    days = shift_days(asked.project, PARTICIPANT, KEY)
    found = Reference(rules, KEY, days, PARTICIPANT).differences(original, copy)
    if copy.file_meta.MediaStorageSOPInstanceUID != copy.SOPInstanceUID:
        found.append("file meta names another instance")
    return found


unread: list[str] = []
"""Files that the engine releases and pydicom cannot read."""


def _read(path: Path) -> FileDataset:
    return dcmread(BytesIO(path.read_bytes()), force=True)


@pytest.mark.parametrize("options", [(), RETAINING], ids=["default", "retaining"])
def test_the_suite_equals_the_reference(options: tuple[str, ...], tmp_path: Path) -> None:
    differing: dict[str, list[str]] = {}
    profile = profile_with(*options)
    for study in (modalities(), scripts(), follow_up()):
        for path in study.write(tmp_path / study.name):
            found = compared(path, tmp_path / "out" / path.stem, profile)
            differing |= {path.stem: found} if found else {}
    assert differing == {}


def test_the_reference_finds_what_is_wrong_in_a_copy(tmp_path: Path) -> None:
    path = follow_up().write(tmp_path)[0]
    original = _read(path)
    rules = Profile().rules(str(original.SOPClassUID), "per_participant")
    found = Reference(rules, KEY, -1, PARTICIPANT).differences(original, original)
    assert {"00081030 stands in the copy", "00080018 is not what uid makes"} <= set(found)
    assert "00080020 is not what date makes" in found


def test_every_file_of_the_corpus_equals_the_reference(tmp_path: Path) -> None:
    folders: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in sorted(p for p in need_shared("corpus").rglob("*") if p.is_file()):
        folders[path.parent].append(path)
    differing: dict[str, list[str]] = {}
    equal = 0
    for number, (folder, paths) in enumerate(folders.items()):
        step = max(1, len(paths) // OF_ONE_FOLDER) if len(paths) > 100 else 1
        for path in (one for one in paths[::step] if one.name not in MISREAD):
            found = compared(path, tmp_path / str(number), Profile())
            equal += found == []
            differing |= {f"{folder.name}/{path.name}": found} if found else {}
    print(f"{equal} files equal; pydicom cannot read {unread}")
    assert differing == {}
    assert equal >= AT_LEAST
