"""A remote behind the folder: what is missing here is taken from there, if somebody who is trusted signed it.

A `Backend` around a folder's. Look-ups ask the folder, then the remote; what the remote has is stored in the folder,
signed with this user's secret, and from then on nobody asks again. Listing, removing and single flight are the folder's
alone. A remote must not cost more than it saves:

- It has half a second to answer, beside what drivers of this process take to load. One that does not is left alone for
  half a minute, then for longer, with one warning; an answer that comes late ends that.
- Of the kernels of a folder that want one entry, one asks and fetches it; the others wait for what it stores.
- That something is not there is remembered for a minute.
- A value is fetched as long as that takes less than computing it took, and while pieces keep coming.
- What was removed here is not fetched again: who removes a result wants it computed.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from awaitly_nb.cache.entry import SEPARATOR, Missed
from awaitly_nb.cache.exchange import Intake, export_entries, made_here
from awaitly_nb.cache.sealed import Sealed
from awaitly_nb.codec import EnvelopeError, Identity, UntrustedSignerError
from awaitly_nb.errors import CacheError, CacheUnusableWarning, ForeignSecretWarning, StoreError, warn
from awaitly_nb.stores import DamagedRecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from awaitly_nb.cache.folder import Folder
    from awaitly_nb.cache.published import Offer, Published
    from awaitly_nb.cache.stepcache import Backend, Make, Seal
    from awaitly_nb.locks import KernelFlight

__all__ = ["Remote", "Source"]

_LEAST_S: Final = 0.5
"""What a transfer may take at least, however fast computing was."""
_LONGEST_LOAD_S: Final = 5.0
_LONGEST_WAIT_S: Final = 5.0
"""How long another kernel of a busy machine may take to ask."""
_ABSENT_S: Final = 60.0
_REST_S: Final = 30.0
_LONGEST_REST_S: Final = 600.0
_LONGEST_STALL_S: Final = 10.0
_MOST_ABSENT: Final = 10_000
_POLL_S: Final = 0.01


class AwayError(StoreError):
    """The remote did not answer in time."""


class _Answer(NamedTuple):
    """What was found out of one name: the entry, or why there is none to use."""

    offer: Offer | None = None
    error: Exception | None = None


class Source:
    """One remote as this process knows it: whether it answers, and what it does not have.

    Parameters
    ----------
    published
        What it offers.
    wait_s
        Seconds that it has for an answer.
    clock
        Seconds, from any beginning.
    """

    def __init__(
        self, published: Published, *, wait_s: float = 0.5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.published = published
        self.wait_s = wait_s
        self.told: set[object] = set()
        self.broken: set[str] = set()
        """Names whose entries there are damaged, so that the next one that is stored replaces them."""
        self._clock = clock
        self._rest_until = 0.0
        self._rest_s = _REST_S
        self._absent: dict[str, float] = {}

    def __repr__(self) -> str:
        return repr(self.published)

    @property
    def rests(self) -> bool:
        """Whether it is left alone, because it did not answer lately."""
        return self._clock() < self._rest_until

    def may_have(self, name: str) -> bool:
        """Tell whether it is worth asking for an entry now."""
        until = self._absent.get(name)
        return not self.rests and (until is None or self._clock() >= until)

    def find(self, name: str) -> Offer | None:
        """Return an entry that is offered, or None.

        Raises
        ------
        UntrustedSignerError, EnvelopeError
            There is one that cannot be used.
        StoreError
            It did not answer in time, or with an error; it rests from then on.
        """
        answer: _Answer = self._within(lambda: self._ask(name))
        if answer.error is not None:
            raise answer.error
        if answer.offer is None:
            if len(self._absent) >= _MOST_ABSENT:
                self._absent.clear()
            self._absent[name] = self._clock() + _ABSENT_S
        return answer.offer

    def _within(self, ask: Callable[[], Any]) -> Any:  # Any: what `ask` returns
        """Return what `ask` returns, and do not wait long for it."""
        found: list[Any] = []  # Any: as above
        done = threading.Event()

        def run() -> None:
            try:
                found.append(ask())
            except Exception as exc:  # noqa: BLE001 - a driver may raise anything; raised again below
                found.append(exc)
            else:
                self._rest_until = 0.0  # also where the answer came late: then the next one asks again
            done.set()

        # A thread of its own for each question: one that hangs must not keep the next, nor the end of the process.
        threading.Thread(target=run, name="awaitly_nb remote", daemon=True).start()
        begun, worked = time.monotonic(), time.process_time()
        left_s = self.wait_s
        while not done.wait(left_s):
            # The first question loads a driver. What this process works is not the remote's slowness.
            worked_s = min(time.process_time() - worked, _LONGEST_LOAD_S)
            left_s = begun + self.wait_s + worked_s - time.monotonic()
            if left_s <= 0:
                self.rest()
                raise AwayError(f"no answer within {self.wait_s:g} s")
        if isinstance(found[0], Exception):
            self.rest()
            raise found[0]
        self._rest_s = _REST_S
        return found[0]

    def rest(self) -> None:
        """Leave it alone for a while, longer each time."""
        self._rest_until = self._clock() + self._rest_s
        self._rest_s = min(2 * self._rest_s, _LONGEST_REST_S)

    def forget(self, name: str) -> None:
        """Ask for an entry again, although it was not there."""
        self._absent.pop(name, None)

    def tell(self, what: object, message: str, category: type[CacheUnusableWarning | ForeignSecretWarning]) -> None:
        """Warn once of a kind of thing."""
        if what not in self.told:
            self.told.add(what)
            warn(message, category)

    def _ask(self, name: str) -> _Answer:
        try:
            return _Answer(self.published.find(name))
        except (UntrustedSignerError, EnvelopeError, DamagedRecordError) as exc:
            return _Answer(error=exc)  # an answer, though none to use


class Remote:
    """A `Backend`: a folder's, with a remote behind it.

    Parameters
    ----------
    local
        The folder's own backend.
    folder
        The folder.
    source
        The remote.
    always
        Whether what is stored here is published there at once.
    size_limit
        Bytes that the folder may hold.
    identity
        Returns who signs what is published.
    clock
        Seconds since the epoch.
    """

    def __init__(
        self,
        local: Backend,
        folder: Folder,
        source: Source,
        *,
        always: bool,
        size_limit: int | None,
        identity: Callable[[], Identity],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.local = local
        self.folder = folder
        self.source = source
        self.directory = folder.directory
        self.told = local.told
        self.checked = local.checked
        self._always = always
        self._size_limit = size_limit
        self._identity = identity
        self._clock = clock

    def __repr__(self) -> str:
        return repr(self.local)

    @property
    def entries(self) -> Mapping[str, Sealed]:
        """What is in memory."""
        return self.local.entries

    def open(self, name: str, make: Make) -> Sealed | Missed:
        """Return the entry called `name`, from the folder or, where that has none to serve, from the remote."""
        found = self._look(name, make)
        if not isinstance(found, Sealed) or not found.alive(self._clock()):
            found = self._look_behind(name, make, found)
        if isinstance(found, Exception):
            raise found
        return found

    def peek(self, name: str, make: Make) -> Sealed | None:
        """Return the folder's entry, for a reader who is not served."""
        return self.local.peek(name, make)

    def put(self, name: str, sealed: Sealed, seal: Seal) -> None:
        """Write an entry to the folder, and publish it where the settings say so."""
        self.local.put(name, sealed, seal)
        self.folder.restore(name)
        if self._always and sealed.ok and not self.source.rests:
            self._publish(name)

    def delete(self, names: Iterable[str]) -> int:
        """Remove these records from the folder, where they are then not fetched again."""
        return self.local.delete(names)

    def head(self, name: str) -> str | None:
        """Return the head of the folder's record, else of the entry that the remote would give."""
        found = self.local.head(name)
        if found is not None or not self._may_fetch(name):
            return found
        try:
            offer = self.source.find(name)
        except (UntrustedSignerError, CacheError, StoreError):
            return None  # who is to be served is told why
        return None if offer is None else offer.head

    def heads(self, prefix: str = "") -> list[tuple[str, str, int]]:
        """Return name, head and number of hits of the folder's records."""
        return self.local.heads(prefix)

    def dated(self, prefix: str = "") -> list[tuple[str, str | None]]:
        """Return the names of the folder's records."""
        return self.local.dated(prefix)

    def flight(self, name: str) -> KernelFlight:
        """Return the right to compute `name`, among all processes that use the folder."""
        return self.folder.flight(name)

    def share(self, text: bytes) -> str | None:
        """Return the digest of a part of keys that the folder has once for all."""
        return self.local.share(text)

    def shared(self, digest: str) -> bytes | None:
        """Return the part that a digest stands for, or None."""
        return self.local.shared(digest)

    def unwritten_since(self, moment: object) -> bool:
        """Tell whether nobody has written to the folder since; what comes to the remote meanwhile is not looked for."""
        return self.local.unwritten_since(moment)

    # Fetching

    def _look(self, name: str, make: Make) -> Sealed | Missed | Exception:
        try:
            return self.local.open(name, make)
        except (EnvelopeError, DamagedRecordError) as exc:
            return exc

    def _may_fetch(self, name: str) -> bool:
        return self.source.may_have(name) and not self.folder.is_removed(name)

    def _look_behind(self, name: str, make: Make, found: Sealed | Missed | Exception) -> Sealed | Missed | Exception:
        """Return the entry once the remote's is in the folder; what was found before where there is none."""
        if not self._may_fetch(name):
            return found
        started = time.monotonic()
        asking, sending = (self.folder.locks.flight(f"{kind}\x1f{name}") for kind in ("ask for", "fetch"))
        while not asking.try_acquire():
            # Another kernel asks, which is bounded there, or it is fetching already: that is worth waiting for.
            if time.monotonic() - started > _LONGEST_WAIT_S:
                if sending.try_acquire():
                    sending.release()
                    return found
                started = time.monotonic()
            time.sleep(_POLL_S)
        try:
            now = self._look(name, make)  # another kernel may have fetched it meanwhile
            if isinstance(now, Sealed) and now.alive(self._clock()):
                return now
            if time.monotonic() - started > self.source.wait_s:
                return found  # who asked waited so long in vain, or nearly
            return self._look(name, make) if self._fetch(name, sending) else found
        except (StoreError, UntrustedSignerError, CacheError) as exc:
            self._tell(name, exc)
            return found
        finally:
            asking.release()

    def _fetch(self, name: str, sending: KernelFlight) -> bool:
        offer = self.source.find(name)
        if offer is None:
            return False
        sending.try_acquire()  # nobody else tries: they wait for the right to ask
        try:
            intake = Intake(self.directory, size_limit=self._size_limit)
            intake.refuse(offer.key, offer.size_bytes)
            came = {"signer": offer.signer, **offer.made}
            intake.take(offer.namespace, offer.key, offer.head, self._body(offer), came=came)
        finally:
            sending.release()
        return True

    def _body(self, offer: Offer) -> bytearray:
        """Return the value's bytes, unless they take longer than computing it would, or stop coming."""
        begun = last = time.monotonic()
        worth_s = max(_LEAST_S, offer.duration_s)
        stall_s = min(max(_LEAST_S, offer.duration_s / 10), _LONGEST_STALL_S)
        arrived, done = threading.Event(), threading.Event()
        found: list[Any] = []  # Any: the body, or what was raised

        def on_piece(size: int) -> None:
            del size
            arrived.set()
            if done.is_set():
                raise AwayError("nobody waits any more")

        def run() -> None:
            try:
                found.append(self.source.published.body(offer, on_piece))
            except Exception as exc:  # noqa: BLE001 - a driver may raise anything; raised again below
                found.append(exc)
            arrived.set()

        thread = threading.Thread(target=run, name="awaitly_nb fetch", daemon=True)
        thread.start()
        while not found:
            now = time.monotonic()
            left_s = min(begun + worth_s, last + stall_s) - now
            if left_s <= 0:
                done.set()
                self.source.rest()
                raise AwayError(f"{offer.size_bytes:,} bytes take longer to fetch than to compute")
            if arrived.wait(left_s):
                arrived.clear()
                last = time.monotonic()
        if isinstance(found[0], Exception):
            if not isinstance(found[0], EnvelopeError | DamagedRecordError):
                self.source.rest()
            raise found[0]
        body: bytearray = found[0]
        return body

    # Publishing

    def _publish(self, name: str) -> None:
        namespace, _, key = name.partition(SEPARATOR)
        source = self.source
        try:
            if name not in source.broken:
                try:
                    if source.find(name) is not None:
                        return
                except (UntrustedSignerError, EnvelopeError, DamagedRecordError):
                    pass  # replaced
            for entry in export_entries(self.directory, [(namespace, key)]):
                source.published.publish(entry, self._identity(), made=made_here(), again=name in source.broken)
                source.broken.discard(name)
                source.forget(name)
        except (StoreError, CacheError) as exc:
            source.rest()
            self._tell_away(f"{key!r} is not published: {exc}")

    # Telling

    def _tell(self, name: str, exc: Exception) -> None:
        key = name.partition(SEPARATOR)[2]
        if isinstance(exc, UntrustedSignerError):
            self.source.tell(str(exc), f"{key!r} is in {self.source!r} and is not used: {exc}", ForeignSecretWarning)
        elif isinstance(exc, StoreError) and not isinstance(exc, DamagedRecordError):
            self._tell_away(str(exc))
        else:
            self.source.broken.add(name)
            self.source.tell(("broken", name), f"{key!r} in {self.source!r} is not used: {exc}", CacheUnusableWarning)

    def _tell_away(self, why: str) -> None:
        self.source.tell(
            "away", f"{self.source!r} is left alone for a while, and steps are computed: {why}", CacheUnusableWarning
        )
