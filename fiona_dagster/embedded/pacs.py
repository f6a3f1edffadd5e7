"""The research PACS of the hospital in a box: small, but with real services and real disks.

    C-ECHO; C-STORE (durable before Success); C-FIND, C-MOVE and C-GET (Patient Root and Study Root);
    Storage Commitment Push Model; rejection notes

The same SOP Instance UID again is accepted when its encoded data set is identical, else refused with 0x0110 and the
first stays. `Faults` make it lie, stall or fail as real peers do, so that what relies on it can be tested.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from socketserver import BaseServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fiona_dagster.adapters.dicom_scu import peer_from_text
from fiona_dagster.domain.data_set import scan
from fiona_dagster.domain.dimse_status import Status
from fiona_dagster.domain.errors import ConfigurationError, Permanent
from fiona_dagster.embedded.pacs_commitment import STORAGE_COMMITMENT, StorageCommitment
from fiona_dagster.embedded.pacs_faults import Faults, failed_list
from fiona_dagster.embedded.pacs_index import Disposition, IndexedInstance, PacsIndex
from fiona_dagster.embedded.pacs_rejection import rejected_instances
from fiona_dagster.embedded.pacs_responses import leave_responses_to_the_sender
from fiona_dagster.settings import DicomPeer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

VERIFICATION = "1.2.840.10008.1.1"
STOP_SECONDS = 5.0
_POLL_SECONDS = 0.1
"""How long a stop waits for the thread that accepts."""
IDENTIFIER_DOES_NOT_MATCH = 0xA900
PENDING = 0xFF00
CANCEL = 0xFE00


class EmbeddedPacs:
    """An archive in a folder, behind a DICOM port.

    Args:
        folder: where files and index are kept; what it holds is served again after a restart.
        ae_title: its AE title; Associations for another are rejected.
        host: address to listen at.
        port: 0 lets the system choose one.
        known_peers: where C-MOVE and commitment reports may go, by AE title; may be added to while it runs.
        faults: may be replaced while it runs.
    """

    def __init__(
        self,
        folder: Path,
        ae_title: str = "RESEARCHPACS",
        host: str = "127.0.0.1",
        port: int = 0,
        known_peers: Mapping[str, DicomPeer] | None = None,
        faults: Faults | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ae_title, self.host, self.port = ae_title, host, port
        self.known_peers = dict(known_peers or {})
        self.faults = faults or Faults()
        self.takes_rejection_notes = True
        """May be set to false: most archives keep a rejection note as any other document."""
        self.index = PacsIndex(folder)
        self._stopping = threading.Event()
        self._counting = threading.Lock()
        self._received = 0
        self.retrievals = 0
        """How many C-MOVE and C-GET requests came."""
        self._server: Any = None
        self._commitment: StorageCommitment | None = None

    @property
    def peer(self) -> DicomPeer:
        """Itself, as others call it; known once started."""
        return DicomPeer(self.ae_title, self.host, self.port)

    def start(self) -> int:
        """Listen; returns the port."""
        from pynetdicom import AE, evt
        from pynetdicom.transport import ThreadedAssociationServer

        _keep_identifiers_out_of_logs()
        ae = AE(self.ae_title)
        ae.require_called_aet = True
        ae.maximum_pdu_size = 131_072
        ae.maximum_associations = 50
        self._commitment = StorageCommitment(ae, self.index.holds, self.known_peers)
        self._server = ae.make_server(
            (self.host, self.port),
            contexts=_supported_contexts(),
            evt_handlers=[
                (evt.EVT_C_ECHO, lambda _: Status.SUCCESS),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_C_FIND, self._find),
                (evt.EVT_C_MOVE, self._move),
                (evt.EVT_C_GET, self._get),
                *self._commitment.handlers(),
            ],
            server_class=ThreadedAssociationServer,
        )
        threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()
        self.port = self._server.socket.getsockname()[1]
        return self.port

    def stop(self) -> None:
        """End all Associations and close the index."""
        self._stopping.set()
        if self._server is not None:
            BaseServer.shutdown(
                self._server
            )  # pynetdicom's own looks for us among those that it started itself
            self._server.server_close()
            for association in self._server.active_associations:
                if association.is_established:  # pynetdicom's thread dies of an abort in any other state
                    association.abort()
                association.join(STOP_SECONDS)
            self._server = None
        if self._commitment is not None:
            self._commitment.join()
        self.index.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _store(self, event: Any) -> int:
        """A Status for a C-STORE, after the faults that were asked for."""
        faults = self.faults
        with self._counting:
            self._received += 1
            number = self._received
        if faults.slow_seconds:
            self._stopping.wait(faults.slow_seconds)
        if faults.abort_after and number > faults.abort_after:
            event.assoc.abort()
        elif faults.refuse_status:
            return faults.refuse_status
        elif faults.drop_every and number % faults.drop_every == 0:
            return Status.SUCCESS
        else:
            return self._keep(event)
        return Status.PROCESSING_FAILURE

    def _keep(self, event: Any) -> int:
        try:
            data_set = event.dataset
            if str(data_set.get("SOPInstanceUID", "")) != str(event.request.AffectedSOPInstanceUID):
                return Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
            encoded = event.encoded_dataset(include_meta=False)
            syntax = str(event.context.transfer_syntax)
            scan(BytesIO(encoded), len(encoded), syntax)  # pydicom is content with half an element at the end
            if self.takes_rejection_notes and (rejected := rejected_instances(data_set)):
                for uid in rejected:
                    self.index.remove(uid)
                return Status.SUCCESS  # the note itself is shown to nobody
            disposition = self.index.store(
                data_set,
                encoded,
                file_head=event.encoded_dataset()[: -len(encoded)],
                transfer_syntax_uid=syntax,
            )
        except OSError:
            return Status.OUT_OF_RESOURCES
        except Exception:  # noqa: BLE001 — whatever a peer's bytes make pydicom raise, the answer is a Status
            return Status.CANNOT_UNDERSTAND
        return Status.PROCESSING_FAILURE if disposition is Disposition.OTHER_CONTENT else Status.SUCCESS

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        try:
            answers = self.faults.shown(self.index.find(event.identifier))
        except Permanent:
            yield IDENTIFIER_DOES_NOT_MATCH, None
            return
        self._stopping.wait(self.faults.query_hang_seconds)
        for number, answer in enumerate(answers, start=1):
            if event.is_cancelled:
                yield CANCEL, None
                return
            answer.RetrieveAETitle = self.ae_title
            yield PENDING, answer
            if self.faults.query_status and number >= max(self.faults.query_limit, 1):
                break
        if self.faults.query_status and len(answers) > self.faults.query_limit:
            yield self.faults.query_status, None

    def _move(self, event: Any) -> Iterator[Any]:
        from pynetdicom import evt

        destination = self.known_peers.get(event.move_destination.strip())
        if destination is None:
            yield None, None  # pynetdicom answers 0xA801, move destination unknown
            return
        chosen = self.index.select(event.identifier)
        yield (
            destination.host,
            destination.port,
            {
                "contexts": _contexts(chosen),
                "evt_handlers": [(evt.EVT_ESTABLISHED, leave_responses_to_the_sender)],
            },
        )
        yield from self._instances(event, chosen)

    def _get(self, event: Any) -> Iterator[Any]:
        yield from self._instances(event, self.index.select(event.identifier))

    def _instances(self, event: Any, chosen: list[IndexedInstance]) -> Iterator[Any]:
        from pydicom import dcmread

        faults = self.faults
        with self._counting:
            self.retrievals += 1
        self._stopping.wait(faults.retrieve_hang_seconds)
        chosen = [one for one in chosen if one.series_instance_uid not in faults.unsent_series]
        if faults.retrieve_half:
            chosen = chosen[::2]
        yield len(chosen)
        for number, one in enumerate(chosen):
            if event.is_cancelled:
                yield CANCEL, None
                return
            if faults.retrieve_status and number >= faults.retrieve_limit:
                yield faults.retrieve_status, failed_list(chosen[number:])
                return
            yield PENDING, dcmread(one.path)


def _contexts(instances: Iterable[IndexedInstance]) -> list[Any]:
    """Presentation Contexts that fit the instances as they are, at most 128."""
    from pynetdicom import build_context

    pairs = dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in instances)
    return [build_context(*pair) for pair in pairs][:128] or [build_context(VERIFICATION)]


@cache
def _supported_contexts() -> list[Any]:
    """Everything, put together once: that takes longer than a small study."""
    from pynetdicom import (
        AE,
        ALL_TRANSFER_SYNTAXES,
        AllStoragePresentationContexts,
        QueryRetrievePresentationContexts,
    )

    ae: Any = AE()
    for context in AllStoragePresentationContexts:
        # both roles: in a C-GET the requestor is the SCP of C-STORE
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES, scu_role=True, scp_role=True)
    for context in QueryRetrievePresentationContexts:
        ae.add_supported_context(context.abstract_syntax)
    ae.add_supported_context(VERIFICATION)
    ae.add_supported_context(STORAGE_COMMITMENT)
    return list(ae.supported_contexts)


def _keep_identifiers_out_of_logs() -> None:
    """pynetdicom logs query keys and matches at INFO, and pydicom's errors with the values in them."""
    from pynetdicom import _config

    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


def _peer(text: str) -> DicomPeer:
    try:
        return peer_from_text(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(arguments: list[str] | None = None) -> None:
    """Run the archive until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m fiona_dagster.embedded.pacs", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ae-title", default="RESEARCHPACS")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        type=_peer,
        metavar="AE@host:port",
        help="a destination of C-MOVE",
    )
    options = parser.parse_args(arguments)
    peers = {one.ae_title: one for one in options.peer}
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    with EmbeddedPacs(options.folder, options.ae_title, options.host, options.port, peers) as pacs:
        sys.stdout.write(f"listening on {pacs.host}:{pacs.port}\n")
        sys.stdout.flush()
        end.wait()


if __name__ == "__main__":
    main()
