"""What goes into de-identification and what comes out of it: one study, for one project and one participant."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fiona_dagster.domain.project import Project

if TYPE_CHECKING:
    from fiona_dagster.domain.deid.originals import OriginalValues
    from fiona_dagster.domain.pixels.masks import Masking

Disposition = Literal["released", "held", "excluded", "failed"]
DISPOSITIONS: tuple[Disposition, ...] = ("released", "held", "excluded", "failed")


@dataclass(frozen=True)
class SourceInstance:
    """One received SOP Instance. `identity` is its number in the ledger, if it has one.

    `held_reason` is set by the caller for what must not be released whatever it contains (law 7), `classified` where
    the site's rules want the pixels of its series looked at.
    """

    path: Path
    identity: int | None
    sop_instance_uid: str
    held_reason: str = ""
    classified: str = ""


@dataclass(frozen=True)
class Origin:
    """What results were made of (`domain.deid.origin` makes it).

    `values` identify in the originals of the copies and must not stand in results either. What the copies have stays:
    their `uids`, their `days` (YYYYMMDD), `study_id` and `accession`; all blank where they are of another project or
    participant than the results are to be.
    """

    values: OriginalValues
    uids: frozenset[str]
    days: frozenset[str]
    study_id: str
    accession: str


@dataclass(frozen=True)
class ReleaseRequest:
    """For whom: `folder` receives the copies; `event` may be empty; `made_of` is there for results only."""

    project: Project
    participant: str
    event: str
    folder: Path
    made_of: Origin | None = None

    @property
    def identity(self) -> str:
        """Hash of all that decides for whom the copies are made and by which profile.

        New UIDs depend on project and original alone, so two requests can make different copies under one UID: they
        differ in this. It stays the same when only the engine gets better.
        """
        project = self.project
        policy = (project.date_mode, str(project.date_shift_days), project.uid_root, project.uid_scheme)
        profile = json.dumps(project.profile.policy, sort_keys=True)
        text = "\x1f".join((project.name, self.participant, self.event, *policy, profile))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class DeidentifiedInstance:
    """What became of one source. `path` (relative to the folder), new UIDs, `header_sha256` and `size_bytes` of the
    copy's file are set for released instances only; `reason` for all others, without patient data.

    `header_sha256` is that of the file as it was written, without the value of its Pixel Data. `sha256` is that of the
    whole file, which verification fills in. `masking` is there where the pixels were searched for text, or the
    project excludes the image from that.
    """

    identity: int | None
    source_sop_instance_uid: str
    disposition: Disposition
    reason: str = ""
    path: str = ""
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    modality: str = ""
    sha256: str = ""
    size_bytes: int = 0
    header_sha256: str = ""
    masking: Masking | None = None


@dataclass(frozen=True)
class DeidentifiedStudy:
    """Every source with its disposition, in the order of the sources; not yet verified.

    `study_instance_uid` is the new one, empty when nothing could be released. `method_digest` names everything
    that decided about the content (see `domain.deid.method`).
    """

    study_instance_uid: str
    instances: tuple[DeidentifiedInstance, ...]
    profile: str
    method_digest: str

    @property
    def released(self) -> tuple[DeidentifiedInstance, ...]:
        return tuple(one for one in self.instances if one.disposition == "released")

    @property
    def manifest_sha256(self) -> str:
        """SHA-256 over path, UID and digest of every released file: it stands for every byte of a verified release.

        Raises:
            ValueError: verification has not taken the digests.
        """
        if any(not one.sha256 for one in self.released):
            raise ValueError("the copies are not verified: they have no digests yet")
        lines = sorted(f"{one.sha256}  {one.sop_instance_uid}  {one.path}" for one in self.released)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def counts(self) -> dict[Disposition, int]:
        """Instances by disposition; all four keys are present."""
        counted = Counter(one.disposition for one in self.instances)
        return {name: counted[name] for name in DISPOSITIONS}
