"""What a cell is called, and what a comment in it asks for: `# awaitly: live`, `cache`, or `ttl 7d`."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING

from awaitly_nb.errors import MisuseError
from awaitly_nb.plans.statics import made_names
from awaitly_nb.units import parse_duration

if TYPE_CHECKING:
    import ast

__all__ = ["Directive", "called", "read_directive"]

_DIRECTIVE = re.compile(r"#\s*awaitly:\s*(.*?)\s*$")
_MOST_NAMES = 3
_MOST_CHARS = 40


@dataclass(frozen=True, slots=True)
class Directive:
    """What a comment in a cell asks for.

    Attributes
    ----------
    live
        It always runs.
    cache
        It is always cached.
    ttl_s
        Seconds for which its result may be served, or None.
    """

    live: bool = False
    cache: bool = False
    ttl_s: float | None = None


def read_directive(source: str) -> Directive:
    r"""Return what the comments of a cell ask for.

    Raises
    ------
    MisuseError
        A comment that begins with `# awaitly:` and goes on with something unknown.

    Examples
    --------
    >>> read_directive("# awaitly: live\nx = 1").live
    True
    >>> read_directive("x = 1  # awaitly: ttl 1h").ttl_s
    3600.0
    """
    live, cache, ttl_s = False, False, None
    if "awaitly:" not in source:
        return Directive()
    for comment in _comments(source):
        if (found := _DIRECTIVE.match(comment)) is None:
            continue
        match found[1].split():
            case ["live"]:
                live = True
            case ["cache"]:
                cache = True
            case ["ttl", text]:
                ttl_s = parse_duration(text, name="# awaitly: ttl")
            case _:
                raise MisuseError(
                    f"unknown comment {comment.strip()!r}: use # awaitly: live, # awaitly: cache, or # awaitly: ttl 7d"
                )
    if live and (cache or ttl_s is not None):
        raise MisuseError("a cell cannot be both live and cached: use one `# awaitly:` comment")
    return Directive(live, cache, ttl_s)


def called(tree: ast.Module | None, source: str, heading: str = "", *, place: int = 0) -> str:
    r"""Return what a cell is called: by what it makes, else by its first comment, the heading above it, or its place.

    Examples
    --------
    >>> import ast
    >>> called(ast.parse("model, scores = fit(data)"), "model, scores = fit(data)")
    'model, scores'
    >>> called(ast.parse("plot(x)"), "# The residuals\nplot(x)")
    'The residuals'
    """
    made = made_names(tree) if tree is not None else []
    if made:
        return ", ".join(made[:_MOST_NAMES]) + (", …" if len(made) > _MOST_NAMES else "")
    comment = next((text.lstrip("#").strip() for text in _comments(source) if not _DIRECTIVE.match(text)), "")
    for text in (comment.strip("-= "), heading):
        if text:
            return text if len(text) <= _MOST_CHARS else text[: _MOST_CHARS - 1] + "…"
    return f"cell {place}" if place else "cell"


def _comments(source: str) -> list[str]:
    try:
        return [
            token.string
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        ]
    except (tokenize.TokenError, SyntaxError, IndentationError):  # magics: IPython reads them, Python does not
        return [line.strip() for line in source.splitlines() if line.lstrip().startswith("#")]
