"""What is used of IPython's shell, as structural types: IPython has few of its own, and this list is what may break."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["Compiler", "DisplayHook", "Publisher", "Shell", "current_shell"]


class Publisher(Protocol):
    """Sends displays to the frontend."""

    def publish(self, data: Any, metadata: Any = None, *, transient: Any = None, update: bool = False) -> None:
        """Show a MIME bundle."""

    def clear_output(self, wait: bool = False) -> None:  # noqa: FBT001, FBT002 - IPython's own signature
        """Empty the cell's output area."""


class DisplayHook(Protocol):
    """Shows the value of a cell's last line."""

    _: Any

    def start_displayhook(self) -> None:
        """Begin a result."""

    def write_output_prompt(self) -> None:
        """Give it its number."""

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        """Give its MIME bundle."""

    def finish_displayhook(self) -> None:
        """Send it."""

    def update_user_ns(self, result: Any) -> None:
        """Make it `_` and `Out[n]`."""

    def fill_exec_result(self, result: Any) -> None:
        """Hand it to whoever ran the cell."""

    def log_output(self, format_dict: Any) -> None:
        """Put it into the history."""


class Compiler(Protocol):
    """Compiles cells, and registers their lines; which prompt number a name stands for, only `_filename_map` knows."""

    _filename_map: dict[str, int]

    def __call__(self, source: ast.AST, filename: str, symbol: str) -> Any:
        """Return a code object."""

    def cache(self, transformed_code: str, number: int, raw_code: str | None = None) -> str:
        """Register the lines of a cell, and return the name they go by."""

    def ast_parse(self, source: str, filename: str = "<unknown>", symbol: str = "exec") -> Any:
        """Return the syntax tree of a cell."""

    def extra_flags(self, flags: int) -> AbstractContextManager[None]:
        """Compile with more flags."""


class Shell(Protocol):
    """IPython's `InteractiveShell`; `Any` where a namespace or IPython itself holds anything."""

    user_ns: dict[str, Any]
    user_global_ns: dict[str, Any]
    user_ns_hidden: dict[str, Any]
    display_pub: Publisher
    displayhook: DisplayHook
    compile: Compiler
    display_trap: AbstractContextManager[Any]
    excepthook: Any
    InteractiveTB: Any
    execution_count: int
    autoawait: bool
    ast_node_interactivity: str
    events: Any
    input_transformers_cleanup: list[Callable[[list[str]], list[str]]]
    input_transformers_post: list[Callable[[list[str]], list[str]]]
    input_transformer_manager: Any
    magics_manager: Any

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        """Show an exception."""

    def transform_cell(self, raw_cell: str) -> str:
        """Turn magics into calls."""

    def transform_ast(self, node: Any) -> Any:
        """Apply the user's syntax tree transformations."""

    def push(self, variables: dict[str, Any]) -> None:
        """Put variables into the namespace, visibly."""

    def run_line_magic(self, magic_name: str, line: str) -> Any:
        """Run a line magic."""

    def register_magics(self, *magics: Any) -> None:
        """Add magics."""

    def set_hook(self, name: str, hook: Any, *, str_key: str) -> None:
        """Add a completer."""


def current_shell() -> Shell | None:
    """Return the shell that this process serves, or None outside of one; does not load IPython."""
    ipython = sys.modules.get("IPython")
    found: Shell | None = None if ipython is None else ipython.get_ipython()
    return found
