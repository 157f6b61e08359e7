"""Values, failures and JSON to bytes and back; signed, so that nothing is unpickled that somebody else wrote.

Pickle is imported in this package only, in `pickling`. `envelope` is the layout of an entry: a readable head that is
signed, and a body of one pickle stream and its buffers. `secrets` holds the per-user key of the signatures, and
`identity` the key pair that signs what leaves the machine, so that whoever can check it cannot forge it. Modules are
loaded when something of theirs is asked for: a first hit in a fresh process needs few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitly_nb.doors import door

if TYPE_CHECKING:
    from awaitly_nb.codec.by_value import from_bytes as from_bytes, is_travelling as is_travelling, to_bytes as to_bytes
    from awaitly_nb.codec.envelope import (
        FACTS as FACTS,
        SCHEMA as SCHEMA,
        EnvelopeError as EnvelopeError,
        Facts as Facts,
        Opened as Opened,
        check_buffers as check_buffers,
        open_envelope as open_envelope,
        read_head as read_head,
        reseal as reseal,
        seal as seal,
        short_text as short_text,
        unsigned as unsigned,
        verified as verified,
    )
    from awaitly_nb.codec.failures import failure_from_data as failure_from_data, failure_to_data as failure_to_data
    from awaitly_nb.codec.handlers import (
        all_handlers as all_handlers,
        describe_handler as describe_handler,
        handlers_of as handlers_of,
    )
    from awaitly_nb.codec.identity import (
        Identity as Identity,
        PublicKey as PublicKey,
        TrustedKeys as TrustedKeys,
        UntrustedSignerError as UntrustedSignerError,
        own_identity as own_identity,
        signer_name as signer_name,
    )
    from awaitly_nb.codec.pickling import (
        Encoded as Encoded,
        Shape as Shape,
        UndecodableError as UndecodableError,
        copied as copied,
        copied_if_light as copied_if_light,
        decode as decode,
        decode_plain as decode_plain,
        encode as encode,
        is_global_generator as is_global_generator,
        is_heavy as is_heavy,
        is_used_up as is_used_up,
        refuse_used_up as refuse_used_up,
    )
    from awaitly_nb.codec.plain import from_json as from_json, resign as resign, to_json as to_json
    from awaitly_nb.codec.references import (
        bare as bare,
        named_nan as named_nan,
        out_of_band as out_of_band,
        pack as pack,
        remember_original as remember_original,
        unpack as unpack,
    )
    from awaitly_nb.codec.secrets import (
        VARIABLE as VARIABLE,
        Keyring as Keyring,
        Secret as Secret,
        default_keyring as default_keyring,
    )
    from awaitly_nb.codec.sharing import (
        EntangledError as EntangledError,
        bounds_of as bounds_of,
        exports_memory as exports_memory,
    )
else:
    __getattr__ = door(
        __name__,
        {
            "by_value": "from_bytes is_travelling to_bytes",
            "envelope": (
                "FACTS SCHEMA EnvelopeError Facts Opened check_buffers open_envelope read_head reseal seal short_text "
                "unsigned verified"
            ),
            "failures": "failure_from_data failure_to_data",
            "handlers": "all_handlers describe_handler handlers_of",
            "identity": "Identity PublicKey TrustedKeys UntrustedSignerError own_identity signer_name",
            "pickling": (
                "Encoded Shape UndecodableError copied copied_if_light decode decode_plain encode "
                "is_global_generator is_heavy is_used_up refuse_used_up"
            ),
            "sharing": "EntangledError bounds_of exports_memory",
            "plain": "from_json resign to_json",
            "references": "bare named_nan out_of_band pack remember_original unpack",
            "secrets": "Keyring Secret VARIABLE default_keyring",
        },
    )
