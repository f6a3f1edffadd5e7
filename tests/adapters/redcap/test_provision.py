"""Making and completing projects through the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from fiona_dagster.adapters.redcap.provision import merged_dictionary, provision
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.domain.dictionaries import GATEWAY_ROLES, ROLES, role_dictionary
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.embedded.redcap import settings
from fiona_dagster.embedded.redcap.model import load_model
from fiona_dagster.embedded.redcap.server import RedcapServer
from tests.adapters.redcap.conftest import PLENTY, Hospital


def plenty(folder: Path) -> RateLimit:
    return RateLimit(folder / ".calls", PLENTY)


def test_every_role_is_made_once(tmp_path: Path) -> None:
    with RedcapServer(tmp_path / "r.sqlite") as server:
        made = provision(server.url, server.super_token, tmp_path / "tokens", plenty(tmp_path), roles=ROLES)
        assert [one.role for one in made] == list(ROLES)
        assert all(one.changes[0] == "created" for one in made)
        assert all(one.token_file.stat().st_mode & 0o777 == 0o600 for one in made)
        again = provision(server.url, None, tmp_path / "tokens", plenty(tmp_path), roles=ROLES)
        assert [one.project_id for one in again] == [one.project_id for one in made]
        assert all(one.changes == () for one in again)


def test_a_sites_own_fields_stay(hospital: Hospital) -> None:
    client = hospital.client("Incoming")
    own = {**client.metadata[1], "field_name": "site_remark"}
    rows = [row for row in client.metadata if row["field_name"] != "series_bytes"]
    client.import_metadata([*rows[:2], own, *rows[2:]])
    made = provision(hospital.server.url, None, hospital.tokens, hospital.limit, roles=["Incoming"])
    assert made[0].changes == ("1 fields",)
    names = [row["field_name"] for row in hospital.client("Incoming").metadata]
    assert "site_remark" in names
    assert names[names.index("series_bytes") - 1] == "series_burned_in"


def test_repeating_instruments_are_completed_and_others_kept(hospital: Hospital) -> None:
    client = hospital.client("Incoming")
    client.import_repeating_instruments_events(
        [{"form_name": "transfers", "custom_form_label": "[transfer_name]"}]
    )
    assert provision(hospital.server.url, None, hospital.tokens, hospital.limit, roles=["Incoming"])[
        0
    ].changes == ("repeating instruments series",)
    rows = client.export_repeating_instruments_events()
    assert {row["form_name"]: row["custom_form_label"] for row in rows} == {
        "series": "",
        "transfers": "[transfer_name]",
    }


def test_in_production_nothing_is_changed_and_that_is_said(hospital: Hospital) -> None:
    client = hospital.client("Routing")
    client.import_metadata([row for row in client.metadata if row["field_name"] != "routing_priority"])
    with hospital.server.database.transaction(write=True) as connection:
        model = load_model(connection, int(client.info["project_id"]))
        settings.set_production(connection, model, "2026-01-01 10:00:00")
    with pytest.raises(ConfigurationError, match="lacks fields routing_priority, but is in production"):
        provision(hospital.server.url, None, hospital.tokens, hospital.limit, roles=["Routing"])


def test_without_a_super_token_nothing_can_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs a super token"):
        provision("http://127.0.0.1:9/api/", None, tmp_path, plenty(tmp_path), roles=["Incoming"])


def test_a_refused_super_token_says_so_without_showing_it(hospital: Hospital, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="refuses the token") as caught:
        provision(hospital.server.url, "B" * 64, tmp_path, plenty(tmp_path), roles=["Incoming"])
    assert "B" * 64 not in str(caught.value)


def test_what_is_wrong_with_an_address_or_a_token_is_said_with_its_file(hospital: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="does not end in /api/"):
        provision(hospital.server.page_url, None, hospital.tokens, hospital.limit)
    token_file = hospital.tokens / "Routing.token"
    token_file.write_text("A1" * 16)
    with pytest.raises(ConfigurationError, match=r"Routing\.token: .*token") as refused:
        provision(hospital.server.url, None, hospital.tokens, hospital.limit, roles=["Routing"])
    assert "A1A1" not in str(refused.value)


def test_an_interrupted_provision_is_taken_up_again(tmp_path: Path) -> None:
    with RedcapServer(tmp_path / "r.sqlite") as server:
        server.faults.calls_per_minute = 2
        with pytest.raises(ConfigurationError, match="banned"):
            provision(server.url, server.super_token, tmp_path / "tokens", plenty(tmp_path), roles=["AutoID"])
        server.faults.calls_per_minute = None
        server.faults.lift_ban()
        made = provision(server.url, None, tmp_path / "tokens", plenty(tmp_path), roles=["AutoID"])
        assert made[0].changes == ("7 fields",)
        assert made[0].project_id == 1


def test_a_new_projects_first_field_is_replaced_and_another_projects_is_not() -> None:
    dictionary = role_dictionary("Incoming")
    fresh = [{"field_name": "record_id", "form_name": "my_first_instrument"}]
    assert merged_dictionary(fresh, dictionary)[0] == list(dictionary.fields)
    other = [{"field_name": "record_id", "form_name": "a"}, {"field_name": "x", "form_name": "a"}]
    with pytest.raises(ConfigurationError, match="use another project"):
        merged_dictionary([dict(row) for row in other], dictionary)
    assert "ProjectTemplate" not in GATEWAY_ROLES
