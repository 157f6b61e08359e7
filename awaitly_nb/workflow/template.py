"""Explicit keys as texts to be filled, such as "user:{id}": checked where they are given, filled for each call.

The text of a value stands in the key where it identifies the value. Where it does not (an array that is shown in part,
an object that is shown by its address, a text that reads as a number), the value's fingerprint stands there.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from awaitly_nb.errors import AwaitlyError, MisuseError, UncachedWarning, warn
from awaitly_nb.keys import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["check_template", "fill", "fill_for_cell"]

_FORMATTER = string.Formatter()
_DOLLAR = re.compile(r"\$(\w+)")
_READS_AS_OTHER = re.compile(r"\s*[+-]?(\d[\d_]*\.?\d*|\.\d+|inf|nan)(e[+-]?\d+)?j?\s*|True|False|None", re.IGNORECASE)
_PLAIN = (bool, int, float, complex, bytes, type(None))
_told: set[tuple[str, str, str, type]] = set()


def check_template(template: object, known: Mapping[str, object] | None = None, *, step: str = "") -> None:
    """Check a template before it is used.

    Parameters
    ----------
    template
        What was given as the key.
    known
        The names that it may use; None where they are not known yet, or where any may come.
    step
        Whose it is, for the message.

    Raises
    ------
    MisuseError
        It is no text that could be filled, or names something else.
    """
    if not isinstance(template, str):
        raise MisuseError(f'key= is a text over the arguments, such as "user:{{id}}", not {_shown(template)}')
    try:
        names = list(_names(template))
    except ValueError as exc:
        raise MisuseError(
            f"the key template {template!r} cannot be read: {exc}; a brace itself is written twice"
        ) from exc
    for name in names if known is not None else ():
        if known is not None and name not in known:
            raise MisuseError(
                f"the key template {template!r} of step {step!r} names {name!r}, which is not there; "
                f"there are: {', '.join(known) or 'none'}"
            )


def _names(template: str) -> Iterator[str]:
    for _, field, spec, _ in _FORMATTER.parse(template):
        if field is not None:
            yield re.split(r"[.\[]", field, maxsplit=1)[0]
            yield from _names(spec or "")


def fill(template: str, values: Mapping[str, object], *, step: str, look: Callable[[str], object] | None = None) -> str:
    """Return the key that `template` gives with these values, or with what `look` says of what stands in braces.

    Raises
    ------
    MisuseError
        It names something else, or a format that a value does not have, or gives an empty key.
    UnkeyableError
        The text of a value does not identify it, and it has no fingerprint either.
    """
    try:
        key = "".join(
            _filled(template, values, step, look or (lambda field: _FORMATTER.get_field(field, (), values)[0]))
        )
    except (KeyError, IndexError, AttributeError, TypeError, ValueError) as exc:
        if isinstance(exc, AwaitlyError):
            raise
        fault = f"names {exc}, which is not there" if isinstance(exc, KeyError) else f"cannot be filled: {exc}"
        raise MisuseError(
            f"the key template {template!r} of step {step!r} {fault}; there are: {', '.join(values) or 'none'}"
        ) from exc
    if not key:
        raise MisuseError(f"the key template {template!r} of step {step!r} came out empty")
    return key


def fill_for_cell(template: str, names: dict[str, object], *, cell: str) -> str:
    """Return what a text on the first line of a cell gives with the variables of the notebook.

    What stands in braces may be an expression, such as `{len(rows)}`, as in other magics.

    Raises
    ------
    MisuseError
        It names a variable that is not there, cannot be read or filled, or comes out empty.
    UnkeyableError
        The text of a value does not identify it, and it has no fingerprint either.
    """
    if dollar := next((name for name in _DOLLAR.findall(template) if name in names), None):
        raise MisuseError(f"${dollar} is not filled in on the first line of the cell {cell!r}: write {{{dollar}}}")
    check_template(template, step=cell)

    def look(field: str) -> object:
        try:
            value: object = eval(field, names)  # noqa: S307 - the user's own code, in the user's own notebook
        except NameError as exc:
            import difflib

            known = [name for name in names if not name.startswith("_")]
            near = difflib.get_close_matches(exc.name or "", known, 1)
            raise MisuseError(
                f"the first line of the cell {cell!r} names {exc.name!r} in {template!r}, and there is no such variable"
                + (f"; did you mean {near[0]!r}?" if near else "")
            ) from None
        except Exception as exc:  # user code may raise anything
            raise MisuseError(f"{{{field}}} on the first line of the cell {cell!r} cannot be filled in: {exc}") from exc
        return value

    return fill(template, names, step=cell, look=look)


def _filled(template: str, values: Mapping[str, object], step: str, look: Callable[[str], object]) -> Iterator[str]:
    for literal, field, spec, conversion in _FORMATTER.parse(template):
        yield literal
        if field is None:
            continue
        value = look(field)
        if (why := _not_identified(value, conversion)) is None:
            form = _FORMATTER.vformat(spec or "", (), values)
            yield _FORMATTER.format_field(_FORMATTER.convert_field(value, conversion), form)
            continue
        yield fingerprint(value, path=field)
        about = (step, template, field, type(value))
        if about not in _told:
            _told.add(about)
            warn(
                f"step {step!r}: in the key template {template!r} the text of {field} does not identify it ({why}), so "
                "its fingerprint stands there; name in the template what identifies it, as in {obj.name} or {text!r}",
                UncachedWarning,
            )


def _not_identified(value: object, conversion: str | None) -> str | None:
    """Return why the text of a value may be that of another one, or None where it may not."""
    kind = type(value)
    if isinstance(value, str):
        return "a text that reads as a number" if conversion != "r" and _READS_AS_OTHER.fullmatch(value) else None
    if kind in _PLAIN:
        return None
    if kind in (list, tuple, dict):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return next((why for part in parts if (why := _not_identified(part, "r"))), None)  # type: ignore[attr-defined]
    named = f"{'an' if kind.__name__[:1] in 'aeiouAEIO' else 'a'} {kind.__name__}"
    if isinstance(value, set | frozenset) or hasattr(value, "__array__") or hasattr(value, "shape"):
        return f"{named} is not shown in full" if not isinstance(value, set | frozenset) else f"{named} has no order"
    writes_itself = kind.__str__ is not object.__str__ or kind.__format__ is not object.__format__
    return None if writes_itself else f"{named} is shown by its repr"


def _shown(value: object) -> str:
    return "a function" if callable(value) else repr(value)
