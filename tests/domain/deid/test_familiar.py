"""What is recognized as seen before is what would have been found anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiona_dagster.adapters.dicom_files import read_instance
from fiona_dagster.domain.deid.elements import DataSet, Place, Short, Stretch, Unit, find_elements
from fiona_dagster.domain.deid.encoding import EXPLICIT_LITTLE, Element, Syntax, encode_elements
from fiona_dagster.domain.deid.engine import Deidentifier
from fiona_dagster.domain.deid.familiar import Familiar
from fiona_dagster.domain.deid.profile import Option, Profile
from fiona_dagster.domain.errors import FionaError
from tests.conftest import need_shared
from tests.domain.deid.planted import KEY, ct_instance, request, saved

TAGS = (
    0x00080018,
    0x00080020,
    0x00080060,
    0x00081140,
    0x00091001,
    0x00100010,
    0x00180050,
    0x00200013,
    0x00280010,
)
IMPLICIT = Syntax(implicit=True, little=True)


def encoded(values: dict[int, bytes], syntax: Syntax) -> bytes:
    vrs = {0x00081140: "SQ", 0x00280010: "US"}
    elements = [
        Element(tag, vrs.get(tag, "LO"), [[Element(0x00081155, "UI", value)]] if tag == 0x00081140 else value)
        for tag, value in values.items()
    ]
    return encode_elements(elements, syntax)


def found(familiar: Familiar, content: bytes, syntax: Syntax) -> tuple[dict[int, Place], list[Unit]]:
    places: dict[int, Place] = {}
    units: list[Unit] = []
    assert familiar.find(content, 0, syntax, places, units) == len(content)
    familiar.learn(content, places, units)
    return places, units


INSTANCES = st.lists(
    st.dictionaries(
        st.sampled_from(TAGS), st.sampled_from([b"", b"ab", b"cd", b"a longer value "]), min_size=1
    ),
    min_size=1,
    max_size=8,
)


@given(INSTANCES, st.sampled_from([EXPLICIT_LITTLE, IMPLICIT]))
def test_any_series_of_data_sets_is_found_as_each_would_be_alone(
    instances: list[dict[int, bytes]], syntax: Syntax
) -> None:
    familiar = Familiar()
    for values in instances:
        content = encoded(values, syntax)
        places, units = found(familiar, content, syntax)
        assert (places, len(content)) == find_elements(content, 0, len(content), syntax)
        parts = [list(unit.places) if isinstance(unit, Stretch) else [unit] for unit in units]
        assert [tag for part in parts for tag in part] == list(places)


@settings(max_examples=50)
@given(INSTANCES.filter(lambda instances: len(instances) > 2), st.integers(1, 40))
def test_bytes_that_end_early_are_told_and_gone_on_with(instances: list[dict[int, bytes]], cut: int) -> None:
    familiar = Familiar()
    for values in instances:
        content = encoded(values, EXPLICIT_LITTLE)
        places: dict[int, Place] = {}
        units: list[Unit] = []
        position = 0
        try:
            position = familiar.find(content[:-cut], 0, EXPLICIT_LITTLE, places, units)
        except Short as short:
            position = short.position
        assert familiar.find(content, position, EXPLICIT_LITTLE, places, units) == len(content)
        familiar.learn(content, places, units)
        assert places == find_elements(content, 0, len(content), EXPLICIT_LITTLE)[0]


def test_a_series_is_soon_taken_in_stretches() -> None:
    familiar = Familiar()
    for number in range(5):
        values = dict.fromkeys(TAGS, b"same") | {0x00180050: f"{number}".encode()}
        _, units = found(familiar, encoded(values, EXPLICIT_LITTLE), EXPLICIT_LITTLE)
    assert [unit if isinstance(unit, int) else len(unit.places) for unit in units] == [6, 0x00180050, 2]


def test_another_encoding_begins_anew() -> None:
    familiar = Familiar()
    for syntax in (EXPLICIT_LITTLE, EXPLICIT_LITTLE, IMPLICIT, EXPLICIT_LITTLE):
        content = encoded(dict.fromkeys(TAGS, b"same"), syntax)
        places, _ = found(familiar, content, syntax)
        assert places == find_elements(content, 0, len(content), syntax)[0]


PROFILE = Profile(options=frozenset({Option.RETAIN_SAFE_PRIVATE, Option.CLEAN_DESCRIPTORS}))


def copies(paths: list[Path], *, together: bool) -> list[tuple[bytes, bytes] | str]:
    """What the engine makes of files, with all that it remembers of earlier ones, or anew for each."""
    made: list[tuple[bytes, bytes] | str] = []
    engine, familiar = Deidentifier(PROFILE, request(), KEY), Familiar()
    for path in paths:
        if not together:
            engine, familiar = Deidentifier(PROFILE, request(), KEY), Familiar()
        try:
            file = read_instance(path, familiar)
            clean = engine.clean(file.dataset, file.behind)
            made.append((clean.before, clean.behind))
        except FionaError as error:
            made.append(str(error))
    return made


def test_what_was_treated_before_changes_nothing(tmp_path: Path) -> None:
    paths = []
    for number in range(6):
        dataset = ct_instance(number)
        dataset.SliceLocation = str(number)
        dataset.PatientName = "Zwingenberger" if number % 2 else "Ottokar^Z"
        if number % 3 == 0:
            del dataset.ProtocolName
        paths.append(saved(dataset, tmp_path / f"{number}.dcm"))
    assert copies(paths, together=True) == copies(paths, together=False)


def test_on_the_corpus_nothing_depends_on_what_came_before() -> None:
    corpus = need_shared("corpus")
    paths = sorted(path for path in corpus.rglob("*") if path.is_file() and path.stat().st_size < 2_000_000)[
        ::3
    ]
    assert copies(paths, together=True) == copies(paths, together=False)


@pytest.mark.parametrize("content", [b"\xfe\xff\x0d\xe0\0\0\0\0", b"\x08\0\x60\0CS\x04\0CT"])
def test_what_is_no_element_is_refused_with_stretches_too(content: bytes) -> None:
    familiar = Familiar()
    for _ in range(3):
        found(familiar, encoded(dict.fromkeys(TAGS[:3], b"same"), EXPLICIT_LITTLE), EXPLICIT_LITTLE)
    with pytest.raises((FionaError, Short)):
        familiar.find(
            encoded(dict.fromkeys(TAGS[:3], b"same"), EXPLICIT_LITTLE) + content, 0, EXPLICIT_LITTLE, {}, []
        )


def test_a_data_set_without_units_is_one_level() -> None:
    assert DataSet(b"", {}, EXPLICIT_LITTLE).units is None
