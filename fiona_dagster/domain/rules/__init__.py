"""FIONA's classifyRules.json: parsed once, checked completely, decided over all images of a series."""
