"""What a person does at the screen: saving an instrument, which calls the project's Data Entry Trigger.

Imports by API never call it. A trigger is one unsigned POST, tried once (redcap-contract 1.9): a hint, not a message.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import requests

from fiona_dagster.embedded.redcap import groups, rights
from fiona_dagster.embedded.redcap.calls import Call
from fiona_dagster.embedded.redcap.database import Database
from fiona_dagster.embedded.redcap.importing import import_records
from fiona_dagster.embedded.redcap.model import load_model
from fiona_dagster.embedded.redcap.parameters import Parameters
from fiona_dagster.embedded.redcap.placing import EVENT, INSTANCE, INSTRUMENT
from fiona_dagster.embedded.redcap.problems import ApiError

_URL = "data_entry_trigger_url"
_SECONDS = 10.0


def set_trigger(connection: sqlite3.Connection, pid: int, url: str) -> None:
    """The project's one trigger URL, which a person sets under Additional Customizations; empty for none."""
    connection.execute(
        "UPDATE project SET settings = json_set(settings, '$.' || ?, ?) WHERE pid = ?", (_URL, url, pid)
    )


def save_form(
    database: Database,
    pid: int,
    instrument: str,
    record: str,
    values: Mapping[str, Any],
    *,
    event: str = "",
    instance: int | None = None,
    username: str = rights.ADMINISTRATOR,
    page_url: str = "",
) -> bool | None:
    """Save one instrument of one record, then call the trigger.

    Args:
        database: the server's.
        pid: the project.
        instrument: its unique name.
        record: made when it does not exist.
        values: what is on the screen: a blank erases.
        event: unique name, in a longitudinal project.
        instance: where the instrument or event repeats.
        username: a user of the project.
        page_url: of the server, for the links that the trigger sends.

    Returns:
        Whether the trigger was answered with status 200; None where the project has none.

    Raises:
        ApiError: the values are refused; nothing is stored and no trigger called.
    """
    with database.transaction(write=True) as connection:
        model = load_model(connection, pid)
        user = next((one for one in rights.users(connection, pid) if one.username == username), None)
        if user is None or instrument not in model.forms:
            raise ApiError(400, "There is no such user or instrument")
        row = {model.record_id_field: record, **values}
        place = {EVENT: event} if model.longitudinal else {}
        if instance is not None:
            on_its_own = any(form == instrument for _, form in model.repeating)
            place |= {INSTRUMENT: instrument if on_its_own else "", INSTANCE: str(instance)}
        form = {"format": "json", "overwriteBehavior": "overwrite", "data": json.dumps([row | place])}
        now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        call = Call(connection, model, user, Parameters(form.items()), now, page_url)
        import_records(call)
        url = str(model.settings.get(_URL) or "")
        group = groups.record_groups(call).get(record)
    sent = {
        "project_id": str(pid),
        "username": username,
        "instrument": instrument,
        "record": record,
        **({EVENT: event} if model.longitudinal else {}),
        **({groups.GROUP: group["unique_name"]} if group else {}),
        f"{instrument}_complete": str(values.get(f"{instrument}_complete", "0")),
        **({INSTANCE: str(instance), INSTRUMENT: place[INSTRUMENT]} if instance is not None else {}),
        "redcap_url": page_url,
        "project_url": f"{page_url}project/{pid}",
    }
    return _called(url, sent) if url else None


def _called(url: str, sent: Mapping[str, str]) -> bool:
    """One attempt: whoever does not answer is not asked again."""
    try:
        return requests.post(url, data=sent, timeout=_SECONDS, allow_redirects=False).status_code == 200
    except requests.RequestException:
        return False
