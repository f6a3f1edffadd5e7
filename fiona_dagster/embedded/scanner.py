"""The scanner and clinical PACS of the hospital in a box: sends its studies, and answers what is asked about them.

It is the research PACS' archive under another AE title, over files that lie where they are: C-FIND tells how many
instances a study has, C-MOVE sends them again. Pushing goes through our own SCU, which sends a damaged file as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fiona_dagster.adapters.dicom_scu import SendReport, send
from fiona_dagster.embedded.pacs import EmbeddedPacs
from fiona_dagster.embedded.pacs_faults import Faults
from fiona_dagster.settings import DicomPeer

if TYPE_CHECKING:
    from fiona_dagster.embedded.samples import SampleStudy

Part = Literal["on time", "late", "corrupt", "other content"]


class EmbeddedScanner(EmbeddedPacs):
    """A scanner with studies on its disk; a context manager, `start` and `stop` like the PACS.

    Args:
        folder: for its index.
        studies: what it has acquired. Damaged and changed files are not in its index.
        ae_title: its AE title, as caller and as called.
        host: address to listen at.
        port: 0 lets the system choose one.
        known_peers: where C-MOVE may go, by AE title.
        faults: of its own answers.
    """

    def __init__(
        self,
        folder: Path,
        studies: Sequence[SampleStudy] = (),
        ae_title: str = "SCANNER",
        host: str = "127.0.0.1",
        port: int = 0,
        known_peers: Mapping[str, DicomPeer] | None = None,
        faults: Faults | None = None,
    ) -> None:
        super().__init__(folder, ae_title, host, port, known_peers, faults)
        self.studies = {study.name: study for study in studies}
        for study in studies:
            self.index.add_files([*study.files, *study.late])

    def push(
        self, study: SampleStudy, to: DicomPeer, part: Part = "on time", *, associations: int = 1
    ) -> list[SendReport]:
        """Send a part of a study.

        Args:
            study: which.
            to: the receiver.
            part: which of its files.
            associations: over how many Associations, one after the other, its files are spread.

        Raises:
            Transient, Permanent: no Association came about.
        """
        files = {
            "on time": study.files,
            "late": study.late,
            "corrupt": study.corrupt,
            "other content": study.other_content,
        }[part]
        share = -(-len(files) // associations)
        return [
            send(files[first : first + share], to, self.ae_title)
            for first in range(0, len(files), max(share, 1))
        ]
