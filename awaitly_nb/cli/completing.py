"""Completion in bash for words that bash takes apart.

Bash breaks words at colons, and nearly every key has one: with click's own script nothing is completed behind it. Here
the line is taken as it was typed, and of each word the part is returned that bash has still to insert, quoted.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from click.shell_completion import BashComplete, split_arg_string

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["Bash"]

_SPECIAL = re.compile(r"[^\w@%+=:,./\-]")
_BREAKS = ":=@"


class Bash(BashComplete):
    """The script for bash, and what it asks."""

    source_template = r"""
%(complete_func)s() {
    local IFS=$'\n' completion kind value
    COMPREPLY=()
    for completion in $(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \
        %(complete_var)s=bash_complete "$1"); do
        IFS=',' read -r kind value <<< "$completion"
        case "$kind" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
    _word = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the last one, and that one as far as it was typed."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        self._word = "" if line[-1:].isspace() or not words else words.pop()
        return words, self._word

    def format_completion(self, item: CompletionItem) -> str:
        """Return a line of the answer."""
        if item.type != "plain":
            return super().format_completion(item)
        value = "".join(char for char in str(item.value) if char.isprintable())
        typed = self._word.partition("=")[2] if self._word.startswith("--") else self._word
        breaks = set(_BREAKS) & set(os.environ.get("COMP_BREAKS", _BREAKS))
        # Bash inserts behind the last character at which it broke the word.
        start = max((typed.rfind(char) + 1 for char in breaks), default=0)
        return f"plain,{_SPECIAL.sub(lambda found: chr(92) + found[0], value[start:])}"
