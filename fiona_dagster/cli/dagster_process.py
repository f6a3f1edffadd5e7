"""Dagster's daemon and webserver as they are, with engines kept.

python -m fiona_dagster.cli.dagster_process dagster._daemon run --workspace workspace.yaml
"""

from __future__ import annotations

import runpy
import sys

from fiona_dagster.cli.kept_engines import keep_engines

if __name__ == "__main__":
    keep_engines()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
