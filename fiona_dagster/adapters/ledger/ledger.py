"""Opening the ledger, and the parts it is made of."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event, func, insert, inspect, select, update
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from fiona_dagster.adapters.ledger import acceptance_schema as _acceptance_schema  # noqa: F401 — its table
from fiona_dagster.adapters.ledger import asked_commitment_schema as _asked_schema  # noqa: F401 — its tables
from fiona_dagster.adapters.ledger import delivery_schema as _delivery_schema  # noqa: F401
from fiona_dagster.adapters.ledger import notice_schema as _notice_schema  # noqa: F401 — its table
from fiona_dagster.adapters.ledger import project_schema as _project_schema  # noqa: F401 — its tables
from fiona_dagster.adapters.ledger import reception_schema as _reception_schema  # noqa: F401 — its tables
from fiona_dagster.adapters.ledger import reconciliation_schema as _reconciliation_schema  # noqa: F401
from fiona_dagster.adapters.ledger import retirement_schema as _retirement_schema  # noqa: F401
from fiona_dagster.adapters.ledger import retrieval_schema as _retrieval_schema  # noqa: F401
from fiona_dagster.adapters.ledger.migrations import migrate
from fiona_dagster.adapters.ledger.schema import SCHEMA_VERSION, meta, metadata, study
from fiona_dagster.domain.errors import ConfigurationError, Permanent, Transient

if TYPE_CHECKING:
    from fiona_dagster.adapters.ledger.acceptances import Acceptances
    from fiona_dagster.adapters.ledger.arrivals import Arrivals
    from fiona_dagster.adapters.ledger.asked_commitments import AskedCommitments
    from fiona_dagster.adapters.ledger.attempts import Attempts
    from fiona_dagster.adapters.ledger.breakers import Breakers
    from fiona_dagster.adapters.ledger.commitments import Commitments
    from fiona_dagster.adapters.ledger.deliveries import Deliveries
    from fiona_dagster.adapters.ledger.inventory import Inventory
    from fiona_dagster.adapters.ledger.notices import Notices
    from fiona_dagster.adapters.ledger.parcels import Parcels
    from fiona_dagster.adapters.ledger.procedures import Procedures
    from fiona_dagster.adapters.ledger.projects import Projects
    from fiona_dagster.adapters.ledger.reception import Reception
    from fiona_dagster.adapters.ledger.reconciliations import Reconciliations
    from fiona_dagster.adapters.ledger.retirements import Retirements
    from fiona_dagster.adapters.ledger.retrievals import Retrievals
    from fiona_dagster.adapters.ledger.sendings import Sendings
    from fiona_dagster.adapters.ledger.studies import Studies
    from fiona_dagster.adapters.ledger.transfers import Transfers

BUSY_SECONDS = 30.0
_VERSION = "schema_version"
_LOCK = 0x66696F6E61  # "fiona": the advisory lock of all who make tables or record, on PostgreSQL


class Ledger:
    """The account book. Cheap to make; safe to share between threads; one per process.

    Raises (when it is opened):
        ConfigurationError: another version of the gateway made it.

    Raises (from every call that touches the database):
        Transient: the database is locked, down or unreachable.
        Permanent: it refuses a value or a duplicate. No message and no cause shows values, as the driver's would.
    """

    def __init__(self, url: str) -> None:
        try:
            self.engine = _engine(url)
            with self.engine.begin() as connection:
                self.wait_for_turn(connection)  # two processes may open a new ledger at once
                self._prepare(connection)
        except (OperationalError, sqlite3.OperationalError) as error:
            raise Transient(
                f"the ledger cannot be opened ({type(error).__name__}): is its database up, its folder writable?"
            ) from None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction; commits at the end, rolls back on any error."""
        with _errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view for reading: it waits for no writer and makes none wait."""
        options: dict[str, Any] = {"fiona_read": True}
        if self.engine.dialect.name == "postgresql":  # whose default shows each statement another moment
            options["isolation_level"] = "REPEATABLE READ"
        with (
            _errors(),
            self.engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            yield connection

    def wait_for_turn(self, connection: Connection) -> None:
        """One after the other until the transaction ends, between all processes, as SQLite's writers always go."""
        if self.engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))

    def _prepare(self, connection: Connection) -> None:
        """Make the tables of a new ledger, bring an older one forward, and refuse what we do not know."""
        if not inspect(connection).has_table(study.name):
            metadata.create_all(connection)
            connection.execute(insert(meta), {"name": _VERSION, "value": SCHEMA_VERSION})
            return
        found = 1
        if inspect(connection).has_table(meta.name):
            found = connection.execute(select(meta.c.value).where(meta.c.name == _VERSION)).scalar_one()
        if found == SCHEMA_VERSION:
            return
        if found > SCHEMA_VERSION or not migrate(connection, found, SCHEMA_VERSION):
            raise ConfigurationError(
                f"the ledger has schema version {found}, this gateway needs {SCHEMA_VERSION}",
                remedy="run the version of the gateway that made it, or name a new data directory and ledger "
                "(DATADIR, LEDGER) and keep the old one",
            )
        connection.execute(update(meta).where(meta.c.name == _VERSION).values(value=SCHEMA_VERSION))

    def upsert(self, connection: Connection, table: Any, rows: list[dict[str, Any]]) -> None:
        """Insert `rows`, replacing every other column where the primary key exists."""
        if not rows:
            return
        keys = [column.name for column in table.primary_key]
        statement = self.insert_ignoring(table)
        changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        connection.execute(self._insert(table).on_conflict_do_update(index_elements=keys, set_=changed)
                           if changed else statement, rows)  # fmt: skip

    def insert_ignoring(self, table: Any) -> Any:
        """An INSERT that leaves existing rows alone, in the dialect of the database."""
        return self._insert(table).on_conflict_do_nothing()

    def _insert(self, table: Any) -> Any:
        if self.engine.dialect.name == "postgresql":
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(table)
        if self.engine.dialect.name == "sqlite":
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table)
        return insert(table)

    @cached_property
    def reconciliations(self) -> Reconciliations:
        from fiona_dagster.adapters.ledger.reconciliations import Reconciliations

        return Reconciliations(self)

    @cached_property
    def reception(self) -> Reception:
        from fiona_dagster.adapters.ledger.reception import Reception

        return Reception(self)

    @cached_property
    def procedures(self) -> Procedures:
        from fiona_dagster.adapters.ledger.procedures import Procedures

        return Procedures(self)

    @cached_property
    def acceptances(self) -> Acceptances:
        from fiona_dagster.adapters.ledger.acceptances import Acceptances

        return Acceptances(self)

    @cached_property
    def arrivals(self) -> Arrivals:
        from fiona_dagster.adapters.ledger.arrivals import Arrivals

        return Arrivals(self)

    @cached_property
    def asked_commitments(self) -> AskedCommitments:
        from fiona_dagster.adapters.ledger.asked_commitments import AskedCommitments

        return AskedCommitments(self)

    @cached_property
    def commitments(self) -> Commitments:
        from fiona_dagster.adapters.ledger.commitments import Commitments

        return Commitments(self)

    @cached_property
    def notices(self) -> Notices:
        from fiona_dagster.adapters.ledger.notices import Notices

        return Notices(self)

    @cached_property
    def retirements(self) -> Retirements:
        from fiona_dagster.adapters.ledger.retirements import Retirements

        return Retirements(self)

    @cached_property
    def retrievals(self) -> Retrievals:
        from fiona_dagster.adapters.ledger.retrievals import Retrievals

        return Retrievals(self)

    @cached_property
    def studies(self) -> Studies:
        from fiona_dagster.adapters.ledger.studies import Studies

        return Studies(self)

    @cached_property
    def transfers(self) -> Transfers:
        from fiona_dagster.adapters.ledger.transfers import Transfers

        return Transfers(self)

    @cached_property
    def attempts(self) -> Attempts:
        from fiona_dagster.adapters.ledger.attempts import Attempts

        return Attempts(self)

    @cached_property
    def deliveries(self) -> Deliveries:
        from fiona_dagster.adapters.ledger.deliveries import Deliveries

        return Deliveries(self)

    @cached_property
    def breakers(self) -> Breakers:
        from fiona_dagster.adapters.ledger.breakers import Breakers

        return Breakers(self)

    @cached_property
    def sendings(self) -> Sendings:
        from fiona_dagster.adapters.ledger.sendings import Sendings

        return Sendings(self)

    @cached_property
    def parcels(self) -> Parcels:
        from fiona_dagster.adapters.ledger.parcels import Parcels

        return Parcels(self)

    @cached_property
    def projects(self) -> Projects:
        from fiona_dagster.adapters.ledger.projects import Projects

        return Projects(self)

    @cached_property
    def inventory(self) -> Inventory:
        from fiona_dagster.adapters.ledger.inventory import Inventory

        return Inventory(self)

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise Transient(f"the ledger does not answer ({type(error.orig).__name__})") from None
    except DBAPIError as error:
        if error.connection_invalidated or isinstance(error, InterfaceError):
            raise Transient(f"the ledger's connection was lost ({type(error.orig).__name__})") from None
        raise Permanent(f"the ledger refuses what it should record ({type(error.orig).__name__})") from None


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            if (
                parsed.database
                and parsed.database != ":memory:"
                and not Path(parsed.database).parent.is_dir()
            ):
                raise ConfigurationError(
                    f"there is no folder {Path(parsed.database).parent} for the ledger",
                    remedy="make the data directory, or name another with FIONA_CONFIG or DATADIR",
                )
            if parsed.database and parsed.database != ":memory:":
                _prepare_file(Path(parsed.database))
            engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS})
            event.listen(engine, "connect", _sqlite_pragmas)
            event.listen(engine, "begin", _sqlite_begin)
            return engine
        if parsed.drivername == "postgresql":  # SQLAlchemy 2.1 would look for psycopg 3
            parsed = parsed.set(drivername="postgresql+psycopg2")
        return create_engine(parsed, pool_pre_ping=True)
    except SQLAlchemyError as error:
        raise ConfigurationError(
            "the ledger's URL cannot be understood",
            remedy="e.g. sqlite:////data/ledger.sqlite or postgresql://host/fiona",
        ) from error


def _prepare_file(path: Path) -> None:
    """Make the file and set its journal mode, which lasts.

    One process after the other: two that change the mode at once do not wait for each other, SQLite lets one fail.
    """
    path.touch(mode=0o640)  # SQLite would make it readable by everybody
    folder = os.open(
        path.parent, os.O_RDONLY
    )  # closing a second descriptor of the file would drop SQLite's locks
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    finally:
        os.close(folder)


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us, see _sqlite_begin
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={int(BUSY_SECONDS * 1000)}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    # Immediate: a transaction that reads and then writes would otherwise fail at once when another one wrote.
    reads = connection.get_execution_options().get("fiona_read")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
