"""Text in pixels: recall against an answer key, and images a second, beside tesseract and presidio-image-redactor.

    python -m benchmarks.pixels FOLDER [--images N] [--seed S]

FOLDER holds DICOM files that can be decoded; the first frame of each becomes the ground that invented identifiers are
burned into (`burned_in`). Every tool gets the same images in the same run on the same machine and answers with boxes.
Seconds are of the processor, of the tool's own process and those it starts, so that a busy machine does not matter.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import random
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.burned_in import Identifier, Ink, burn, recompressed
from benchmarks.peers import python_environment
from fiona_dagster.adapters.dicom_files import read_instance
from fiona_dagster.adapters.pixel_frames import Undecodable, decoded_frames, describe
from fiona_dagster.adapters.text_detection import lines_of
from fiona_dagster.domain.deid.text import first_text
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.pixels.frames import Frame, ImagePixel
from fiona_dagster.domain.pixels.windowing import View, view_of

_MODALITY = 0x00080060
_SMALLEST, _LARGEST = 120, 2_000_000
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ground:
    """An image to burn into, and where it has text of its own."""

    modality: str
    image: ImagePixel
    frame: Frame
    own_text: Mask


@dataclass
class Result:
    characters: int = 0
    covered: int = 0
    images: int = 0
    seconds: float = 0.0
    area: float = 0.0
    missed: list[str] = field(default_factory=list)


Tool = Callable[[View], Mask]


def grounds(folder: Path, most_of_one: int = 5) -> Iterator[Ground]:
    """Images of all modalities, no more than a few of each, no two of the same size."""
    seen: dict[Any, int] = defaultdict(int)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            image = describe(path)
            modality = first_text(read_instance(path).dataset, _MODALITY) or "?"
            key = (modality, image.rows, image.columns)
            fits = min(image.rows, image.columns) >= _SMALLEST and image.rows * image.columns <= _LARGEST
            if not fits or image.bits_stored == 1 or seen[key] or seen[modality] >= most_of_one:
                continue
            frame = next(decoded_frames(path, frames=[0]))
        except (Undecodable, FionaError):
            continue
        seen[key] += 1
        seen[modality] += 1
        yield Ground(modality, image, frame, ours(view_of(frame, image)))


def ink_of(ground: Ground) -> Ink:
    """Dark and bright in stored values: what a console would write with."""
    image, stored = ground.image, ground.frame.stored
    if image.palette is not None:
        light = image.palette.colours.astype(float).mean(axis=1)
        return Ink(
            int(light.argmin()) + image.palette.first,
            int(light.argmax()) + image.palette.first,
            between=False,
        )
    low, high = float(np.nanmin(stored)), float(np.nanmax(stored))
    if stored.dtype.itemsize == 1:
        low, high = 0.0, float((1 << image.bits_stored) - 1)
    elif stored.dtype.kind != "f":
        high = min(max(high, low + 1), float((1 << (image.bits_stored - image.pixel_representation)) - 1))
    if image.photometric_interpretation == "MONOCHROME1":
        low, high = high, low
    return Ink(low, high, luma=ground.frame.photometric_interpretation.startswith("YBR_F"))


def ours(view: View) -> Mask:
    """Every box of every line, as `read_text` has them."""
    lines, _ = lines_of(np.ascontiguousarray(view))
    mask = np.zeros(view.shape[:2], dtype=bool)
    for line in lines:
        for piece in line.pieces:
            mask[piece.top : piece.bottom, piece.left : piece.right] = True
    return mask


def tesseract(view: View) -> Mask:
    """Word boxes of tesseract, grown by 2 pixels as FIONA does."""
    stream = io.BytesIO()
    Image.fromarray(view[:, :, 0] if (view.shape[2] == 1) else view).save(stream, "PNG")
    done = subprocess.run(
        ["tesseract", "-", "-", "-l", "eng", "--psm", "11", "tsv"],
        input=stream.getvalue(),
        capture_output=True,
        check=False,
    )
    mask = np.zeros(view.shape[:2], dtype=bool)
    for row in csv.DictReader(done.stdout.decode().splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        if (row.get("text") or "").strip():
            left, top, width, height = (int(row[name]) for name in ("left", "top", "width", "height"))
            mask[max(0, top - 2) : top + height + 2, max(0, left - 2) : left + width + 2] = True
    return mask


def presidio() -> Tool | None:
    """presidio-image-redactor in `benchmarks/.venv`, where it was installed with its language model; else None."""
    python, _ = python_environment(Path(__file__).resolve().parent / ".venv")
    probe = "import presidio_image_redactor, en_core_web_lg"
    if subprocess.run([str(python), "-c", probe], capture_output=True, check=False).returncode:
        return None
    script = (
        "import sys, json; from PIL import Image; from presidio_image_redactor import ImageAnalyzerEngine as E;"
        "print(json.dumps([[r.left, r.top, r.width, r.height] for r in E().analyze(Image.open(sys.argv[1]))]))"
    )

    def found(view: View) -> Mask:
        import json

        mask = np.zeros(view.shape[:2], dtype=bool)
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            Image.fromarray(view).save(file.name)
            done = subprocess.run(
                [str(python), "-c", script, file.name], capture_output=True, check=True
            ).stdout
        for left, top, width, height in json.loads(done.splitlines()[-1]):
            mask[top : top + height, left : left + width] = True
        return mask

    return found


def _seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _score(result: Result, mask: Mask, identifiers: list[Identifier]) -> None:
    result.images += 1
    result.area += float(mask.mean())
    for one in identifiers:
        missed = [character for character in one.characters if not character.is_covered(mask)]
        result.characters += len(one.characters)
        result.covered += len(one.characters) - len(missed)
        if missed:
            result.missed.append(f"{len(missed)}/{len(one.characters)} of {one.text!r}, {one.style}")


def _burned(ground: Ground, chance: random.Random) -> tuple[View, list[Identifier]]:
    stored, identifiers = burn(ground.frame.stored, chance, ink_of(ground), texts=4, taken=ground.own_text)
    plain = ground.image.palette is None and not ground.frame.photometric_interpretation.startswith("YBR")
    if plain and stored.dtype == np.uint8 and chance.random() < 0.3:
        stored = recompressed(stored, chance.choice((60, 80, 92)))
    frame = Frame(0, stored, ground.frame.photometric_interpretation)
    return view_of(frame, ground.image), identifiers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    tools: dict[str, Tool] = {"ours": ours}
    if shutil.which("tesseract"):
        tools["tesseract"] = lambda view: tesseract(np.repeat(view[:, :, :1], 3, axis=2) if _grey else view)
    if (peer := presidio()) is not None:
        tools["presidio"] = peer
    missing = {"tesseract", "presidio"} - set(tools)
    ready = list(grounds(given.folder))
    chance = random.Random(given.seed)
    results: dict[tuple[str, str], Result] = defaultdict(Result)
    for _ in range(given.images):
        ground = chance.choice(ready)
        view, identifiers = _burned(ground, chance)
        _grey = ground.frame.stored.ndim == 2 and ground.image.palette is None
        for name, tool in tools.items():
            start = _seconds()
            mask = tool(view)
            spent = _seconds() - start
            for key in ((name, ground.modality), (name, "all")):
                _score(results[key], mask, identifiers)
                results[key].seconds += spent
    print("tool       modality  images  characters  covered %  area %  images/s")
    for (name, modality), one in sorted(results.items()):
        recall = 100 * one.covered / max(1, one.characters)
        speed = one.images / max(1e-9, one.seconds)
        print(
            f"{name:10} {modality:8} {one.images:7} {one.characters:11} {recall:10.2f} "
            f"{100 * one.area / one.images:7.1f} {speed:9.2f}"
        )
    for line in results["ours", "all"].missed:
        print("missed:", line)
    for name in sorted(missing):
        print("not installed, not compared:", name)


if __name__ == "__main__":
    main()
