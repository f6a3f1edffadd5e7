"""The sets that are de-identified: CT, MR, one enhanced CT and RLE compressed CT, always the same bytes.

A set `<set>-part` is the first quarter of a set, for what each further image costs.

Run as a program of its own, so that the process that measures stays small:
`python benchmarks/generate.py FOLDER SET SIZES`. Beside each folder `<set>` stands `<set>.index`, a line
`<file name> <SOP Instance UID>` for each instance, as the gateway's ledger would know them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

SIZES: dict[str, dict[str, int]] = {
    "full": {"ct": 600, "mr": 3000, "mf": 800, "rle": 600, "one": 1},
    "small": {"ct": 150, "mr": 600, "mf": 200, "rle": 150, "one": 1},
    "tiny": {"ct": 3, "mr": 4, "mf": 3, "rle": 2, "one": 1},
}
"""Instances of a set; of `mf` the frames of its one instance. `one` is a single MR image, for start-up costs."""

ROOT = "1.2.826.0.1.3680043.99.31"
PLANTED: dict[str, bytes] = {
    "PatientName": b"Solheimsvik",
    "PatientID": b"77480213",
    "PatientBirthDate": b"19530817",
    "AccessionNumber": b"ACC7730519",
    "StudyDate": b"20230314",
    "physicians": b"Tverrgjerde",
    "InstitutionName": b"Fjellheim",
    "station": b"STN0417",
    "DeviceSerialNumber": b"SN557120QX",
    "StudyDescription": b"Kvernmoen",
    "a name in a nested sequence": b"Haugstulen",
    "a name in a private element": b"Breidablikk",
    "UIDs": ROOT.encode(),
}
"""Stands in every generated instance under these heads: what is left of it in a copy tells how much a tool did."""

_VARIANTS = 8
PART = "-part"


def size_of(name: str, sizes: str) -> int:
    """Instances of a set, of `mf` frames; a part has a quarter of them."""
    whole = SIZES[sizes][name.removesuffix(PART)]
    return max(1, whole // 4) if name.endswith(PART) else whole


def write_set(folder: Path, name: str, sizes: str) -> None:
    """Write set `name` below `folder`, unless it is there already."""
    index = folder / f"{name}.index"
    if index.exists():
        return
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    lines = [f"{file} {uid}" for file, uid in _WRITERS[name.removesuffix(PART)](target, size_of(name, sizes))]
    index.write_text("\n".join(lines) + "\n", encoding="ascii")


def _ct(folder: Path, count: int) -> Iterator[tuple[str, str]]:
    from pydicom.uid import ExplicitVRLittleEndian

    from benchmarks.headers import ct_image, ct_template

    template, pixels = ct_template(), disc(512)
    for number in range(1, count + 1):
        image = ct_image(template, number, ExplicitVRLittleEndian)
        image.PixelData = pixels[number % len(pixels)]
        yield _saved(image, folder, f"IM{number:06d}.dcm")


def _rle(folder: Path, count: int) -> Iterator[tuple[str, str]]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.encoders.base import get_encoder
    from pydicom.uid import RLELossless

    from benchmarks.headers import ct_image, ct_template

    shape: dict[str, Any] = {
        "rows": 512, "columns": 512, "samples_per_pixel": 1, "number_of_frames": 1, "bits_allocated": 16,
        "bits_stored": 16, "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2",
    }  # fmt: skip
    template = ct_template()
    frames = [
        encapsulate([get_encoder(RLELossless).encode(one, encoding_plugin="pydicom", **shape)])
        for one in disc(512)[: min(count, _VARIANTS)]
    ]
    for number in range(1, count + 1):
        image = ct_image(template, number, RLELossless)
        image.PixelData = frames[number % len(frames)]
        image["PixelData"].VR = "OB"
        image["PixelData"].is_undefined_length = True
        yield _saved(image, folder, f"IM{number:06d}.dcm")


def _mr(folder: Path, count: int) -> Iterator[tuple[str, str]]:
    from benchmarks.headers import mr_image, mr_template

    template, pixels = mr_template(), disc(128)
    for number in range(1, count + 1):
        image = mr_image(template, number)
        image.PixelData = pixels[number % len(pixels)]
        yield _saved(image, folder, f"IM{number:06d}.dcm")


def _mf(folder: Path, frames: int) -> Iterator[tuple[str, str]]:
    """The header by pydicom, the pixel data frame by frame behind it: 420 MB never stand in memory."""
    from benchmarks.headers import enhanced_ct

    image, pixels = enhanced_ct(frames), disc(512)
    name, uid = _saved(image, folder, "MF000001.dcm")
    with (folder / name).open("ab") as stream:
        size = frames * len(pixels[0])
        stream.write(b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little"))
        for number in range(frames):
            stream.write(pixels[number % len(pixels)])
    yield name, uid


_WRITERS: dict[str, Callable[[Path, int], Iterator[tuple[str, str]]]] = {
    "ct": _ct, "mr": _mr, "mf": _mf, "rle": _rle, "one": _mr,
}  # fmt: skip


def disc(edge: int) -> list[bytes]:
    """A few different slices: a disc of tissue in air with noise of 12 bits' order, as scanners make."""
    import numpy as np

    across = np.linspace(-1, 1, edge)
    distance = np.hypot(across[:, None], across[None, :] * 1.3)
    slices = []
    for variant in range(_VARIANTS):
        noise = np.random.default_rng(variant).normal(0, 12, (edge, edge))
        tissue = 1000 + 80 * np.cos(distance * (5 + variant))
        image = np.where(distance < 0.8, tissue + noise, 0).clip(0, 4095)
        slices.append(image.astype("<u2").tobytes())
    return slices


