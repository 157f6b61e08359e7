"""A warm notebook that travels: signed bundles, a remote behind the local cache, and whom one trusts.

What leaves the machine is signed with Ed25519 (`identity`), so that whoever can check it cannot forge it; local entries
keep the faster keyed hash of `codec`. `bundle` is the file format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.share.bundle import Bundle as Bundle
    from awaitly_nb.share.bundle import BundleError as BundleError
    from awaitly_nb.share.bundle import BundleWriter as BundleWriter
    from awaitly_nb.share.identity import Identity as Identity
    from awaitly_nb.share.identity import PublicKey as PublicKey
    from awaitly_nb.share.identity import TrustedKeys as TrustedKeys
    from awaitly_nb.share.identity import UntrustedSignerError as UntrustedSignerError
else:
    __getattr__ = door(
        __name__,
        {
            "Bundle": "bundle",
            "BundleError": "bundle",
            "BundleWriter": "bundle",
            "Identity": "identity",
            "PublicKey": "identity",
            "TrustedKeys": "identity",
            "UntrustedSignerError": "identity",
        },
    )
