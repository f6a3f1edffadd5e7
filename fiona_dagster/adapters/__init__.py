"""Network and disk, free of Dagster; each module turns foreign errors into `domain.errors`."""
