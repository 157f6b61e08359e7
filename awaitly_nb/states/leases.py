"""Leases over any store: who runs an id, until when, by the store's own clock.

A lease is a chain of numbered records, and the highest number holds. Every change takes the next number where nothing
is yet: taking a lease, renewing it, giving it back. So a holder who renews and another who takes over compete for one
name, and one of them gets it, on every store: creating a name is atomic also where conditional updates are not
(FerretDB reads, then writes). A second look settles the one race that deleting old numbers leaves.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from awaitly_nb.errors import StoreError
from awaitly_nb.stores import ABSENT
from awaitly_nb.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitly_nb.stores import Record, Store

__all__ = ["Lease", "Leases", "new_token", "this_process"]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run an id for a while.

    Attributes
    ----------
    id
        What it is for.
    owner
        Who has it, for people.
    since, expires_at
        When it was taken and when it runs out, aware UTC, by the store's clock.
    token
        Proves the ownership to `renew` and `release`.
    number
        Fences what its owner writes: whoever has it later has a higher one.
    taken_over
        True where the one before ran out and was not given back, so that its owner may still be at work.
    """

    id: str
    owner: str
    since: datetime
    expires_at: datetime
    token: str = field(repr=False)
    number: int = field(default=0, compare=False)
    taken_over: bool = field(default=False, compare=False)


class _Link(NamedTuple):
    """One record of a chain."""

    number: int
    head: dict[str, Any]

    def holds(self, now: datetime) -> bool:
        return datetime.fromisoformat(self.head["expires_at"]) > now


class Leases:
    """Takes, renews and releases leases in one store.

    Parameters
    ----------
    records
        The store.
    prefix
        Begins the name of every record of a lease.
    """

    def __init__(self, records: Store, *, prefix: str) -> None:
        self._records = records
        self._prefix = prefix

    def acquire(
        self,
        id: str,  # noqa: A002
        ttl: float | timedelta | str,
        *,
        owner: str | None = None,
        token: str | None = None,
    ) -> Lease | None:
        """Take the lease of `id`, or return None where somebody has it.

        Who brings a token of its own can give the lease back, also where it was interrupted before it was told.
        """
        ttl_s = parse_duration(ttl, name="ttl")
        chain = self._chain(id)
        now = self._records.now()
        if chain and chain[-1].holds(now) and not _is_dead(chain[-1].head):
            return None
        expires_at, token = now + timedelta(seconds=ttl_s), token or new_token()
        head = {
            "owner": owner or this_process()["owner"],
            "process": this_process()["process"],
            "since": now.isoformat(),
            "expires_at": expires_at.isoformat(),
            "token": token,
        }
        number = self._take(id, chain, head)
        if number is None:
            return None
        taken_over = bool(chain) and bool(chain[-1].head["token"])
        return Lease(id, str(head["owner"]), now, expires_at, token, number, taken_over)

    def renew(self, id: str, token: str | Lease, ttl: float | timedelta | str) -> bool:  # noqa: A002
        """Extend the lease to `ttl` from now; False where somebody else had it since, or it was given back.

        One that ran out, and that nobody else has taken, is this owner's still.
        """
        ttl_s = parse_duration(ttl, name="ttl")
        return self._change(id, token, lambda now: {"expires_at": (now + timedelta(seconds=ttl_s)).isoformat()})

    def release(self, id: str, token: str | Lease) -> bool:  # noqa: A002
        """Give the lease back; do nothing and return False where it is not this owner's."""
        # A record stays: the next number must follow the last one that was ever given.
        return self._change(id, token, lambda now: {"expires_at": now.isoformat(), "token": ""})

    def holder(self, id: str) -> Lease | None:  # noqa: A002
        """Return the lease of `id` as it stands, or None where nobody has it."""
        chain = self._chain(id)
        if not chain or not chain[-1].holds(self._records.now()):
            return None
        number, head = chain[-1]
        since, expires_at = datetime.fromisoformat(head["since"]), datetime.fromisoformat(head["expires_at"])
        return Lease(id, head["owner"], since, expires_at, "", number)  # only its owner knows the token

    def _change(self, id: str, token: str | Lease, changes: Callable[[datetime], dict[str, Any]]) -> bool:  # noqa: A002
        token = token.token if isinstance(token, Lease) else token
        chain = self._chain(id)
        if not token or not chain or chain[-1].head["token"] != token:
            return False
        head = {**chain[-1].head, **changes(self._records.now())}
        return self._take(id, chain, head) is not None

    def _take(self, id: str, chain: list[_Link], head: dict[str, Any]) -> int | None:  # noqa: A002
        """Write the next number after `chain`, and return it; None where somebody else did."""
        number = chain[-1].number + 1 if chain else 1
        if self._records.swap(self._name(id, number), json.dumps(head), [], expect=ABSENT) is None:
            return None
        after = self._chain(id)
        if after[-1].number != number:
            self._records.delete([self._name(id, number)])
            return None
        self._records.delete([self._name(id, link.number) for link in after if link.number < number])
        return number

    def _chain(self, id: str) -> list[_Link]:  # noqa: A002
        return sorted(
            (self._link(id, record) for record in self._records.scan(self._name(id))), key=lambda link: link.number
        )

    def _link(self, id: str, record: Record) -> _Link:  # noqa: A002
        try:
            head = json.loads(record.head)
            if not isinstance(head["token"], str):
                raise TypeError(head)  # noqa: TRY301 - one place tells of damage
            datetime.fromisoformat(head["expires_at"])
            return _Link(int(record.name.rpartition("\x1f")[2]), head)
        except (ValueError, KeyError, TypeError) as exc:
            raise StoreError(f"the lease of {id!r} is unreadable; delete the record {record.name!r}") from exc

    def _name(self, id: str, number: int | None = None) -> str:  # noqa: A002
        return f"{self._prefix}{id}\x1f{'' if number is None else number}"


def new_token() -> str:
    """Return what proves the ownership of a lease."""
    return os.urandom(16).hex()


def _is_dead(head: dict[str, Any]) -> bool:
    """Tell whether the holder was a process of this very machine and is gone; nobody need wait for its lease then."""
    process, mine = head.get("process") or {}, this_process()["process"]
    if not process.get("where") or process["where"] != mine["where"]:
        return False
    return bool(_started_at(process["pid"]) != process["started"])


def this_process() -> dict[str, Any]:
    """Return what tells this process from all others: for people, and to see later whether it still lives."""
    return _describe(os.getpid())


@cache
def _describe(pid: int) -> dict[str, Any]:
    import socket

    host = socket.gethostname()
    where = ""
    started = _started_at(pid)
    if started is not None:
        # Containers of one machine share its boot id, but each counts its processes by itself.
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        where = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return {"owner": f"process {pid} on {host}", "process": {"where": where, "pid": pid, "started": started}}


def _started_at(pid: int) -> str | None:
    """Return when a process began, in ticks since the machine did; None where it is gone or cannot be asked."""
    try:
        # The name of the program, in parentheses, may hold spaces; the start is the 20th field after it.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    # A killed process stays as a zombie until its parent looks; it runs nothing any more.
    return None if fields[0] in {"Z", "X"} else fields[19]
