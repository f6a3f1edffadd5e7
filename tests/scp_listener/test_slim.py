from __future__ import annotations

from pathlib import Path

from tests.scp_listener.conftest import Running


def test_a_listener_loads_nothing_to_decode_pixels(listener: Running) -> None:
    loaded = Path(f"/proc/{listener.process.pid}/maps").read_text()
    assert "python" in loaded
    assert not [name for name in ("numpy", "PIL", "gdcm", "openjpeg") if f"/{name}" in loaded]
