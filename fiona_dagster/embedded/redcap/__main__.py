"""`python -m fiona_dagster.embedded.redcap` is `fiona redcap serve`."""

from __future__ import annotations

import argparse
from pathlib import Path

from fiona_dagster.embedded.redcap.server import LOOPBACK, RedcapServer, super_token_from


def main() -> None:
    """Serve until SIGTERM; prints the API's URL once calls are accepted."""
    parser = argparse.ArgumentParser(
        prog="python -m fiona_dagster.embedded.redcap", description="An embedded REDCap."
    )
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--super-token-file", type=Path, required=True)
    chosen = parser.parse_args()
    token = super_token_from(chosen.super_token_file)
    server = RedcapServer(chosen.data, host=chosen.host, port=chosen.port, super_token=token)
    server.serve(lambda url: print(url, flush=True))


if __name__ == "__main__":
    main()
