"""Keys of one's own as texts to be filled, such as "user:{id}": checked where they are given, filled for each call."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from awaitly_nb.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_template", "fill"]


def check_template(template: object) -> None:
    """Raise MisuseError if `template` is no text that could be filled."""
    if not isinstance(template, str):
        raise MisuseError(f'key= is a text over the arguments, such as "user:{{id}}", not {_shown(template)}')
    try:
        list(string.Formatter().parse(template))
    except ValueError as exc:
        raise MisuseError(
            f"the key template {template!r} cannot be read: {exc}; a brace itself is written twice"
        ) from exc


def fill(template: str, values: Mapping[str, object], *, step: str) -> str:
    """Return the key that `template` comes to with these values.

    Raises
    ------
    MisuseError
        It names something else, or a format that a value does not have, or comes out empty.
    """
    try:
        key = template.format(**values)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError) as exc:
        fault = f"names {exc}, which is not there" if isinstance(exc, KeyError) else f"cannot be filled: {exc}"
        raise MisuseError(
            f"the key template {template!r} of step {step!r} {fault}; there are: {', '.join(values) or 'none'}"
        ) from exc
    if not key:
        raise MisuseError(f"the key template {template!r} of step {step!r} came out empty")
    return key


def _shown(value: object) -> str:
    return "a function" if callable(value) else repr(value)
