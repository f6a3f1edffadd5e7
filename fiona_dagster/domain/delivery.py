"""When has a package reached a destination: only when size and checksum were read back from there (law 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from fiona_dagster.domain.packaging import Package, stem_of

if TYPE_CHECKING:
    from fiona_dagster.domain.exports.profiles import ExportProfile
    from fiona_dagster.domain.project import Destination

NOT_SEALED = "an encrypted package has no usable password: "
"""Begins the reason of a package that is not made for want of its password, and is made once that is there."""


class TakenOut(Exception):
    """A person decided, while a package was being sent, that it does not go there."""


@dataclass(frozen=True)
class DeliveryReceipt:
    """What a destination was found to hold, read back after the delivery.

    `size_bytes` and `md5` are those of the copy there, `place` is where it lies, `confirmed_at` seconds since the
    epoch. `sent_bytes`: 0 when the copy was there already.
    """

    transfer_id: int
    destination: str
    package: str
    size_bytes: int
    md5: str
    content_sha256: str
    place: str
    confirmed_at: float
    sent_bytes: int = 0


class Upload(StrEnum):
    """How to begin."""

    NOTHING = "nothing"  # the copy there is the package
    RESUME = "resume"  # go on behind the part that arrived before
    RESTART = "restart"


@dataclass(frozen=True)
class RemoteFile:
    """A file at a destination. For a part, `md5_matches` compares it with as many bytes of the package."""

    size_bytes: int
    md5_matches: bool


def worth_reading(package: Package, size_bytes: int | None, kind: Literal["final", "part"]) -> bool:
    """Whether a file of that size at the destination can be of use, so that it pays to read it back."""
    if size_bytes is None:
        return False
    return size_bytes == package.size_bytes if kind == "final" else 0 < size_bytes <= package.size_bytes


def plan_upload(package: Package, final: RemoteFile | None, part: RemoteFile | None) -> Upload:
    """Decide from what lies at the destination; what does not match is never built upon."""
    if final is not None and final.size_bytes == package.size_bytes and final.md5_matches:
        return Upload.NOTHING
    if part is not None and 0 < part.size_bytes <= package.size_bytes and part.md5_matches:
        return Upload.RESUME
    return Upload.RESTART


def part_name(package_name: str) -> str:
    """Under which name a package is sent: hidden, and never taken for a finished one."""
    return f".{package_name}.part"


def pause(sent_bytes: int, elapsed_seconds: float, bytes_per_second: float) -> float:
    """Seconds to wait so that an upload takes no more of the line than it may; 0: all of it."""
    if bytes_per_second <= 0:
        return 0.0
    return max(0.0, sent_bytes / bytes_per_second - elapsed_seconds)


def beside(package_name: str) -> tuple[str, ...]:
    """Names of all that may lie beside a package at its destination, FIONA's triple among it (fiona-behaviour 8)."""
    stem = stem_of(package_name)
    return (
        f"{package_name}.md5",
        f"{stem}.md5sum",
        f"{stem}.json",
    )


def wanted_of(exports: Iterable[ExportProfile], destinations: Iterable[Destination]) -> list[tuple[str, str]]:
    """All that a project wants delivered of a transfer: (destination, export); blank where it stays in the outbox."""
    names = [one.name for one in destinations]
    return [
        (name, export.label)
        for export in exports
        for name in ([one for one in names if export.destination in ("", one)] or [""])
    ]


def destinations_of(package: Package, destinations: Iterable[Destination]) -> list[Destination]:
    """The destinations that get a package: all, or the only one that its export names."""
    return [one for one in destinations if package.destination in {"", one.name}]
