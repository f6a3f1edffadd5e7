"""Archives that images are sent to, behind one shape: by DICOM or by DICOMweb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fiona_dagster.adapters.dicom_scu import (
    SendOutcome,
    SendReport,
    count_instances,
    echo,
    query_instances,
    send,
)
from fiona_dagster.adapters.dicom_scu.capabilities import capabilities
from fiona_dagster.adapters.dicom_scu.commitment import Book, NoCommitmentError, ask_commitment
from fiona_dagster.adapters.stow_client import StowClient
from fiona_dagster.domain.commitment import Reference
from fiona_dagster.domain.errors import NotOffered
from fiona_dagster.domain.image_destinations import Confirm, ImageDestination
from fiona_dagster.settings import DicomPeer, Settings

Progress = Callable[[SendOutcome], None]
RESEARCH_PACS = "research PACS"
"""The name of the archive that every project's images go to."""


class ImagePeer(Protocol):
    """An archive. `key` is how the ledger calls it, `str()` how people write it, `name` how the project calls it.

    Every method raises Transient, Permanent or ConfigurationError where it has no answer, and NotOffered where it
    never will have one.
    """

    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def confirm(self) -> Confirm: ...

    def instances(self, study_instance_uid: str) -> frozenset[str]:
        """The SOP Instance UIDs that it says it holds of a study."""
        ...

    def count(self, study_instance_uid: str) -> int:
        """How many instances it says it holds of a study."""
        ...

    def committed(self, references: Sequence[Reference], book: Book | None = None) -> frozenset[str]:
        """The SOP Instance UIDs that it commits to; `book` has reports that come over other Associations.

        Raises NoCommitmentError where it does not answer that.
        """
        ...

    def send(self, paths: Sequence[Path], *, progress: Progress, stop: Callable[[], bool]) -> SendReport:
        """Store the files there."""
        ...

    def check(self) -> str:
        """Try it for real; returns what was found."""
        ...


@dataclass(frozen=True)
class DicomArchive:
    """An archive that speaks DICOM."""

    peer: DicomPeer
    calling: str
    key: str
    name: str
    confirm: Confirm = Confirm.BEST
    associations: int = 1

    def __str__(self) -> str:
        return str(self.peer)

    def instances(self, study_instance_uid: str) -> frozenset[str]:
        return query_instances(self.peer, self.calling, study_instance_uid)

    def count(self, study_instance_uid: str) -> int:
        return count_instances(self.peer, self.calling, study_instance_uid) or 0

    def committed(self, references: Sequence[Reference], book: Book | None = None) -> frozenset[str]:
        return ask_commitment(self.peer, self.calling, references, book=book).uids

    def send(self, paths: Sequence[Path], *, progress: Progress, stop: Callable[[], bool]) -> SendReport:
        return send(
            paths, self.peer, self.calling, progress=progress, stop=stop, associations=self.associations,
            transcode=True,
        )  # fmt: skip

    def check(self) -> str:
        """C-ECHO, C-FIND, and what it would accept. Nothing is stored: a PACS cannot be told to delete it."""
        echo(self.peer, self.calling)
        tls = " over TLS" if self.peer.tls else ""
        would = capabilities(self.peer, self.calling)
        said = f"{self.peer} answers C-ECHO{tls}; it {would}; nothing was stored"
        if self.confirm is Confirm.ANSWERS:
            return f"{said}; its answers will have to do, for it is not asked anything"
        try:
            self.instances("2.25.0")
        except NotOffered:
            if self.confirm not in (Confirm.BEST, Confirm.COMMITMENT):
                raise
            self._offers_commitment()
            return f"{said}; it takes no queries"
        return f"{said}; it answers C-FIND, so that it can be asked what it holds"

    def _offers_commitment(self) -> None:
        try:
            ask_commitment(self.peer, self.calling, [])
        except NoCommitmentError as error:
            raise NotOffered(
                f"{error}, nor queries: ask its administrator to enable one of them for {self.calling}, or set "
                "confirm to 'answers' if what it says when it is sent images must do"
            ) from None


@dataclass(frozen=True)
class WebArchive:
    """An archive that speaks DICOMweb. `connect` makes a client anew: the secret is followed at the last moment."""

    key: str
    name: str
    connect: Callable[[], StowClient]
    confirm: Confirm = Confirm.BEST

    def __str__(self) -> str:
        return self.key

    def instances(self, study_instance_uid: str) -> frozenset[str]:
        with self.connect() as client:
            return client.instances(study_instance_uid)

    def count(self, study_instance_uid: str) -> int:
        return len(self.instances(study_instance_uid))

    def committed(self, references: Sequence[Reference], book: Book | None = None) -> frozenset[str]:
        raise NoCommitmentError(
            f"{self.key} is not asked for Storage Commitment: {len(references)} instance(s)"
        )

    def send(self, paths: Sequence[Path], *, progress: Progress, stop: Callable[[], bool]) -> SendReport:
        with self.connect() as client:
            return client.send(paths, progress=progress, stop=stop)

    def check(self) -> str:
        """Search for a study, and a store request without instances: address, certificates and rights are good."""
        with self.connect() as client:
            client.check()
        return (
            f"{self.key} lets us in: it answers QIDO-RS, so that it can be asked what it holds, and a STOW-RS request "
            "without instances; nothing was stored"
        )


def research_archive(settings: Settings) -> DicomArchive | None:
    """The research PACS, which the images of every project go to; None where there is none."""
    peer, terms = settings.research_pacs, settings.research_pacs_terms
    if peer is None:
        return None
    confirm, associations = (terms.confirm, terms.associations) if terms else (Confirm.BEST, 1)
    # by its AE title, as ledgers of version 3 call it
    return DicomArchive(peer, settings.calling_ae_title, peer.ae_title, RESEARCH_PACS, confirm, associations)


def archives_of(destinations: Sequence[ImageDestination], settings: Settings) -> list[ImagePeer]:
    """Where a project's images go: the research PACS first, then the project's own, each address once."""
    research = research_archive(settings)
    found: list[ImagePeer] = [research] if research else []
    seen = {str(one) for one in found}
    for destination in destinations:
        if destination.address not in seen:
            seen.add(destination.address)
            found.append(archive_of(destination, settings))
    return found


def archive_of(destination: ImageDestination, settings: Settings) -> ImagePeer:
    """A project's destination."""
    security = settings.outgoing_tls
    if destination.kind == "dicom":
        peer = DicomPeer(
            destination.ae_title, destination.host, destination.port, security if destination.tls else None
        )
        return DicomArchive(
            peer, settings.calling_ae_title, destination.address, destination.name, destination.confirm,
            destination.associations,
        )  # fmt: skip

    def connect() -> StowClient:
        own = (security.certificate, security.key) if security.certificate and security.key else None
        secret = settings.secret(destination.secret_ref) if destination.secret_ref else ""
        return StowClient(
            destination.url, user=destination.user, secret=secret, ca=security.ca, certificate=own
        )

    return WebArchive(destination.address, destination.name, connect, destination.confirm)
