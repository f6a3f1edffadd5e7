"""The command line as people and scripts meet it: quick, with help, and with errors of one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fiona_dagster.cli.main import COMMANDS, fiona

HEAVY = ("dagster", "pydicom", "pynetdicom", "sqlalchemy", "paramiko", "pandas", "numpy", "requests")


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    code = "import sys; from fiona_dagster.cli.main import main; sys.argv[0] = 'fiona'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), **(environment or {})},
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [["--help"], ["status", "--help"], ["export", "--help"], ["doctor", "-h"]]
)
def test_help_loads_no_library_that_takes_time(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom fiona_dagster.cli.main import fiona\n"
        f"fiona({arguments!r}, standalone_mode=False)\n"
        f"sys.exit(', '.join(name for name in {HEAVY!r} if name in sys.modules) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "Usage:" in result.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_its_options_too(name: str) -> None:
    context = fiona.make_context("fiona", [name])
    command = fiona.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert command.help
    for parameter in command.params:
        assert parameter.param_type_name == "argument" or getattr(parameter, "help", None), parameter.name
    assert CliRunner().invoke(fiona, [name, "--help"]).exit_code == 0


def test_the_overview_names_every_command() -> None:
    shown = CliRunner().invoke(fiona, ["--help"]).output
    assert [name for name in COMMANDS if f"  {name}" not in shown] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status"], "there is no ledger in"),
        (["find", "anything"], "there is no ledger in"),
        (["resend", "20260101-0123456789ab"], "there is no ledger in"),
        (["status", "--config", "/nowhere/config.json"], "cannot be read"),
        (["export"], "there is no ledger in"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = run(*arguments, environment={"FIONA_DATADIR": str(tmp_path)})
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("fiona: ")
    assert said in line
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"


def test_a_configuration_that_is_no_json_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{\n "DATADIR": oops\n}')
    result = run("status", "--config", str(tmp_path / "config.json"))
    assert result.returncode == 2
    assert f"{tmp_path}/config.json:2" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_ledger_that_is_down_is_told_without_its_password(tmp_path: Path) -> None:
    from tests.conftest import free_port

    (tmp_path / "config.json").write_text(json.dumps({"DATADIR": str(tmp_path)}))
    result = run("status", "--config", str(tmp_path / "config.json"),
                 environment={"FIONA_LEDGER_URL": f"postgresql://fiona:hush@127.0.0.1:{free_port()}/x"})  # fmt: skip
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "cannot be opened" in line
    assert "hush" not in line


def test_an_unknown_command_is_a_mistake_of_the_caller() -> None:
    result = run("nonsense")
    assert result.returncode == 2
    assert "No such command" in result.stderr


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert CliRunner().invoke(fiona, ["--version"]).output == f"fiona, version {version('fiona-dagster')}\n"
