"""One REDCap project behind one token: PyCap with everything that a hospital's network asks of a client.

PyCap 2.7.0 reads no status, has no timeout, shares a session, follows redirects and prints tokens
(redcap-contract 2.2). `RedcapProject` replaces the one method through which all its calls go.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import requests
from redcap.project import Project
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from fiona_dagster.adapters.redcap.answers import value_of
from fiona_dagster.adapters.redcap.patience import told_when_slow
from fiona_dagster.adapters.redcap.rate_limit import RateLimit
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient

LOG = logging.getLogger(__name__)

IMPORT_ROWS = 200
EXPORT_RECORDS, EXPORT_SMALL_RECORDS = 100, 1000
"""Rows of an import and records of an export in one call (redcap-contract 1.8); more where nothing repeats."""
ATTEMPTS = 4
FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 20.0
_NEW_INSTANCE = re.compile(r'redcap_repeat_instance"\s*:\s*"new"|[,>]"?new"?[,<\n]', re.IGNORECASE)
"""REDCap numbers the instance: in JSON by its name, in CSV and XML wherever a value is just `new`."""
_FIELD_OF_LOGIC = re.compile(r"\[([a-z0-9_]+)[(\]]")
_Row = TypeVar("_Row")
Row = dict[str, Any]


class RedcapProject(Project):
    """A project of REDCap. Every call raises only `Transient`, `Permanent` or `ConfigurationError`.

    May be shared by threads: each has its own HTTP session.

    Args:
        url: ends in `/api/`.
        token: 32 characters; never appears in a message.
        limit: shared by all processes of the gateway.
        timeout_seconds: for connecting and for reading.
        ca_bundle: certificates to trust instead of the system's; empty: the system's.
        first_wait_seconds: before the first repetition; doubles, with jitter.
        export_records: records of one export; default by whether the project has anything that repeats.
    """

    def __init__(
        self,
        url: str,
        token: str,
        limit: RateLimit,
        *,
        timeout_seconds: tuple[float, float] = (5.0, 120.0),
        ca_bundle: str = "",
        first_wait_seconds: float = FIRST_WAIT_SECONDS,
        export_records: int | None = None,
    ) -> None:
        require_api(url)
        # PyCap would check this too, but shows the token in its message.
        if len(token) != 32 or not token.isalnum():
            raise ConfigurationError(
                "a REDCap token has 32 letters and digits, this one has not",
                remedy="check the secret behind it",
            )
        super().__init__(url, token, verify_ssl=ca_bundle or True)
        self._limit = limit
        self._export_records = export_records
        self._timeout = timeout_seconds
        self._threads = threading.local()
        self._info: Row | None = None
        self._waits = wait_exponential_jitter(
            multiplier=first_wait_seconds, max=_LONGEST_WAIT_SECONDS, jitter=first_wait_seconds
        )

    def __repr__(self) -> str:
        return f"RedcapProject({self.url})"

    @property
    def info(self) -> Row:
        """The project's settings, read once (`content=project`).

        No cached_property: before Python 3.12 that holds a lock of all projects while one waits for its server.
        """
        if self._info is None:
            found = self.export_project_info()
            if not isinstance(found, dict):
                raise Permanent("REDCap did not describe the project as one object")
            self._info = found
        return self._info

    @property
    def is_longitudinal(self) -> bool:
        """As the project says itself. PyCap takes any failure of another call for `no`, an outage included."""
        return bool(int(self.info.get("is_longitudinal") or 0))

    def forget_structure(self) -> None:
        """Read dictionary and settings again when next asked: they were changed."""
        self._metadata = self._forms = self._field_names = self._def_field = None
        self._info = None

    def require(
        self, *, project_id: int | None = None, title: str | None = None, fields: Iterable[str] = ()
    ) -> None:
        """Refuse a token that belongs to another project than the one we are about to write into.

        Raises:
            ConfigurationError: number, title or fields differ.
        """
        if project_id is not None and int(self.info.get("project_id") or 0) != project_id:
            raise ConfigurationError(
                f"the token belongs to project {self.info.get('project_id')}, not {project_id}",
                remedy="exchange the token",
            )
        if title is not None and self.info.get("project_title") != title:
            raise ConfigurationError(
                f"the token belongs to another project than '{title}'", remedy="exchange the token"
            )
        missing = sorted(set(fields) - set(self.field_names))
        if missing:
            raise ConfigurationError(
                f"the token's project '{self.info.get('project_title')}' has no field {', '.join(missing[:5])}",
                remedy="exchange the token, or run `fiona redcap check`",
            )

    def rows(
        self,
        *,
        records: Sequence[str] | None = None,
        fields: Sequence[str] | None = None,
        forms: Sequence[str] | None = None,
        filter_logic: str | None = None,
        raw_or_label: str = "raw",
    ) -> list[Row]:
        """Flat rows as a list; see `each_row`."""
        options = {
            "fields": fields,
            "forms": forms,
            "filter_logic": filter_logic,
            "raw_or_label": raw_or_label,
        }
        return list(self.each_row(records, **options))

    def each_row(self, records: Sequence[str] | None = None, **options: Any) -> Iterator[Row]:
        """Flat rows of these records, by default of all that there are when it begins; a part of them a call.

        Of the whole project the names of records are read first. A record that appears meanwhile is there the next
        time, one that goes is left out; what is yielded of a record was read in one call. `options` are those of
        `rows`. `filter_logic` only saves traffic: whether a condition on a repeating instrument keeps the base row is
        not documented, so filter the answer again.
        """
        if records is None:
            records = self.record_names(options.get("filter_logic"))
        for part in batches(records, self._records_a_call):
            asked = {str(one).casefold() for one in part}
            for row in self._exported(records=list(part), **options):
                # whatever a server makes of names that are gone: no row comes twice
                if str(row.get(self.def_field, "")).casefold() in asked:
                    yield row

    def record_names(self, filter_logic: str | None = None) -> list[str]:
        """Names of the records, each once, in REDCap's order."""
        # a condition is asked of the rows that an export has: those of the instruments of its fields
        conditions = _FIELD_OF_LOGIC.findall(filter_logic or "")
        rows = self._exported(
            fields=[*dict.fromkeys([self.def_field, *conditions])], filter_logic=filter_logic
        )
        return list(dict.fromkeys(str(row[self.def_field]) for row in rows))

    @property
    def _records_a_call(self) -> int:
        if self._export_records is not None:
            return self._export_records
        repeats = int(self.info.get("has_repeating_instruments_or_events") or 0)
        return EXPORT_RECORDS if repeats or self.is_longitudinal else EXPORT_SMALL_RECORDS

    def write_rows(self, rows: Sequence[Row], *, overwrite: bool = False) -> int:
        """Import flat rows with explicit instance numbers, 200 a call; safe to repeat. Returns the rows sent."""
        for part in batches(rows, IMPORT_ROWS):
            expected = len({str(row[self.def_field]) for row in part})
            answer = self.import_records(list(part), overwrite="overwrite" if overwrite else "normal")
            if not isinstance(answer, dict) or answer.get("count") != expected:
                raise Permanent("REDCap did not count as many records as it was sent")
        return len(rows)

    def _exported(self, **options: Any) -> list[Row]:
        options = {name: value for name, value in options.items() if value is not None}
        found = self.export_records(**options)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise Permanent("REDCap did not answer with a list of rows")
        return found

    def _call_api(self, payload: dict[str, Any], return_type: str, file: Any = None) -> Any:
        """Replaces PyCap's method of the same name: limit, timeout, status, body, and repetition where it is safe."""
        if not is_repeatable(payload):
            try:
                return self._once(payload, return_type, file)
            except Transient as error:
                raise Transient(f"{error}; whether it was carried out is unknown: read back first") from error
        attempts = Retrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_after_attempt(ATTEMPTS),
            wait=self._waits,
            sleep=_wait,
            before_sleep=_tell,
            reraise=True,
        )
        return attempts(self._once, payload, return_type, file)

    def _once(self, payload: dict[str, Any], return_type: str, file: Any) -> Any:
        self._limit.acquire()
        try:
            with told_when_slow(self._timeout[1]):
                response = self._session.post(
                    self.url,
                    data=payload,
                    files=file,
                    verify=self.verify_ssl,
                    timeout=self._timeout,
                    allow_redirects=False,  # a redirected POST arrives as a GET without its body
                )
        except requests.exceptions.SSLError:
            raise ConfigurationError(
                "REDCap's certificate is not trusted",
                remedy="set REDCAP.ca_bundle to the hospital's authority",
            ) from None
        except requests.RequestException as error:
            raise Transient(f"REDCap cannot be reached ({type(error).__name__})") from None
        if return_type == "file_map":
            if response.status_code >= 400:
                value_of(response.status_code, response.text, "str")
            if "name=" not in response.headers.get(
                "Content-Type", ""
            ):  # what a file comes with, and no page has
                raise Transient("REDCap answered with something else than a file")
            return response.content, response.headers
        response.encoding = "utf-8"
        return value_of(response.status_code, response.text, return_type)

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
        session: requests.Session = self._threads.session
        return session


def require_api(url: str) -> None:
    """Raises:
    ConfigurationError: this is no address of REDCap's API.
    """
    if not url.endswith("/api/"):
        raise ConfigurationError(
            "REDCap's address does not end in /api/", remedy="write it as in https://redcap.example/api/"
        )


def _tell(attempts: RetryCallState) -> None:
    problem = attempts.outcome.exception() if attempts.outcome else None
    LOG.warning("%s: it is asked again", problem)


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def is_repeatable(payload: dict[str, Any]) -> bool:
    """Whether sending the same call twice does what sending it once does.

    Not: deleting (the second one fails), renaming, file uploads, and imports in which REDCap chooses the record or
    the instance, which would then exist twice.
    """
    action = payload.get("action")
    if action in {"delete", "rename", "createFolder", "switch"}:
        return False
    content, data = payload.get("content"), str(payload.get("data", ""))
    if content in {"file", "fileRepository"}:
        return action in {"export", "list"}
    if content == "record" and data:
        automatic = str(payload.get("forceAutoNumber", "")).lower() in {"true", "1"}
        return not automatic and not _NEW_INSTANCE.search(data)
    return True


def batches(items: Sequence[_Row], size: int) -> Iterator[Sequence[_Row]]:
    """`items` in parts of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
