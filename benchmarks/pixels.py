"""Text in pixels: recall against an answer key, and images a second, beside tesseract and presidio-image-redactor.

    python -m benchmarks.pixels FOLDER [--images N] [--seed S] [--only TOOLS] [--presidio PYTHON] [--misses DIR]

FOLDER holds DICOM files; frames of all modalities, and synthetic ones, become the ground that invented identifiers are
burned into (`burned_in`). Every tool gets the same images in the same run on the same machine and answers with boxes.
Seconds are of the processor, of the tool's own process and those it starts, so that a busy machine does not matter.

    covered    characters that a person can read and that lie in boxes, in percent
    precision  share of the boxed area that belongs to text, ours or the image's own, with half its height around it
    area       share of the images in boxes
    images/s   when the tool reads the image
    way/s      as it is used: ours reads what the header makes suspect, the others read every image

PYTHON is the interpreter of an environment with presidio-image-redactor and a language model of spaCy.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.burned_in import Identifier
from benchmarks.pixel_grounds import (
    SYNTHETIC,
    Ground,
    Mask,
    Picture,
    burned,
    grounds_in,
    is_looked_at,
    synthetic,
)
from benchmarks.pixel_tools import Ours, Presidio, Tool, presidio, tesseract
from fiona_dagster.adapters.dicom_files import quiet_pydicom, read_instance
from fiona_dagster.domain.deid.elements import PIXEL_TAGS
from fiona_dagster.domain.deid.text import first_text
from fiona_dagster.domain.errors import FionaError

_MODALITY = 0x00080060


@dataclass
class Result:
    """Sums over the images of one modality that one tool read."""

    images: int = 0
    asked: int = 0
    illegible: int = 0
    characters: int = 0
    covered: int = 0
    seconds: float = 0.0
    seconds_asked: float = 0.0
    area: float = 0.0
    boxed: int = 0
    boxed_text: int = 0
    missed: list[str] = field(default_factory=list)

    def add(self, ground: Ground, mask: Mask, identifiers: Iterable[Identifier], spent: float) -> None:
        """Count one image."""
        self.images += 1
        self.seconds += spent
        if ground.is_asked:
            self.asked += 1
            self.seconds_asked += spent
        self.area += float(mask.mean())
        near = ground.own_text.copy()
        for one in identifiers:
            legible = [character for character in one.characters if character.legible]
            missed = [character for character in legible if not character.is_covered(mask)]
            self.illegible += len(one.characters) - len(legible)
            self.characters += len(legible)
            self.covered += len(legible) - len(missed)
            if missed:
                self.missed.append(f"{len(missed)}/{len(legible)} of {one.text!r}, {one.style}")
            _mark(near, one)
        self.boxed += int(mask.sum())
        self.boxed_text += int((mask & near).sum())

    def __str__(self) -> str:
        recall = 100 * self.covered / max(1, self.characters)
        precision = 100 * self.boxed_text / max(1, self.boxed)
        speed, way = self.images / max(1e-9, self.seconds), self.images / max(1e-9, self.seconds_asked)
        return (
            f"{self.images:6} {self.characters:10} {self.illegible:9} {recall:9.2f} {precision:9.0f} "
            f"{100 * self.area / max(1, self.images):6.1f} {speed:9.2f} {way if self.seconds_asked else speed:8.2f}"
        )


def _mark(near: Mask, one: Identifier) -> None:
    """The characters with half of their height around them: that much a box may be larger than its text."""
    reach = max(4, one.style.size // 2 + 2)
    for character in one.characters:
        top, left = character.top - reach, character.left - reach
        bottom, right = top + 2 * reach + character.ink.shape[0], left + 2 * reach + character.ink.shape[1]
        near[max(0, top) : bottom, max(0, left) : right] = True


def _seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _timed(tool: Tool, picture: Picture) -> tuple[Mask, float]:
    extra = tool.seconds if isinstance(tool, Presidio) else (lambda: 0.0)
    start = _seconds() + extra()
    mask = tool(picture)
    return mask, _seconds() + extra() - start


def _tools(given: argparse.Namespace, folder: str) -> tuple[dict[str, Tool], dict[str, str]]:
    """Those that are there, and why the others are not."""
    found: dict[str, Tool | str] = {
        "ours": Ours(),
        "tesseract": tesseract() or "tesseract is not installed",
        "presidio": presidio(given.presidio, folder) if "presidio" in given.only else "not asked for",
    }
    tools = {name: tool for name, tool in found.items() if not isinstance(tool, str) and name in given.only}
    return tools, {name: tool for name, tool in found.items() if isinstance(tool, str) and name in given.only}


def _print_shares(folder: Path) -> None:
    """How many of the folder's images are read at all, by modality."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            with quiet_pydicom():
                file = read_instance(path)
                modality = first_text(file.dataset, _MODALITY) or "?"
                if file.pixels is None and PIXEL_TAGS.isdisjoint(file.dataset.places):
                    continue
                asked = is_looked_at(file.dataset)
        except FionaError:
            continue
        for name in (modality, "all"):
            counts[name][0] += 1
            counts[name][1] += asked
    print("sent to reading, of the folder's images: ", end="")
    print(", ".join(f"{name} {asked}/{total}" for name, (total, asked) in sorted(counts.items())))


def _keep(folder: Path, number: int, picture: Picture, mask: Mask) -> None:
    """An image in which something was missed: as it is, and with its boxes tinted."""
    shown = picture.displayed
    tinted = shown.copy()
    tinted[mask] = tinted[mask] // 2 + np.array([0, 0, 120], dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([shown, tinted], axis=1)).save(folder / f"{number:04}.png")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=["ours", "tesseract", "presidio"]
    )
    parser.add_argument("--presidio", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--misses", type=Path, metavar="DIR")
    given = parser.parse_args()
    folder = tempfile.mkdtemp()
    tools, absent = _tools(given, folder)
    _print_shares(given.folder)
    ready = [*grounds_in(given.folder), *(synthetic(kind, given.seed) for kind in SYNTHETIC)]
    results: dict[tuple[str, str], Result] = defaultdict(Result)
    for number in range(given.images):
        ground = ready[number * 7919 % len(ready)]
        picture, identifiers = burned(ground, random.Random(1000 * given.seed + number))
        for name, tool in tools.items():
            mask, spent = _timed(tool, picture)
            known = len(results[name, "all"].missed)
            for key in ((name, ground.modality), (name, "all")):
                results[key].add(ground, mask, identifiers, spent)
            if name == "ours" and given.misses and len(results[name, "all"].missed) > known:
                _keep(given.misses, number, picture, mask)
    print("tool       modality   images  legible illegible covered % precision % area %  images/s    way/s")
    for (name, modality), one in sorted(results.items()):
        print(f"{name:10} {modality:10} {one}")
    for line in results["ours", "all"].missed:
        print("missed:", line)
    for name, why in sorted(absent.items()):
        print(f"not compared: {name}: {why}")
    for tool in tools.values():
        if isinstance(tool, Presidio):
            tool.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
