"""The keys of projects as data: versions of the keyring's file, rotation, and destruction that leaves a tombstone.

A key's id and fingerprint are made from the key itself and say nothing of it. New participants get the active key;
older ones stay for those who were released under them. A project whose keys were destroyed never gets another.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

KEY_BYTES = 32
VERSION = 2
CERTIFICATE_FORMAT = "fiona-key-destruction/1"
_STATEMENT = (
    "The gateway has overwritten these keys where it kept them and will make no others for this project. Without them "
    "nobody can link copies to originals by new UIDs, hashes or dates. Copies of the keyring that were made elsewhere, "
    "backups among them, are not covered."
)
_FINGERPRINT = b"fiona-dagster: fingerprint of a project key"


def fingerprint(material: bytes) -> str:
    """SHA-256, in hexadecimal digits, of the key's HMAC-SHA256 of a constant."""
    return hashlib.sha256(hmac.digest(material, _FINGERPRINT, "sha256")).hexdigest()


def key_id(print_of_key: str) -> str:
    """The short name of a key: the first 16 digits of its fingerprint."""
    return print_of_key[:16]


@dataclass(frozen=True)
class ProjectKey:
    """One key. `material` is empty where the key is kept outside of the keyring; `created` where nobody knows it."""

    fingerprint: str
    created: str
    material: bytes = field(default=b"", repr=False)

    @property
    def id(self) -> str:
        return key_id(self.fingerprint)


@dataclass(frozen=True)
class ProjectKeys:
    """All keys of one project, the oldest first and the active one last; after `destroyed_at` none has material."""

    keys: tuple[ProjectKey, ...]
    destroyed_at: str = ""

    @property
    def active(self) -> ProjectKey:
        return self.keys[-1]

    def find(self, wanted: str) -> ProjectKey | None:
        return next((one for one in self.keys if one.id == wanted), None)

    def active_at(self, when: str) -> ProjectKey:
        """The key that was active at a time, written as `created` is; the oldest one before all of them."""
        return next((one for one in reversed(self.keys) if one.created <= when), self.keys[0])


@dataclass(frozen=True)
class KeyStore:
    """The content of a keyring."""

    site: bytes = field(default=b"", repr=False)
    projects: Mapping[str, ProjectKeys] = field(default_factory=dict)

    def with_project(self, name: str, keys: ProjectKeys) -> KeyStore:
        return replace(self, projects={**self.projects, name: keys})


def made_key(material: bytes, created: str) -> ProjectKey:
    """A key that the keyring holds."""
    return ProjectKey(fingerprint(material), created, material)


def outside_key(material: bytes, created: str) -> ProjectKey:
    """A key that is kept elsewhere: the keyring knows it by its fingerprint alone."""
    return ProjectKey(fingerprint(material), created)


def rotated(keys: ProjectKeys, material: bytes, created: str) -> ProjectKeys:
    """`keys` with a new active one; the older ones stay."""
    return replace(keys, keys=(*keys.keys, made_key(material, created)))


def shredded(keys: ProjectKeys, at: str) -> ProjectKeys:
    """The tombstone: ids, fingerprints and dates, no key."""
    return ProjectKeys(tuple(replace(one, material=b"") for one in keys.keys), at)


def certificate_content(project: str, tombstone: ProjectKeys) -> dict[str, Any]:
    """What a certificate of destruction says; the same tombstone has the same."""
    return {
        "format": CERTIFICATE_FORMAT,
        "project": project,
        "destroyed_at": tombstone.destroyed_at,
        "keys": [
            {"id": one.id, "fingerprint": one.fingerprint, "created": one.created} for one in tombstone.keys
        ],
        "statement": _STATEMENT,
    }


def store_from_json(content: Any) -> KeyStore:
    """A keyring's content of version 1 (`{name: hex}`) or 2.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    versions: dict[int, Callable[[Any], ProjectKeys]] = {1: _version_1, VERSION: _version_2}
    site = _material(content["site"]) if content.get("site") else b""
    read = versions[content["version"]]
    return KeyStore(site, {str(name): read(one) for name, one in content["projects"].items()})


def store_as_json(store: KeyStore) -> dict[str, Any]:
    """The content of a keyring's file, version 2."""
    site = {"site": store.site.hex()} if store.site else {}
    return {"version": VERSION, **site, "projects": {n: _as_json(one) for n, one in store.projects.items()}}


def _as_json(keys: ProjectKeys) -> dict[str, Any]:
    entries = [
        {"id": one.id, "fingerprint": one.fingerprint, "created": one.created}
        | ({"key": one.material.hex()} if one.material else {})
        for one in keys.keys
    ]
    state = {"destroyed_at": keys.destroyed_at} if keys.destroyed_at else {"active": keys.active.id}
    return {"keys": entries, **state}


def _version_1(key: str) -> ProjectKeys:
    return ProjectKeys((made_key(_material(key), ""),))


def _version_2(entry: dict[str, Any]) -> ProjectKeys:
    destroyed = str(entry.get("destroyed_at", ""))
    keys = ProjectKeys(tuple(_key(one) for one in entry["keys"]), destroyed)
    if not keys.keys or (not destroyed and keys.active.id != entry["active"]):
        raise ValueError
    if destroyed and any(one.material for one in keys.keys):
        raise ValueError
    return keys


def _key(entry: dict[str, Any]) -> ProjectKey:
    printed, created = str(entry["fingerprint"]), str(entry["created"])
    if len(bytes.fromhex(printed)) != hashlib.sha256().digest_size or entry["id"] != key_id(printed):
        raise ValueError
    if "key" not in entry:
        return ProjectKey(printed, created)
    key = made_key(_material(entry["key"]), created)
    if key.fingerprint != printed:
        raise ValueError
    return key


def _material(text: str) -> bytes:
    material = bytes.fromhex(text)
    if len(material) != KEY_BYTES:
        raise ValueError
    return material
