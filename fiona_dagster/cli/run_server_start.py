"""Imported, by `multiprocessing`, in the process that is to become the run server: importing it does so."""

from fiona_dagster.cli.run_server import become_run_server

become_run_server()