def csa_header(random: Random, size: int) -> bytes:
    """A Siemens CSA2 header ('SV10'), padded to `size` bytes, with names, numbers and text of one image.

    Tags of 84 bytes: name, VM, VR, syngo type, number of items, marker; items of four lengths and padded text.
    """
    fields: list[tuple[str, bytes, list[str]]] = [
        ("EchoLinePosition", b"IS", [str(random.randrange(64, 72))]),
        ("SliceNormalVector", b"FD", [f"{random.uniform(-1, 1):.8f}" for _ in range(3)]),
        ("TimeAfterStart", b"DS", [f"{random.uniform(0, 600):.6f}"]),
        ("UsedPatientWeight", b"IS", ["71"]),
        ("PatientOrientation", b"CS", ["Breidablikk"]),
        ("MosaicRefAcqTimes", b"FD", [f"{random.uniform(0, 2500):.8f}" for _ in range(36)]),
        ("PhaseGradientAmplitude", b"DS", [f"{random.uniform(0, 40):.6f}"]),
        ("ICE_Dims", b"LO", ["_".join(str(random.randrange(9)) for _ in range(12))]),
    ]
    parts = [b"SV10\x04\x03\x02\x01", len(fields).to_bytes(4, "little"), (77).to_bytes(4, "little")]
    for name, vr, values in fields:
        parts += [name.encode().ljust(64, b"\0"), len(values).to_bytes(4, "little"), vr.ljust(4, b"\0")]
        parts += [number.to_bytes(4, "little") for number in (0, len(values), 77)]
        for value in values:
            text = value.encode() + b"\0"
            parts += [number.to_bytes(4, "little") for number in (len(text), len(text), 77, len(text))]
            parts.append(text.ljust(-(-len(text) // 4) * 4, b"\0"))
    return b"".join(parts).ljust(size, b"\0")


def _saved(image: Any, folder: Path, name: str) -> tuple[str, str]:
    image.save_as(folder / name, enforce_file_format=True)
    return name, str(image.SOPInstanceUID)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    write_set(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
