"""The systemd units: accepted by systemd itself, hardened alike, and what they start exists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import need_program

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
INSTALLED = "/opt/fiona-dagster/.venv/bin"


def lines(unit: Path) -> list[str]:
    return [line for line in unit.read_text().splitlines() if line and not line.startswith("#")]


def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    analyze = need_program("systemd-analyze")
    binaries = Path(sys.executable).parent
    made = []
    for unit in UNITS:
        text = unit.read_text().replace(INSTALLED, str(binaries)).replace("=fiona\n", "=root\n")
        made.append(tmp_path / unit.name.replace("@.", "@ABCD."))
        made[-1].write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", *map(str, made)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "fiona" in line]
    assert not ours, "\n".join(ours)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_restarts_is_hardened_and_writes_to_the_data_directory_alone(unit: Path) -> None:
    assert {
        "User=fiona", "Restart=always", "StartLimitIntervalSec=0", "NoNewPrivileges=true", "ProtectSystem=strict",
        "ReadWritePaths=/data", "PrivateTmp=true", "CapabilityBoundingSet=", "UMask=0027", "LimitNOFILE=65536",
        "RequiresMountsFor=/data",
    } <= set(lines(unit))  # fmt: skip


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_what_a_unit_starts_exists(unit: Path) -> None:
    (command,) = [line.removeprefix("ExecStart=") for line in lines(unit) if line.startswith("ExecStart=")]
    program = Path(command.split()[0].replace(INSTALLED, str(Path(sys.executable).parent)))
    assert program.exists()


@pytest.mark.parametrize("name", ["fiona-web.service", "fiona-web-read-only.service", "fiona-code.service"])
def test_dagster_has_no_login_and_stays_on_loopback(name: str) -> None:
    (command,) = [line for line in lines(DEPLOY / name) if line.startswith("ExecStart=")]
    assert " 127.0.0.1 " in command
    assert ("--read-only" in command) == ("read-only" in name)


def test_the_workspace_names_the_code_server_of_the_unit() -> None:
    (entry,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    command = (DEPLOY / "fiona-code.service").read_text()
    assert f"--port {entry['grpc_server']['port']}" in command
    assert entry["grpc_server"]["location_name"] == "fiona"
