"""A warm notebook that travels: signed bundles, a remote behind the local cache, and whom one trusts.

What leaves the machine is signed with Ed25519 (`identity`), so that whoever can check it cannot forge it; local entries
keep the faster keyed hash of `codec`. `bundle` is the file format, `packing` what is in it, and `exposed` looks for
secrets in what is about to leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.share.bundle import Bundle as Bundle, BundleError as BundleError, BundleWriter as BundleWriter
    from awaitly_nb.share.exposed import Exposed as Exposed, exposed_in as exposed_in
    from awaitly_nb.share.identity import (
        Identity as Identity,
        PublicKey as PublicKey,
        TrustedKeys as TrustedKeys,
        UntrustedSignerError as UntrustedSignerError,
    )
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
            "identity": "Identity PublicKey TrustedKeys UntrustedSignerError",
            "packing": "Package PackedEntry open_bundle pack",
        },
    )
