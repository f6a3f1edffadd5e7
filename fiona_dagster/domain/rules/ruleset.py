"""From the text of a classifyRules.json to a `RuleSet`, or to one error that names every rule that is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from pathlib import Path

from pydicom.datadict import keyword_for_tag

from fiona_dagster.domain import series_json
from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.domain.header import with_creators
from fiona_dagster.domain.rules.model import Attribute, JsonField, Literal, Operator, Rule, Test, TypesFound
from fiona_dagster.domain.rules.written import Reference, WrittenRule, read_rules

DEFAULT_RULES = "default_rules.json"


@dataclass(frozen=True)
class RuleSet:
    """A rule file that was understood completely.

    `order`: the types in an order in which no rule asks for a type that is decided later.
    """

    rules: tuple[Rule, ...]
    order: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    place: str = ""

    @property
    def types(self) -> tuple[str, ...]:
        """All types, in the order of the file."""
        return tuple(dict.fromkeys(rule.type for rule in self.rules))

    @property
    def sources(self) -> frozenset[Attribute | JsonField]:
        """Everything that the rules read from images and series JSON."""
        return frozenset(self._sources())

    @property
    def tags(self) -> frozenset[int]:
        """The attributes of the data set's first level that the rules read, those of the series JSON included."""
        read = {source.steps[0].tag for source in self.sources if isinstance(source, Attribute)}
        return series_json.TAGS | with_creators(read)

    @property
    def keywords(self) -> frozenset[str]:
        """Keywords of `tags`; private attributes have none."""
        return frozenset(keyword for tag in self.tags if (keyword := keyword_for_tag(tag)))

    def _sources(self) -> Iterator[Attribute | JsonField]:
        for rule in self.rules:
            for test in rule.tests:
                for one in (test.source, test.operand):
                    if isinstance(one, Attribute | JsonField):
                        yield one


def default_rules() -> RuleSet:
    """Our own rules, which come with the package."""
    return parse_rules(files(__package__).joinpath(DEFAULT_RULES).read_text("utf-8"), DEFAULT_RULES)


