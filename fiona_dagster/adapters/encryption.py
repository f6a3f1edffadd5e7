"""Packages that only a password opens: AES-256 in a zip (WinZip AE-2), or in a 7z whose list of files is hidden too.

The plain package never touches the disk: it is written into the encrypting container, as its only entry. The password
comes with the call and is nowhere kept; whoever sends the package sends the password another way.
"""

from __future__ import annotations

import io
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fiona_dagster.domain.errors import ConfigurationError, Permanent
from fiona_dagster.domain.exports.formats import Encryption

SHORTEST_PASSWORD = 12
"""Characters: AES-256 is as strong as the password that its key is derived from, and a package can be attacked offline
for as long as somebody likes."""
_PIPE_BYTES = 1 << 20
_ZIP_BEGINS = b"PK\x03\x04"


@dataclass(frozen=True)
class Seal:
    """How a package is encrypted: `inner` is the plain package's name, the container's only entry.

    Raises:
        ConfigurationError: the password is missing or too weak.
    """

    encryption: Encryption
    password: str = field(repr=False)
    inner: str

    def __post_init__(self) -> None:
        check_password(self.password)


def check_password(password: str) -> None:
    """Raises `ConfigurationError` where a password is too short, or would be typed in different ways."""
    if len(password) < SHORTEST_PASSWORD:
        raise ConfigurationError(
            f"the password has fewer than {SHORTEST_PASSWORD} characters", remedy="choose a longer one"
        )
    if not password.isascii() or not password.isprintable():
        # programs disagree on the encoding of a password
        raise ConfigurationError(
            "the password holds other characters than printable ASCII", remedy="choose another"
        )


@contextmanager
def container(target: IO[bytes], seal: Seal | None) -> Iterator[Any]:
    """A stream to write the plain package into; `target` becomes what holds it, or the package itself without a seal.

    Raises:
        Permanent: the container could not be written.
    """
    if seal is None:
        yield target
        return
    into = _into_zip if seal.encryption == "zip" else _into_7z
    with into(target, seal.inner, seal.password) as stream:
        yield stream


def opens(path: Path, seal: Seal) -> bool:
    """Whether the seal's password opens the container at `path`, and a package is in it."""
    return _opens_zip(path, seal) if seal.encryption == "zip" else _opens_7z(path, seal)


def _opens_zip(path: Path, seal: Seal) -> bool:
    import pyzipper

    try:
        with pyzipper.AESZipFile(path) as archive:
            archive.setpassword(seal.password.encode())
            with archive.open(seal.inner) as inner:
                # the password's own check has two bytes: one of 65,536 wrong ones passes it
                return bool(inner.read(len(_ZIP_BEGINS)) == _ZIP_BEGINS)
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pyzipper.BadZipFile):
        return False


def _opens_7z(path: Path, seal: Seal) -> bool:
    """By the list of files, which is encrypted as well. py7zr would take what a wrong password makes of it for a list,
    of any length, one time in 256: here it is looked at, and not followed.
    """
    import lzma

    import py7zr
    from py7zr.archiveinfo import Header, SignatureHeader
    from py7zr.helpers import calculate_crc32

    found: list[bytes] = []

    class Listing(Header):
        def _extract_header_info(self, fp: Any) -> None:
            found.append(fp.read())

    try:
        with path.open("rb") as stream:
            beginning = SignatureHeader.retrieve(stream)
            after = stream.tell()
            stream.seek(beginning.nextheaderofs, os.SEEK_CUR)
            header = io.BytesIO(stream.read(beginning.nextheadersize))
            if calculate_crc32(header.getvalue()) == beginning.nextheadercrc:
                Listing.retrieve(stream, header, after, seal.password)
    except (OSError, ValueError, TypeError, EOFError, struct.error, lzma.LZMAError,
            py7zr.exceptions.ArchiveError, py7zr.PasswordRequired):  # fmt: skip
        return False
    return any(seal.inner.encode("utf-16-le") in one for one in found)


@contextmanager
def _into_zip(target: IO[bytes], inner: str, password: str) -> Iterator[Any]:
    import pyzipper

    with pyzipper.AESZipFile(
        target, "w", compression=pyzipper.ZIP_STORED, encryption=pyzipper.WZ_AES
    ) as archive:
        archive.setpassword(password.encode())
        archive.setencryption(pyzipper.WZ_AES, nbits=256)
        with archive.open(inner, "w", force_zip64=True) as stream:
            yield stream


@contextmanager
def _into_7z(target: IO[bytes], inner: str, password: str) -> Iterator[Any]:
    """py7zr reads what it packs: it gets the reading end of a pipe, in a thread of its own."""
    reading, writing = os.pipe()
    failed: list[BaseException] = []

    def pack() -> None:
        import py7zr

        try:
            filters = [{"id": py7zr.FILTER_COPY}, {"id": py7zr.FILTER_CRYPTO_AES256_SHA256}]
            with (
                os.fdopen(reading, "rb", buffering=_PIPE_BYTES) as source,
                py7zr.SevenZipFile(
                    target, "w", filters=filters, password=password, header_encryption=True
                ) as archive,
            ):
                archive.writef(_Stream(source), inner)  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 — told to whoever writes, below
            failed.append(error)

    thread = threading.Thread(target=pack, name="7z")
    thread.start()
    try:
        with os.fdopen(writing, "wb", buffering=_PIPE_BYTES) as stream:
            yield stream
    except BrokenPipeError:
        thread.join()
        _tell(failed)
        raise
    finally:
        thread.join()
    _tell(failed)


def _tell(failed: list[BaseException]) -> None:
    for error in failed:
        if isinstance(error, OSError):
            raise error
        raise Permanent(f"the 7z could not be written ({type(error).__name__})") from None


class _Stream(io.BufferedIOBase):
    """A pipe as py7zr wants it: it asks for a size, which it does not use but for telling empty files from others."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._at_end = source, False

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at_end = whence == os.SEEK_END
        return offset

    def tell(self) -> int:
        return int(self._at_end)

    def read(self, size: int | None = -1) -> bytes:
        return self._source.read(-1 if size is None else size)


def md5_of(path: Path) -> str:
    """The MD5 of an encrypted package: containers are completed at their beginning, so it is read again."""
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
