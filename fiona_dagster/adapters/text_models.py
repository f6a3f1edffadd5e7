"""The two models that find and read text, as they lie in the wheel of rapidocr, run by onnxruntime.

Nothing of rapidocr's code is imported: it fetches models that it misses. A model that is not in the wheel is an
installation that is broken, and says so. Neither may onnxruntime call home. One thread each: the processes that read
objects share the cores.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.pixels.windowing import View

DETECTOR, RECOGNIZER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
_STRIDE = 32
"""The detector halves an image five times."""
_BORDER, _NEAR = 8, 31
"""Pixels around what it sees, and how far their grey is taken from."""
LINE_HEIGHT = 48
"""Pixels that a line is high for the reader."""
_WIDEST_LINE, _NARROWEST_BATCH = 1600, 128
_BATCH = 8


def text_probability(view: View) -> npt.NDArray[np.float32]:
    """For each pixel of a view the probability (0 to 1) that it lies in the middle of a line of text.

    What is around the view has the grey of what is near: beside a black frame, faint letters at the border are lost.
    """
    rows, columns = view.shape[:2]
    height = -(-(rows + 2 * _BORDER) // _STRIDE) * _STRIDE
    width = -(-(columns + 2 * _BORDER) // _STRIDE) * _STRIDE
    around = cv2.blur(view, (_NEAR, _NEAR), borderType=cv2.BORDER_REPLICATE)
    framed = cv2.copyMakeBorder(
        around,
        _BORDER,
        height - rows - _BORDER,
        _BORDER,
        width - columns - _BORDER,
        cv2.BORDER_REPLICATE,
    )
    framed[_BORDER : _BORDER + rows, _BORDER : _BORDER + columns] = view
    values = np.ascontiguousarray((framed.astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)[None])
    found = _run(_session(DETECTOR), values)[0, 0]
    return np.asarray(
        found[_BORDER : _BORDER + rows, _BORDER : _BORDER + columns],
        dtype=np.float32,
    )


def recognized(lines: Sequence[View]) -> list[tuple[str, float]]:
    """What stands in upright pictures of single lines, and how sure that is (0 to 1)."""
    results: list[tuple[str, float]] = [("", 0.0)] * len(lines)
    for number, scores, _ in _scored(lines):
        results[number] = _decoded(scores, _characters())
    return results


def character_places(lines: Sequence[View]) -> list[list[tuple[float, float]]]:
    """Where in upright pictures of single lines characters stand, and how sure of each the reader is (0 to 1).

    The place is the middle of a character, in pixels of the picture scaled to `LINE_HEIGHT`. Blanks are none.
    """
    results: list[list[tuple[float, float]]] = [[] for _ in lines]
    blank = len(_characters()) - 1
    for number, scores, step in _scored(lines):
        best, most = scores.argmax(axis=1), scores.max(axis=1)
        steps = np.flatnonzero((best != 0) & (best != blank))
        results[number] = [((float(one) + 0.5) * step, float(most[one])) for one in steps]
    return results


def _scored(lines: Sequence[View]) -> Iterator[tuple[int, npt.NDArray[np.float32], float]]:
    """Number of a line, its scores of each step along it, and how many pixels of the scaled picture a step is.

    One batch at a time: each step has a score for each of thousands of characters.
    """
    order = sorted(range(len(lines)), key=lambda number: lines[number].shape[1] / lines[number].shape[0])
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        scores, step = _scores([lines[number] for number in batch])
        for number, one in zip(batch, scores, strict=True):
            yield number, one, step


def _scores(lines: Sequence[View]) -> tuple[npt.NDArray[np.float32], float]:
    scaled: list[npt.NDArray[Any]] = []
    for line in lines:
        width = min(_WIDEST_LINE, max(LINE_HEIGHT, round(line.shape[1] * LINE_HEIGHT / line.shape[0])))
        scaled.append(cv2.resize(line, (width, LINE_HEIGHT), interpolation=cv2.INTER_CUBIC))
    widest = max(_NARROWEST_BATCH, *(line.shape[1] for line in scaled))
    values = np.zeros((len(scaled), 3, LINE_HEIGHT, widest), dtype=np.float32)
    for number, line in enumerate(scaled):
        values[number, :, :, : line.shape[1]] = (line.astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)
    scores = _run(_session(RECOGNIZER), values)
    return scores, widest / scores.shape[1]


def _decoded(scores: npt.NDArray[np.float32], characters: Sequence[str]) -> tuple[str, float]:
    """Greedy reading of connectionist temporal classification: repeats are one, 0 is nothing."""
    best = scores.argmax(axis=1)
    kept = (best != 0) & np.concatenate(([True], best[1:] != best[:-1]))
    if not kept.any():
        return "", 0.0
    text = "".join(characters[number] for number in best[kept] if number < len(characters))
    return text, float(scores.max(axis=1)[kept].mean())


def _run(session: Any, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(session.run(None, {session.get_inputs()[0].name: values})[0])


@cache
def _characters() -> tuple[str, ...]:
    names = _session(RECOGNIZER).get_modelmeta().custom_metadata_map["character"].splitlines()
    return ("", *names, " ")


@cache
def _session(name: str) -> Any:
    os.putenv(
        "ORT_DISABLE_TELEMETRY", "1"
    )  # it asks when it is imported, and would tell its maker of the machine
    import onnxruntime

    found = find_spec("rapidocr")
    path = Path(found.origin).parent / "models" / name if found and found.origin else Path(name)
    if not path.is_file():
        raise ConfigurationError(
            "the models that find text in pixels are missing",
            place="rapidocr",
            remedy="install the gateway's requirements again",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # what one large frame needed would be kept for good
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
