"""The only module that makes paths: FIONA's layout on disk, so that sites can move over.

    <DATADIR>/site/archive/scp_<StudyInstanceUID>/<SOPInstanceUID>      the received files
    <DATADIR>/site/raw/<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>    links into the archive
    <DATADIR>/site/raw/<StudyInstanceUID>/<SeriesInstanceUID>.json      the series JSON
    <DATADIR>/site/participants/<PatientID>/<StudyDate>_<StudyTime>     link to raw/<StudyInstanceUID>
    <DATADIR>/site/srs/<Manufacturer>/<StudyInstanceUID>/<SOPInstanceUID>         links, Modality SR only
    <DATADIR>/site/.arrived/                     touch files, one a study and one a series
    <DATADIR>/site/.incoming/                    files being received; same file system, renamed into place
    <DATADIR>/site/.own-calls/                   passes of `fiona send` for its own receiver; the gateway's user alone
    <DATADIR>/site/output/<key>/<project>/       de-identified copies before release
    <DATADIR>/quarantine/{refused,aside}/        what was refused, and other content under a known UID
    <DATADIR>/outbox/                            packages, their .md5 and manifest; _delivered/ once confirmed
    <DATADIR>/proofs/<key>/<project>.<revision>.<digest>.json   signed proofs of releases, kept for good
    <DATADIR>/config/                            config.json, enabled, keyring.json, signing.pem, projects.yaml
    <DATADIR>/logs/   <DATADIR>/dagster/   <DATADIR>/ledger.sqlite

(FIONA's layout: fiona-behaviour 1.1.) Only what lies under `output/`, `outbox/` and `proofs/` is free of patient data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_UNSAFE = re.compile(r"[^A-Za-z0-9_.^@+åÅøØæÆ-]")


def safe_name(text: str, *, fallback: str = "_") -> str:
    """`text` as one path component: other characters become `_`, never empty, never hidden, at most 120."""
    cleaned = _UNSAFE.sub("_", text.strip())[:120].lstrip(".")
    return cleaned or fallback


DELIVERED_FOLDER = "_delivered"
"""Below the outbox: packages that every destination of theirs has confirmed."""


@dataclass(frozen=True)
class Layout:
    """All paths below one DATADIR."""

    datadir: Path

    @property
    def site(self) -> Path:
        return self.datadir / "site"

    @property
    def archive(self) -> Path:
        return self.site / "archive"

    @property
    def raw(self) -> Path:
        return self.site / "raw"

    @property
    def participants(self) -> Path:
        return self.site / "participants"

    @property
    def srs(self) -> Path:
        return self.site / "srs"

    @property
    def arrived(self) -> Path:
        return self.site / ".arrived"

    @property
    def incoming(self) -> Path:
        return self.site / ".incoming"

    @property
    def retrieving(self) -> Path:
        """Where an instance of a C-GET lies while our receiver takes it over."""
        return self.site / ".retrieving"

    @property
    def own_calls(self) -> Path:
        """Passes by which the receiver knows calls of its own gateway."""
        return self.site / ".own-calls"

    def scans(self, state: str) -> Path:
        """FIONA's active-scans, finished-scans and failed-scans: an empty file named by the Study Instance UID."""
        return self.datadir / f"{state}-scans"

    @property
    def output(self) -> Path:
        return self.site / "output"

    @property
    def outbox(self) -> Path:
        return self.datadir / "outbox"

    @property
    def delivered(self) -> Path:
        return self.outbox / DELIVERED_FOLDER

    @property
    def quarantine(self) -> Path:
        return self.datadir / "quarantine"

    @property
    def refused(self) -> Path:
        return self.quarantine / "refused"

    @property
    def aside(self) -> Path:
        return self.quarantine / "aside"

    @property
    def config(self) -> Path:
        return self.datadir / "config"

    @property
    def logs(self) -> Path:
        return self.datadir / "logs"

    @property
    def dagster_home(self) -> Path:
        return self.datadir / "dagster"

    @property
    def ledger(self) -> Path:
        return self.datadir / "ledger.sqlite"

    @property
    def enabled(self) -> Path:
        """FIONA's control file (fiona-behaviour 1.3)."""
        return self.config / "enabled"

    @property
    def keyring(self) -> Path:
        return self.config / "keyring.json"

    def study_archive(self, study_instance_uid: str) -> Path:
        return self.archive / f"scp_{study_instance_uid}"

    def archived_instance(self, study_instance_uid: str, sop_instance_uid: str) -> Path:
        return self.study_archive(study_instance_uid) / sop_instance_uid

    def study_raw(self, study_instance_uid: str) -> Path:
        return self.raw / study_instance_uid

    def raw_link(self, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str) -> Path:
        return self.study_raw(study_instance_uid) / series_instance_uid / sop_instance_uid

    def series_json(self, study_instance_uid: str, series_instance_uid: str) -> Path:
        return self.study_raw(study_instance_uid) / f"{series_instance_uid}.json"

    def participant_link(self, patient_id: str, study_date: str, study_time: str) -> Path:
        """FIONA's participants link; date and time are `unknown` where the instance has none."""
        when = f"{safe_name(study_date, fallback='unknown')}_{safe_name(study_time, fallback='unknown')}"
        return self.participants / safe_name(patient_id) / when

    def sr_link(self, manufacturer: str, study_instance_uid: str, sop_instance_uid: str) -> Path:
        return self.srs / safe_name(manufacturer) / study_instance_uid / sop_instance_uid

    def arrived_study(self, calling_ae: str, called_ae: str, address: str, study_instance_uid: str) -> Path:
        """FIONA's touch file of a study: four words separated by blanks."""
        words = (_word(calling_ae), _word(called_ae), address or "0.0.0.0", f"scp_{study_instance_uid}")  # noqa: S104
        return self.arrived / " ".join(words)

    def arrived_series(
        self, calling_ae: str, called_ae: str, address: str, study_instance_uid: str, series_instance_uid: str
    ) -> Path:
        """FIONA's touch file of a series: five words, no `scp_`."""
        words = (_word(calling_ae), _word(called_ae), address or "0.0.0.0")  # noqa: S104
        return self.arrived / " ".join((*words, study_instance_uid, series_instance_uid))

    def proof(self, study_key: str, project: str, revision: int, manifest_sha256: str) -> Path:
        """The proof of a release: it stays when the copies are cleaned up, or made anew with other bytes."""
        name = f"{safe_name(project)}.{revision}.{manifest_sha256[:16]}.json"
        return self.datadir / "proofs" / study_key / name

    @property
    def pixel_templates(self) -> Path:
        """Where devices write into their images, as the site found out."""
        return self.config / "pixel-templates.yaml"

    @property
    def pixel_previews(self) -> Path:
        """Previews of masked images, with patient data on the side of the originals."""
        return self.quarantine / "pixels"

    def pixel_review(self, study_key: str, project: str) -> Path:
        return self.pixel_previews / study_key / safe_name(project)

    def release_folder(self, study_key: str, project: str) -> Path:
        return self.output / study_key / safe_name(project)

    def ensure(self) -> None:
        """Make the folders, closed to everybody but the gateway's user and group (FIONA's were 777)."""
        for folder in (
            self.archive,
            self.raw,
            self.participants,
            self.srs,
            self.arrived,
            self.incoming,
            self.output,
            self.outbox,
            self.refused,
            self.aside,
            self.config,
            self.logs,
        ):
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)


def _word(ae_title: str) -> str:
    """An AE title as one word of a touch file's name (FIONA strips quotes, blanks and backslashes)."""
    return re.sub(r"[\"'\\/\s\x00]", "", ae_title) or "unknown"
