"""The site's templates on disk: `config/pixel-templates.yaml`, which people write and `fiona pixels` adds to."""

from __future__ import annotations

from pathlib import Path

from fiona_dagster.adapters.durable import write_durably
from fiona_dagster.adapters.projects_file import keys_twice
from fiona_dagster.domain.errors import ConfigurationError, Transient
from fiona_dagster.domain.pixels.templates import Template, parse_templates, templates_and_problems


def load_templates(path: Path) -> tuple[Template, ...]:
    """The templates of a file in their order; none where there is no file.

    Raises:
        ConfigurationError: it cannot be understood completely.
    """
    found, problems = read_templates(path)
    for one in problems:
        raise one
    return found


def read_templates(path: Path) -> tuple[tuple[Template, ...], list[ConfigurationError]]:
    """The templates of a file as far as they can be understood, and what cannot.

    Raises:
        ConfigurationError: it is no YAML.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return (), []
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError("cannot be read as UTF-8", place=str(path), remedy="mend the file") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader) or yaml.ScalarNode("", "")
        twice = list(keys_twice(node))
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigurationError("is not YAML", place=place, remedy="mend that line") from None
    lines = [one.start_mark.line + 1 for one in node.value] if isinstance(node, yaml.SequenceNode) else []
    found, problems = templates_and_problems(content, str(path), lines)
    doubled = [
        ConfigurationError(
            f"'{one.value}' stands there twice", place=f"{path}:{one.start_mark.line + 1}",
            remedy="take out the one or the other",
        )
        for one in twice
    ]  # fmt: skip
    return found, [*doubled, *problems]


def as_yaml(template: Template) -> str:
    """A template as one item of the file."""
    import yaml

    return yaml.safe_dump(
        [template.described()], sort_keys=False, default_flow_style=None, allow_unicode=True
    )


def _names(text: str) -> list[str]:
    """Names of the templates in a text; none where it cannot be understood."""
    import yaml

    try:
        return [one.name for one in parse_templates(yaml.safe_load(text), "")]
    except (yaml.YAMLError, ConfigurationError):
        return []


def add_template(path: Path, template: Template) -> None:
    """Put a template before all others, so that it is the one that counts; comments of the file stay.

    Raises:
        ConfigurationError: the file cannot be understood, or has a template of that name.
        Transient: it cannot be written.
    """
    known = load_templates(path)
    if any(one.name == template.name for one in known):
        raise ConfigurationError(
            f"has a template {template.name}", place=str(path), remedy="take it out, or give another name"
        )
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    text = as_yaml(template) + before
    if _names(text) != [template.name, *(one.name for one in known)]:
        raise ConfigurationError(
            "is written in a way that nothing can be put before", place=str(path),
            remedy="call it without --add, and put what it prints there by hand",
        )  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        write_durably(path, text.encode())
    except OSError as error:
        raise Transient(f"{path} cannot be written ({error.strerror}): mend that and try again") from None
