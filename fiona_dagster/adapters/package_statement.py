"""Checks the signed statement inside a package, or a folder that one was unpacked into (see `domain.exports`)."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fiona_dagster.adapters.signing import Signed, signed_by
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.exports.statement import STATEMENT_FILE, statement_problems
from fiona_dagster.domain.signed import parsed

_MANIFEST = "manifest.json"
_LARGEST = 64 << 20
"""Bytes of a statement or proof that is read at once."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
"""What the content of a damaged zip raises; the last two: a method or password that it seems to have."""


@dataclass(frozen=True)
class Statement:
    """A statement as it was read; `problems` are (file, what is wrong)."""

    content: Mapping[str, Any]
    signed: Signed
    key_id: str
    problems: tuple[tuple[str, str], ...]


def inspect_statement(release: Path, public_key: bytes | None = None) -> Statement | None:
    """Compare a package with its statement: every file, its proofs and their signatures; None where it has none.

    Args:
        release: a zip, or the folder that it was unpacked into.
        public_key: whose signature it should be.

    Raises:
        ConfigurationError: the statement is no signed document.
    """
    with _opened(release) as package:
        if package is None or STATEMENT_FILE not in package.names:
            return None
        try:
            content, signature = parsed(package.read(STATEMENT_FILE))
        except ValueError:
            raise ConfigurationError(
                "its statement is no signed document", place=str(release), remedy="ask for the package again"
            ) from None
        signed = signed_by(content, signature, public_key)
        found = {name: package.sha256(name) for name in package.names if name != STATEMENT_FILE}
        problems: list[tuple[str, str]] = []
        if signed == "wrong":
            problems.append((STATEMENT_FILE, "the signature is not right: it was changed, or by another key"))
        methods: dict[str, str] = {}
        for name in sorted(one for one in found if one.startswith("proofs/")):
            try:
                proof, seal = parsed(package.read(name))
                methods[name] = str(proof["method"]["digest"])
            except (ValueError, KeyError, TypeError):
                problems.append((name, "is no proof of a release"))
                continue
            # a site's earlier key will do: the statement vouches for the proof's bytes
            if signed_by(proof, seal) == "wrong":
                problems.append((name, "the signature is not right"))
        stated = {str(one.get("name")) for one in content.get("files", []) if isinstance(one, dict)}
        if _MANIFEST in stated and _MANIFEST in found:  # of many studies: the manifest has the files
            problems += _unlisted(package, found, stated)
        problems += statement_problems(content, found, methods)
    return Statement(
        content, signed, signature.get("key_id", "") if signed != "wrong" else "", tuple(problems)
    )


def _unlisted(package: _Opened, found: dict[str, str], stated: set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong by the manifest; what it has right needs no line in the statement and leaves `found`."""
    try:
        listed = {
            str(one["name"]): str(one["sha256"]) for one in json.loads(package.read(_MANIFEST))["files"]
        }
    except (ValueError, KeyError, TypeError):
        yield _MANIFEST, "cannot be read"
        return
    for name, sha256 in sorted(listed.items()):
        if name in stated:
            continue
        if name not in found:
            yield name, "in the manifest, but not there"
        elif found.pop(name) != sha256:
            yield name, "its bytes are not those of the manifest"


@dataclass(frozen=True)
class _Opened:
    """Names and content of a package, whichever form it has."""

    names: frozenset[str]
    stream: Callable[[str], IO[bytes]]

    def read(self, name: str) -> bytes:
        """At most 64 MB of it.

        Raises:
            ValueError: the package is damaged there.
        """
        try:
            with self.stream(name) as stream:
                return stream.read(_LARGEST)
        except _DAMAGED:
            raise ValueError(f"{name} cannot be read") from None

    def sha256(self, name: str) -> str:
        """Of damaged content none, which is no file's."""
        try:
            with self.stream(name) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        except _DAMAGED:
            return ""


@contextmanager
def _opened(release: Path) -> Iterator[_Opened | None]:
    """None for what is neither a folder nor a zip, which is said by whoever reads the release itself."""
    if release.is_dir():
        files = (one for one in release.rglob("*") if one.is_file())
        names = frozenset(one.relative_to(release).as_posix() for one in files)
        yield _Opened(names, lambda name: (release / name).open("rb"))
        return
    try:
        archive = zipfile.ZipFile(release)
    except (zipfile.BadZipFile, OSError):
        yield None
        return
    with archive:
        entries = [one.filename for one in archive.infolist()]
        if len(entries) != len(set(entries)):
            raise ConfigurationError(
                "a name stands twice in it", place=str(release), remedy="ask for the package again"
            )
        yield _Opened(frozenset(one for one in entries if not one.endswith("/")), archive.open)
