"""Thin Dagster shells over the adapters: configuration in, adapter out."""
