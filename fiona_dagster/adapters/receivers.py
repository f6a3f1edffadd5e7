"""How the receivers fare: what each wrote of itself, its disk, its ports; read by the heartbeat, status and doctor."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.sites import called_from_here
from fiona_dagster.domain.stow import StowSettings
from fiona_dagster.settings import DicomPeer, Settings, Site

ANSWERS = "answers"
PAST = ("since it was started", "left by a crash")
"""What of `troubles` is over, and told all the same."""


def answers(settings: Settings, calling: str, *, seconds: float = 10.0) -> dict[str, str]:
    """By site, and `<site> TLS` for its second port: `answers`, or what is wrong. Nothing is raised."""
    from fiona_dagster.adapters.dicom_scu import Timeouts, echo
    from fiona_dagster.adapters.secure_echo import secure_echo

    found: dict[str, str] = {}
    for site in settings.sites:
        try:
            echo(site.peer, calling, timeouts=Timeouts(seconds, seconds, seconds))
            found[site.name] = ANSWERS
        except FionaError as error:
            found[site.name] = str(error)
        tls = site.receiver.tls
        if tls is not None:
            try:
                secure_echo(tls_peer(site), tls, calling, seconds=seconds)
                found[f"{site.name} TLS"] = ANSWERS
            except FionaError as error:
                found[f"{site.name} TLS"] = str(error)
        if site.stow is not None:
            found[f"{site.name} STOW"] = stow_answers(site.stow, seconds=seconds)
    return found


def stow_answers(door: StowSettings, *, seconds: float = 10.0) -> str:
    """`answers`, or that nobody takes connections at a site's door for STOW-RS."""
    host = called_from_here(door.host)
    try:
        socket.create_connection((host, door.port), seconds).close()
    except OSError as error:
        return (
            f"the door for STOW-RS at {host}:{door.port} takes no connection ({error.strerror or 'timeout'})"
        )
    return ANSWERS


def tls_peer(site: Site) -> DicomPeer:
    """A receiver's port with TLS, as this machine calls it."""
    return replace(site.peer, port=site.ports[-1])


def standing(site: Site) -> Mapping[str, Any]:
    """What a site's listener wrote of itself (`scp_listener.standing`); empty where there is none yet."""
    try:
        facts = json.loads((site.layout.logs / "receiver.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def takes_instances(site: Site) -> bool:
    """Whether the site's disk is far enough from full for new instances."""
    try:
        disk = os.statvfs(site.layout.incoming)
    except PermissionError:  # another user's question: nothing can be said
        return True
    except OSError:
        return False
    return site.receiver.limits.has_room(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)


def is_held(site: Site) -> bool:
    """Whether a listener, or a worker of one, has the site's data directory: each holds the lock until it ends."""
    try:
        descriptor = os.open(site.layout.incoming, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # another user's question: nothing can be said
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _at_work(site: Site, facts: Mapping[str, Any]) -> Iterator[str]:
    """Whether those who should take Associations do, and where they are expected."""
    if not facts.get("running"):
        return
    if not is_held(site):
        yield "its processes were ended without being asked to (killed, or a power cut): start it again"
        return
    if facts.get("at_work", 0) < facts.get("workers", 0):
        yield f"{facts['at_work']} of {facts['workers']} workers are at work ({facts.get('last_death')})"
    pairs = zip(facts.get("ports") or (), site.ports, strict=False)
    elsewhere = [f"{there} instead of {here}" for there, here in pairs if here and there != here]
    if elsewhere:
        yield f"it listens on port {', '.join(elsewhere)}: it was started otherwise than config.json says"


def troubles(site: Site) -> list[str]:
    """What an operator must know of a receiver, in sentences; nothing where all is well."""
    facts = standing(site)
    found = list(_at_work(site, facts))
    if site.layout.incoming.is_dir() and not takes_instances(site):
        found.append("its disk is nearly full: new instances are refused with 0xA700 until there is room")
    if facts.get("deaths"):
        found.append(
            f"{facts['deaths']} worker(s) died since it was started, last: {facts.get('last_death')}"
        )
    if facts.get("hung"):
        found.append(f"{facts['hung']} worker(s) hung since it was started and were replaced")
    left = {name: count for name, count in dict(facts.get("found_at_start") or {}).items() if count}
    if left:
        named = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(left.items()))
        found.append(f"left by a crash and put in order: {named}")
    return found
