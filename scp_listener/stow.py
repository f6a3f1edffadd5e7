"""STOW-RS, the second door of reception: Store requests of DICOMweb (PS3.18 section 10.5).

An instance goes the same way as one that a C-STORE brought, `Store`; a request counts as an Association, so that a
study has not arrived while one is under way that brings it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from python_multipart.multipart import parse_options_header
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fiona_dagster.domain.access import Rejection
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.identifiers import is_safe_uid_path
from fiona_dagster.domain.reception import Peer, Refusal, is_enabled
from fiona_dagster.domain.stow import StowSettings
from fiona_dagster.settings import Site
from scp_listener import stow_answer
from scp_listener.door import Door
from scp_listener.log import LOG
from scp_listener.manner import control_file
from scp_listener.store import Store
from scp_listener.stow_access import Denied, StowAccess
from scp_listener.stow_intake import Intake, Malformed, Receiving, TooLarge

RETRY_SECONDS = 60
_MALFORMED = {
    400: Status.CANNOT_UNDERSTAND,
    413: Status.OBJECT_TOO_LARGE,
    415: Status.CANNOT_UNDERSTAND_NOT_DICOM,
}
"""Requests that are refused before their bodies are read, by HTTP status."""
NAMES = "certificate_names"
"""Key of the ASGI scope: the names in the client's verified certificate (see `access.certificate_names`)."""

_DICOM = b"application/dicom"


class _TooSlow(Exception):
    pass


@dataclass(frozen=True)
class StowDoor:
    """Answers Store requests; `application` is for an ASGI server."""

    settings: StowSettings
    access: StowAccess
    site: Site
    store: Store
    door: Door
    """The limits that it shares with Associations."""
    folder: Path
    """Where this process writes what it is receiving."""

    def application(self) -> Starlette:
        """POST /studies and /studies/{study}; everything else is 404 or 405."""
        return Starlette(
            routes=[
                Route("/studies", self._post, methods=["POST"]),
                Route("/studies/{study}", self._post, methods=["POST"]),
            ]
        )

    async def _post(self, request: Request) -> Response:
        address = request.client.host if request.client else ""
        try:
            sender = self.access.sender(
                request.headers.get("authorization", ""),
                address,
                request.scope.get(NAMES, frozenset()),
                is_tls=request.url.scheme == "https",
            )
        except Denied as denied:
            self._record(Status.REFUSED_NOT_AUTHORISED, denied.reason, Peer(denied.ae_title, "", address))
            fields = {"WWW-Authenticate": 'Bearer realm="STOW-RS"'} if denied.status == 401 else None
            return _plain(denied.status, denied.reason, fields)
        peer = Peer(sender.caller.ae_title, sender.called_ae, address)
        refused = self._refused(request, peer)
        if refused is not None:
            if refused.status_code in _MALFORMED:
                self._record(_MALFORMED[refused.status_code], bytes(refused.body).decode().strip(), peer)
            return refused
        _, parameters = parse_options_header(request.headers.get("content-type"))
        receiving = Receiving(
            store=self.store,
            folder=self.folder,
            peer=peer,
            association_id=str(uuid.uuid4()),
            study_instance_uid=request.path_params.get("study", ""),
            instance_bytes=self.door.limits.object_bytes,
            has_room=lambda: self.door.has_room(self.folder),
            request_bytes=self.settings.request_bytes,
        )
        try:
            intake = Intake(parameters.get(b"boundary", b""), receiving)
        except Malformed:
            reason = "the Content-Type has no boundary that can be used"
            self._record(Status.CANNOT_UNDERSTAND_NOT_DICOM, reason, peer)
            return _plain(400, reason)
        full = self.door.enter(address)
        if full is not None:
            self._record(Status.OUT_OF_RESOURCES, full.reason, peer)
            return _plain(503, full.reason, {"Retry-After": str(RETRY_SECONDS)})
        try:
            return await self._receive(request, intake, receiving)
        finally:
            self.door.leave(address)

    def _refused(self, request: Request, peer: Peer) -> Response | None:
        """An answer that needs no look into the body."""
        media, parameters = parse_options_header(request.headers.get("content-type"))
        if media != b"multipart/related" or parameters.get(b"type", _DICOM).lower() != _DICOM:
            return _plain(
                415,
                'only multipart/related; type="application/dicom" is taken: send whole DICOM files, '
                "not metadata and bulk data apart",
            )
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            return _plain(415, "a Content-Encoding is not taken")
        if "study" in request.path_params and not is_safe_uid_path(request.path_params["study"]):
            return _plain(400, "the study in the path is no UID")
        length = request.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > self.settings.request_bytes:
            return _plain(413, "a request of this length is not taken")
        return self._unavailable(int(length), peer)

    def _unavailable(self, length: int, peer: Peer) -> Response | None:
        if not is_enabled(control_file(self.site.layout.enabled)):
            status, reason = Status.REFUSED_NOT_AUTHORISED, Rejection.SWITCHED_OFF.reason
        elif not (self.door.has_room(self.folder, more=length) and self.store.recorder.has_room()):
            status, reason = Status.OUT_OF_RESOURCES, REASONS[Status.OUT_OF_RESOURCES]
        else:
            return None
        self._record(status, reason, peer)
        return _plain(503, reason, {"Retry-After": str(RETRY_SECONDS)})

    def _record(self, status: Status, reason: str, peer: Peer) -> None:
        self.store.recorder.refused(Refusal(self.site.name, int(status), reason, time.time(), peer))

    async def _receive(self, request: Request, intake: Intake, receiving: Receiving) -> Response:
        recorder, identity = self.store.recorder, receiving.association_id
        recorder.opened(identity, receiving.peer, time.time())
        outcome, status = "lost", 0
        try:
            async for chunk in self._chunks(request):
                before = len(intake.outcomes)
                await run_in_threadpool(intake.feed, chunk)
                objects = len(intake.outcomes) - before
                wait = self.door.seconds_to_wait(receiving.peer.address, len(chunk), objects=objects)
                if wait:
                    await asyncio.sleep(wait)
            outcome = "released"
        except ClientDisconnect:
            outcome = "aborted"
            LOG.warning("a Store request ended before its end")
        except (Malformed, _TooSlow):
            outcome = "aborted"
        except TooLarge:
            outcome, status = "aborted", 413
        except (
            asyncio.CancelledError
        ):  # the listener stops; the sender learns what was stored, and sends the rest again
            outcome, status = "aborted", 503
        finally:
            # A thread that still stores is waited for: its record comes first.
            # What we cut ourselves is no fault of the instance: its sender is to send it again.
            intake.close(Status.OUT_OF_RESOURCES if status == 503 else Status.CANNOT_UNDERSTAND)
            recorder.closed(identity, outcome, time.time())
        outcomes = intake.outcomes
        status = status or stow_answer.http_status(outcomes, whole=intake.complete and outcome == "released")
        if not outcomes:
            return _plain(status, "no instance was found in the request")
        kind = stow_answer.media_type(request.headers.get("accept", ""))
        content = stow_answer.body(
            outcomes, kind
        )  # no await: a task that was cancelled is cancelled again there
        fields = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
        return Response(content, status, fields, kind)

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        stream = request.stream().__aiter__()
        while True:
            try:
                async with asyncio.timeout(self.site.receiver.limits.idle_seconds):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                LOG.warning("a Store request of which nothing came is ended")
                raise _TooSlow from None
            if chunk:
                yield chunk


def _plain(status: int, reason: str, fields: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{reason}\n", status, fields)
