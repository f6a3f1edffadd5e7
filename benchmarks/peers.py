"""The tools that are compared: how each is called at its best for a whole folder, and what it does to it.

Each is one process for all files. Python peers live in `benchmarks/.venv`, made on first use from
`requirements.txt`; programs that are not installed are named as missing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent
SHA_256 = "SHA-256 alone"
_NEW_UID = "1.2.826.0.1.3680043.99.32"
_REMOVED = (
    "0008,0080", "0008,0081", "0008,1010", "0008,1030", "0008,103e", "0008,1040", "0008,1048", "0008,1050",
    "0008,1060", "0008,1070", "0008,1080", "0008,1110", "0008,1111", "0008,0096", "0010,0021", "0010,1001",
    "0010,1002", "0010,1010", "0010,1020", "0010,1030", "0010,1040", "0010,2000", "0010,2110", "0010,2154",
    "0010,2160", "0010,2180", "0010,21a0", "0010,21b0", "0010,21c0", "0010,21d0", "0010,4000", "0018,1000",
    "0018,1030", "0018,a001", "0020,4000", "0032,1032", "0032,1033", "0032,1060", "0032,1000", "0038,0300",
    "0038,0500", "0040,0241", "0040,0244", "0040,0245", "0040,0253", "0040,0254", "0040,0275", "0040,1001",
    "0040,3001",
)  # fmt: skip
_EMPTIED = ("0008,0050", "0008,0090", "0010,0030", "0010,0040", "0020,0010")
"""What the two tools without a table of their own are told: those attributes of the generated headers to which the
Basic Profile gives X or Z and which lists of this kind usually hold. They keep dates: they cannot shift them."""


@dataclass(frozen=True)
class Tool:
    """One line of the table. `command(source, target)` treats all files of one folder into another that exists."""

    name: str
    version: str
    does: str
    command: Callable[[Path, Path], list[str]]
    missing: str = ""
    ours: bool = False
    writes: bool = True


def tools(folder: Path, wanted: frozenset[str]) -> list[Tool]:
    """All tools of which `wanted` has the name, or its first word; every tool where it is empty.

    `folder` is where certificate and keyring go.
    """
    found = _ours(folder)
    if (
        _is_wanted("dicognito", wanted)
        or _is_wanted("dicom-anonymizer", wanted)
        or _is_wanted("deid", wanted)
    ):
        found += _python_peers()
    if _is_wanted("gdcmanon", wanted):
        found += _gdcmanon(folder)
    found += [_dcmodify(), _cp(), _sha256()]
    return [tool for tool in found if _is_wanted(tool.name, wanted)]


def _is_wanted(name: str, wanted: frozenset[str]) -> bool:
    return not wanted or name in wanted or name.split(maxsplit=1)[0] in wanted


def _ours(folder: Path) -> list[Tool]:
    script = str(_HERE / "ours.py")
    command = "from fiona_dagster.cli.main import main; main()"
    options = ["--project", "BENCHMARK", "--participant", "P-0001", "--event", "baseline"]
    keyring = str(folder / "keyring.json")
    return [
        Tool(
            "ours engine", "", "the full Basic Profile at any depth, private elements out, dates shifted by "
            "participant, UIDs keyed, SHA-256 of what it made of every copy, copies synced to disk",
            lambda source, target: [sys.executable, script, "engine", str(source), str(target)], ours=True,
        ),
        Tool(
            "ours verified", "", "the same; then all originals and copies are read again and compared by six checks",
            lambda source, target: [sys.executable, script, "verified", str(source), str(target)], ours=True,
        ),
        Tool(
            "ours command", "", "`fiona deidentify`: the same with finding the files, progress, moving into place",
            lambda source, target: [
                sys.executable, "-c", command, "deidentify", str(source), str(target), *options, "--keyring", keyring,
            ], ours=True,
        ),
    ]  # fmt: skip


def _python_peers() -> list[Tool]:
    python, missing = python_environment(_HERE / ".venv")
    versions = dict(
        line.split("==") for line in (_HERE / "requirements.txt").read_text().splitlines() if "==" in line
    )
    deid = [str(_HERE / "deid_peer.py"), str(_HERE / "deid.recipe")]
    return [
        Tool(
            "dicognito", versions["dicognito"], "names, IDs, addresses, dates and UIDs replaced at any depth; private "
            "elements and free text stay",
            lambda source, target: [python, "-m", "dicognito", "--quiet", "-o", str(target), str(source)], missing,
        ),
        Tool(
            "dicom-anonymizer", versions["dicom-anonymizer"], "the Basic Profile's table of 2023, private elements "
            "out, dates replaced by a constant; an attribute that the table lacks keeps its items",
            lambda source, target: [
                str(Path(python).parent / "dicom-anonymizer"), str(source), str(target),
            ], missing,
        ),
        Tool(
            "deid", versions["deid"], "the recipe `deid.recipe`: private elements out, some fifty attributes blanked, "
            "dates moved, nine UIDs replaced, at any depth",
            lambda source, target: [python, *deid, str(source), str(target)], missing,
        ),
    ]  # fmt: skip


def python_environment(folder: Path) -> tuple[str, str]:
    """The interpreter of the peers' environment, made when it is not there as pinned; and why it cannot be had."""
    python = folder / "bin" / "python"
    pins = _HERE / "requirements.txt"
    stamp, wanted = folder / "pins", hashlib.sha256(pins.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return str(python), ""
    print(f"making {folder} with the pinned peers", file=sys.stderr)
    venv.create(folder, clear=True, with_pip=True)
    made = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(pins)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        return str(python), "its packages cannot be installed: " + made.stderr.strip().splitlines()[-1]
    stamp.write_text(wanted)
    return str(python), ""


def _gdcmanon(folder: Path) -> list[Tool]:
    version, missing = _program("gdcmanon", "libgdcm-tools")
    certificate = folder / "certificate.pem"
    if not missing and not certificate.exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=benchmark",
             "-keyout", str(folder / "private.pem"), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
    listed = [part for tag in _REMOVED for part in ("--remove", tag)]
    listed += [part for tag in _EMPTIED for part in ("--empty", tag)]
    listed += ["--replace", "0010,0010=P-0001", "--replace", "0010,0020=P-0001"]
    return [
        Tool(
            "gdcmanon", version, "`-e`: its Basic Application Level Confidentiality Profile, a short list, "
            "replaced, their originals encrypted into each copy; dates and private elements stay",
            lambda source, target: [
                "gdcmanon", "-e", "-r", "-c", str(certificate), "-i", str(source), "-o", str(target),
            ], missing,
        ),
        Tool(
            "gdcmanon --dumb", version, f"{len(_REMOVED)} listed attributes out and {len(_EMPTIED)} emptied at the top "
            "level, name and ID replaced; UIDs, dates, private elements and sequences stay",
            lambda source, target: ["gdcmanon", "--dumb", "-r", *listed, "-i", str(source), "-o", str(target)], missing,
        ),
    ]  # fmt: skip


def _dcmodify() -> Tool:
    version, missing = _program("dcmodify", "dcmtk")
    listed = [part for tag in _REMOVED for part in ("-ea", f"({tag})")]
    listed += [part for tag in _EMPTIED for part in ("-ma", f"({tag})=")]
    listed += ["-ma", "(0010,0010)=P-0001", "-ma", "(0010,0020)=P-0001", "-ma", f"(0020,000d)={_NEW_UID}.1"]
    listed += ["-ma", f"(0020,000e)={_NEW_UID}.2", "-gin", "-ep"]
    quoted = " ".join(f"'{part}'" for part in listed)
    return Tool(
        "dcmodify", version, f"on a copy made by `cp`: {len(_REMOVED)} listed attributes out and {len(_EMPTIED)} "
        "emptied at any depth, name, ID and three UIDs replaced, private elements out; dates stay",
        lambda source, target: [
            "sh", "-c", f'cp -r "$0/." "$1" && cd "$1" && exec dcmodify -q -nb -imt -ie {quoted} *.dcm',
            str(source), str(target),
        ], missing,
    )  # fmt: skip


def _cp() -> Tool:
    return Tool(
        "cp", "", "copies: the limit", lambda source, target: ["cp", "-r", f"{source}{os.sep}.", str(target)]
    )


def _sha256() -> Tool:
    program = (
        "import hashlib, os, sys\n"
        "for one in os.scandir(sys.argv[1]):\n"
        "    with open(one.path, 'rb', buffering=0) as stream: hashlib.file_digest(stream, 'sha256')"
    )
    return Tool(
        SHA_256, "", "hashlib over every byte of the set, once, and nothing else: what a manifest with a SHA-256 of "
        "each file costs at least on this machine; writes no copies",
        lambda source, _target: [sys.executable, "-I", "-S", "-c", program, str(source)], writes=False,
    )  # fmt: skip


def _program(name: str, package: str) -> tuple[str, str]:
    if shutil.which(name) is None:
        return "", f"not installed (package {package})"
    told = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
    words = (told.stdout + told.stderr).replace("$", " ").split()
    return next((word for word in words if word.lstrip("v")[:1].isdigit()), "").lstrip("v"), ""
