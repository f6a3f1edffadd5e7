"""Text is found on every frame, whatever its encoding; what stands still is read once."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.burned_in import Identifier, Ink, Style, burn
from fiona_dagster.adapters import text_models
from fiona_dagster.adapters.text_in_pixels import read_text
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.pixels.boxes import FramesText
from tests.pixels.images import image_file

_PLAIN = Style(font="", size=16, angle=0, bright=True, contrast=1.0, smooth=True, plate=False)


def _covered(text: FramesText, index: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros((text.rows, text.columns), dtype=bool)
    for box in text.of_frame(index):
        mask[box.top : box.bottom, box.left : box.right] = True
    return mask


def _missed(text: FramesText, index: int, identifiers: list[Identifier]) -> list[str]:
    mask = _covered(text, index)
    return [
        character.text
        for one in identifiers
        for character in one.characters
        if not character.is_covered(mask)
    ]


@pytest.mark.parametrize(
    ("dtype", "interpretation", "low", "high", "angle"),
    [
        ("i2", "MONOCHROME1", -1000, 3000, 0),
        ("u1", "RGB", 0, 255, 90),
        ("f4", "MONOCHROME2", -1.0, 1.0, 25),
    ],
)
def test_identifiers_are_covered_upright_turned_and_oblique_and_little_else(
    tmp_path: Path, dtype: str, interpretation: str, low: float, high: float, angle: int
) -> None:
    chance, noise = random.Random(3), np.random.default_rng(3)
    shape = (200, 240, 3) if interpretation == "RGB" else (200, 240)
    ground = noise.normal(low + 0.2 * (high - low), 0.04 * (high - low), shape).clip(low, high).astype(dtype)
    style = Style(font="", size=14, angle=angle, bright=True, contrast=0.6, smooth=True, plate=False)
    burned, identifiers = burn(ground, chance, Ink(low, high), texts=2, styles=[style, style])
    path = image_file(tmp_path / "image.dcm", burned[None], interpretation=interpretation)
    text = read_text(path, recognize=False)
    assert _missed(text, 0, identifiers) == []
    assert _covered(text, 0).mean() < 0.5
    assert {box.text for box in text.boxes} == {""}


def _written(place: tuple[int, int], shape: tuple[int, int], seed: int) -> tuple[Any, list[Identifier]]:
    taken = np.ones(shape, dtype=bool)
    taken[place[0] : place[0] + 40, place[1] : place[1] + 200] = False
    return burn(
        np.zeros(shape, dtype=np.uint8),
        random.Random(seed),
        Ink(0, 255),
        texts=1,
        styles=[_PLAIN],
        taken=taken,
    )


def test_a_cine_is_read_where_it_changes_and_every_frame_has_its_boxes(tmp_path: Path) -> None:
    still, name = _written((10, 10), (160, 224), 1)
    late, number = _written((110, 20), (160, 224), 2)
    assert name
    assert number
    frames = np.stack([still] * 40)  # of which three have more
    frames[17:20] = np.maximum(still, late)
    text = read_text(image_file(tmp_path / "cine.dcm", frames))
    assert text.read == tuple(range(40))
    assert all(_missed(text, index, name) == [] for index in range(40))
    assert all(_missed(text, index, number) == [] for index in (17, 18, 19))
    characters = sum(len(one.characters) for one in number)
    assert [len(_missed(text, index, number)) for index in (16, 20)] == [characters, characters]
    once = read_text(image_file(tmp_path / "one.dcm", still[None]), recognize=False).runs
    assert text.runs <= 2 * once


def test_nothing_is_read_and_nothing_spent_where_there_is_no_contrast(tmp_path: Path) -> None:
    text = read_text(image_file(tmp_path / "flat.dcm", np.full((2, 64, 64), 9, dtype=np.uint16)))
    assert (text.boxes, text.runs, text.read) == ((), 0, (0, 1))


def test_a_missing_model_is_a_broken_installation_and_never_fetched() -> None:
    with pytest.raises(ConfigurationError, match="models that find text"):
        text_models._session("PP-OCRv0_det.onnx")


@pytest.mark.parametrize("seed", [0, 1])
def test_faint_dark_letters_at_the_very_border_are_found(seed: int) -> None:
    grain = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (480, 480)), (9, 9), 2)
    ground = (120 + 6 * grain / grain.std()).clip(0, 255).astype("u1")
    style = Style(font="", size=10, angle=0, bright=False, contrast=0.12, smooth=True, plate=False)
    taken = np.ones((480, 480), dtype=bool)
    taken[-13:, 200:] = False
    burned, identifiers = burn(ground, random.Random(seed), Ink(0, 255), texts=1, styles=[style], taken=taken)
    assert identifiers
    probability = text_models.text_probability(np.dstack([burned] * 3))
    assert probability[466:, 200:].max() > 0.9
    assert probability[:440].max() < 0.1


def test_the_reader_leaves_nothing_of_its_own_in_anybodys_home(tmp_path: Path) -> None:
    path = image_file(tmp_path / "image.dcm", np.arange(64 * 64, dtype="u1").reshape(1, 64, 64))
    (tmp_path / "home").mkdir()
    environment = {"HOME": str(tmp_path / "home"), "PYTHONPATH": ":".join(one for one in sys.path if one)}
    program = (
        "import ctypes, sys, pathlib; from fiona_dagster.adapters.text_in_pixels import read_text;"
        "read_text(pathlib.Path(sys.argv[1])); get = ctypes.CDLL(None).getenv; get.restype = ctypes.c_char_p;"
        "assert get(b'ORT_DISABLE_TELEMETRY') == b'1'"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=True)
    assert list((tmp_path / "home").rglob("*")) == []
