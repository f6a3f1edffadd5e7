"""Sensors: thin and read-only; they ask the ledger what is due and request runs."""
