"""Names and tables of a BIDS dataset (Brain Imaging Data Structure 1.10), of what dcm2niix converted.

dcm2niix guesses what a series is (`BidsGuess` in its sidecar). A guess is taken only where everything that BIDS demands
of it is there; any other image goes into `sourcedata/`, which validators leave alone: nothing is lost, nothing is
passed off for what it may not be.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.layout import safe_name

BIDS_VERSION = "1.10.0"
IGNORED = ("fiona.txt", "warning.txt", "proof.json", "proofs", "export.json", "manifest.json")
"""Our own files beside the dataset, for `.bidsignore`: validators take `proofs/` for no folder's name."""
_SUFFIXES = {
    "anat": {"T1w", "T2w", "PDw", "FLAIR", "T2starw", "angio", "inplaneT1", "inplaneT2"},
    "func": {"bold", "sbref"},
    "dwi": {"dwi"},
    "fmap": {"epi", "phasediff", "magnitude1", "magnitude2", "phase1", "phase2", "magnitude", "fieldmap"},
}
_ENTITIES = {
    "anat": ("acq", "ce", "rec"), "func": ("task", "acq", "dir", "echo"), "dwi": ("acq", "dir"),
    "fmap": ("acq", "dir"),
}  # fmt: skip
"""Entities in the order of BIDS; `run` stands before `echo`."""
_DEMANDED = {
    "bold": ("RepetitionTime",),
    "epi": ("PhaseEncodingDirection", "TotalReadoutTime"),
    "phasediff": ("EchoTime1", "EchoTime2"),
    "phase1": ("EchoTime",),
    "phase2": ("EchoTime",),
    "fieldmap": ("Units",),
}
_WITH_FIELD_MAP = {"fieldmap": "magnitude", "magnitude": "fieldmap"}
_NO_LABEL = re.compile(r"[^A-Za-z0-9]")


@dataclass(frozen=True)
class Converted:
    """One converted image: its sidecar, the axes of its volume and the endings of the files beside it."""

    stem: str
    sidecar: Mapping[str, Any]
    axes: int
    endings: frozenset[str]


@dataclass(frozen=True)
class Session:
    """A study in the dataset."""

    subject: str
    session: str

    @property
    def folder(self) -> str:
        return f"sub-{self.subject}/ses-{self.session}"

    @property
    def stem(self) -> str:
        return f"sub-{self.subject}_ses-{self.session}"


@dataclass(frozen=True)
class Participant:
    """A row of `participants.tsv`; sex and age as in DICOM (CS, AS)."""

    subject: str
    sex: str = ""
    age: str = ""


def label(text: str, *, fallback: str = "") -> str:
    """A BIDS label: letters and digits only.

    Raises:
        Permanent: nothing remains and there is no fallback.
    """
    found = _NO_LABEL.sub("", text) or fallback
    if not found:
        raise Permanent("a participant without letters and digits cannot be named in BIDS")
    return found


def placed(images: Sequence[Converted], session: Session) -> dict[str, str]:
    """The names, without endings, of a session's images in the dataset, by their stems."""
    wanted = {one.stem: _wanted(one) for one in images}
    parts = [found for found in wanted.values() if found]
    for stem, found in wanted.items():
        if found and found[2] in _WITH_FIELD_MAP:
            partner = (found[0], found[1], _WITH_FIELD_MAP[found[2]])
            if partner not in parts:
                wanted[stem] = None
    counted = Counter(found for found in wanted.values() if found)
    seen: Counter[tuple[str, tuple[tuple[str, str], ...], str]] = Counter()
    names = {}
    for one in sorted(images, key=lambda one: one.stem):
        found = wanted[one.stem]
        if not found:
            names[one.stem] = f"sourcedata/{session.folder}/{safe_name(one.stem)}"
            continue
        seen[found] += 1
        kind, entities, suffix = found
        run = (("run", str(seen[found])),) if counted[found] > 1 else ()
        ordered = [e for e in entities if e[0] != "echo"] + [*run] + [e for e in entities if e[0] == "echo"]
        middle = "".join(f"_{name}-{value}" for name, value in ordered)
        names[one.stem] = f"{session.folder}/{kind}/{session.stem}{middle}_{suffix}"
    return names


def bids_sidecar(sidecar: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A sidecar as BIDS wants it at its place: the guess goes, a functional series has its task."""
    found = {key: value for key, value in sidecar.items() if key != "BidsGuess"}
    task = re.search(r"_task-([A-Za-z0-9]+)", name)
    if task:
        found["TaskName"] = task[1]
    return found


def dataset_files(
    project: str, participants: Sequence[Participant], generators: Sequence[tuple[str, str]]
) -> dict[str, bytes]:
    """The files at the top of a dataset, by name.

    Args:
        project: the dataset's name.
        participants: in the order of the table.
        generators: name and version of what made it.
    """
    description = {
        "Name": project,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": name, "Version": version} for name, version in generators],
    }
    columns = {
        "sex": {"Description": "Sex as the research copy or the project's REDCap has it"},
        "age": {"Description": "Age at the first study", "Units": "year"},
    }
    rows = [
        f"sub-{one.subject}\t{_years(one.age)}\t{one.sex if one.sex in {'F', 'M', 'O'} else 'n/a'}\n"
        for one in participants
    ]
    readme = (
        f"# {project}\n\nImages were converted from de-identified DICOM copies. What has no certain place in BIDS lies "
        "in sourcedata/.\n"
    )
    return {
        "dataset_description.json": _json(description),
        "participants.json": _json(columns),
        "participants.tsv": ("participant_id\tage\tsex\n" + "".join(rows)).encode(),
        "README.md": readme.encode(),
        ".bidsignore": "".join(f"{name}\n" for name in IGNORED).encode(),
    }


def _wanted(image: Converted) -> tuple[str, tuple[tuple[str, str], ...], str] | None:
    """Kind, entities and suffix, or None where BIDS has no certain place."""
    guess = image.sidecar.get("BidsGuess")
    if not (isinstance(guess, list) and len(guess) == 2 and all(isinstance(part, str) for part in guess)):
        return None
    kind, words = guess[0], [word for word in guess[1].split("_") if word]
    suffix = words[-1] if words else ""
    if kind == "func" and suffix == "bold" and image.axes < 4:
        suffix = "sbref"
    if suffix not in _SUFFIXES.get(kind, set()):
        return None
    given = dict(word.split("-", 1) for word in words[:-1] if "-" in word)
    if kind == "func":
        given["task"] = str(
            image.sidecar.get("ProtocolName") or image.sidecar.get("SeriesDescription") or "unknown"
        )
    if any(name not in image.sidecar for name in _DEMANDED.get(suffix, ())):
        return None
    if suffix == "dwi" and (image.axes < 4 or not {".bval", ".bvec"} <= image.endings):
        return None
    entities = tuple(
        (name, cleaned) for name in _ENTITIES[kind] if (cleaned := _NO_LABEL.sub("", given.get(name, "")))
    )
    if (kind == "func" and "task" not in dict(entities)) or (suffix == "epi" and "dir" not in dict(entities)):
        return None
    return kind, entities, suffix


def _years(age: str) -> str:
    match = re.fullmatch(r"(\d{3})([YMWD])", age)
    if not match:
        return "n/a"
    per_year = {"Y": 1, "M": 12, "W": 52.1775, "D": 365.25}[match[2]]
    return f"{int(match[1]) / per_year:.1f}".removesuffix(".0")


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
