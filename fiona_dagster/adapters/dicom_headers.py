"""Headers of DICOM files for classification: no pixel data, and of every image only what rules and series JSON read."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.errors import Permanent, Reject, Transient

if TYPE_CHECKING:
    from pydicom import Dataset

_SERIES_INSTANCE_UID = 0x0020000E
DEFERRED_BYTES = 1 << 20
"""Values beyond this size stay in the file until somebody asks for them."""


def read_header(path: Path, tags: Collection[int] | None = None) -> Dataset:
    """The data set of a DICOM file without its pixel data; private attributes are kept.

    Files without preamble (PS3.10 section 7.1) are read as well, if they name a SOP Class.

    Args:
        path: a file.
        tags: read only these attributes of the first level; all where None.

    Raises:
        Reject: this is no DICOM file, or one that is cut off.
        Permanent: there is no such file.
        Transient: the file cannot be read now.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    from fiona_dagster.domain.attribute_values import UNREADABLE, silent_reading

    wanted = None if tags is None else [0x00080005, 0x00080016, *sorted(tags)]
    try:
        with silent_reading():
            ds = dcmread(
                path,
                force=True,
                stop_before_pixels=True,
                defer_size=DEFERRED_BYTES,
                specific_tags=wanted,  # type: ignore[arg-type]  # numbers are tags as well
            )
            if "SOPClassUID" in ds or "MediaStorageSOPClassUID" in ds.file_meta:
                return ds
    except FileNotFoundError:
        raise Permanent("an instance's file is gone; have the source send it again") from None
    except OSError as error:
        if error.errno is None:  # pydicom's own, for a data set that breaks off
            raise Reject(Status.CANNOT_UNDERSTAND, "the data set cannot be read to its end") from None
        raise Transient(f"an instance's file cannot be read ({type(error).__name__})") from None
    except (InvalidDicomError, EOFError, zlib.error, *UNREADABLE) as error:
        raise Reject(Status.CANNOT_UNDERSTAND_NOT_DICOM, f"no DICOM file ({type(error).__name__})") from None
    raise Reject(Status.CANNOT_UNDERSTAND_NOT_DICOM, "no DICOM file: it names no SOP Class")


def series_instance_uid(path: Path) -> str:
    """The Series Instance UID of a file.

    Raises:
        Reject: this is no DICOM file, or one of no series.
        Permanent, Transient: as `read_header`.
    """
    from fiona_dagster.domain.attribute_values import element_value, silent_reading, text_of

    ds = read_header(path, (_SERIES_INSTANCE_UID,))
    with silent_reading():
        uid = text_of(element_value(ds, _SERIES_INSTANCE_UID))
    if not uid:
        raise Reject(Status.CANNOT_UNDERSTAND_NO_SERIES_UID, REASONS[Status.CANNOT_UNDERSTAND_NO_SERIES_UID])
    return uid


def read_series(paths: Iterable[Path], tags: Collection[int] | None = None) -> Iterator[Dataset]:
    """The headers of a series one after the other, so that thousands of images never stand in memory together.

    Raises:
        Reject, Permanent, Transient: as `read_header`.
    """
    for path in paths:
        yield read_header(path, tags)
