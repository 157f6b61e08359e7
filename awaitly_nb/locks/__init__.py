"""Who may compute: single flight in a process (`flights`), across kernels (`records`), across machines (`leased`)."""

from __future__ import annotations
