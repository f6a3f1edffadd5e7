"""The types of one series, decided over all its images at once, so that their order cannot matter.

A rule holds if one image passes all its tests, with `check: SeriesLevel` if every image does. Types that rules ask for
(`["ClassifyType"]`) are decided before those that ask. Images on which the rules see the same are judged once:
thousands of images of a series are a handful of distinct views.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiona_dagster.domain.attribute_values import Image, element_value, members, silent_reading, text_of
from fiona_dagster.domain.rules.model import (
    Attribute,
    JsonField,
    Literal,
    Operator,
    Rule,
    Source,
    Test,
    TypesFound,
)
from fiona_dagster.domain.rules.operators import Found, Seen, find, passes
from fiona_dagster.domain.rules.ruleset import RuleSet, label_matches
from fiona_dagster.domain.series_json import FIELD_TAGS

View = tuple[Found, ...]
"""What the rules see of one image, in the order of `image_sources`."""


def image_sources(rules: RuleSet) -> tuple[Attribute | JsonField, ...]:
    """What the rules read from each image, in a fixed order."""
    found = (one for one in rules.sources if isinstance(one, Attribute) or not one.of_the_series)
    return tuple(sorted(found, key=str))


def view(image: Image, fields: Mapping[str, Any], sources: tuple[Attribute | JsonField, ...]) -> View:
    """What the rules see of one image; `fields` are its fields of the series JSON."""
    with silent_reading():
        return tuple(
            find(image, one) if isinstance(one, Attribute) else _field(fields, one.name, image)
            for one in sources
        )


def decide(
    rules: RuleSet, views: Mapping[View, int], series: Mapping[str, Any]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The types in the order of the file, and for each a sentence that says why, without values of the images.

    Args:
        rules: the rule file.
        views: distinct views with the number of images that have them.
        series: the series JSON of all images.
    """
    judge = _Judge(rules, views, series)
    for label in rules.order:
        for rule in rules.rules:
            if rule.type == label and judge.holds(rule):
                break
    return tuple(one for one in rules.types if one in judge.why), judge.why


class _Judge:
    """Works through the types in dependency order, collecting those that were found."""

    def __init__(self, rules: RuleSet, views: Mapping[View, int], series: Mapping[str, Any]) -> None:
        self.why: dict[str, str] = {}
        self._views, self._series = views, series
        self._place = {one: position for position, one in enumerate(image_sources(rules))}
        self._total = sum(views.values())
        self._remembered: dict[tuple[Test, Found, Found], bool] = {}

    def holds(self, rule: Rule) -> bool:
        """Whether a rule holds; if so, its type and the reason are kept."""
        once = [test for test in rule.tests if not self._of_images(test)]
        each = [test for test in rule.tests if self._of_images(test)]
        if not self._total or not all(self._passes_once(test, rule.type) for test in once):
            return False
        count = sum(
            number for one, number in self._views.items() if all(self._passes(test, one) for test in each)
        )
        if not count or (rule.series_level and count < self._total):
            return False
        where = f"{count} of {self._total} images" if each else "the series as a whole"
        self.why[rule.type] = f"{rule}: {' and '.join(str(test) for test in rule.tests)}; {where}"
        return True

    def _of_images(self, test: Test) -> bool:
        return test.source in self._place or test.operand in self._place

    def _passes_once(self, test: Test, own: str) -> bool:
        if isinstance(test.source, TypesFound):
            others = self.why.keys() - {own}
            if test.operator is Operator.EXIST:
                holds = bool(others)
            elif test.operator is Operator.NOT_EXIST:
                holds = not others
            else:
                holds = any(label_matches(test, one) for one in self.why)
            return holds is not test.negated
        return self._passes(test, ())

    def _passes(self, test: Test, one: View) -> bool:
        source, operand = self._found(test.source, one), self._found(test.operand, one)
        key = (test, source, operand)
        if key not in self._remembered:
            self._remembered[key] = passes(test, source, operand)
        return self._remembered[key]

    def _found(self, what: Source | Literal | None, one: View) -> Found:
        if isinstance(what, JsonField) and what.of_the_series:
            return _field(self._series, what.name)
        if isinstance(what, Attribute | JsonField):
            return one[self._place[what]]
        return ()


def _field(fields: Mapping[str, Any], name: str, image: Image | None = None) -> Found:
    """A field of the series JSON: its text as it stands there, its members from the attribute behind it."""
    value = fields.get(name)
    if value is None:
        return ()
    if isinstance(value, list):
        texts = tuple(str(one) for one in value)
        return (Seen(texts[0] if len(texts) == 1 else str(value), texts),) if value else ()
    tag = FIELD_TAGS.get(name)
    if image is None or tag is None:
        return (Seen(str(value), (str(value),), printed=True),)
    return (
        Seen(str(value), tuple(text_of(one) for one in members(element_value(image, tag))), printed=True),
    )
