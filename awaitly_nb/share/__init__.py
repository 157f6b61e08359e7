"""A warm notebook that travels: signed bundles, a remote behind the local cache, and whom one trusts.

What leaves the machine is signed with Ed25519 (`identity`), so that whoever can check it cannot forge it; local entries
keep the faster keyed hash of `codec`. `bundle` is the file format, `packing` what is in it, and `exposed` looks for
secrets in what is about to leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.share.bundle import Bundle as Bundle
    from awaitly_nb.share.bundle import BundleError as BundleError
    from awaitly_nb.share.bundle import BundleWriter as BundleWriter
    from awaitly_nb.share.exposed import Exposed as Exposed
    from awaitly_nb.share.exposed import exposed_in as exposed_in
    from awaitly_nb.share.identity import Identity as Identity
    from awaitly_nb.share.identity import PublicKey as PublicKey
    from awaitly_nb.share.identity import TrustedKeys as TrustedKeys
    from awaitly_nb.share.identity import UntrustedSignerError as UntrustedSignerError
    from awaitly_nb.share.packing import Package as Package
    from awaitly_nb.share.packing import PackedEntry as PackedEntry
    from awaitly_nb.share.packing import open_bundle as open_bundle
    from awaitly_nb.share.packing import pack as pack
else:
    __getattr__ = door(
        __name__,
        {
            "Bundle": "bundle",
            "BundleError": "bundle",
            "BundleWriter": "bundle",
            "Exposed": "exposed",
            "Identity": "identity",
            "Package": "packing",
            "PackedEntry": "packing",
            "PublicKey": "identity",
            "TrustedKeys": "identity",
            "UntrustedSignerError": "identity",
            "exposed_in": "exposed",
            "open_bundle": "packing",
            "pack": "packing",
        },
    )
