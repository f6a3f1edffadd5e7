"""Packages that were delivered, moved aside within the outbox: what lies in the outbox itself is still to go."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from fiona_dagster.adapters.durable import rename_durably
from fiona_dagster.adapters.package_files import manifest_file, md5_file
from fiona_dagster.domain.errors import Permanent
from fiona_dagster.domain.layout import Layout


def put_away(layout: Layout, names: Iterable[str]) -> int:
    """Move packages with their `.md5` and manifest; a crash on the way is mended by the next call, or by building anew.

    Returns:
        How many were moved.

    Raises:
        Permanent: the folder cannot be written.
    """
    moved = 0
    for name in names:
        source, target = layout.outbox / name, layout.delivered / name
        try:
            layout.delivered.mkdir(mode=0o750, exist_ok=True)
            for one, other in (
                (md5_file(source), md5_file(target)),
                (manifest_file(source), manifest_file(target)),
                (source, target),
            ):
                with suppress(FileNotFoundError):
                    rename_durably(one, other)
        except OSError as error:
            raise Permanent(
                f"a delivered package cannot be moved aside ({error.strerror}): give {layout.delivered} to our user"
            ) from None
        moved += 1
    return moved
