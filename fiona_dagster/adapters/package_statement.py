"""Checks the signed statement inside a package, or a folder that one was unpacked into (see `domain.exports`)."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
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
        if STATEMENT_FILE not in package.names:
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
            problems += _unlisted(package.read(_MANIFEST), found, stated)
        problems += statement_problems(content, found, methods)
    return Statement(
        content, signed, signature.get("key_id", "") if signed != "wrong" else "", tuple(problems)
    )


def _unlisted(manifest: bytes, found: dict[str, str], stated: set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong by the manifest; what it has right needs no line in the statement and leaves `found`."""
    try:
        listed = {str(one["name"]): str(one["sha256"]) for one in json.loads(manifest)["files"]}
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


class _Opened:
    """Names and content of a package, whichever form it has."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def stream(self, name: str) -> IO[bytes]:
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        with self.stream(name) as stream:
            return stream.read(_LARGEST)

    def sha256(self, name: str) -> str:
        with self.stream(name) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]


class _Folder(_Opened):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        files = (one for one in folder.rglob("*") if one.is_file())
        super().__init__(frozenset(one.relative_to(folder).as_posix() for one in files))

    def stream(self, name: str) -> IO[bytes]:
        return (self._folder / name).open("rb")


class _Zip(_Opened):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        super().__init__(frozenset(one.filename for one in archive.infolist() if not one.is_dir()))

    def stream(self, name: str) -> IO[bytes]:
        return self._archive.open(name)


@contextmanager
def _opened(release: Path) -> Iterator[_Opened]:
    if release.is_dir():
        yield _Folder(release)
        return
    try:
        with zipfile.ZipFile(release) as archive:
            if len(archive.namelist()) != len(set(archive.namelist())):
                raise ConfigurationError(
                    "a name stands twice in it", place=str(release), remedy="ask for the package again"
                )
            yield _Zip(archive)
    except (zipfile.BadZipFile, OSError):
        yield _Opened(frozenset())  # said by whoever reads the release itself
