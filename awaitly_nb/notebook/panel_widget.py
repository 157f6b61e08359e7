"""The widget behind the panel: its page code, and a door for messages. Imported only where a panel is shown."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anywidget
import traitlets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["CSS", "ESM", "PanelWidget"]

_STATIC = Path(__file__).parent / "static"

# One module to the page, several files to the reader: they are joined in this order, which is all the build there is.
_PARTS = ("words.js", "columns.js", "store.js", "steps.js", "keys.js", "panel.js")

ESM: Final = "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in _PARTS)
CSS: Final = (_STATIC / "panel.css").read_text(encoding="utf-8")


class PanelWidget(anywidget.AnyWidget):
    """Carries messages between a panel and the pages that show it.

    Parameters
    ----------
    boot
        The message to begin with, for a page that opens before any other arrives.
    receive
        Called with each message of a page, on whatever thread the kernel handles it.
    """

    _esm = ESM
    _css = CSS
    token = traitlets.Unicode().tag(sync=True)
    model_ref = traitlets.Unicode().tag(sync=True)
    boot = traitlets.Dict().tag(sync=True)

    def __init__(
        self, *, boot: dict[str, Any], receive: Callable[[dict[str, Any]], None]
    ) -> None:  # Any: plain JSON data
        # The model's id is chosen here, so that the page knows it from the first message on. The token is part of a
        # class name in the static HTML, and no other output of the page can guess it.
        own = secrets.token_hex(16)
        super().__init__(boot=boot, token=secrets.token_hex(8), model_id=own, model_ref=own)
        self._receive = receive
        self.on_msg(self._on_message)

    def _on_message(self, _widget: object, content: object, _buffers: Sequence[object]) -> None:
        if isinstance(content, dict) and isinstance(content.get("op"), str):
            self._receive(content)

    def tell(self, message: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:  # Any: plain JSON data
        """Send one message to every page."""
        self.send(message, list(buffers))
