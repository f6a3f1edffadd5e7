"""Assets, a module a stage: fetch, call the domain, store, report metadata without patient data."""
