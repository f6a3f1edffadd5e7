"""Imported before pydicom by a listener's processes: what pydicom would load to decode pixels, which they never do.

It does without each of them, as where they are not installed; 40 MB of memory for every process, and most of the time
that a start takes.
"""

from __future__ import annotations

import sys

UNNEEDED = ("numpy", "PIL", "gdcm", "pylibjpeg", "openjpeg", "libjpeg", "rle", "jpeg_ls", "requests")

for _name in UNNEEDED:
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]  # an import of it raises ModuleNotFoundError
