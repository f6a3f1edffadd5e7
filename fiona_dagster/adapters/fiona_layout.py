"""FIONA's side files: raw links, participants, srs, `.arrived` and the series JSON, for sites that read them.

They are a convenience, made from the archive and made again from it at any time (`rebuild_study`); the truth is
the archive and the ledger. Whoever changes a series JSON does it through `change_series_json`.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fiona_dagster.adapters.durable import write_json_durably
from fiona_dagster.adapters.received_files import read_instance
from fiona_dagster.domain import series_json
from fiona_dagster.domain.errors import FionaError
from fiona_dagster.domain.layout import Layout
from fiona_dagster.domain.reception import InstanceHeader, Peer

UNKNOWN_PEER = Peer("unknown", "unknown", "0.0.0.0")  # noqa: S104  FIONA's words for a file without a sender

SeriesJson = dict[str, Any]


def link_instance(layout: Layout, header: InstanceHeader) -> None:
    """The links of one archived instance: raw, participants (where it has a Patient ID), srs (Modality SR).

    Raises:
        OSError: a link or folder cannot be made.
    """
    study, series, sop = header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid
    archived = layout.archived_instance(study, sop)
    _link(layout.raw_link(study, series, sop), archived)
    if header.patient_id:
        _link(
            layout.participant_link(header.patient_id, header.study_date, header.study_time),
            layout.study_raw(study),
        )
    if header.modality == "SR":
        _link(layout.sr_link(header.manufacturer, study, sop), archived)


def touch_arrived(layout: Layout, peer: Peer, study_uid: str, series_uid: str) -> None:
    """FIONA's touch files of the study and the series; their age is the quiet time."""
    words = (peer.calling_ae, peer.called_ae, peer.address, study_uid)
    layout.arrived_study(*words).touch()
    layout.arrived_series(*words, series_uid).touch()


def arrived_peers(layout: Layout) -> dict[str, Peer]:
    """The newest sender of every study that has a touch file, by Study Instance UID."""
    peers: dict[str, Peer] = {}
    for touched in sorted(layout.arrived.iterdir(), key=lambda path: path.stat().st_mtime):
        words = touched.name.split(" ")
        if len(words) == 4 and words[3].startswith("scp_"):
            peers[words[3].removeprefix("scp_")] = Peer(*words[:3])
    return peers


def read_fields(path: Path, peer: Peer) -> dict[str, Any]:
    """The series-JSON fields of an archived instance, without its pixel data.

    Raises:
        Reject: it cannot be read as DICOM.
        Permanent: it is gone.
        Transient: it cannot be read now.
    """
    from fiona_dagster.adapters.dicom_headers import read_header

    return series_json.image_fields(read_header(path, series_json.TAGS), peer)


def change_series_json(
    layout: Layout, study_uid: str, series_uid: str, change: Callable[[SeriesJson | None], SeriesJson]
) -> None:
    """Replace a series JSON by `change` of it (None: there is none), one writer of a study at a time.

    Raises:
        OSError: it cannot be written.
    """
    place = layout.series_json(study_uid, series_uid)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    with _only_writer(place.parent):
        write_json_durably(place, change(read_series_json(place)))


def add_images(layout: Layout, study_uid: str, series_uid: str, images: Iterable[dict[str, Any]]) -> None:
    """Add the fields of new images to a series JSON in one writing."""

    def change(found: SeriesJson | None) -> SeriesJson:
        for fields in images:
            found = series_json.add(found, fields) if found else series_json.start(fields)
        return found or {}

    change_series_json(layout, study_uid, series_uid, change)


def read_series_json(place: Path) -> SeriesJson | None:
    """The series JSON at `place`; None where there is none that can be read."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found else None


def is_complete(layout: Layout, study_uid: str) -> bool:
    """Whether every archived instance of a study has its raw link and is counted in a series JSON."""
    raw = layout.study_raw(study_uid)
    archived = {path.name for path in layout.study_archive(study_uid).iterdir()}
    linked: set[str] = set()
    counted = 0
    if raw.is_dir():
        for entry in raw.iterdir():
            if entry.is_dir():
                linked |= {path.name for path in entry.iterdir()}
            elif entry.suffix == ".json":
                counted += int((read_series_json(entry) or {}).get("NumFiles", 0))
    return archived <= linked and counted >= len(archived)


def rebuild_study(layout: Layout, study_uid: str, peer: Peer | None = None) -> int:
    """Make a study's links and series JSONs again from the archive; returns how many instances it has.

    `ClassifyType` and the sender of an existing JSON stay. Files that cannot be read are left out.

    Raises:
        OSError: something cannot be written.
    """
    images: dict[str, list[Path]] = {}
    for archived in sorted(layout.study_archive(study_uid).iterdir()):
        try:
            _, header = read_instance(archived)
        except FionaError:
            continue
        link_instance(layout, header)
        images.setdefault(header.series_instance_uid, []).append(archived)
    for series_uid, paths in images.items():
        change_series_json(layout, study_uid, series_uid, _made_again(paths, peer))
    return sum(map(len, images.values()))


def _made_again(paths: list[Path], peer: Peer | None) -> Callable[[SeriesJson | None], SeriesJson]:
    def change(found: SeriesJson | None) -> SeriesJson:
        sender = _sender(found) or peer or UNKNOWN_PEER
        made: SeriesJson | None = None
        for path in paths:
            fields = read_fields(path, sender)
            made = series_json.add(made, fields) if made else series_json.start(fields)
        return series_json.with_types(made or {}, (found or {}).get("ClassifyType", []))

    return change


def study_peer(layout: Layout, study_uid: str) -> Peer | None:
    """The sender that a study's series JSON names, if there is one."""
    for place in sorted(layout.study_raw(study_uid).glob("*.json")):
        found = _sender(read_series_json(place))
        if found:
            return found
    return None


def _sender(found: SeriesJson | None) -> Peer | None:
    connection = (found or {}).get("IncomingConnection")
    if not isinstance(connection, dict):
        return None
    words = (
        str(connection.get(key) or default).strip("\0 ")
        for key, default in (
            ("AETitleCaller", UNKNOWN_PEER.calling_ae),
            ("AETitleCalled", UNKNOWN_PEER.called_ae),
            ("CallerIP", UNKNOWN_PEER.address),
        )
    )
    return Peer(*words)


def _link(link: Path, target: Path) -> None:
    """A relative link, unless something stands there already."""
    relative = os.path.relpath(target, link.parent)
    try:
        link.symlink_to(relative)
    except FileNotFoundError:
        link.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        try:
            link.symlink_to(relative)
        except FileExistsError:
            return
    except FileExistsError:
        return


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
