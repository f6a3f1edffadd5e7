"""FIONA's layout on disk: names that sites' scripts rely on, and no value that leads out of its folder."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiona_dagster.domain.layout import Layout, safe_name

LAYOUT = Layout(Path("/data"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (LAYOUT.archived_instance("1.2", "1.2.3"), "site/archive/scp_1.2/1.2.3"),
        (LAYOUT.raw_link("1.2", "1.2.1", "1.2.3"), "site/raw/1.2/1.2.1/1.2.3"),
        (LAYOUT.series_json("1.2", "1.2.1"), "site/raw/1.2/1.2.1.json"),
        (LAYOUT.participant_link("P1", "20200101", "101500"), "site/participants/P1/20200101_101500"),
        (LAYOUT.participant_link("P1", "", ""), "site/participants/P1/unknown_unknown"),
        (LAYOUT.sr_link("ACME", "1.2", "1.2.3"), "site/srs/ACME/1.2/1.2.3"),
        (
            LAYOUT.arrived_study("MR 1", "FIONA", "10.0.0.1", "1.2"),
            "site/.arrived/MR1 FIONA 10.0.0.1 scp_1.2",
        ),
        (
            LAYOUT.arrived_series("", "FIONA", "", "1.2", "1.2.1"),
            "site/.arrived/unknown FIONA 0.0.0.0 1.2 1.2.1",
        ),
        (
            LAYOUT.release_folder("20260101-0123456789ab", "HEART-1"),
            "site/output/20260101-0123456789ab/HEART-1",
        ),
        (LAYOUT.outbox, "outbox"),
        (LAYOUT.refused, "quarantine/refused"),
        (LAYOUT.aside, "quarantine/aside"),
        (LAYOUT.enabled, "config/enabled"),
        (LAYOUT.ledger, "ledger.sqlite"),
    ],
)
def test_paths_are_where_scripts_of_a_site_look_for_them(path: Path, expected: str) -> None:
    assert path == Path("/data") / expected


@given(st.text(max_size=200))
def test_any_value_becomes_one_visible_name(text: str) -> None:
    name = safe_name(text)
    assert Path(name).name == name
    assert 0 < len(name) <= 120
    assert not name.startswith(".")
    assert safe_name(name) == name


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_patient_id_leads_nowhere_else(patient: str, date: str, time: str) -> None:
    link = LAYOUT.participant_link(patient, date, time)
    assert link.parent.parent == LAYOUT.participants


@given(st.text(max_size=20), st.text(max_size=20))
def test_touch_files_have_four_and_five_words_whatever_the_ae_titles_are(calling: str, called: str) -> None:
    study = LAYOUT.arrived_study(calling, called, "10.0.0.1", "1.2")
    series = LAYOUT.arrived_series(calling, called, "10.0.0.1", "1.2", "1.2.1")
    assert study.parent == series.parent == LAYOUT.arrived
    assert len(study.name.split()) == 4
    assert len(series.name.split()) == 5


def test_names_that_people_have_stay_readable() -> None:
    assert safe_name("Åse Ødegård") == "Åse_Ødegård"
    assert safe_name("..", fallback="nobody") == "nobody"


def test_the_folders_are_closed_to_others_and_making_them_again_changes_nothing(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.ensure()
    (layout.outbox / "kept").touch()
    layout.ensure()
    assert (layout.outbox / "kept").exists()
    for folder in (
        layout.archive,
        layout.raw,
        layout.participants,
        layout.refused,
        layout.outbox,
        layout.config,
    ):
        assert stat.S_IMODE(folder.stat().st_mode) & stat.S_IRWXO == 0, folder
