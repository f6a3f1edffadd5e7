from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fiona_dagster.cli.redcap import redcap

MAIN = [sys.executable, "-c", "from fiona_dagster.cli.main import main; main()", "redcap"]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a server started as an operator would."""
    command = [
        *MAIN,
        "serve",
        "--data",
        str(tmp_path / "r.sqlite"),
        "--super-token-file",
        str(tmp_path / "super"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_serve_provision_check(url: str, tmp_path: Path) -> None:
    assert url.endswith("/api/")
    tokens = ["--tokens-dir", str(tmp_path / "tokens")]
    made = CliRunner().invoke(
        redcap,
        ["provision", "--url", url, "--super-token-file", str(tmp_path / "super"), *tokens],
        env={"FIONA_DATADIR": str(tmp_path)},
    )
    assert made.exit_code == 0, made.output
    section = json.loads(made.stdout)
    assert section["project_ids"]["Incoming"] != section["project_ids"]["Routing"]
    assert section["tokens"]["Incoming"] == f"file:{tmp_path / 'tokens' / 'Incoming.token'}"
    assert (tmp_path / "tokens" / "Incoming.token").read_text().strip() not in made.output
    # its calls are counted with the gateway's, in one place
    assert [path.parent for path in tmp_path.rglob(".redcap-calls")] == [tmp_path]
    good = CliRunner().invoke(redcap, ["check", "--url", url, *tokens], env={"FIONA_DATADIR": str(tmp_path)})
    assert good.exit_code == 0, good.output
    (tmp_path / "tokens" / "Incoming.token").unlink()
    bad = CliRunner().invoke(redcap, ["check", "--url", url, *tokens], env={"FIONA_DATADIR": str(tmp_path)})
    assert bad.exit_code == 1
    assert "missing" in bad.output


def test_check_reads_config_json(url: str, tmp_path: Path) -> None:
    arguments = [
        "--url",
        url,
        "--super-token-file",
        str(tmp_path / "super"),
        "--tokens-dir",
        str(tmp_path / "t"),
    ]
    made = CliRunner().invoke(redcap, ["provision", *arguments])
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"DATADIR": str(tmp_path / "d"), "REDCAP": json.loads(made.stdout)}))
    assert CliRunner().invoke(redcap, ["check", "--config", str(config)]).exit_code == 0


def test_check_without_a_redcap_says_what_to_do(tmp_path: Path) -> None:
    command = [*MAIN, "check", "--config", str(tmp_path / "config.json")]
    (tmp_path / "config.json").write_text("{}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no REDCap is configured" in done.stderr
