"""What we rely on inside pynetdicom: a new version must fail here first, not in a hospital."""

from __future__ import annotations

import inspect
import queue
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pynetdicom
import pytest
from pynetdicom import acse, association, dimse_messages, dul, fsm, timer, transport
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE

from scp_listener import pynetdicom_hooks


def test_pynetdicom_is_the_version_that_the_hooks_were_written_for() -> None:
    assert pynetdicom.__version__ == "3.0.4"


def test_a_data_set_is_written_by_the_names_that_we_replace() -> None:
    source = inspect.getsource(dimse_messages.DIMSEMessage.decode_msg)
    assert "STORE_RECV_CHUNKED_DATASET" in source
    assert 'NamedTemporaryFile(delete=False, mode="wb", suffix=".dcm")' in source
    assert "write_file_meta_info(" in source
    assert "create_file_meta(" in source
    for keyword in ("sop_class_uid=", "sop_instance_uid=", "transfer_syntax="):
        assert keyword in source
    for name in ("NamedTemporaryFile", "write_file_meta_info", "create_file_meta"):
        assert hasattr(dimse_messages, name)


def test_what_is_left_of_a_broken_association_is_found_by_these_names() -> None:
    assert "self._data_set_path" in inspect.getsource(dimse_messages.DIMSEMessage.decode_msg)
    assert "primitive._dataset_path" in inspect.getsource(dimse_messages.DIMSEMessage.message_to_primitive)
    source = inspect.getsource(DIMSEServiceProvider)
    assert "self.message.decode_msg(primitive, self.assoc)" in source
    assert "self.msg_queue.put((context_id" in source


def test_requests_are_judged_by_keywords_of_their_class() -> None:
    assert C_STORE.REQUEST_KEYWORDS[:3] == ("MessageID", "AffectedSOPClassUID", "AffectedSOPInstanceUID")
    assert "self.REQUEST_KEYWORDS" in inspect.getsource(C_STORE.is_valid_request.fget)  # type: ignore[arg-type]


def test_any_storage_class_is_accepted_with_the_first_transfer_syntax_proposed() -> None:
    assert "UNRESTRICTED_STORAGE_SERVICE" in inspect.getsource(acse.ACSE)
    assert "UNRESTRICTED_STORAGE_SERVICE" in inspect.getsource(association.Association._serve_request)
    assert hasattr(transport.ThreadedAssociationServer, "service_actions")


def test_an_association_whose_connection_was_lost_leaves_its_uploads_and_no_error() -> None:
    """pynetdicom puts (None, None) into the queue of requests when the connection goes."""
    waiting: queue.Queue[tuple[object, object]] = queue.Queue()
    waiting.put((1, SimpleNamespace(_dataset_path=Path("/a"))))
    waiting.put((3, SimpleNamespace()))
    waiting.put((None, None))
    message = SimpleNamespace(_data_set_path=Path("/b"))
    lost = SimpleNamespace(dimse=SimpleNamespace(msg_queue=waiting, message=message))
    assert pynetdicom_hooks.unfinished_uploads(lost) == [Path("/a"), Path("/b")]
    assert "msg_queue.put((None, None))" in inspect.getsource(fsm)


def test_our_data_phase_takes_over_where_the_polling_loop_would_begin() -> None:
    source = inspect.getsource(association.Association.run_reactor)
    assert source.index("self.acse.negotiate_association()") < source.index("self._run_reactor()")
    assert "self._server.shutdown_request(sock.socket)" in source
    for name in ("_kill", "_is_paused", "_reactor_checkpoint", "_accepted_cx"):
        assert f"self.{name}" in inspect.getsource(association.Association), name
    loop = inspect.getsource(association.Association._run_reactor)
    for step in (
        "self.dimse.get_msg(block=False)",
        "self._serve_request(msg",
        "self.acse.is_release_requested()",
        "self.acse.send_release(is_response=True)",
        "evt.trigger(self, evt.EVT_RELEASED",
        "self.acse.is_aborted()",
        "evt.trigger(self, evt.EVT_ABORTED",
    ):
        assert step in loop, step


def test_the_upper_layer_can_be_driven_without_its_thread() -> None:
    reactor = inspect.getsource(dul.DULServiceProvider.run_reactor)
    assert "if self._kill_thread:\n                break" in reactor
    assert reactor.index("self._process_recv_primitive()") < reactor.index("self._is_transport_event()")
    assert "self.state_machine.do_action(event)" in reactor
    sent = inspect.getsource(dul.DULServiceProvider._send)
    assert sent.index("self.socket.send(pdu.encode())") < sent.index("evt.EVT_PDU_SENT")
    read = inspect.getsource(dul.DULServiceProvider._read_pdu_data)
    assert read.count("self.socket.recv(") == 2
    assert 'self.event_queue.put("Evt17")' in read
    assert 'self.event_queue.put("Evt19")' in read
    assert "dul.assoc.dimse.receive_primitive(" in inspect.getsource(fsm.DT_2)
    table = fsm.TRANSITION_TABLE
    assert [table[(event, "Sta6")] for event in ("Evt9", "Evt10", "Evt12", "Evt15", "Evt16", "Evt17", "Evt19")] == [
        "DT-1", "DT-2", "AR-2", "AA-1", "AA-3", "AA-4", "AA-8",
    ]  # fmt: skip
    assert table[("Evt17", "Sta13")] == "AR-5"


def test_the_server_makes_associations_where_we_adopt_them() -> None:
    source = inspect.getsource(transport.RequestHandler._create_association)
    assert "AssociationSocket(assoc, client_socket=self.request)" in source
    assert "assoc.set_socket(sock)" in source
    assert "assoc.start()" in inspect.getsource(transport.RequestHandler.handle)
    assert "EVT_CONN_CLOSE" in inspect.getsource(fsm.AA_5)


def test_setting_the_clock_ends_no_association(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {name: getattr(one, "fget", one) for name, one in vars(timer.Timer).items()}
    of_the_day = [
        name
        for name, one in parts.items()
        if inspect.isfunction(one) and "time.time()" in inspect.getsource(one)
    ]
    assert sorted(of_the_day) == ["remaining", "start", "stop"]
    assert set(of_the_day) <= set(vars(pynetdicom_hooks.SteadyTimer))
    association = SimpleNamespace(
        dul=SimpleNamespace(artim_timer=timer.Timer(30), _idle_timer=timer.Timer(None))
    )
    pynetdicom_hooks.steady_timers(association)
    watched, unlimited = association.dul.artim_timer, association.dul._idle_timer
    assert (watched.timeout, watched.remaining, unlimited.remaining) == (30, 30, 1)
    watched.start()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400.0)
    assert not watched.expired
    begun = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: begun + 31.0)
    assert watched.expired
    watched.stop()
    assert watched.remaining < 0
    source = inspect.getsource(dul.DULServiceProvider)
    assert source.count("Timer(") == 2


def test_the_hooks_can_be_undone_and_leave_temporary_files_of_others_alone(tmp_path: Path) -> None:
    before = (dimse_messages.NamedTemporaryFile, C_STORE.REQUEST_KEYWORDS, tempfile.gettempdir())
    undo = pynetdicom_hooks.configure(tmp_path)
    with dimse_messages.NamedTemporaryFile(suffix=".dcm") as upload:
        assert Path(upload.name).parent == tmp_path
    assert tempfile.gettempdir() == before[2]
    undo()
    assert (dimse_messages.NamedTemporaryFile, C_STORE.REQUEST_KEYWORDS) == before[:2]
