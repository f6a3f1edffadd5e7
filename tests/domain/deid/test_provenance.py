"""The digest of the engine is another one where anything that decides is another one."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from fiona_dagster.domain.deid import provenance
from fiona_dagster.domain.deid.dictionary import EDITION
from fiona_dagster.domain.deid.provenance import engine_digest
from fiona_dagster.domain.deid.table import table_bytes


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    engine_digest.cache_clear()
    yield
    engine_digest.cache_clear()


@pytest.mark.parametrize(
    "table", [f"dictionary_{EDITION}.csv", f"registered_uids_{EDITION}.csv", "unlisted.csv"]
)
def test_another_table_is_another_engine(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = engine_digest()
    engine_digest.cache_clear()
    monkeypatch.setattr(
        provenance, "table_bytes", lambda name: table_bytes(name) + (b"\n" if name == table else b"")
    )
    assert engine_digest() != before


def test_another_decoder_of_pydicoms_is_another_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = engine_digest()
    spec = find_spec("pydicom")
    assert spec is not None
    assert spec.origin is not None
    charset = Path(spec.origin).with_name("charset.py")
    (tmp_path / "charset.py").write_bytes(charset.read_bytes())
    spec.origin = str(tmp_path / "__init__.py")
    monkeypatch.setattr(provenance, "find_spec", lambda _: spec)
    engine_digest.cache_clear()
    assert engine_digest() == before
    (tmp_path / "charset.py").write_bytes(charset.read_bytes() + b"#")
    engine_digest.cache_clear()
    assert engine_digest() != before


def test_modules_that_only_tell_of_copies_are_no_part_of_the_engine_and_are_used_by_none_of_it() -> None:
    folder = Path(provenance.__file__).parent
    names = {path.name for path in folder.glob("*.py")}
    told = provenance._DECIDES_NOTHING
    assert told < names
    used = [
        (path.name, name)
        for path in folder.glob("*.py")
        if path.name not in told
        for name in told
        if f"deid.{name.removesuffix('.py')} import" in path.read_text()
    ]
    assert used == []
