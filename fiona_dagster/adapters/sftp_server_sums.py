"""FIONA's convention for sums that a server publishes: `*.md5sum_server` files, or a tar of them (fiona-behaviour 8).

A sum counts when it is not older than the file that it is about. It may confirm a file, never condemn it: servers
compute them by the hour, and one of before the last upload says nothing.
"""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from typing import TYPE_CHECKING

from fiona_dagster.domain.packaging import stem_of

if TYPE_CHECKING:
    from paramiko import SFTPClient

CACHE = "md5server_cache.tar"
_LONGEST_CACHE = 64 << 20
_LONGEST_SUM = 4096


def server_says(client: SFTPClient, place: str, md5: str) -> bool:
    """Whether the server published this MD5 for the file at `place`, after the file was last written.

    Raises:
        OSError, EOFError, paramiko.SSHException: as the session fails.
    """
    written = client.stat(place).st_mtime or 0
    folder, name = posixpath.split(place)
    names = {f"{stem}.md5sum_server" for stem in (name, stem_of(name))}
    for one in sorted(names):
        content = _read(client, posixpath.join(folder, one), _LONGEST_SUM, not_before=written)
        if content is not None and _sum(content) == md5:
            return True
    cache = _read(client, posixpath.join(folder, CACHE), _LONGEST_CACHE, not_before=written)
    return cache is not None and _in_cache(cache, names, md5, not_before=written)


def _read(client: SFTPClient, place: str, longest: int, *, not_before: float) -> bytes | None:
    try:
        facts = client.stat(place)
        if (facts.st_mtime or 0) < not_before or (facts.st_size or 0) > longest:
            return None
        with client.open(place, "rb") as remote:
            remote.prefetch(facts.st_size)
            return bytes(remote.read(longest))
    except FileNotFoundError:
        return None


def _in_cache(cache: bytes, names: set[str], md5: str, *, not_before: float) -> bool:
    try:
        with tarfile.open(fileobj=io.BytesIO(cache), mode="r:") as archive:
            for member in archive:
                if not member.isfile() or posixpath.basename(member.name) not in names:
                    continue
                content = archive.extractfile(member)
                if content and member.mtime >= not_before and _sum(content.read(_LONGEST_SUM)) == md5:
                    return True
    except tarfile.TarError:
        return False  # being written, as a rule
    return False


def _sum(content: bytes) -> str:
    found = re.match(rb"\\?([0-9a-f]{32})\b", content.strip().lower())
    return found.group(1).decode() if found else ""
