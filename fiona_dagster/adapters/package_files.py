"""The files of a package in the outbox: itself, its MD5 and manifest; and whether it is still what is wanted."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fiona_dagster.adapters.durable import write_durably
from fiona_dagster.adapters.encryption import Seal, opens
from fiona_dagster.adapters.package_sources import pieces
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.layout import DELIVERED_FOLDER
from fiona_dagster.domain.packaging import (
    PACKAGE_SUFFIXES,
    Entry,
    Manifest,
    Package,
    forms_of,
    manifest_as_json,
    md5_line,
    told_beside,
)

_OWNER = ("project", "participant", "event")


def md5_file(package: Path) -> Path:
    """Where a package's MD5 stands, in the form of `md5sum`."""
    return package.with_name(f"{package.name}.md5")


def manifest_file(package: Path) -> Path:
    """Where a package's manifest stands."""
    return package.with_name(f"{package.name}.manifest.json")


def packages_in(folder: Path) -> list[Path]:
    """The packages that lie in a folder, by their names."""
    return sorted(one for ending in PACKAGE_SUFFIXES for one in folder.glob(f"*{ending}"))


def told_manifest(package: Package) -> bytes:
    """The manifest as it may lie beside a package at its destination.

    Raises:
        Permanent: it is not in the outbox.
    """
    try:
        content = manifest_file(package.path).read_bytes()
    except OSError as error:
        raise Permanent(f"the manifest is not in the outbox ({error.strerror}): build it again") from None
    manifest = json.loads(content)
    told = told_beside(manifest)
    return content if told is manifest else manifest_as_json(told)


def manifest_at(target: Path) -> dict[str, Any]:
    """The manifest beside `target`; empty where there is none or it is no manifest: then it is written anew."""
    with suppress(OSError, ValueError):
        found = json.loads(manifest_file(target).read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def refuse_another_owner(existing: dict[str, Any], head: Manifest) -> None:
    """Names are cleaned, so two participants or events could share one; neither may replace the other's package.

    Raises:
        Permanent: the package that lies there is another's.
    """
    for field in _OWNER:
        if existing.get(field, getattr(head, field)) != getattr(head, field):
            raise Permanent(
                f"the outbox holds a package of the same name with another {field}: rename one of them"
            )


def remove_other_forms(package: Package) -> int:
    """Delete from the outbox what it was before its encryption was switched on, off or over, delivered or not; returns
    how many.
    """
    mine, removed = manifest_at(package.path), 0
    here = package.path.parent
    outbox = here.parent if here.name == DELIVERED_FOLDER else here
    for folder in (outbox, outbox / DELIVERED_FOLDER):
        for name in sorted(forms_of(package.name) - {package.name}):
            other = folder / name
            found = manifest_at(other)
            if found and all(
                found.get(field) == mine.get(field) for field in (*_OWNER, "study_instance_uid")
            ):
                for one in (manifest_file(other), md5_file(other), other):
                    one.unlink(missing_ok=True)
                removed += 1
    return removed


def current_package(
    target: Path, existing: dict[str, Any], head: Manifest, seal: Seal | None
) -> Package | None:
    """The package at `target`, if it was made from these files by this method, its bytes are still right, and the
    password of `seal` opens it. An encrypted one is never made twice without need: it would have other bytes.

    A newer revision of unchanged files gets a manifest that says so; the package stays.
    """
    wanted = ("sources", "profile", "method_digest", "study_instance_uid", "export_type", "converter",
              "export_digest", "context_digest", "statement", "encryption")  # fmt: skip
    # manifests of earlier versions lack what was blank
    if not existing or any(existing.get(name, "") != getattr(head, name) for name in wanted):
        return None
    recorded = existing.get("package") or {}
    digest = hashlib.md5(usedforsecurity=False)
    try:
        size = target.stat().st_size
        with target.open("rb", buffering=0) as stream:
            for piece in pieces(stream):
                digest.update(piece)
    except OSError:
        return None
    if size != recorded.get("size") or digest.hexdigest() != recorded.get("md5"):
        return None
    if seal is not None and not opens(target, seal):
        return None  # the password was changed
    files = tuple(
        Entry(f["name"], f["sha256"], f["size"], f["sop_instance_uid"], f.get("source_sha256", ""))
        for f in existing["files"]
    )
    package = Package(
        target.name,
        target,
        size,
        str(recorded["md5"]),
        str(recorded["content_sha256"]),
        len(files),
        head.revision,
    )
    line = md5_line(target.name, package.md5).encode()
    if not md5_file(target).exists() or md5_file(target).read_bytes() != line:
        write_durably(md5_file(target), line)
    if existing.get("revision") != head.revision:
        unconverted = tuple(sorted(existing["not_converted"].items()))
        omitted = tuple(sorted((existing.get("left_out") or {}).items()))
        manifest = replace(head, files=files, not_converted=unconverted, left_out=omitted)
        write_durably(manifest_file(target), manifest.as_json(package))
    return package
