"""How objects draw themselves in a notebook: a registry at the ground, filled from above.

Results, states, caches, runs and workflows have `_repr_html_`, and none of them may import the notebook. They ask here.
The package's root says where the drawings are (`drawn_by`); that module registers a function for each class when it is
loaded, which happens at the first drawing and not before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["drawn_by", "html_of", "register_html", "register_panel", "show_panel"]

_HTML: dict[str, Callable[[Any], str]] = {}  # Any: each function knows its own class
_PANEL: list[Callable[..., None]] = []
_SOURCES: list[str] = []


def drawn_by(module: str) -> None:
    """Name the module that registers the drawings; it is imported when something is drawn first."""
    _SOURCES.append(module)


def register_html(class_name: str, fn: Callable[[Any], str]) -> None:
    """Let objects of the class of this name, and of its subclasses, be drawn by `fn`."""
    _HTML[class_name] = fn


def register_panel(fn: Callable[..., None]) -> None:
    """Let `show_panel` show a workflow by `fn`."""
    _PANEL[:] = [fn]


def html_of(obj: object) -> str | None:
    """Return an object as inert HTML; None where nothing draws its class, so that Jupyter shows its text."""
    _load()
    for cls in type(obj).__mro__:
        if (fn := _HTML.get(cls.__name__)) is not None:
            return fn(obj)
    return None


def show_panel(workflow: str, *, cache: object) -> None:
    """Show the live panel of the workflow of this name, whose entries lie in `cache` or in the default folder."""
    _load()
    _PANEL[0](workflow, cache=cache)


def _load() -> None:
    while _SOURCES:
        import_module(_SOURCES.pop())
