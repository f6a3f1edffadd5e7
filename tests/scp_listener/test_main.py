from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fiona_dagster.domain.layout import Layout
from scp_listener.__main__ import main
from tests.scp_listener.conftest import Start
from tests.scp_listener.instances import SERIES, STUDY, associate, instance, send


def test_a_disabled_receiver_does_not_start(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    layout.enabled.write_text("011")
    assert main(["--data-dir", str(layout.datadir), "--port", "0"]) == 1
    assert "switched off" in capsys.readouterr().err


def test_without_a_data_directory_the_listener_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert "--data-dir" in capsys.readouterr().err


def test_a_folder_whose_configuration_restricts_is_not_served_without_it(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    layout.config.mkdir(parents=True, exist_ok=True)
    (layout.config / "config.json").write_text(json.dumps({"ACCESS": {"called": ["FIONA"]}}))
    assert main(["--data-dir", str(layout.datadir), "--port", "0"]) == 1
    assert "run --site ABCD --config" in capsys.readouterr().err


def test_every_site_has_its_own_data_directory(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps(
            {
                "DATADIR": str(tmp_path / "data"),
                "DICOMIP": "127.0.0.1",
                "DICOMPORT": 11112,
                "SITES": {"P2": {"DICOMIP": "127.0.0.1", "DICOMPORT": 11113, "DICOMAETITLE": "FIONAP2"}},
            }
        )
    )
    for site, folder in (("ABCD", "data"), ("P2", "dataP2")):
        listener = start("--site", site, "--config", str(config), data_dir=tmp_path / folder)
        association = associate(listener.port)
        assert send(association, instance(1)) == 0
        association.release()
        assert listener.stop() == 0
        assert listener.layout.archived_instance(STUDY, f"{SERIES}.1").is_file()
    listener.layout = Layout(tmp_path / "data")
    assert listener.query("select site from instance order by 1") == [("ABCD",), ("P2",)]


def test_a_certificate_that_cannot_be_read_is_told_once_and_nothing_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    tls = {"port": 0, "certificate": str(tmp_path / "none.pem"), "key": str(tmp_path / "none.key")}
    content = {"DATADIR": str(tmp_path / "data"), "DICOMIP": "127.0.0.1", "DICOMPORT": 0, "TLS": tls}
    config.write_text(json.dumps(content))
    assert main(["--site", "ABCD", "--config", str(config), "--port", "0"]) == 1
    told = capfd.readouterr().err
    assert "none.pem" in told
    assert "Traceback" not in told


def test_a_predecessor_that_finishes_is_waited_for_and_that_is_said(start: Start, tmp_path: Path) -> None:
    first = start()
    arguments = [sys.executable, "-m", "scp_listener", "--port", "0", "--data-dir", str(first.layout.datadir)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
        assert second.stderr is not None
        assert second.stdout is not None
        assert "another listener works in this data directory" in second.stderr.readline()
        assert first.stop() == 0
        assert second.stdout.readline().startswith("listening on ")
        second.terminate()
        assert second.wait(30) == 0


def test_the_listener_never_imports_dagster() -> None:
    code = "import scp_listener.workers, scp_listener.__main__, sys; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
