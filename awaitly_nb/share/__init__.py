"""A warm notebook that travels in one signed file.

`bundle` is the file format, `packing` what is in it, and `exposed` looks for secrets in what is about to leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.share.bundle import Bundle as Bundle, BundleError as BundleError, BundleWriter as BundleWriter
    from awaitly_nb.share.exposed import Exposed as Exposed, exposed_in as exposed_in
    from awaitly_nb.share.packing import (
        Package as Package,
        PackedEntry as PackedEntry,
        open_bundle as open_bundle,
        pack as pack,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "bundle": "Bundle BundleError BundleWriter",
            "exposed": "Exposed exposed_in",
            "packing": "Package PackedEntry open_bundle pack",
        },
    )
