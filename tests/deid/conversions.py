"""What dcm2niix makes of a folder, as far as research lives on it: volumes, affines, b-values, timing."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

MODALITIES = frozenset({"CT", "MR", "PT"})
TIMING = (
    "SliceTiming", "RepetitionTime", "EchoTime", "EchoTime1", "EchoTime2", "InversionTime", "FlipAngle",
    "EffectiveEchoSpacing", "TotalReadoutTime", "DwellTime", "PhaseEncodingDirection", "PhaseEncodingAxis",
    "MultibandAccelerationFactor", "ParallelReductionFactorInPlane", "ImageOrientationPatientDICOM",
    "SliceThickness", "SpacingBetweenSlices", "MagneticFieldStrength", "Units", "FrameDuration", "DecayFactor",
)  # fmt: skip
_HEADER = (slice(0, 108), slice(112, 148), slice(252, 328))
"""A NIfTI-1 header without `vox_offset`, which tells the length of its extensions, and without texts and names."""
_VOX_OFFSET = 108


@dataclass(frozen=True)
class Series:
    """Files of one series in one folder of the corpus."""

    name: str
    study: str
    uid: str
    files: tuple[Path, ...]


def series_below(corpus: Path, *, largest: int) -> list[Series]:
    """Series of modalities that dcm2niix knows, in the order of their names; those of more bytes are left out."""
    found: defaultdict[tuple[str, str, str, str], list[Path]] = defaultdict(list)
    for path in sorted(p for p in corpus.rglob("*") if p.is_file()):
        try:
            tags = ["Modality", "StudyInstanceUID", "SeriesInstanceUID", "Manufacturer"]
            head = dcmread(path, stop_before_pixels=True, specific_tags=tags)
        except (InvalidDicomError, OSError, ValueError, NotImplementedError, KeyError, AttributeError):
            continue
        if head.get("Modality") in MODALITIES and head.get("SeriesInstanceUID"):
            maker = str(head.get("Manufacturer") or "")
            key = (
                str(path.parent.relative_to(corpus)),
                maker,
                str(head.get("StudyInstanceUID")),
                str(head.SeriesInstanceUID),
            )
            found[key].append(path)
    return [
        Series(f"{folder} {maker} #{number}", study, uid, tuple(files))
        for number, ((folder, maker, study, uid), files) in enumerate(sorted(found.items()))
        if sum(path.stat().st_size for path in files) <= largest
    ]


@dataclass(frozen=True, order=True)
class Volume:
    """One NIfTI file with what stands beside it."""

    voxels: str
    header: str
    b_values: str
    b_vectors: str
    timing: str

    def differences(self, other: Volume) -> list[str]:
        names = ("voxels", "header", "b_values", "b_vectors", "timing")
        return [name for name in names if getattr(self, name) != getattr(other, name)]


def converted(program: str, files: Sequence[Path], folder: Path) -> list[Volume]:
    """What comes out of the files; nothing where dcm2niix finds nothing to convert."""
    inside, out = folder / "in", folder / "out"
    inside.mkdir(parents=True)
    out.mkdir()
    for number, path in enumerate(files):
        (inside / f"{number:05d}.dcm").symlink_to(path.resolve())
    subprocess.run(
        [program, "-b", "y", "-ba", "n", "-z", "n", "-f", "volume", "-o", str(out), str(inside)],
        capture_output=True,
        timeout=120,
        check=False,
    )
    return sorted(_volume(path) for path in out.glob("*.nii"))


def _volume(path: Path) -> Volume:
    content = path.read_bytes()
    sidecar = path.with_suffix(".json")
    values = json.loads(sidecar.read_text(errors="replace")) if sidecar.exists() else {}
    beside = [path.with_suffix(suffix) for suffix in (".bval", ".bvec")]
    begin = int(struct.unpack_from("<f", content, _VOX_OFFSET)[0])
    return Volume(
        voxels=hashlib.sha256(content[begin:]).hexdigest(),
        header=b"".join(content[part] for part in _HEADER).hex(),
        b_values=beside[0].read_text() if beside[0].exists() else "",
        b_vectors=beside[1].read_text() if beside[1].exists() else "",
        timing=json.dumps({name: values[name] for name in TIMING if name in values}, sort_keys=True),
    )


def difference(before: Sequence[Volume], after: Sequence[Volume]) -> str:
    """What differs, in words; '' where nothing does."""
    if len(before) != len(after):
        return f"{len(before)} volumes became {len(after)}"
    return ", ".join(sorted({name for a, b in zip(before, after, strict=True) for name in a.differences(b)}))
