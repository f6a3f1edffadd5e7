"""One process of the listener: Associations in, uploads to `Store`, every Association's end into the ledger."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import

from fiona_dagster.adapters.ledger import Ledger
from fiona_dagster.adapters.own_calls import OwnCalls
from fiona_dagster.adapters.received_files import file_meta
from fiona_dagster.adapters.spool import Spool
from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.access import Service
from fiona_dagster.domain.commitment import STORAGE_COMMITMENT
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.reception import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    Peer,
    Refusal,
    StoreRequest,
    by_preference,
)
from fiona_dagster.settings import Site
from scp_listener import pynetdicom_hooks
from scp_listener.acceptor import Acceptor, SharedAcceptor
from scp_listener.clock_steps import ClockSteps
from scp_listener.commitment import CommitmentScp
from scp_listener.commitment_reports import CommitmentReports
from scp_listener.door import Door
from scp_listener.log import LOG
from scp_listener.manner import Company, Manner, control_file
from scp_listener.metering import begin_upload, is_too_large
from scp_listener.mpps import MPPS, ProcedureSteps
from scp_listener.occupancy import Occupancy
from scp_listener.refusals import SparingRecorder
from scp_listener.side_files import SideFiles
from scp_listener.store import Store
from scp_listener.streamed_association import (
    StreamingHandler,
    hang_up,
    peer_of,
    send_provider_home,
    wake_association,
)
from scp_listener.tls import ServerTls

if TYPE_CHECKING:
    from scp_listener.stow_server import StowServer

_BEYOND_REACH = 65_535
"""Of pynetdicom's own limit of Associations: ours is kept by `door`, over all processes."""
ABORTED_SECONDS = 5.0
"""For so long an Association that was aborted may still store what it has."""


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
        company: Company | None = None,
        manner: Manner | None = None,
    ) -> None:
        manner = manner or Manner()
        self._company = company or Company(Occupancy(1))
        self._site, self._worker, self._manner = site, worker, manner
        self._spool = Spool(site.layout, durable=manner.durable)
        self._incoming = self._spool.incoming(worker)
        self._recorder = SparingRecorder(ledger.reception, site=site.name, worker=worker)
        self._side_files = SideFiles(site.layout, self._recorder.clerk)
        self._store = Store(site.name, self._spool, self._recorder, self._side_files)
        own_calls = OwnCalls(site.layout.own_calls)
        own_calls.prepare()
        self._door = Door(
            site.receiver,
            self._company.occupancy.place(self._company.row),
            self._refused,
            lambda: control_file(site.layout.enabled),
            share=self._company.count,
            is_pass=own_calls.redeem,
        )
        may = {one: partial(self._door.may, service=one) for one in Service}
        control = self._door.control
        self._steps = ProcedureSteps(site.name, ledger, control, may[Service.PROCEDURE_STEP])
        self._commitments = CommitmentScp(
            site, ledger, self._recorder, worker=worker, may=may[Service.COMMITMENT]
        )
        self._reports = CommitmentReports(ledger, may=may[Service.COMMITMENT])
        self._clock_steps = ClockSteps(self._spool)
        self._open: dict[Any, _Open] = {}
        self._servers: list[Acceptor] = []
        self._stow: StowServer | None = None
        self._undo_hooks: Callable[[], None] = lambda: None
        self.side_files_written = False
        """After `stop`: whether the series JSONs are complete; where not, the next start makes them again."""

    def start(self, port: int | None = None) -> tuple[str, int]:
        """Listen on the site's host and `port` (default the site's own; 0 picks one), returned, and its TLS port.

        Raises:
            ConfigurationError: certificate or key cannot be used.
            OSError: an address is taken or not ours.
        """
        security = self._site.receiver.tls
        tls = ServerTls(security) if security else None
        self._undo_hooks = pynetdicom_hooks.configure(self._incoming)
        entity = AE(ae_title=self._site.ae_title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.maximum_associations = _BEYOND_REACH
        entity.maximum_pdu_size = self._door.limits.pdu_bytes
        entity.network_timeout = self._door.limits.idle_seconds
        entity.add_supported_context(Verification)
        entity.add_supported_context(MPPS)
        if self._manner.durable:
            # an archive that reports to us is the SCP of its Association (PS3.4 J.3.3)
            entity.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
        ports = (self._site.port if port is None else port, *self._site.ports[1:])
        try:
            for one in ports:
                self._servers.append(self._accept(entity, one, tls if self._servers else None))
        except OSError:
            self.stop(0.0)
            raise
        self._commitments.start()
        if self._manner.stow is not None:
            from scp_listener.stow_server import StowServer  # a web server is loaded by those who want one

            self._stow = StowServer(self._manner.stow, self._site, self._store, self._door, self._incoming)
        host, bound = self._servers[0].server_address[:2]
        return str(host), int(bound)

    @property
    def tls_port(self) -> int | None:
        """The port with TLS, once it listens."""
        return int(self._servers[1].server_address[1]) if len(self._servers) > 1 else None

    def _accept(self, entity: AE, port: int, tls: ServerTls | None) -> Acceptor:
        server_class: Any = Acceptor
        if self._company.sockets:
            server_class = partial(SharedAcceptor, shared=self._company.sockets[len(self._servers)])
        server: Acceptor = entity.make_server(  # type: ignore[assignment]
            (self._site.host, port),
            server_class=server_class,
            request_handler=StreamingHandler,
            evt_handlers=[
                *([(evt.EVT_PDU_SENT, send_provider_home)] if self._manner.streamed else []),
                (evt.EVT_CONN_OPEN, lambda event: self._door.connected(event.assoc)),
                (evt.EVT_CONN_CLOSE, wake_association),
                (evt.EVT_CONN_CLOSE, lambda event: self._door.closed(event.assoc)),
                (evt.EVT_REQUESTED, self._requested),
                (evt.EVT_ESTABLISHED, self._established),
                (evt.EVT_C_STORE, self._c_store),
                *self._steps.handlers(),
                *self._commitments.handlers(),
                *self._reports.handlers(),
                (evt.EVT_RELEASED, lambda event: self._ended(event.assoc)),
            ],
        )
        server.tls = tls
        server.uploads = self if self._manner.streamed else None
        server.threshold, server.turned_away = self._door.threshold, self._turned_away
        server.begun = self._door.begun
        if not self._servers:
            server.sweep = self._sweep
        threading.Thread(target=server.serve_forever, name="acceptor", daemon=True).start()
        return server

    def stop(self, grace_seconds: float) -> bool:
        """Accept no more, let open Associations finish, write what waits; whether all of it was recorded."""
        began = time.time()
        deadline = time.monotonic() + grace_seconds
        for server in self._servers:
            server.shutdown()
        active = [one for server in self._servers for one in server.active_associations]
        for association in active:
            if not association.is_established:  # a connection that never asked for anything
                hang_up(association)
        for association in active:
            await_end(association, deadline - time.monotonic())
        for association in active:
            if association.is_alive():
                LOG.warning("an Association did not end in time and is aborted (%s)", peer_of(association))
                association.abort()
                hang_up(association)  # a peer need not, and then its thread would wait for it
                await_end(association, ABORTED_SECONDS)
        ended = not any(association.is_alive() for association in active)
        self._sweep()
        self._commitments.stop(max(1.0, deadline - time.monotonic()))
        self._undo_hooks()
        if self._stow is not None:
            ended = self._stow.stop(max(1.0, deadline - time.monotonic())) and ended
        left = max(5.0, deadline - time.monotonic())
        self.side_files_written = self._side_files.stop(left)
        # what still stores may be recorded by nobody: the next start looks for it
        recorded = self._recorder.stop(left) and ended
        if recorded and self.side_files_written and not self._company.sockets:
            self._spool.mark_recorded(began)
        return recorded

    def _requested(self, event: Any) -> None:
        association = event.assoc
        if self._door.requested(association):
            for context in association.requestor.primitive.presentation_context_definition_list:
                context.transfer_syntax = by_preference(context.transfer_syntax)

    def _established(self, event: Any) -> None:
        association = event.assoc
        if all(context.abstract_syntax == Verification for context in association.accepted_contexts):
            return  # a heartbeat leaves no trace in the ledger
        opened = _Open(str(uuid.uuid4()), peer_of(association))
        self._open[association] = opened
        self._recorder.opened(opened.identity, opened.peer, time.time())

    def begin(self, association: Any, request: StoreRequest) -> Upload | Status:
        """A data set begins (see `data_phase.Uploads`)."""
        opened = self._open.get(association)
        if opened is None:  # it was opened for C-ECHO alone
            return Status.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
        status = self._admitted(association)
        if status is not Status.SUCCESS:
            return status
        meta = file_meta(
            request.sop_class_uid,
            request.sop_instance_uid,
            request.transfer_syntax_uid,
            opened.peer.calling_ae,
            opened.peer.called_ae,
        )
        return begin_upload(
            self._incoming, meta, self._door, opened.peer.address, durable=self._manner.durable
        )

    def finish(self, association: Any, upload: Upload, request: StoreRequest) -> Status:
        """A data set is complete."""
        self._door.message_ended(association)
        opened = self._open[association]
        return self._store(upload, request, opened.peer, opened.identity)

    def refuse(self, association: Any, status: Status) -> None:
        """A data set was received and not kept."""
        self._door.message_ended(association)
        self._refused(status, REASONS[status], peer_of(association))

    def _admitted(self, association: Any) -> Status:
        """Whether a data set may come, before any of it is written."""
        if not self._door.has_room(self._incoming):
            return Status.OUT_OF_RESOURCES
        return self._door.message_began(association)

    def _refused(self, status: Status, reason: str, peer: Peer) -> None:
        self._recorder.refused(Refusal(self._site.name, int(status), reason, time.time(), peer))

    def _turned_away(self, reason: str, address: str, status: Status = Status.OUT_OF_RESOURCES) -> None:
        self._refused(status, reason, Peer("", "", address))

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
                status = self._admitted(event.assoc)
                self._door.message_ended(event.assoc)
                if status is Status.SUCCESS and is_too_large(upload, self._door.limits):
                    status = Status.OBJECT_TOO_LARGE
                if status is Status.SUCCESS:
                    status = self._store(upload, request, opened.peer, opened.identity)
                else:
                    upload.unlink()
                    self._refused(status, REASONS[status], opened.peer)
        if status is Status.SUCCESS:
            return int(status)
        answer = Dataset()
        answer.Status = int(status)
        answer.ErrorComment = REASONS[status][:64]
        return answer

    def _sweep(self) -> None:
        """Close what ended in another way than by release: aborted, or its connection or thread lost."""
        self._door.sweep()
        self._recorder.sum_up()
        for association in list(self._open):
            if not association.is_alive():
                self._ended(association)
        self._clock_steps.look()

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


def await_end(thread: threading.Thread, seconds: float) -> None:
    """Wait for a thread; that of a connection which came in this moment may be known and not started yet."""
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        try:
            thread.join(max(0.0, left))
        except RuntimeError:  # not started; nothing public tells that apart from starting
            if left <= 0:
                return
            time.sleep(0.01)
        else:
            return
