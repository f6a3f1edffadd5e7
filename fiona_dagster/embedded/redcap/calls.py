"""What every call is given: the transaction, the project, the user and the form that was sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fiona_dagster.embedded.redcap.model import Event, ProjectModel
from fiona_dagster.embedded.redcap.parameters import Parameters
from fiona_dagster.embedded.redcap.problems import ApiError
from fiona_dagster.embedded.redcap.reading import read_objects, read_rows
from fiona_dagster.embedded.redcap.rights import User


@dataclass(frozen=True)
class Call:
    """One authenticated request to one project."""

    connection: sqlite3.Connection
    project: ProjectModel
    user: User
    parameters: Parameters
    now: str
    """Server time, `YYYY-MM-DD HH:MM:SS`."""

    base_url: str = ""
    """Of the server, ends in a slash; links to surveys begin with it."""

    def rows(self) -> list[dict[str, str]] | None:
        """The rows of `data`; None for a lone JSON object.

        Raises:
            ApiError: `data` is missing or malformed.
        """
        return read_rows(*self._data())

    def objects(self) -> list[dict[str, Any]]:
        """The rows of `data` where a value may be an object, as rights by instrument are.

        Raises:
            ApiError: `data` is missing or malformed.
        """
        return read_objects(*self._data()) or []

    def _data(self) -> tuple[str, str, str]:
        if "data" not in self.parameters:
            raise ApiError(400, 'The parameter "data" is missing')
        form = self.parameters.format
        if form == "odm":
            raise ApiError(400, 'The value of the parameter "format" is not valid')
        return self.parameters.text("data"), form, self.parameters.delimiter

    def required_array(self, name: str) -> list[str]:
        """The values of an array that the call cannot do without.

        Raises:
            ApiError: it is missing.
        """
        values = self.parameters.array(name)
        if not values:
            raise ApiError(400, f'The parameter "{name}" is missing')
        return values

    def event_named(self, name: str) -> Event:
        """The event with this unique name; in a classic project its only one.

        Raises:
            ApiError: it is missing or unknown in a longitudinal project.
        """
        if not self.project.longitudinal:
            return self.project.events[0]
        if name not in self.project.event_by_name:
            raise ApiError(400, 'The value of the parameter "event" is not valid')
        return self.project.event_by_name[name]

    def require_development(self) -> None:
        """Raise unless the project's structure may still be changed.

        Raises:
            ApiError: the project is in production.
        """
        if self.project.in_production:
            raise ApiError(403, "This method is only available for projects in Development status")

    def require_longitudinal(self, what: str) -> None:
        """Raise for a classic project, which has none of `what`.

        Raises:
            ApiError: with the sentence that clients read `classic` from.
        """
        if not self.project.longitudinal:
            raise ApiError(400, f"You cannot {what} for classic projects")


def known(name: str, values: Sequence[str] | None, allowed: Sequence[str] | set[str]) -> list[str] | None:
    """`values` when all are in `allowed`.

    Raises:
        ApiError: naming the parameter and the values that are not.
    """
    if values is None:
        return None
    unknown = [value for value in values if value not in allowed]
    if unknown:
        shown = ", ".join(f"'{value}'" for value in unknown)
        raise ApiError(400, f'The following values in the parameter "{name}" are not valid: {shown}')
    return list(values)
