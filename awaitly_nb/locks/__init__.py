"""Who may compute: single flight in a process (`flights`), across kernels (`records`), across machines (`leased`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.locks.flights import FLIGHTS as FLIGHTS, Flight as Flight, led as led
    from awaitly_nb.locks.leased import LeasedFlight as LeasedFlight
    from awaitly_nb.locks.records import KernelFlight as KernelFlight, RecordLocks as RecordLocks
else:
    __getattr__ = door(
        __name__, {"flights": "FLIGHTS Flight led", "leased": "LeasedFlight", "records": "KernelFlight RecordLocks"}
    )
