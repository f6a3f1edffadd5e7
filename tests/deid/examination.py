"""What must hold of any file, however broken: a disposition, no exception, no hang, no planted value outside."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from fiona_dagster.adapters.releases import deidentify_study, verify_release
from fiona_dagster.domain.deid.profile import Profile
from fiona_dagster.domain.deidentification import DISPOSITIONS, DeidentifiedStudy, SourceInstance
from fiona_dagster.domain.verification import VerifiedStudy
from tests.deid.scoring import KEY, Copy, needles, request

LONGEST_SECONDS = 20
PROFILE = Profile()


class BrokenPromise(AssertionError):
    """The product did with a file what it must never do."""


@dataclass(frozen=True)
class Examined:
    """`verified` is None where nobody asked. `copy` is the file that the engine made, None where it made none."""

    disposition: str
    reason: str
    verified: bool | None
    copy: Copy | None

    def holds(self, *texts: str) -> bool:
        """Whether a text stands in the copy in any encoding."""
        return self.copy is not None and any(n in self.copy.searched for text in texts for n in needles(text))


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Turn a hang into an error; only in the main thread of a POSIX process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise BrokenPromise(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def working_folder() -> Path:
    """A folder in memory where there is one: every copy is synced."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))


def examine(content: bytes, *, verify: bool = False, profile: Profile = PROFILE) -> Examined:
    """De-identify one file on its own; with `verify`, let verification judge it.

    Raises:
        BrokenPromise: an exception came out, no disposition, or no end.
    """
    folder = working_folder()
    try:
        with limited(LONGEST_SECONDS):
            return _examine(content, folder, verify=verify, profile=profile)
    except BrokenPromise:
        raise
    except Exception as error:
        raise BrokenPromise(f"{type(error).__name__} came out") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _examine(content: bytes, folder: Path, *, verify: bool, profile: Profile) -> Examined:
    path = folder / "original.dcm"
    path.write_bytes(content)
    sources, asked = [SourceInstance(path, 1, "")], request(folder / "out")
    result = deidentify_study(sources, asked, KEY, profile)
    (one,) = result.instances
    if one.disposition not in DISPOSITIONS or (one.disposition != "released") != bool(one.reason):
        raise BrokenPromise(f"disposition {one.disposition} with reason '{one.reason}'")
    files = [p for p in (folder / "out").rglob("*") if p.is_file()] if (folder / "out").exists() else []
    if len(files) != (one.disposition == "released"):
        raise BrokenPromise(f"{len(files)} files lie there, but the instance is {one.disposition}")
    copy = Copy(files[0].read_bytes()) if files else None
    return Examined(
        one.disposition, one.reason, _verdict(result, sources, asked, profile) if verify else None, copy
    )


def _verdict(
    result: DeidentifiedStudy, sources: list[SourceInstance], asked: object, profile: Profile
) -> bool:
    verdict = verify_release(result, sources, asked, KEY, profile)  # type: ignore[arg-type]
    return isinstance(verdict, VerifiedStudy)
