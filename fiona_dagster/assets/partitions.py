"""One dynamic set of partitions for the whole chain: a bounded working set of ledger keys."""

from dagster import DynamicPartitionsDefinition

STUDIES = DynamicPartitionsDefinition(name="studies")
"""Keys are added when a study arrives, retired by `retire_partitions`, and brought back by a resend."""
