"""dcm2niix makes the same of the copies as of the originals: what is lost is what the profile takes, and no more."""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict
from pathlib import Path

import pytest
from pydicom import dcmread

from fiona_dagster.adapters.releases import deidentify_study
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import SourceInstance
from tests.conftest import need_program, need_shared
from tests.deid.conversions import Series, converted, difference, series_below
from tests.deid.scoring import KEY, profile_with, request

LARGEST_SERIES = 4 << 20
AT_LEAST = 30
EXCEPTIONS = {
    "HOLOGIC": "the pixels themselves lie in a private element",
    "GH064.dcm": "private sequences stand in UN, which dcm2niix skips; the copy says SQ, and it reads them",
    "XA10 Siemens HealthCare GmbH #3": "words of the patient's name stand in the protocol, which goes for that",
    "pm-example-dcm.zip": "another tool took the private creators: no list can know the elements",
}
"""Series that differ even where safe private elements stay, by a part of a file's path, with the reason."""
_TWINS = ("mr_0005", "mr_0006", "mr_0007")
"""Three more acquisitions like dcm_qa_nih's GE mr_0004: 150 files each, and nothing new in them."""


@pytest.fixture(scope="module")
def program() -> str:
    beside = Path(sys.executable).parent / "dcm2niix"
    return str(beside) if beside.exists() else need_program("dcm2niix")


@pytest.fixture(scope="module")
def series() -> list[Series]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = series_below(need_shared("corpus"), largest=LARGEST_SERIES)
    return [one for one in found if not ("GE" in one.name and any(twin in one.name for twin in _TWINS))]


@pytest.fixture(scope="module")
def originals(
    series: list[Series], program: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list]:  # type: ignore[type-arg]
    folder = tmp_path_factory.mktemp("originals")
    made = {one.name: converted(program, one.files, folder / str(n)) for n, one in enumerate(series)}
    return {name: volumes for name, volumes in made.items() if volumes}


def copies_of(series: list[Series], folder: Path, profile: Profile) -> dict[str, list[Path]]:
    """Copies of every series of which all instances were released, by its name."""
    studies: defaultdict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in series:
        studies[str(one.files[0].parent), one.study].append(one)
    found: dict[str, list[Path]] = {}
    for number, members in enumerate(studies.values()):
        sources = [SourceInstance(path, n, "") for n, (path, _) in enumerate(_files(members))]
        asked = request(folder / str(number), pixels_are_clean=True)
        result = deidentify_study(sources, asked, KEY, profile)
        made = defaultdict(list)
        for instance, (_, name) in zip(result.instances, _files(members), strict=True):
            made[name].append(asked.folder / instance.path if instance.disposition == "released" else None)
        found |= {name: [p for p in paths if p] for name, paths in made.items() if all(paths)}
    return found


def _files(members: list[Series]) -> list[tuple[Path, str]]:
    return [(path, one.name) for one in members for path in one.files]


def without(files: list[Path], folder: Path, *, private: bool) -> list[Path]:
    """The originals without overlays, of which dcm2niix makes volumes, too; and without private elements."""
    folder.mkdir(parents=True)
    made = []
    for number, path in enumerate(files):
        dataset = dcmread(path)
        if private:
            dataset.remove_private_tags()
        for tag in [t for t in dataset.keys() if t.group >> 8 == 0x60]:  # noqa: SIM118 — iterating converts values
            del dataset[tag]
        made.append(folder / f"{number}.dcm")
        dataset.save_as(made[-1])
    return made


@pytest.mark.filterwarnings("ignore")
def test_the_default_profile_costs_what_private_elements_hold_and_nothing_else(
    series: list[Series],
    originals: dict[str, list],  # type: ignore[type-arg]
    program: str,
    tmp_path: Path,
) -> None:
    copies = copies_of(series, tmp_path / "copies", Profile())
    by_name = {one.name: one for one in series}
    lost, wrong, compared = {}, {}, 0
    for number, (name, before) in enumerate(originals.items()):
        if name not in copies:
            continue
        compared += 1
        after = converted(program, copies[name], tmp_path / f"copy-{number}")
        if differing := difference(before, after):
            lost[name] = differing
            plain = without(list(by_name[name].files), tmp_path / f"plain-{number}", private=True)
            expected = converted(program, plain, tmp_path / f"bare-{number}")
            if differing := difference(expected, after):
                wrong[name] = differing
    print(
        f"{compared} series compared; lost with private elements and overlays:",
        *map(str, lost.items()),
        sep="\n  ",
    )
    assert wrong == {}
    assert compared >= AT_LEAST


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_lost_where_safe_private_elements_stay(
    series: list[Series],
    originals: dict[str, list],  # type: ignore[type-arg]
    program: str,
    tmp_path: Path,
) -> None:
    copies = copies_of(series, tmp_path / "copies", profile_with("retain_safe_private"))
    by_name, lost = {one.name: one for one in series}, {}
    for number, (name, before) in enumerate(originals.items()):
        if name not in copies or any(known in name + str(by_name[name].files[0]) for known in EXCEPTIONS):
            continue
        after = converted(program, copies[name], tmp_path / str(number))
        if difference(before, after):
            plain = without(list(by_name[name].files), tmp_path / f"plain-{number}", private=False)
            if differing := difference(converted(program, plain, tmp_path / f"bare-{number}"), after):
                lost[name] = differing
    assert lost == {}
