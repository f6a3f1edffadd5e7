"""Text in pixels: recall against an answer key, and images a second, beside tesseract and presidio-image-redactor.

    python benchmarks/pixels.py FOLDER [--minutes M] [--images N] [--seeds S,S] [--only TOOLS] [--presidio PYTHON]
                                       [--misses DIR]

FOLDER holds DICOM files; frames of all modalities, and synthetic ones, become the ground that invented identifiers are
burned into (`burned_in`), once for each seed. Every tool gets the same images in the same run on the same machine and
answers with boxes. Seconds are of the processor, of the tool's own process and those it starts, so that a busy machine
does not matter.

A line is printed for each image as soon as the tools have answered: characters that lie in boxes, of those that a
person can read, and seconds. The tables come when all grounds were used, after M minutes (12), or when the run is ended
by SIGINT or SIGTERM; modalities take turns, the smallest image of each first, so that an early end leaves no
modality out.

    kept       of the labels that name nobody and that a person can read whole, how many are whole, in percent
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
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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
    labels: int = 0
    whole: int = 0
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
            _mark(near, one)
            if one.is_label:
                self.labels += len(legible) == len(one.characters)
                self.whole += len(legible) == len(one.characters) and one.is_whole(mask)
                continue
            missed = [character for character in legible if not character.is_covered(mask)]
            self.illegible += len(one.characters) - len(legible)
            self.characters += len(legible)
            self.covered += len(legible) - len(missed)
            if missed:
                self.missed.append(f"{len(missed)}/{len(legible)} of {one.text!r}, {one.style}")
        self.boxed += int(mask.sum())
        self.boxed_text += int((mask & near).sum())

    def __str__(self) -> str:
        recall = 100 * self.covered / max(1, self.characters)
        kept = 100 * self.whole / max(1, self.labels)
        precision = 100 * self.boxed_text / max(1, self.boxed)
        speed, way = self.images / max(1e-9, self.seconds), self.images / max(1e-9, self.seconds_asked)
        return (
            f"{self.images:6} {self.characters:10} {self.illegible:9} {recall:9.2f} {kept:6.0f} {precision:9.0f} "
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
    print(", ".join(f"{name} {asked}/{total}" for name, (total, asked) in sorted(counts.items())), flush=True)


def _keep(folder: Path, number: int, picture: Picture, mask: Mask) -> None:
    """An image in which something was missed: as it is, and with its boxes tinted."""
    shown = picture.displayed
    tinted = shown.copy()
    tinted[mask] = tinted[mask] // 2 + np.array([0, 0, 120], dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([shown, tinted], axis=1)).save(folder / f"{number:04}.png")


def _in_turn(grounds: Sequence[Ground]) -> list[Ground]:
    """The smallest of each modality, then the second of each."""
    seen: dict[str, int] = defaultdict(int)
    turns: list[tuple[int, Ground]] = []
    for ground in sorted(grounds, key=lambda one: one.frame.stored.size):
        turns.append((seen[ground.modality], ground))
        seen[ground.modality] += 1
    return [ground for _, ground in sorted(turns, key=lambda turn: turn[0])]


def _grounds(folder: Path, seeds: Sequence[int]) -> Iterator[tuple[int, int, Ground]]:
    """Number of the ground, seed, and ground: each for all seeds before the next."""
    own = _in_turn(list(grounds_in(folder)))
    made = {seed: [synthetic(kind, seed) for kind in SYNTHETIC] for seed in seeds}
    for number in range(len(own) + len(SYNTHETIC)):
        for seed in seeds:
            ready = [*made[seed], *own]
            yield number, seed, ready[number]


def _measure(
    given: argparse.Namespace, tools: dict[str, Tool], results: dict[tuple[str, str], Result]
) -> None:
    end = time.monotonic() + 60 * given.minutes
    for count, (number, seed, ground) in enumerate(_grounds(given.folder, given.seeds)):
        if time.monotonic() > end or count == given.images:
            return
        picture, identifiers = burned(ground, random.Random(1000 * seed + number))
        print(f"{count + 1:4} {ground.modality:10}", end="", flush=True)
        for name, tool in tools.items():
            mask, spent = _timed(tool, picture)
            alone = Result()
            for result in (alone, results[name, ground.modality], results[name, "all"]):
                result.add(ground, mask, identifiers, spent)
            print(f" {name} {alone.covered}/{alone.characters} {spent:.2f} s", end="", flush=True)
            if name == "ours":
                for line in alone.missed:
                    print(f" [missed {line}]", end="", flush=True)
                if given.misses and alone.missed:
                    _keep(given.misses, count, picture, mask)
        print(flush=True)


def _stopped(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--images", type=int)
    parser.add_argument(
        "--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[1, 2], metavar="S,S"
    )
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=["ours", "tesseract", "presidio"]
    )
    parser.add_argument("--presidio", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--misses", type=Path, metavar="DIR")
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stopped)
    folder = tempfile.mkdtemp()
    tools, absent = _tools(given, folder)
    for name, why in sorted(absent.items()):
        print(f"not compared: {name}: {why}", flush=True)
    results: dict[tuple[str, str], Result] = defaultdict(Result)
    try:
        _print_shares(given.folder)
        _measure(given, tools, results)
    finally:
        print(
            "\ntool       modality   images  legible illegible covered % kept % precision % area %  images/s    way/s"
        )
        for (name, modality), one in sorted(results.items()):
            print(f"{name:10} {modality:10} {one}")
        for line in results["ours", "all"].missed:
            print("missed:", line)
        sys.stdout.flush()
        for tool in tools.values():
            if isinstance(tool, Presidio):
                tool.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
