"""What we rely on inside pynetdicom: a new version must fail here first, not in a hospital."""

from __future__ import annotations

import inspect
import queue
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pynetdicom
from pynetdicom import acse, association, dimse_messages, fsm, transport
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


def test_the_hooks_can_be_undone_and_leave_temporary_files_of_others_alone(tmp_path: Path) -> None:
    before = (dimse_messages.NamedTemporaryFile, C_STORE.REQUEST_KEYWORDS, tempfile.gettempdir())
    undo = pynetdicom_hooks.configure(tmp_path)
    with dimse_messages.NamedTemporaryFile(suffix=".dcm") as upload:
        assert Path(upload.name).parent == tmp_path
    assert tempfile.gettempdir() == before[2]
    undo()
    assert (dimse_messages.NamedTemporaryFile, C_STORE.REQUEST_KEYWORDS) == before[:2]
