"""What dciodvfy (dicom3tools) finds wrong in a copy and not in its original.

Its lines hold values of patients: they stay in memory, and what is kept of a line is its kind out of the list below,
keywords of the standard's attributes and the module's name. A kind that is not in the list is "another error".
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fiona_dagster.domain.deid.dictionary import keyword_of
from fiona_dagster.domain.deid.proof import Conformance as ConformanceSummary

TOOL = "dciodvfy"
TIMEOUT_SECONDS = 60.0
ANOTHER = "another error"
KINDS = (
    "A value is required",
    "Attribute present but empty (no value) even though condition not satisfied for Type 1C Conditional",
    "Attribute present but empty (no value) even though condition not satisfied for Type 2C Conditional",
    "Attribute present when condition unsatisfied (which may not be present otherwise) for Type 1C Conditional",
    "Attribute present when condition unsatisfied (which may not be present otherwise) for Type 2C Conditional",
    "Attribute with an odd group number is not in a legal private group",
    "Bad Sequence number of Items",
    "Bad Value Length",
    "Bad attribute Value Multiplicity",
    "Bad group",
    "Bad private owner value",
    "Dicom dataset contains invalid data values for Value Representations",
    "Dicom dataset read failed",
    "Empty attribute (no value) for Type 1 Required",
    "Empty attribute (no value) for Type 1C Conditional",
    "Functional Group Sequence already used in SharedFunctionalGroupsSequence",
    "Illegal root for UID",
    "Information Object Not found",
    "Invalid Value Representation",
    "Missing attribute for Type 1 Required",
    "Missing attribute for Type 1C Conditional",
    "Missing attribute for Type 2 Required",
    "Missing attribute for Type 2C Conditional",
    "Orientation vector is not unit vector",
    "Private creator is not LO VR",
    "SOPInstanceUID has same value as SeriesInstanceUID",
    "Tags out of order",
    "Unrecognized bit map",
    "Unrecognized defined term",
    "Unrecognized enumerated value",
    "Value dubious for this VR",
    "Value invalid for this VR",
)
"""Beginnings of dciodvfy's messages. They are its own words; what follows them in a line may be a value."""
_LINE = re.compile(r"^Error - (?:<(/.*?\)(?:\[\d+\])?)> - )?(.*)$")
_MODULE = re.compile(r"^(?: for Type \w{1,2} \w{1,12})? - Module=<([A-Za-z]{1,64})>$")
_QUOTED = re.compile(r'"[^"]*"')
_TAG = re.compile(r"\(([0-9a-f]{4}),([0-9a-f]{4})")


@dataclass(frozen=True)
class Conformance:
    """Errors of a copy that its original did not have, sorted; `checked` False where nobody could look."""

    checked: bool
    new_errors: tuple[str, ...] = ()
    why_not: str = ""


def conformance_difference(
    original: Path, copy: Path, *, tool: str = TOOL, timeout: float = TIMEOUT_SECONDS
) -> Conformance:
    """Compare the errors of two files as multisets. Never raises: what cannot be checked says why."""
    program = shutil.which(tool)
    if program is None:
        return Conformance(checked=False, why_not=f"{TOOL} is not installed")
    found = []
    for path in (original, copy):
        try:
            result = subprocess.run(
                [program, "-new", str(path)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Conformance(checked=False, why_not=f"{TOOL} took more than {timeout:g} s")
        except OSError as error:
            return Conformance(checked=False, why_not=f"{TOOL} cannot be run ({error.strerror})")
        if result.returncode < 0:
            return Conformance(checked=False, why_not=f"{TOOL} was ended by signal {-result.returncode}")
        found.append(Counter(errors(result.stderr + b"\n" + result.stdout)))
    return Conformance(checked=True, new_errors=tuple(sorted((found[1] - found[0]).elements())))


def summary(pairs: Iterable[tuple[Path, Path]], of: int, *, tool: str = TOOL) -> ConformanceSummary:
    """The differences of several (original, copy) pairs out of `of` together."""
    new: Counter[str] = Counter()
    why: Counter[str] = Counter()
    checked = 0
    for original, copy in pairs:
        one = conformance_difference(original, copy, tool=tool)
        checked += one.checked
        new.update(one.new_errors)
        if not one.checked:
            why[one.why_not] += 1
    return ConformanceSummary(TOOL, checked, of, tuple(sorted(new.items())), "; ".join(sorted(why)))


def errors(output: bytes) -> list[str]:
    """The error lines of dciodvfy's output (`-new` format) without values."""
    lines = output.decode("latin-1").splitlines()
    return [_without_values(line) for line in lines if line.startswith("Error - ")]


def _without_values(line: str) -> str:
    match = _LINE.match(line)
    path, message = match.groups() if match else (None, "")
    kind = max((kind for kind in KINDS if message.startswith(kind)), key=len, default=ANOTHER)
    # private creators stand quoted in paths
    tags = [int(g + e, 16) for g, e in _TAG.findall(_QUOTED.sub('"', path or ""))]
    where = "/".join(keyword_of(tag) or ("private" if tag >> 16 & 1 else "unknown") for tag in tags)
    module = _MODULE.match(message.removeprefix(kind))
    return " ".join(part for part in (kind, where, f"({module[1]})" if module else "") if part)
