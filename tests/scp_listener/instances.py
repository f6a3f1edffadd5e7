"""Small SOP Instances, files of them, and one C-STORE with any bytes as its data set."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE

from fiona_dagster.embedded.pacs_responses import leave_responses_to_the_sender

STUDY, SERIES = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.1.1"
ABORTED = -1
ONLY_SENDS = (evt.EVT_ESTABLISHED, leave_responses_to_the_sender)
"""For a requestor that takes no requests: else pynetdicom's thread takes a response away, once in some thousands."""
PEER_AE = "SCANNER1"


def instance(number: int = 1, **attributes: Any) -> Dataset:
    """A CT image of 32 bytes; `attributes` by keyword, None takes one away."""
    dataset = Dataset()
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{SERIES}.{number}",
        "StudyDate": "20240131",
        "StudyTime": "101500",
        "AccessionNumber": "ACC1",
        "Modality": "CT",
        "Manufacturer": "Maker",
        "PatientName": "Doe^Jane",
        "PatientID": "PAT1",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "InstanceNumber": number,
        "Rows": 4,
        "Columns": 4,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": bytes(range(32)),
        **attributes,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OW"
    return dataset


def encoded(dataset: Dataset, *, implicit: bool = False) -> bytes:
    """The data set in Explicit (or Implicit) VR Little Endian."""
    from pydicom.filebase import DicomBytesIO

    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, implicit
    write_dataset(stream, dataset)
    return bytes(stream.getvalue())


def write(path: Path, dataset: Dataset, *, implicit: bool = False) -> Path:
    """A DICOM file of `dataset`."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    FileDataset(str(path), dataset, file_meta=meta, preamble=b"\0" * 128).save_as(
        path, enforce_file_format=True
    )
    return path


def associate(port: int, *contexts: str, called: str = "FIONA") -> Any:
    """An Association with Explicit VR Little Endian for `contexts` (default: CT images)."""
    entity = AE(ae_title=PEER_AE)
    for sop_class in contexts or (str(CTImageStorage),):
        entity.add_requested_context(sop_class, ExplicitVRLittleEndian)
    return entity.associate("127.0.0.1", port, ae_title=called, evt_handlers=[ONLY_SENDS])


def send(association: Any, dataset: Dataset) -> int:
    """The Status of a C-STORE of `dataset`."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    answer = association.send_c_store(dataset)
    return int(answer.Status)


def send_bytes(
    association: Any, data: bytes, *, sop_instance_uid: str, sop_class_uid: str = str(CTImageStorage)
) -> tuple[int, str]:
    """Status and Error Comment of a C-STORE whose data set is `data`, whatever that is."""
    request = C_STORE()
    request.MessageID = 7
    request.AffectedSOPClassUID = sop_class_uid
    request.AffectedSOPInstanceUID = sop_instance_uid
    request.Priority = 2
    request.DataSet = io.BytesIO(data) if data else None
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.001)
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    if answer is None:
        return ABORTED, ""
    return int(answer.Status), str(answer.ErrorComment or "")
