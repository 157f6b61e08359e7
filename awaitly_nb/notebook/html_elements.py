"""HTML from text, with one rule: whatever comes in is text, and is escaped.

Hides tags and style. The markup reads well where styles are removed too (GitHub, an untrusted notebook): states are
words, tables are tables. Imports nothing but the standard library and the panel's words.
"""

from __future__ import annotations

import html
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from awaitly_nb.notebook.words import middle_cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Cell", "Html", "cell", "document", "folded", "heading", "paragraph", "preformatted", "table", "tag", "text"]


_KINDS: Final = {"key": "k", "state": "s", "result": "s"} | dict.fromkeys(
    ("took", "size", "saved", "age", "hits", "computed"), "n"
)


class Html(str):
    """Text that is markup already; everything else is escaped where it is put in."""

    __slots__ = ()


def text(value: object) -> Html:
    """Return `value` as markup that shows it: escaped, and without characters that reorder or hide what follows."""
    if isinstance(value, Html):
        return value
    shown = "".join(
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in str(value)
    )
    return Html(html.escape(shown, quote=True))


def tag(name: str, *content: object, css: str = "", style: str = "", title: str = "", scope: str = "") -> Html:
    """Return one element around `content`."""
    attributes = {"class": css, "style": style, "title": title, "scope": scope}
    opening = "".join(f' {key}="{text(value)}"' for key, value in attributes.items() if value)
    return Html(f"<{name}{opening}>{''.join(text(part) for part in content)}</{name}>")


def paragraph(*content: object, css: str = "") -> Html:
    """Return a paragraph."""
    return tag("p", *content, css=css)


def heading(title: str, *facts: object) -> Html:
    """Return a line with a name and what is to be said of it."""
    shown = [part for i, fact in enumerate(filter(None, facts)) for part in (" · " if i else " ", tag("span", fact))]
    return tag("div", tag("strong", title), *shown, css="h")


def preformatted(content: str) -> Html:
    """Return text in a fixed-width block."""
    return tag("pre", content)


def folded(summary: str, *content: object) -> Html:
    """Return content that opens at a click."""
    return tag("details", tag("summary", summary), *content)


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]]) -> Html:
    """Return a table.

    Parameters
    ----------
    columns
        Title and class of each, or no class where the title says it: `n` is for numbers and stands to the right,
        neither it nor `s` (a state) breaks, and of a long key (`k`) the ends show, or other columns had no room.
    rows
        What stands in the cells; a `cell` is taken as it is. The first heads its row.
    """
    columns = [(title, css or _KINDS.get(title, "")) for title, css in columns]
    head = tag("thead", tag("tr", *(_cell("th", title, css, "col") for title, css in columns)))
    body = []
    for row in rows:
        cells = [
            cell if isinstance(cell, Cell) else _plain(cell, css, heads=not i)
            for i, (cell, (_, css)) in enumerate(zip(row, columns, strict=True))
        ]
        body.append(tag("tr", *cells))
    return tag("table", head, tag("tbody", *body))


def _plain(content: object, css: str, *, heads: bool) -> Html:
    whole = str(content)
    if css == "k" and (short := middle_cut(whole)) != whole:
        return cell(short, css=css, title=whole, heads=heads)
    return cell(content, css=css, heads=heads)


class Cell(Html):
    """A cell with a class or title of its own."""

    __slots__ = ()


def cell(*content: object, css: str = "", title: str = "", heads: bool = False) -> Cell:
    """Return a cell; one that `heads` names its row."""
    return Cell(_cell("th" if heads else "td", Html("".join(map(text, content))), css, "row" if heads else "", title))


def _cell(name: str, content: object, css: str, scope: str, title: str = "") -> Html:
    # Inline, because an untrusted notebook keeps such styles only, and JupyterLab sets every cell to the right.
    kinds = css.split()
    side = "right" if "n" in kinds else "left"
    whole = "; white-space: nowrap" if {"n", "s"} & {*kinds} else ""  # "0.9 ms" is one word
    return tag(name, content, css=css, style=f"text-align: {side}{whole}", scope=scope, title=title)


@cache
def _style() -> str:
    return (Path(__file__).parent / "static" / "static.css").read_text(encoding="utf-8")


def document(*content: object, css: str = "") -> str:
    """Return a whole output: content with its style. A plain `str`, ready for `_repr_html_`."""
    style = Html(f"<style>{_style()}</style>")
    return str(tag("div", style, *content, css=f"awn-static {css}".strip()))
