"""Arguments by parameter name: `f(1)`, `f(x=1)` and `f()` with a default of 1 are one call.

Much faster than `inspect.signature(...).bind`, because it runs on every call of a step; odd callables go through
`inspect`.
"""

from __future__ import annotations

from contextlib import suppress
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from awaitly_nb.keys.code_callables import wrapped_function

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType

__all__ = ["Bound", "bind"]

Bound = list[tuple[str, object]]

_VARARGS: Final = 0x04
_VARKEYWORDS: Final = 0x08
_STARRED: Final = _VARARGS | _VARKEYWORDS


def bind(fn: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Bound:
    """Return the arguments of `fn(*args, **kwargs)` by parameter name, defaults filled in.

    Raises
    ------
    TypeError
        The call itself would raise it.
    """
    target = fn
    if type(target) is MethodType:
        args = (target.__self__, *args)
        target = target.__func__
    if type(target) is FunctionType:
        code = target.__code__
        if code.co_flags & _STARRED == _STARRED and not code.co_argcount:
            inner = wrapped_function(target)
            if inner is not None:  # a plain wrapper: the signature is that of what it wraps
                with suppress(TypeError):  # unless it adds arguments of its own
                    own = [(name, value) for name, value in (target.__kwdefaults__ or {}).items() if name not in kwargs]
                    return [*bind(inner, args, kwargs), *own]
        bound = _bind_function(target, code, args, kwargs)
        if bound is None:
            _bind_slowly(target, args, kwargs)  # raises, and says what is wrong; but for a bug in Python 3.13.0
            raise TypeError(f"{target.__name__}() cannot be called with these arguments")
        return bound
    return _bind_slowly(target, args, kwargs)


def _bind_function(
    function: FunctionType, code: CodeType, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Bound | None:
    count = code.co_argcount
    names = code.co_varnames
    flags = code.co_flags
    if len(args) == count and not kwargs and not code.co_kwonlyargcount and not flags & _STARRED:
        return list(zip(names, args))  # noqa: B905 - names go on with the local variables
    if len(args) > count and not flags & _VARARGS:
        return None
    bound: Bound = list(zip(names, args[:count], strict=False))
    last = count + code.co_kwonlyargcount
    used = 0
    defaults = function.__defaults__ or ()
    for index in range(min(len(args), count), last):
        name = names[index]
        if name in kwargs and index >= code.co_posonlyargcount:
            bound.append((name, kwargs[name]))
            used += 1
        elif count - len(defaults) <= index < count:
            bound.append((name, defaults[index - count]))
        elif index >= count and function.__kwdefaults__ and name in function.__kwdefaults__:
            bound.append((name, function.__kwdefaults__[name]))
        else:
            return None
    if flags & _VARARGS:
        bound.append((f"*{names[last]}", tuple(args[count:])))
    if used < len(kwargs) and (not flags & _VARKEYWORDS or _given_twice(code, len(args), kwargs)):
        return None
    if flags & _VARKEYWORDS:
        taken = names[code.co_posonlyargcount : last]
        extra = {name: value for name, value in kwargs.items() if name not in taken} if kwargs else {}
        bound.append((f"**{names[last + bool(flags & _VARARGS)]}", extra))
    return bound


def _given_twice(code: CodeType, given: int, kwargs: Mapping[str, Any]) -> bool:
    by_position = code.co_varnames[code.co_posonlyargcount : min(given, code.co_argcount)]
    return any(name in kwargs for name in by_position)


def _bind_slowly(target: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Bound:
    import inspect

    try:
        signature = inspect.signature(target)  # type: ignore[arg-type]
    except (ValueError, TypeError):  # a builtin without a signature
        named = [(f"{name}=", value) for name, value in kwargs.items()]
        return [*((str(index), value) for index, value in enumerate(args)), *named]
    found = signature.bind(*args, **kwargs)
    found.apply_defaults()
    stars = {inspect.Parameter.VAR_POSITIONAL.value: "*", inspect.Parameter.VAR_KEYWORD.value: "**"}
    kinds = {name: stars.get(parameter.kind.value, "") for name, parameter in signature.parameters.items()}
    return [(kinds[name] + name, value) for name, value in found.arguments.items()]
