"""The shell command `awaitly-nb`: what the notebook offers, for whoever is not in one.

Commands parse, call one function, and show; nothing is decided here. Every command has `--json`.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    # click and rich are loaded here, and not by a kernel that only wants the journal.
    from awaitly_nb.cli.app import app

    app(prog_name="awaitly-nb")
