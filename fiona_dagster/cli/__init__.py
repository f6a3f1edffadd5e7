"""The `fiona` command: one module a command."""
