"""FIONA's classifyRules.json: parsed once, checked completely, decided over all images of a series."""

from fiona_dagster.domain.rules.loading import default_rules, parse_rules
from fiona_dagster.domain.rules.model import RuleSet

__all__ = ["RuleSet", "default_rules", "parse_rules"]
