"""What looks like a secret or personal data in a text that is about to leave the machine.

A reader's eye for a sender in a hurry: it finds the usual shapes of tokens, and values of this process's environment
whose names say that they are secret. It cannot find what looks like nothing, and says so.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Exposed", "exposed_in"]

_PATTERNS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "an access key of AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token of GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})",
    "a token of GitLab": r"\bglpat-[\w-]{20,}",
    "a token of Slack": r"\bxox[abposr]-[\w-]{10,}",
    "an API key": r"\bsk-[\w-]{20,}|\bAIza[\w-]{30,}|\bhf_[A-Za-z0-9]{30,}",
    "a JSON web token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
    "an address with a password": r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"'\\]+:[^\s/@\"'\\]+@",
    "a password in the text": r"(?i)\b\w*(?:passw(?:or)?d|secret|api_?key|token)\w*\s*[=:]\s*\\?[\"'][^\"'\\\s]{6,}",
    "an e-mail address": r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b",
}
_COMPILED = [(what, re.compile(pattern)) for what, pattern in _PATTERNS.items()]
_SECRET_NAME = re.compile(r"(?i)pass|secret|token|key|credential|auth|dsn")
_SHORTEST_VALUE = 8
_SHORTEST_HOME = 4
_SHOWN = 6
_MOST_SHOWN = 5


class Exposed(NamedTuple):
    """Something in a text that perhaps should not leave the machine.

    Attributes
    ----------
    what
        What it looks like.
    sample
        How it begins; the rest is not shown.
    where
        In which text it is.
    """

    what: str
    sample: str
    where: str


def exposed_in(text: str, where: str, environment: Mapping[str, str] | None = None) -> Iterator[Exposed]:
    """Yield what looks like a secret or personal data in a text, each once and at most five of a kind.

    Parameters
    ----------
    text
        The text.
    where
        What the text is called.
    environment
        Variables whose values are looked for; those of this process if None.

    Examples
    --------
    >>> [found.what for found in exposed_in("mail = 'ann@example.org'", "n.ipynb", {})]
    ['an e-mail address']
    """
    variables = os.environ if environment is None else environment
    for name, value in variables.items():
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_VALUE and _written(value) in text:
            yield Exposed(f"the value of the environment variable {name}", _cut(value), where)
    home = variables.get("HOME") or variables.get("USERPROFILE") or ""
    if len(home) >= _SHORTEST_HOME and _written(home) in text:
        yield Exposed("your home folder", home, where)
    for what, pattern in _COMPILED:
        samples = list(dict.fromkeys(found[0] for found in pattern.finditer(text)))
        yield from (Exposed(what, _cut(sample), where) for sample in samples[:_MOST_SHOWN])


def _written(value: str) -> str:
    """Return a value as JSON has it, for notebooks and heads are JSON."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _cut(sample: str) -> str:
    return sample[:_SHOWN] + "…"