def load_rules(path: Path) -> RuleSet:
    """The rule file at `path`.

    Raises:
        ConfigurationError: it cannot be read, or not be understood completely.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the rules cannot be read ({type(error).__name__})",
            place=str(path),
            remedy="name a UTF-8 JSON file",
        ) from error
    return parse_rules(text, str(path))


def parse_rules(text: str, place: str) -> RuleSet:
    """A rule file that is understood completely.

    Args:
        text: content of a classifyRules.json.
        place: its name, for messages.

    Raises:
        ConfigurationError: with all problems at once, one a line, each naming its rule: unknown key, operator, tag
            or reference, a reference to an id that stands twice, a cycle, a bad regular expression or number.
    """
    problems: list[str] = []
    written = read_rules(text, place, problems)
    warnings = _check_references(written, problems)
    order: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    if not problems:
        by_id = {rule.id: rule for rule in written if rule.id}
        rules = tuple(_resolved(rule, by_id) for rule in written)
        order = _order(rules, problems)
    if problems:
        raise ConfigurationError(
            "\n  ".join([f"{len(problems)} problem(s) in the rules", *problems]), place=place,
            remedy="mend the rules; nothing is classified by a file that is understood in part",
        )  # fmt: skip
    return RuleSet(rules, order, (*warnings, *_never_found(rules)), place)


def _check_references(written: Sequence[WrittenRule], problems: list[str]) -> list[str]:
    """Unknown, ambiguous and circular references are problems; returns warnings about other double ids."""
    count = Counter(rule.id for rule in written if rule.id)
    referenced = {one.id for rule in written for one in _references(rule)}
    for rule in written:
        for one in dict.fromkeys(reference.id for reference in _references(rule)):
            if one not in count:
                problems.append(f'{rule}: refers to "{one}", which is no rule\'s id')
            elif count[one] > 1:
                numbers = ", ".join(str(other.number) for other in written if other.id == one)
                problems.append(f'{rule}: refers to "{one}", which is the id of several rules ({numbers})')
    graph: dict[str, list[str]] = {}
    for rule in written:
        if rule.id:
            graph.setdefault(rule.id, []).extend(one.id for one in _references(rule))
    circle = _circle(graph)
    if circle:
        first = next(rule for rule in written if rule.id == circle[0])
        problems.append(f"{first}: its references run in a circle: {' -> '.join(circle)}")
    return [
        f'{rule}: the id "{rule.id}" stands more than once; nothing refers to it'
        for rule in written
        if count[rule.id] > 1 and rule.id not in referenced
    ]


def _references(rule: WrittenRule) -> Iterator[Reference]:
    return (one for one in rule.entries if isinstance(one, Reference))


def _resolved(rule: WrittenRule, by_id: dict[str, WrittenRule]) -> Rule:
    return Rule(
        rule.number, rule.line, rule.type, rule.id, rule.description, rule.series_level,
        tuple(dict.fromkeys(_tests(rule, by_id, {}))),
    )  # fmt: skip


def _tests(
    rule: WrittenRule, by_id: dict[str, WrittenRule], known: dict[str, tuple[Test, ...]]
) -> tuple[Test, ...]:
    """A rule's tests, each reference replaced by the tests that it stands for, once each.

    `notrule` turns every one of them round: none of them may hold (FIONA), however deep they were referred to.
    """
    tests: list[Test] = []
    for one in rule.entries:
        if isinstance(one, Test):
            tests.append(one)
            continue
        if one.id not in known:
            known[one.id] = _tests(by_id[one.id], by_id, known)
        tests.extend(replace(test, negated=test.negated is not one.negated) for test in known[one.id])
    return tuple(dict.fromkeys(tests))


def _order(rules: Sequence[Rule], problems: list[str]) -> tuple[str, ...]:
    """The types so ordered that those which a ClassifyType test asks for come before the type of its rule."""
    types = tuple(dict.fromkeys(rule.type for rule in rules))
    graph: dict[str, list[str]] = {one: [] for one in types}
    for rule in rules:
        for test in rule.tests:
            if isinstance(test.source, TypesFound):
                graph[rule.type].extend(one for one in types if _asks_for(test, one, own=rule.type))
    circle = _circle(graph)
    if circle:
        first = next(rule for rule in rules if rule.type == circle[0])
        problems.append(
            f'rule {first.number} (line {first.line}, type "{first.type}"): its ClassifyType tests run in a circle: '
            + " -> ".join(circle)
        )
        return ()
    return tuple(TopologicalSorter(graph).static_order())


def _asks_for(test: Test, label: str, *, own: str) -> bool:
    """Whether the outcome of a ClassifyType test can depend on `label`."""
    if test.operator in (Operator.EXIST, Operator.NOT_EXIST):
        return label != own
    return label_matches(test, label)


def label_matches(test: Test, label: str) -> bool:
    """Whether a ClassifyType test, not counting its negation, is content with one type."""
    if test.pattern is not None:
        return test.pattern.search(label) is not None
    return isinstance(test.operand, Literal) and test.operand.text == label


def _circle(graph: dict[str, list[str]]) -> list[str]:
    """One cycle, as a walk that ends where it began, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(one) for one in reversed(error.args[1])]  # graphlib walks from what is asked for
    return []


def _never_found(rules: Sequence[Rule]) -> Iterator[str]:
    types = {rule.type for rule in rules}
    for rule in rules:
        for test in rule.tests:
            if (
                isinstance(test.source, TypesFound)
                and test.operator in (Operator.CONTAINS, Operator.REGEXP)
                and not any(label_matches(test, one) for one in types)
            ):
                yield (
                    f'rule {rule.number} (line {rule.line}, type "{rule.type}"): no rule gives a type for the test '
                    f"{test}"
                )
