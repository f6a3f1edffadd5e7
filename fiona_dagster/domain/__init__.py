"""What the gateway knows: pure functions over frozen types; no Dagster, network, clock or environment."""
