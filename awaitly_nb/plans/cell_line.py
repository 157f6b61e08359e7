"""Reading what stands behind `%%awaitly`: `NAME --key K ...`. Knows no IPython."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from awaitly_nb.errors import MisuseError
from awaitly_nb.units import did_you_mean, parse_duration

__all__ = ["CELL_FLAGS", "CELL_USAGE", "CELL_VALUES", "CellOptions", "parse_cell_line"]

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
