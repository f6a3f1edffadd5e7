"""Uploads whose size or speed is limited; without such a limit nothing stands between the network and the file."""

from __future__ import annotations

import errno
import time
from functools import partial
from pathlib import Path

from fiona_dagster.adapters.uploads import Upload
from fiona_dagster.domain.dimse_status import REASONS, Status
from fiona_dagster.domain.limits import Limits
from scp_listener.door import Door


class ObjectTooLarge(OSError):
    """A data set is larger than may come; its sender is told `status`."""

    status = Status.OBJECT_TOO_LARGE

    def __init__(self) -> None:
        super().__init__(errno.EFBIG, REASONS[self.status])


class MeteredUpload(Upload):
    """An upload that takes no more than it may, no faster than it may."""

    door: Door
    address: str

    def write(self, fragment: memoryview) -> None:
        limits = self.door.limits
        if limits.object_bytes and self.size + len(fragment) > limits.object_bytes:
            raise ObjectTooLarge
        super().write(fragment)
        if limits.bytes_per_second:
            time.sleep(self.door.seconds_to_wait(self.address, len(fragment)))


def begin_upload(folder: Path, meta: bytes, door: Door, address: str, *, durable: bool) -> Upload:
    """A new upload in `folder`, metered where the site says so.

    Raises:
        OSError: it cannot be made.
    """
    limits = door.limits
    upload: Upload
    if limits.object_bytes or limits.bytes_per_second:
        upload = metered = MeteredUpload.begin(folder, meta)
        metered.door, metered.address = door, address
    else:
        upload = Upload.begin(folder, meta)
    upload.has_room, upload.goes_to_disk = partial(door.has_room, folder), durable
    return upload


def is_too_large(upload: Upload, limits: Limits) -> bool:
    """Whether a complete upload is larger than may come."""
    return bool(limits.object_bytes) and upload.size > limits.object_bytes
