"""The keys that make pseudonyms: 32 random bytes a project, and one for the site; made on first use, never changed.

Whoever has a project's key can recompute its UIDs and date shifts from originals: the file is readable by us only.
"""

from __future__ import annotations

import json
import secrets
import stat
from pathlib import Path
from typing import Any

from fiona_dagster.adapters.durable import write_json_durably
from fiona_dagster.domain.errors import ConfigurationError, Transient

KEY_BYTES = 32
LOCK_SECONDS = 30.0


class Keyring:
    """`{"version": 1, "site": hex, "projects": {name: hex}}` in a file of mode 600, written under a lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def project_key(self, name: str) -> bytes:
        """The key of project `name`, 32 bytes.

        Raises:
            ConfigurationError: the file is readable by others or not a keyring.
            Transient: another process holds the lock too long.
        """
        return self._key("projects", name)

    def site_key(self) -> bytes:
        """The key that hashes patient identifiers for REDCap, 32 bytes. Raises as `project_key`."""
        return self._key("site", "")

    def _key(self, kind: str, name: str) -> bytes:
        found = _find(self._read(), kind, name)
        return bytes.fromhex(found) if found else self._make(kind, name)

    def _make(self, kind: str, name: str) -> bytes:
        from filelock import FileLock, Timeout

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", timeout=LOCK_SECONDS, mode=0o600):
                content = self._read()  # another process may have made it while we waited
                found = _find(content, kind, name)
                if not found:
                    found = secrets.token_hex(KEY_BYTES)
                    if kind == "site":
                        content["site"] = found
                    else:
                        content["projects"][name] = found
                    write_json_durably(self.path, content, mode=0o600)
                return bytes.fromhex(found)
        except Timeout:
            raise Transient(f"{self.path}.lock is held by another process") from None
        except OSError as error:
            raise ConfigurationError(
                f"the keyring cannot be written ({error.strerror})",
                place=str(self.path),
                remedy="let the gateway's user write its folder, or name another keyring",
            ) from error

    def _read(self) -> dict[str, Any]:
        try:
            mode = self.path.stat().st_mode
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {"version": 1, "projects": {}}
        except OSError as error:
            raise ConfigurationError(
                f"the keyring cannot be read ({error.strerror})",
                place=str(self.path),
                remedy="let the gateway's user read it",
            ) from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigurationError(
                "the keyring is open to other users", place=str(self.path), remedy=f"chmod 600 {self.path}"
            )
        return _checked(text, self.path)


def _find(content: dict[str, Any], kind: str, name: str) -> str:
    return str(content.get("site") or "") if kind == "site" else str(content["projects"].get(name) or "")


def _checked(text: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
        keys = [*content["projects"].values(), *([content["site"]] if content.get("site") else [])]
        sound = content["version"] == 1 and all(len(bytes.fromhex(key)) == KEY_BYTES for key in keys)
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:  # the cause may hold a key
        raise ConfigurationError(
            "is not a keyring",
            place=str(path),
            remedy="restore it from the backup: new keys make new pseudonyms",
        ) from None
    return content
