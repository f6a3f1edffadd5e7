"""HTML of the page: text and tables, no scripts, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto 4rem;max-width:96rem;padding:0 1rem;color:#1d2730}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .3rem}a{color:#0b5c8a}
nav{color:#56646f}.scroll{overflow-x:auto}table{border-collapse:collapse;margin:.5rem 0}
th,td{border:1px solid #c9d3da;padding:.25rem .6rem;text-align:left;vertical-align:top;max-width:28rem;
overflow-wrap:anywhere}thead th{background:#eef3f6;font-weight:600;white-space:nowrap}
tbody th{font-weight:500;background:#f7fafb}p.note{color:#56646f}td:empty::after{content:"\\2013";color:#9aa7b0}
.tag{font-size:.8rem;border:1px solid #c9d3da;border-radius:.6rem;padding:0 .5rem;color:#56646f}
@media (prefers-color-scheme:dark){body{background:#151a1e;color:#dfe6ea}thead th{background:#232b31}
tbody th{background:#1a2025}th,td,.tag{border-color:#3c4851}a{color:#7cc4ee}p.note,nav,.tag{color:#9fb0bb}}
"""


def link(target: str, text: str) -> str:
    """An anchor; both sides are escaped."""
    return f'<a href="{escape(target)}">{escape(text)}</a>'


def project_path(pid: int) -> str:
    """Of the records of a project."""
    return f"/project/{pid}"


def record_path(pid: int, record: str) -> str:
    """Names of records may hold anything, slashes too, so they travel in the query."""
    return f"/project/{pid}/record?name={quote(record, safe='')}"


def tag(text: str) -> str:
    """A small label."""
    return f'<span class="tag">{escape(text)}</span>'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells of `rows` are HTML already, and the first of each is its heading."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def page(title: str, body: str, path: Sequence[str] = ()) -> str:
    """A whole document. `path` are links to the pages above it."""
    above = f"<nav>{' / '.join(path)}</nav>" if path else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{above}<main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
