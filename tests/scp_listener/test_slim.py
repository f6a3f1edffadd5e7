from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.scp_listener.instances import associate, instance, send


def test_as_a_program_it_loads_nothing_to_decode_pixels_receives_and_stops(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "scp_listener",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            association = associate(int(process.stdout.readline().rpartition(":")[2]))
            assert send(association, instance(1)) == 0
            association.release()
            loaded = Path(f"/proc/{process.pid}/maps").read_text()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert "python" in loaded
    assert not [name for name in ("numpy", "PIL", "gdcm", "openjpeg") if f"/{name}" in loaded]
