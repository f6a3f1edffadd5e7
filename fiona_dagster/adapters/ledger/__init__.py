"""The ledger: an append-only account of every SOP Instance and study, and the only truth about them.

Dagster's own records are a bounded, disposable view; reconciliation, `fiona find` and the laws read the ledger.
SQLite (WAL) by default, PostgreSQL by URL. `Ledger` opens it; each part of it is one module:
`reception` (what the SCP records), `studies` (arrival, registration), `transfers` (requests and releases),
`deliveries` (what destinations confirmed), `inventory` (totals, search, the conservation law).
"""

from fiona_dagster.adapters.ledger.ledger import Ledger

__all__ = ["Ledger"]
