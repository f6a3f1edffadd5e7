"""One process of the listener: Associations in, uploads to `Store`, every Association's end into the ledger."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socketserver import BaseServer
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import
from pynetdicom.transport import ThreadedAssociationServer

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.received_files import file_meta
from fiona_dagster.adapters.spool import Spool
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.reception import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    Peer,
    Refusal,
    StoreRequest,
    admit_association,
    by_preference,
)
from fiona_dagster.settings import Site
from scp_listener import pynetdicom_hooks
from scp_listener.data_phase import Uploads
from scp_listener.log import LOG
from scp_listener.mpps import MPPS, ProcedureSteps
from scp_listener.recorder import Recorder
from scp_listener.side_files import SideFiles
from scp_listener.store import Store
from scp_listener.streamed_association import (
    StreamingHandler,
    hang_up,
    send_provider_home,
    wake_association,
)

if TYPE_CHECKING:
    from scp_listener.stow_server import StowEntrance, StowServer

MAXIMUM_ASSOCIATIONS = 64
QUEUE = 128
"""Connections that may wait to be accepted."""
MAXIMUM_PDU_BYTES = 256 * 1024
NETWORK_TIMEOUT_SECONDS = 120.0
"""An Association on which nothing moves for so long is aborted."""

_REJECTED_TRANSIENT, _BY_PRESENTATION, _TEMPORARY_CONGESTION = 0x02, 0x03, 0x01  # PS3.8 table 9-21


@dataclass(frozen=True)
class Manner:
    """How a listener works.

    `streamed`: our data phase, else pynetdicom's own, slower and there in case of need. `durable`: synced before
    Success, never off but to compare with receivers that do not sync.
    """

    streamed: bool = True
    durable: bool = True
    stow: StowEntrance | None = None
    """The second door, where there is one."""


@dataclass(frozen=True)
class _Open:
    identity: str
    peer: Peer


class Listener:
    """The SCP of one site in this process. `start` once, `stop` once."""

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        *,
        worker: str,
        shared: socket.socket | None = None,
        manner: Manner = Manner(),
    ) -> None:
        self._site, self._worker, self._shared, self._manner = site, worker, shared, manner
        self._spool = Spool(site.layout, durable=manner.durable)
        self._incoming = self._spool.incoming(worker)
        self._recorder = Recorder(ledger.reception, site=site.name, worker=worker)
        self._side_files = SideFiles(site.layout)
        self._store = Store(site.name, self._spool, self._recorder, self._side_files)
        self._steps = ProcedureSteps(site.name, ledger, lambda: control_file(site.layout.enabled))
        self._open: dict[Any, _Open] = {}
        self._server: _Server | None = None
        self._stow: StowServer | None = None
        self._undo_hooks: Callable[[], None] = lambda: None
        self.side_files_written = False
        """After `stop`: whether the series JSONs are complete; where not, the next start makes them again."""

    def start(self, port: int | None = None) -> tuple[str, int]:
        """Listen on the site's host and `port` (default the site's own; 0 picks one); returns both.

        Raises:
            OSError: the address is taken or not ours.
        """
        self._undo_hooks = pynetdicom_hooks.configure(self._incoming)
        entity = AE(ae_title=self._site.ae_title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.maximum_associations = MAXIMUM_ASSOCIATIONS
        entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
        entity.network_timeout = NETWORK_TIMEOUT_SECONDS
        entity.add_supported_context(Verification)
        entity.add_supported_context(MPPS)
        address = (self._site.host, self._site.port if port is None else port)
        server_class: Any = _Server if self._shared is None else partial(_SharedServer, shared=self._shared)
        server: _Server = entity.make_server(  # type: ignore[assignment]
            address,
            server_class=server_class,
            request_handler=StreamingHandler,
            evt_handlers=[
                *([(evt.EVT_PDU_SENT, send_provider_home)] if self._manner.streamed else []),
                (evt.EVT_CONN_OPEN, self._connected),
                (evt.EVT_CONN_CLOSE, wake_association),
                (evt.EVT_REQUESTED, self._requested),
                (evt.EVT_ESTABLISHED, self._established),
                (evt.EVT_C_STORE, self._c_store),
                *self._steps.handlers(),
                (evt.EVT_RELEASED, lambda event: self._ended(event.assoc)),
            ],
        )
        server.sweep = self._sweep
        server.uploads = self if self._manner.streamed else None
        threading.Thread(target=server.serve_forever, name="acceptor", daemon=True).start()
        self._server = server
        if self._manner.stow is not None:
            from scp_listener.stow_server import StowServer  # a web server is loaded by those who want one

            self._stow = StowServer(self._manner.stow, self._site, self._store, self._incoming)
        host, bound = server.server_address[:2]
        return str(host), int(bound)

    def stop(self, grace_seconds: float) -> bool:
        """Accept no more, let open Associations finish, write what waits; whether all of it was recorded."""
        began = time.time()
        deadline = time.monotonic() + grace_seconds
        if self._server is not None:
            self._server.shutdown()
            for association in self._server.active_associations:
                if not association.is_established:  # a connection that never asked for anything
                    hang_up(association)
            for association in self._server.active_associations:
                association.join(max(0.0, deadline - time.monotonic()))
            for association in self._server.active_associations:
                LOG.warning("an Association did not end in time and is aborted")
                association.abort()
                association.join(5.0)
            self._sweep()
            self._undo_hooks()
        if self._stow is not None:
            self._stow.stop(max(1.0, deadline - time.monotonic()))
        left = max(5.0, deadline - time.monotonic())
        self.side_files_written = self._side_files.stop(left)
        recorded = self._recorder.stop(left)
        if recorded and self.side_files_written and self._shared is None:
            self._spool.mark_recorded(began)
        return recorded

    def _connected(self, event: Any) -> None:
        connection: socket.socket = event.assoc.dul.socket.socket
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(NETWORK_TIMEOUT_SECONDS)  # a peer that vanishes within a PDU must not hold us

    def _requested(self, event: Any) -> None:
        association = event.assoc
        status = admit_association(control_file(self._site.layout.enabled), self._spool.free_bytes())
        if status is Status.SUCCESS:
            for context in association.requestor.primitive.presentation_context_definition_list:
                context.transfer_syntax = by_preference(context.transfer_syntax)
            return
        LOG.warning("an Association was rejected: %s", REASONS[status])
        self._recorder.refused(
            Refusal(self._site.name, int(status), REASONS[status], time.time(), _peer(association))
        )
        association.acse.send_reject(_REJECTED_TRANSIENT, _BY_PRESENTATION, _TEMPORARY_CONGESTION)
        association.kill()  # returns when the rejection is sent

    def _established(self, event: Any) -> None:
        association = event.assoc
        if all(context.abstract_syntax == Verification for context in association.accepted_contexts):
            return  # a heartbeat leaves no trace in the ledger
        opened = _Open(str(uuid.uuid4()), _peer(association))
        self._open[association] = opened
        self._recorder.opened(opened.identity, opened.peer, time.time())

    def begin(self, association: Any, request: StoreRequest) -> Upload | Status:
        """A data set begins (see `data_phase.Uploads`)."""
        opened = self._open.get(association)
        if opened is None:  # it was opened for C-ECHO alone
            return Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
        meta = file_meta(
            request.sop_class_uid,
            request.sop_instance_uid,
            request.transfer_syntax_uid,
            opened.peer.calling_ae,
        )
        return Upload.begin(self._incoming, meta)

    def finish(self, association: Any, upload: Upload, request: StoreRequest) -> Status:
        """A data set is complete."""
        opened = self._open[association]
        return self._store(upload, request, opened.peer, opened.identity)

    def refuse(self, association: Any, status: Status) -> None:
        """A data set was received and not kept."""
        LOG.warning("refused 0x%04X: %s", int(status), REASONS[status])
        peer = _peer(association)
        self._recorder.refused(Refusal(self._site.name, int(status), REASONS[status], time.time(), peer))

    def _c_store(self, event: Any) -> Dataset | int:
        """The end of pynetdicom's own data phase: an upload on the disk, and what the request said of it."""
        request = StoreRequest(
            str(event.request.AffectedSOPClassUID or ""),
            str(event.request.AffectedSOPInstanceUID or ""),
            str(event.context.transfer_syntax),
        )
        opened = self._open[event.assoc]
        place = event.dataset_path
        if place is None:  # a request that says of itself that it has no data set
            status = Status.CANNOT_UNDERSTAND_NOT_DICOM
        else:
            with closing(Upload.complete(Path(place))) as upload:
                status = self._store(upload, request, opened.peer, opened.identity)
        if status is Status.SUCCESS:
            return int(status)
        answer = Dataset()
        answer.Status = int(status)
        answer.ErrorComment = REASONS[status][:64]
        return answer

    def _sweep(self) -> None:
        """Close what ended in another way than by release: aborted, or its connection or thread lost."""
        for association in list(self._open):
            if not association.is_alive():
                self._ended(association)

    def _ended(self, association: Any) -> None:
        opened = self._open.pop(association, None)
        if opened is None:
            return
        outcome = "released" if association.is_released else "aborted" if association.is_aborted else "lost"
        try:
            for upload in pynetdicom_hooks.unfinished_uploads(association):
                upload.unlink(missing_ok=True)
        finally:  # whatever is left over: an Association that stays open holds its studies back for ever
            self._recorder.closed(opened.identity, outcome, time.time())


