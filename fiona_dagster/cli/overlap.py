"""Originals, copies, and what leads from the one to the other have places of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def refuse_overlap(source: Path, target: Path, secrets: Mapping[str, Path | None]) -> None:
    """Originals and copies never share a folder, and what leads back to originals does not travel with copies.

    Raises:
        ConfigurationError: `source` and `target`, or the folder of its proofs, are the same or one lies in the other;
            a file of `secrets`, by their options, lies in one of the latter two.
    """
    from fiona_dagster.adapters.proofs import proofs_folder
    from fiona_dagster.domain.errors import ConfigurationError

    originals = source.resolve()
    for name, folder in (("OUT", target.resolve()), ("OUT.proofs", proofs_folder(target).resolve())):
        if originals == folder or originals in folder.parents or folder in originals.parents:
            raise ConfigurationError(
                f"IN and {name} are the same, or one lies in the other: originals would mix with copies",
                place=str(folder),
                remedy="choose a folder OUT that lies elsewhere",
            )
        for option, file in secrets.items():
            if file is not None and folder in file.resolve().parents:
                raise ConfigurationError(
                    f"the file of {option} lies in {name}, and leads from copies back to originals",
                    place=str(file),
                    remedy="keep it elsewhere",
                )
