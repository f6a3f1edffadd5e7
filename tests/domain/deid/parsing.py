"""Data sets of pydicom's on their way through the engine: into a file's bytes, and back from the copy's."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom.dataset import Dataset

from fiona_dagster.adapters.dicom_copies import write_instance
from fiona_dagster.adapters.dicom_files import read_instance
from fiona_dagster.domain.deid.elements import DataSet, find_elements
from fiona_dagster.domain.deid.encoding import EXPLICIT_LITTLE
from fiona_dagster.domain.deid.engine import CleanInstance, Deidentifier
from fiona_dagster.domain.deid.profile import Profile
from tests.domain.deid.planted import engine

_FILE_META = 0x0002


def bytes_of(dataset: Dataset) -> bytes:
    """As it stands in a file: wrong values are the point."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


def reread(dataset: Dataset) -> DataSet:
    """As the engine sees it, pixels and what is behind them included; Explicit VR Little Endian only."""
    content = bytes_of(dataset)
    start = 132 if content[128:132] == b"DICM" else 0
    places, _ = find_elements(content, start, len(content), EXPLICIT_LITTLE)
    inside = {tag: place for tag, place in places.items() if tag >> 16 != _FILE_META}
    return DataSet(content, inside, EXPLICIT_LITTLE)


def cleaned(dataset: Dataset, profile: Profile | None = None, **policy: object) -> CleanInstance:
    """What the engine makes of it."""
    return engine(profile, **policy).clean(reread(dataset))


def copy_bytes(source: Dataset | bytes, made: Deidentifier) -> bytes:
    """The copy's file, made from a file."""
    with TemporaryDirectory() as folder:
        path, target = Path(folder) / "source.dcm", Path(folder) / "copy.dcm"
        path.write_bytes(source if isinstance(source, bytes) else bytes_of(source))
        file = read_instance(path)
        write_instance(target, made.clean(file.dataset, file.behind), file)
        return target.read_bytes()