class _Server(ThreadedAssociationServer):
    """pynetdicom's server with a longer queue, and a look after ended Associations twice a second."""

    request_queue_size = QUEUE

    sweep: Callable[[], None]
    uploads: Uploads | None

    def service_actions(self) -> None:
        super().service_actions()
        try:
            self.sweep()
        except Exception as error:  # noqa: BLE001 — this thread accepts connections: it must outlive any ended one
            LOG.error("an ended Association was not looked after (%s)", type(error).__name__)

    def shutdown(self) -> None:
        """Stop accepting; pynetdicom's own would look for us among the servers that it started itself."""
        BaseServer.shutdown(self)
        self.server_close()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        LOG.error("a connection failed before its Association")


class _SharedServer(_Server):
    """Several processes accept from one listening socket: whoever is free; what waits in it outlives each of them."""

    def __init__(self, *arguments: Any, shared: socket.socket, **more: Any) -> None:
        self._shared = shared
        super().__init__(*arguments, **more)

    def server_bind(self) -> None:
        """The socket was bound, and listens, before this process was."""
        assert isinstance(self.socket, socket.socket)  # noqa: S101  pynetdicom types it as optional
        self.socket.close()
        self.socket = self._shared.dup()
        self.socket.settimeout(0)  # another process may have been quicker
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """It listens already."""

    def server_close(self) -> None:
        """Let go of it, which is no end for the others; with the last one new connections are refused."""
        assert isinstance(self.socket, socket.socket)  # noqa: S101
        self.socket.close()
        self._shared.close()


def _peer(association: Any) -> Peer:
    request = association.requestor.primitive
    return Peer(
        request.calling_ae_title.strip(), request.called_ae_title.strip(), association.requestor.address
    )


def control_file(control: Path) -> str | None:
    """The content of FIONA's `enabled`; None where there is none, `0` where it cannot be read."""
    try:
        return control.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    except OSError:
        return "0"
