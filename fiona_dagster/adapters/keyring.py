"""The keys that make pseudonyms: 32 random bytes a project, made on first use, and one for the site.

Whoever has a project's key can recompute its UIDs and date shifts from originals: the file is readable by us only.
A key may also be kept outside, in `FIONA_PROJECT_KEY_<NAME>`: the keyring then knows its fingerprint alone.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fiona_dagster.adapters.private_files import locked_for_writing, read_private, replace_private
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.project_keys import (
    KEY_BYTES,
    KeyStore,
    ProjectKey,
    ProjectKeys,
    fingerprint,
    made_key,
    outside_key,
    rotated,
    shredded,
    store_as_json,
    store_from_json,
)

VARIABLE = "FIONA_PROJECT_KEY_"
"""Followed by the project's name, with `_` for `-`: 64 hexadecimal digits, or `file:/path` of a file with them."""
_WHAT = "the keyring"


class Keyring:
    """A file of mode 600 (see `domain.project_keys`), written under a lock and replaced in one step."""

    def __init__(
        self, path: Path, environment: Mapping[str, str] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """`environment` may hold keys of projects: the settings read it."""
        self.path, self._environment, self._clock = path, environment or {}, clock

    def project_key(self, name: str, key_id: str | None = None) -> bytes:
        """The key of project `name` called `key_id`, by default the active one, which is made where there is none.

        Raises:
            ConfigurationError: the file is readable by others or not a keyring; the project's keys were destroyed, or
                those of one whose name differs in case or blanks only; it has no such key; the key is kept outside and
                is not there, or is another one.
            Transient: another process holds the lock too long.
        """
        keys, outside = self._project(name)
        key = keys.active if key_id is None else keys.find(key_id)
        if key is None:
            raise ConfigurationError(
                f"project {name} has no key {key_id}",
                place=str(self.path),
                remedy="restore the keyring from the backup: another key makes other pseudonyms",
            )
        if key.material:
            return key.material
        if outside is None or fingerprint(outside) != key.fingerprint:
            raise ConfigurationError(
                f"the key {key.id} of project {name} is kept outside of the keyring and is not there",
                place=str(self.path),
                remedy=f"set {_variable(name)}",
            )
        return outside

    def active_key_id(self, name: str) -> str:
        """The id of the key that new participants get; makes the key where there is none. Raises as `project_key`."""
        return self._project(name)[0].active.id

    def active_key_id_at(self, name: str, when: float) -> str:
        """The id of the key that was active at `when`, seconds since the epoch. Raises as `project_key`."""
        return self._project(name)[0].active_at(_time(when)).id

    def site_key(self) -> bytes:
        """The key that hashes patient identifiers for REDCap, 32 bytes. Raises as `project_key`."""
        site = self._read().site
        if site:
            return site
        with locked_for_writing(self.path, _WHAT):
            store = self._read()
            if not store.site:
                store = replace(store, site=secrets.token_bytes(KEY_BYTES))
                self._write(store)
            return store.site

    def projects(self) -> Mapping[str, ProjectKeys]:
        """What the keyring knows of every project. Raises as `project_key`."""
        return self._read().projects

    def rotate(self, name: str) -> str:
        """Make a new active key; the older ones stay usable by their ids. Returns the new id.

        Raises:
            ConfigurationError: the project has no key, its keys were destroyed, or the active one is kept outside.
        """
        with locked_for_writing(self.path, _WHAT):
            store = self._read()
            keys = self._living(store, name)
            if not keys.active.material:
                raise ConfigurationError(
                    f"the key of project {name} is kept outside of the keyring",
                    place=str(self.path),
                    remedy="keys that are kept outside cannot be rotated here",
                )
            keys = rotated(keys, secrets.token_bytes(KEY_BYTES), self._now())
            self._write(store.with_project(name, keys))
            return keys.active.id

    def destroy(self, name: str) -> ProjectKeys:
        """End all keys of a project and leave their tombstone, which is returned. The file's old bytes are overwritten.

        Raises:
            ConfigurationError: the project has no key, they were destroyed before, or one is still given from outside.
        """
        with locked_for_writing(self.path, _WHAT):
            store = self._read()
            keys = self._living(store, name)
            if self._outside(name) is not None:
                raise ConfigurationError(
                    f"a key of project {name} is given by {_variable(name)}",
                    place=str(self.path),
                    remedy="destroy it where it is kept, take the variable away, then try again",
                )
            gone = shredded(keys, self._now())
            self._write(store.with_project(name, gone))
            return gone

    def _project(self, name: str) -> tuple[ProjectKeys, bytes | None]:
        outside = self._outside(name)
        keys = self._read().projects.get(name)
        if keys is None:
            with locked_for_writing(self.path, _WHAT):
                store = self._read()  # another process may have made it while we waited
                keys = store.projects.get(name)
                if keys is None:
                    self._refuse_returning(store, name)
                    keys = ProjectKeys((self._first_key(outside),))
                    self._write(store.with_project(name, keys))
        if keys.destroyed_at:
            raise self._destroyed(name, keys)
        if outside is not None and fingerprint(outside) not in {one.fingerprint for one in keys.keys}:
            raise ConfigurationError(
                f"{_variable(name)} is not a key of project {name}",
                place=str(self.path),
                remedy="give the key that the project began with: another one makes other pseudonyms",
            )
        return keys, outside

    def _refuse_returning(self, store: KeyStore, name: str) -> None:
        """A project that has ended does not come back because its name is written a little differently."""
        for other, keys in store.projects.items():
            if keys.destroyed_at and _alike(other) == _alike(name):
                raise ConfigurationError(
                    f"project '{name}' is called like {other}, whose keys were destroyed at {keys.destroyed_at}, but "
                    "for case and blanks",
                    place=str(self.path),
                    remedy="give a new project another name",
                )

    def _first_key(self, outside: bytes | None) -> ProjectKey:
        if outside is not None:
            return outside_key(outside, self._now())
        return made_key(secrets.token_bytes(KEY_BYTES), self._now())

    def _living(self, store: KeyStore, name: str) -> ProjectKeys:
        keys = store.projects.get(name)
        if keys is None:
            raise ConfigurationError(
                f"project {name} has no key", place=str(self.path), remedy="look at `fiona keys list`"
            )
        if keys.destroyed_at:
            raise self._destroyed(name, keys)
        return keys

    def _destroyed(self, name: str, keys: ProjectKeys) -> ConfigurationError:
        return ConfigurationError(
            f"the keys of project {name} were destroyed at {keys.destroyed_at}",
            place=str(self.path),
            remedy="the project has ended: give a new project another name, and stop what is still sent to this one",
        )

    def _outside(self, name: str) -> bytes | None:
        text = self._environment.get(_variable(name), "").strip()
        if not text:
            return None
        if text.startswith("file:"):
            path = Path(text.removeprefix("file:"))
            found = read_private(path, "a project's key")
            text = (found or b"").decode("ascii", "replace").strip()
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:  # the cause may hold a key
            raise ConfigurationError(
                f"{_variable(name)} does not give a key",
                remedy=f"write {2 * KEY_BYTES} hexadecimal digits, or file:/path of a file with them, mode 600",
            ) from None
        return key

    def _read(self) -> KeyStore:
        content = read_private(self.path, _WHAT)
        if content is None:
            return KeyStore()
        try:
            return store_from_json(json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError):  # the cause may hold a key
            raise ConfigurationError(
                "is not a keyring",
                place=str(self.path),
                remedy="restore it from the backup: new keys make new pseudonyms",
            ) from None

    def _write(self, store: KeyStore) -> None:
        text = json.dumps(store_as_json(store), indent=2, sort_keys=True)
        replace_private(self.path, text.encode())

    def _now(self) -> str:
        return _time(self._clock())


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _alike(name: str) -> str:
    return "".join(name.split()).casefold()


def _variable(name: str) -> str:
    return VARIABLE + name.replace("-", "_")
