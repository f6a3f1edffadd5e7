"""What one study contributes to a package of any format: files under their names, and what is missing of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.adapters import nifti
from fiona_dagster.adapters.bids import bids_files
from fiona_dagster.adapters.package_sources import (
    Source,
    converted_sources,
    dicom_sources,
    study_names,
    value_of,
)
from fiona_dagster.domain.exports.bids import Participant, Session, label
from fiona_dagster.domain.exports.formats import ExportType
from fiona_dagster.domain.exports.profiles import CONVERTED, ExportProfile
from fiona_dagster.domain.exports.trees import place_of
from fiona_dagster.domain.packaging import PROOF_FILE

if TYPE_CHECKING:
    from fiona_dagster.domain.exports.changes import ExportContext
    from fiona_dagster.domain.verification import VerifiedStudy

PROOFS_FOLDER = "proofs"
COPIES_PROOF = ".copies.json"
"""Ends the name of a proof that is of the copies which a package was made from, not of the files in it."""


@dataclass(frozen=True)
class Part:
    """`not_converted` are Series Instance UIDs of the copy with the reason, `left_out` counts by reason."""

    sources: list[Source]
    not_converted: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    participant: Participant | None = None


def study_part(
    study: VerifiedStudy,
    profile: ExportProfile,
    context: ExportContext,
    scratch: Path,
    session: Session | None = None,
) -> Part:
    """The files of a study in a format.

    Args:
        study: verified.
        profile: the export.
        context: of the study.
        scratch: an empty folder for converted files, which the caller removes when they are packed.
        session: in a BIDS dataset; default: named after participant and event.

    Raises:
        Permanent: a file cannot be read, converted or named.
    """
    if profile.export_type not in CONVERTED:
        chosen = dicom_sources(study, profile, context)
        return Part(chosen.sources, left_out=chosen.left_out)
    conversion = nifti.convert(study, scratch)
    if profile.export_type is ExportType.NIFTI:
        names = study_names(study)
        files = [(place_of(profile, names, path.name), path) for path in conversion.files]
        return Part(converted_sources(files), conversion.not_converted)
    session = session or session_of(study)
    known = context.demographics
    participant = Participant(
        session.subject,
        known.sex or value_of(study, "PatientSex"),
        known.age or value_of(study, "PatientAge"),
    )
    sources = converted_sources(bids_files(conversion, session))
    return Part(sources, conversion.not_converted, participant=participant)


def session_of(study: VerifiedStudy) -> Session:
    """A study's place in a dataset of its own."""
    return Session(label(study.participant), label(study.event, fallback="1"))


def converter(profile: ExportProfile) -> str:
    """Name and version of what converts; blank where nothing does."""
    return nifti.version() if profile.export_type in CONVERTED else ""


def is_derived(profile: ExportProfile) -> bool:
    """Whether the files have other bytes than the copies that were proven."""
    return profile.changes_copies or profile.export_type in CONVERTED


def proof_entry(
    study_instance_uid: str, profile: ExportProfile, proof: Path, *, alone: bool
) -> Mapping[str, bytes]:
    """The proof of a study as an entry of its package.

    `proof.json` and `proofs/<uid>.proof.json` are of the files in the package. Where a format changes or converts them,
    the proof is of the copies that they were made from, and is called so.
    """
    content = proof.read_bytes()
    if is_derived(profile):
        return {f"{PROOFS_FOLDER}/{study_instance_uid}{COPIES_PROOF}": content}
    return {PROOF_FILE if alone else f"{PROOFS_FOLDER}/{study_instance_uid}.{PROOF_FILE}": content}
