"""Broken files by the thousand: no exception, no hang, nothing planted in a copy that verification lets go.

    python tests/deid/fuzz.py --seconds 600            # guided by coverage where atheris is installed (extra `dev`)
    python tests/deid/fuzz.py --seconds 600 --plain    # random mutations alone
    python tests/deid/fuzz.py --again FILE             # one file that was found before

Files that break a promise are kept in the folder that is printed. They come from the generated suite, never from
anybody's data.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.deid.raw import LONG

PLANTED = ("Zwingenberger", "Eisenbarth", "Plantzq")
KNOWN = PLANTED[:1]
"""The patient's name: verification knows it from the original, so that it can never leave in a verified copy."""
_LENGTHS = (0, 1, 2, 7, 8, 0xFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_TAGS = (
    0xFFFEE000,
    0xFFFEE00D,
    0xFFFEE0DD,
    0x7FE00010,
    0x00080005,
    0x00080000,
    0x00081140,
    0x00091001,
    0x60003000,
)
_VRS = (*sorted(LONG), "PN", "LO", "UI", "DS", "US", "AT", "DA", "XX", "\0\0")
LONGEST_SECONDS: float = 30
"""For one file, which takes some hundredths of a second."""
Mutation = Callable[[random.Random, bytearray], None]


def seeds() -> list[bytes]:
    """Files of the suite that are released as they are, and some that are not."""
    from tests.deid.generator import follow_up, modalities, scripts

    chosen = [one for study in (modalities(), scripts(), follow_up()) for one in study.instances]
    return [one.content for one in chosen if len(one.content) < 40_000]


def _flip(chance: random.Random, content: bytearray) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _length(chance: random.Random, content: bytearray) -> None:
    order = chance.choice("<>")
    new = struct.pack(order + "L", chance.choice(_LENGTHS))[: chance.choice((2, 4))]
    _put(chance, content, new)


def _tag(chance: random.Random, content: bytearray) -> None:
    tag = chance.choice(_TAGS)
    _put(chance, content, struct.pack(chance.choice("<>") + "HH", tag >> 16, tag & 0xFFFF))


def _vr(chance: random.Random, content: bytearray) -> None:
    known = [vr.encode() for vr in ("LO", "SQ", "UI", "OB", "UN", "PN", "DS", "US")]
    at = content.find(chance.choice(known), chance.randrange(len(content)))
    if at >= 0:
        content[at : at + 2] = chance.choice(_VRS).encode()


def _put(chance: random.Random, content: bytearray, new: bytes) -> None:
    at = chance.randrange(max(1, len(content) - len(new)))
    content[at : at + len(new)] = new


def _cut(chance: random.Random, content: bytearray) -> None:
    at = chance.randrange(len(content))
    del content[at : at + chance.choice((1, 2, 4, 8, 40))]


def _end(chance: random.Random, content: bytearray) -> None:
    del content[chance.randrange(132, len(content)) if len(content) > 133 else 0 :]


def _again(chance: random.Random, content: bytearray) -> None:
    at, size = chance.randrange(len(content)), chance.choice((8, 12, 40, 200))
    content[at:at] = content[at : at + size]


def _insert(chance: random.Random, content: bytearray) -> None:
    at = chance.randrange(len(content))
    content[at:at] = chance.randbytes(chance.choice((1, 2, 4, 8)))


MUTATIONS: tuple[Mutation, ...] = (_flip, _flip, _length, _length, _tag, _vr, _cut, _end, _again, _insert)


def mutated(chance: random.Random, content: bytes) -> bytes:
    """The content with one to four things wrong."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        if changed:
            chance.choice(MUTATIONS)(chance, changed)
    return bytes(changed)


class Hang(BaseException):
    """One file took longer than any file of its size may. No exception that a handler in the product could take."""


@contextmanager
def _limited() -> Iterator[None]:
    """Ends the work on one file after `LONGEST_SECONDS`; it is a hang then, not a slow machine."""

    def ended(_signal: int, _frame: FrameType | None) -> None:
        raise Hang(f"a file of at most 40 kB was worked on for {LONGEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ended)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def broken_promise(content: bytes) -> str:
    """What the product did with these bytes that it must never do, or ''. Counts what became of them in `outcomes`."""
    from tests.deid.examination import BrokenPromise, examine

    try:
        with _limited():
            examined = examine(content, verify=True)
    except (BrokenPromise, Hang) as error:
        return str(error)
    outcomes[f"{examined.disposition}, {'verified' if examined.verified else 'not verified'}"] += 1
    if examined.holds(*PLANTED):
        outcomes["a planted mark is in the engine's copy"] += 1
        if examined.verified and examined.holds(*KNOWN):
            return "a known name is in a verified copy"
    return ""


outcomes: Counter[str] = Counter()


def _keep(content: bytes, folder: Path, problem: str) -> None:
    path = folder / hashlib.sha256(content).hexdigest()[:16]
    path.write_bytes(content)
    sys.stdout.write(f"{problem}: {path}\n")


def run_plain(seconds: float, seed: int) -> int:
    """Random mutations for some time; the number of broken promises."""
    from tests.deid.examination import working_folder

    chance, originals, found = random.Random(seed), seeds(), 0
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        content = mutated(chance, chance.choice(originals))
        problem = broken_promise(content)
        if problem:
            found += 1
            _keep(content, folder, problem)
    working_folder().rmdir()
    sys.stdout.write(
        f"seed {seed}: {sum(outcomes.values())} outcomes {dict(outcomes)}, {found} broken promises\n"
    )
    return found


def run_guided(seconds: int) -> int:
    """libFuzzer, guided by coverage of the product's code; does not return while it finds nothing."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with atheris.instrument_imports(include=["fiona_dagster.domain.deid", "fiona_dagster.adapters"]):
        import fiona_dagster.adapters.dicom_files
        import fiona_dagster.adapters.release_checks
        import fiona_dagster.adapters.releases  # noqa: F401
    corpus = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for content in seeds():
        (corpus / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)

    def one(data: bytes) -> None:
        problem = broken_promise(data)
        if problem:
            raise AssertionError(problem)

    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", f"-timeout={LONGEST_SECONDS:.0f}", "-max_len=40000",
         "-rss_limit_mb=2048", f"-artifact_prefix={corpus.parent}/fuzz-found-", str(corpus)],
        one,
    )  # fmt: skip
    atheris.Fuzz()
    return 0


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    arguments.add_argument("--plain", action="store_true", help="without atheris")
    arguments.add_argument("--again", type=Path, help="a file that was found before")
    chosen = arguments.parse_args()
    warnings.simplefilter("ignore")
    if chosen.again:
        problem = broken_promise(chosen.again.read_bytes())
        sys.stdout.write(f"{problem or 'nothing wrong'} {dict(outcomes)}\n")
        return int(bool(problem))
    if not chosen.plain:
        try:
            return run_guided(chosen.seconds)
        except ModuleNotFoundError:
            sys.stdout.write("atheris is not installed: random mutations alone\n")
    return int(run_plain(chosen.seconds, chosen.seed) > 0)


if __name__ == "__main__":
    sys.exit(main())
