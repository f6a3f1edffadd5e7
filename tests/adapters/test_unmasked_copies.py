"""Copies without a box have the originals' pixels, byte for byte: every object of the corpus, whatever its size."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import config as pydicom_config
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian

from fiona_dagster.adapters import pixel_masking
from fiona_dagster.adapters.pixel_frames import describe
from fiona_dagster.adapters.releases import deidentify_study
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import DeidentifiedInstance, SourceInstance
from fiona_dagster.domain.pixels.boxes import FramesText
from fiona_dagster.domain.pixels.policy import PixelPolicy
from tests.conftest import need_shared
from tests.domain.deid.planted import KEY, request

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "SpectroscopyData")
AT_LEAST = {"not read": 600, "read": 30}
"""Copies of either kind that are compared: less of the corpus than that proves nothing of it."""


@pytest.fixture(autouse=True)
def _nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A reader that finds no text; the files of the corpus are read whatever pydicom thinks of their values."""

    def read(path: Path) -> FramesText:
        image = describe(path)
        frames = tuple(range(image.number_of_frames))
        return FramesText(image.rows, image.columns, len(frames), frames, ())

    def run_here(make: Any, arguments: Any, items: Any, *_: Any) -> list[Any]:
        treat = make(*arguments)
        return [treat(one) for one in items]

    monkeypatch.setattr(pixel_masking, "read_text", read)
    monkeypatch.setattr(pixel_masking, "run_each", run_here)  # in other processes the real one would read
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def pixels(path: Path) -> tuple[str, dict[str, bytes]]:
    """Transfer syntax and pixels of a file, as pydicom finds them; nothing of the gateway is asked."""
    dataset = dcmread(BytesIO(path.read_bytes()), force=True, specific_tags=list(_PIXELS))
    values = {name: dataset[name].value for name in _PIXELS if name in dataset}
    return str(dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)), values


def are_the_same(original: Path, copy: Path) -> bool:
    """Whether a copy has its original's pixels; of an original that pydicom cannot read, whether they stand in it."""
    mine = pixels(copy)
    try:
        return mine == pixels(original)
    except Exception:  # noqa: BLE001 — pydicom raises whatever it likes for what it cannot parse
        content = original.read_bytes()
        return bool(mine[1]) and all(value in content for value in mine[1].values())


def kind(copy: DeidentifiedInstance) -> str:
    """How a copy was made."""
    if copy.masking is None:
        return "not read"
    return "masked" if copy.masking.changes_pixels else "read"


def test_a_copy_without_a_box_has_the_originals_pixels_on_the_whole_corpus(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    wrong = []
    for number, path in enumerate(sorted(p for p in need_shared("corpus").rglob("*") if p.is_file())):
        asked = request(tmp_path / str(number), pixels=PixelPolicy(mode="all"))
        (copy,) = deidentify_study([SourceInstance(path, 1, "")], asked, KEY, Profile()).instances
        if copy.disposition != "released":
            counts[f"{copy.disposition}: {copy.reason}"] += 1
            continue
        made = asked.folder / copy.path
        if kind(copy) != "masked" and not are_the_same(path, made):
            wrong.append(path.name)
        counts[kind(copy) if pixels(made)[1] else "without pixels"] += 1
        made.unlink()
    assert wrong == []
    assert all(counts[one] >= least for one, least in AT_LEAST.items()), counts
