"""pydicom/deid over a folder, in one process: `python deid_peer.py RECIPE IN OUT`, run by its own interpreter.

Its own command keeps every data set in memory and reads each file twice; this is its library, file by file, with one
recipe loaded once, which is how it is used for many images.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deid.config import DeidRecipe  # type: ignore[import-not-found]
from deid.dicom import replace_identifiers  # type: ignore[import-not-found]

if __name__ == "__main__":
    recipe = DeidRecipe(deid=sys.argv[1])
    for path in sorted(Path(sys.argv[2]).iterdir()):
        replace_identifiers(
            [str(path)],
            deid=recipe,
            save=True,
            output_folder=sys.argv[3],
            overwrite=True,
            remove_private=True,
        )
