"""The house stays as it is drawn in ARCHITECTURE.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("fiona_dagster/**/*.py"), *ROOT.glob("scp_listener/**/*.py")])
FORBIDDEN_NAMES = {"utils", "common", "core", "helper", "helpers", "manager"}
LINES = 400


def test_the_root_package_imports_nothing() -> None:
    assert (ROOT / "fiona_dagster/__init__.py").read_text().strip() == ""


@pytest.mark.parametrize(
    "module", ["scp_listener.__main__", "fiona_dagster.adapters.ledger", "fiona_dagster.settings"]
)
def test_reception_runs_without_dagster(module: str) -> None:
    code = f"import {module}, sys; sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_directions_of_imports_hold() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_no_module_is_a_drawer_for_everything() -> None:
    assert [str(path) for path in SOURCES if path.stem in FORBIDDEN_NAMES] == []


def test_modules_can_be_read_in_one_sitting() -> None:
    long = {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > LINES}
    assert long == {}


def test_only_settings_reads_the_environment() -> None:
    """Children's environments are composed in the command line; nothing else looks at it."""
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    allowed = {"fiona_dagster/settings.py", "fiona_dagster/cli/processes.py", "fiona_dagster/cli/dagster_home.py",
               "fiona_dagster/cli/up.py", "fiona_dagster/cli/demo.py"}  # fmt: skip
    assert readers <= allowed


def test_only_verification_makes_a_verified_study() -> None:
    """Publishing before checking is a type error; this keeps the type from being made elsewhere."""
    makers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) == "VerifiedStudy"
    }
    assert makers == {"fiona_dagster/domain/verification.py"}
