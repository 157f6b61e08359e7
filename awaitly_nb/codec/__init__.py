"""Values, failures and JSON to bytes and back; signed, so that nothing is unpickled that somebody else wrote.

Pickle is imported in this package only, in `pickling`. `envelope` is the layout of an entry: a readable head that is
signed, and a body of one pickle stream and its buffers. `secrets` holds the per-user key of the signatures. Modules are
loaded when something of theirs is asked for: a first hit in a fresh process needs few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.codec.by_value import (
        from_bytes as from_bytes,
    )
    from awaitly_nb.codec.by_value import (
        is_travelling as is_travelling,
    )
    from awaitly_nb.codec.by_value import (
        to_bytes as to_bytes,
    )
    from awaitly_nb.codec.envelope import (
        EnvelopeError as EnvelopeError,
    )
    from awaitly_nb.codec.envelope import (
        Opened as Opened,
    )
    from awaitly_nb.codec.envelope import (
        check_buffers as check_buffers,
    )
    from awaitly_nb.codec.envelope import (
        open_envelope as open_envelope,
    )
    from awaitly_nb.codec.envelope import (
        read_head as read_head,
    )
    from awaitly_nb.codec.envelope import (
        reseal as reseal,
    )
    from awaitly_nb.codec.envelope import (
        seal as seal,
    )
    from awaitly_nb.codec.failures import (
        failure_from_data as failure_from_data,
    )
    from awaitly_nb.codec.failures import (
        failure_to_data as failure_to_data,
    )
    from awaitly_nb.codec.pickling import (
        Encoded as Encoded,
    )
    from awaitly_nb.codec.pickling import (
        Shape as Shape,
    )
    from awaitly_nb.codec.pickling import (
        UndecodableError as UndecodableError,
    )
    from awaitly_nb.codec.pickling import (
        copied as copied,
    )
    from awaitly_nb.codec.pickling import (
        copied_if_light as copied_if_light,
    )
    from awaitly_nb.codec.pickling import (
        decode as decode,
    )
    from awaitly_nb.codec.pickling import (
        decode_plain as decode_plain,
    )
    from awaitly_nb.codec.pickling import (
        encode as encode,
    )
    from awaitly_nb.codec.pickling import (
        is_heavy as is_heavy,
    )
    from awaitly_nb.codec.pickling import (
        is_used_up as is_used_up,
    )
    from awaitly_nb.codec.pickling import (
        refuse_used_up as refuse_used_up,
    )
    from awaitly_nb.codec.plain import (
        from_json as from_json,
    )
    from awaitly_nb.codec.plain import (
        resign as resign,
    )
    from awaitly_nb.codec.plain import (
        to_json as to_json,
    )
    from awaitly_nb.codec.references import (
        bare as bare,
    )
    from awaitly_nb.codec.references import (
        out_of_band as out_of_band,
    )
    from awaitly_nb.codec.references import (
        pack as pack,
    )
    from awaitly_nb.codec.references import (
        unpack as unpack,
    )
    from awaitly_nb.codec.secrets import (
        VARIABLE as VARIABLE,
    )
    from awaitly_nb.codec.secrets import (
        Keyring as Keyring,
    )
    from awaitly_nb.codec.secrets import (
        Secret as Secret,
    )
    from awaitly_nb.codec.secrets import (
        default_keyring as default_keyring,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "Encoded": "pickling",
            "EnvelopeError": "envelope",
            "Keyring": "secrets",
            "Opened": "envelope",
            "Secret": "secrets",
            "Shape": "pickling",
            "UndecodableError": "pickling",
            "VARIABLE": "secrets",
            "bare": "references",
            "check_buffers": "envelope",
            "copied": "pickling",
            "copied_if_light": "pickling",
            "decode": "pickling",
            "decode_plain": "pickling",
            "default_keyring": "secrets",
            "encode": "pickling",
            "failure_from_data": "failures",
            "failure_to_data": "failures",
            "from_bytes": "by_value",
            "from_json": "plain",
            "is_heavy": "pickling",
            "is_travelling": "by_value",
            "is_used_up": "pickling",
            "open_envelope": "envelope",
            "out_of_band": "references",
            "pack": "references",
            "read_head": "envelope",
            "refuse_used_up": "pickling",
            "reseal": "envelope",
            "resign": "plain",
            "seal": "envelope",
            "to_bytes": "by_value",
            "to_json": "plain",
            "unpack": "references",
        },
    )
