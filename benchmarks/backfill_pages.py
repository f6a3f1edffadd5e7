"""A backfill as Dagster's pages launch it: GraphQL, and the daemon does the rest."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from typing import Any

from benchmarks.backfill_account import STAGES, VERIFICATION

_LAUNCH = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_STATUS = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
  __typename ... on PartitionBackfill { status } } }"""


def launch_backfill(pages: str, partitions: Sequence[str]) -> str:
    """Materialise all assets of the chain for `partitions`; returns the backfill's id."""
    assets = [{"path": [name]} for name in STAGES if name != VERIFICATION]
    params = {"assetSelection": assets, "partitionNames": list(partitions)}
    found = _ask(pages, _LAUNCH, {"params": params})["launchPartitionBackfill"]
    if "backfillId" not in found:
        raise SystemExit(f"the backfill was not launched: {found}")
    return str(found["backfillId"])


def backfill_status(pages: str, backfill: str) -> str:
    """Its status, `COMPLETED_SUCCESS` at its end."""
    status = str(_ask(pages, _STATUS, {"id": backfill})["partitionBackfillOrError"].get("status"))
    if status in ("FAILED", "CANCELED", "COMPLETED_FAILED"):
        raise SystemExit(f"the backfill ended as {status}")
    return status


def _ask(pages: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{pages}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 — our own loopback
        return dict(json.loads(answer.read())["data"])
