"""What a cell is called, and what its first line (`%%awaitly NAME --key K ...`) or a comment in it asks for.

Knows no IPython.
"""

from __future__ import annotations

import io
import re
import shlex
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING

from awaitly_nb.errors import MisuseError
from awaitly_nb.plans.statics import made_names
from awaitly_nb.units import did_you_mean, parse_duration

if TYPE_CHECKING:
    import ast

__all__ = [
    "CELL_FLAGS",
    "CELL_USAGE",
    "CELL_VALUES",
    "CellOptions",
    "Directive",
    "called",
    "parse_cell_line",
    "read_directive",
]

CELL_VALUES = {
    "--key": "store the cell under this key, whatever it reads",
    "--vars": "store only these variables: a,b",
    "--ignore": "leave these inputs out of the key: c,d",
    "--ttl": 'serve the result for this long: 90s, 15m, 2h, "7d"',
}
CELL_FLAGS = {
    "--force": "run again, and replace what is cached",
    "--read": "load what is cached, or fail; never run",
    "--no-output": "neither record nor replay what the cell shows",
    "--dry-run": "say hit or miss, and why; run nothing",
    "--allow-shell": "allow !commands, although a hit does not repeat them",
}
CELL_USAGE = (
    "%%awaitly NAME [--key K] [--vars a,b] [--ignore c,d] [--ttl 7d] "
    "[--force] [--read] [--no-output] [--dry-run] [--allow-shell]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """What the first line of a cell asks for.

    Attributes
    ----------
    name
        The cell's name, which is also the namespace it is stored in.
    key
        The user's own key, or None for the automatic one.
    variables
        The only variables to store, or None for all that the cell assigns.
    ignore
        Inputs that do not count in the key.
    ttl_s
        Seconds for which the result is served, or None.
    force, read, output, dry_run, allow_shell
        The flags; `output` is false under `--no-output`.
    """

    name: str
    key: str | None = None
    variables: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    ttl_s: float | None = None
    force: bool = False
    read: bool = False
    output: bool = True
    dry_run: bool = False
    allow_shell: bool = False


def parse_cell_line(line: str, name: str | None = None) -> CellOptions:
    """Return the options of a cell's first line.

    Parameters
    ----------
    line
        What stands behind `%%awaitly`.
    name
        What a cell is called whose line does not say.

    Raises
    ------
    MisuseError
        An unknown word, a missing value or a missing name; the message ends with the usage.

    Examples
    --------
    >>> parse_cell_line("raw --vars df,meta --ttl 1h").variables
    ('df', 'meta')
    """
    words, values, flags = _split(line)
    words = words or ([name] if name else [])
    if not words:
        raise _misuse("the cell needs a name")
    if len(words) > 1:
        raise _misuse(f"{words[1]!r} is one word too many; a name with a space goes in quotes")
    if {"--force", "--read"} <= flags:
        raise _misuse("--force computes and --read never does; give one of them")
    key = values.get("--key")
    if key is not None and not key.strip():
        raise _misuse("--key needs a text that is not empty")
    ttl = values.get("--ttl")
    return CellOptions(
        name=words[0],
        key=key,
        variables=_names(values["--vars"], "--vars") if "--vars" in values else None,
        ignore=_names(values.get("--ignore", ""), "--ignore"),
        ttl_s=None if ttl is None else parse_duration(ttl, name="--ttl"),
        force="--force" in flags,
        read="--read" in flags,
        output="--no-output" not in flags,
        dry_run="--dry-run" in flags,
        allow_shell="--allow-shell" in flags,
    )


def _split(line: str) -> tuple[list[str], dict[str, str], set[str]]:
    try:
        tokens = iter(shlex.split(line))
    except ValueError as exc:
        raise _misuse(f"cannot read this line ({exc})") from None
    words: list[str] = []
    values: dict[str, str] = {}
    flags: set[str] = set()
    for token in tokens:
        option, equals, value = token.partition("=")
        if not token.startswith("-"):
            words.append(token)
        elif token in CELL_FLAGS:
            flags.add(token)
        elif option in CELL_VALUES:
            if not equals and (following := next(tokens, None)) is not None:
                equals, value = "=", following
            if not equals:
                raise _misuse(f"{option} needs a value")
            values[option] = value
        else:
            near = did_you_mean(option, [*CELL_FLAGS, *CELL_VALUES])
            raise _misuse(f"unknown option {token!r} of %%awaitly{near and '; '}{near}")
    return words, values, flags


def _names(text: str, option: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if not name.isidentifier():
            raise _misuse(f"{option}: {name!r} is no variable name")
    return names


def _misuse(problem: str) -> MisuseError:
    return MisuseError(f"{problem}\nusage: {CELL_USAGE}")


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
