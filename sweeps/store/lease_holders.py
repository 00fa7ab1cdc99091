"""The document of the lease of a store: the runs that write to it, and whether their processes have ended."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from fastlin.sweeps.store.location import SCRATCH, Identity, Location
from fastlin.sweeps.store.process import has_ended, start_of, system_id
from fastlin.sweeps.store.slice import Slice

KEY = f"{SCRATCH}/lease.json"
WHOLE = "all blocks"
LARGEST_PROCESS = 2**32  # numbers of processes are below, on Windows, too
UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError)
AT_REST = json.dumps({"holders": []}, indent=1).encode()  # the lease that nobody holds
KINDS = {"str": str, "int": int, "float": int | float, "bool": bool}

# Ids of holders of this process that have released their lease. They count as dead even if the release could
# not be written (full disk).
RELEASED: set[str] = set()


@dataclass(frozen=True)
class LeaseHolder:
    """One run that writes to a store.

    Times are by the clock of its own machine. They are shown to people and never compared.
    """

    id: str
    host: str  # for people
    system: str  # the running system in which the process has its number, see `system_id`
    process: int
    started: float  # of the process, see `start_of`
    since: float  # seconds since 1970
    seen: float  # the same, of the last heartbeat
    heartbeats: int  # how many there were: an entry changes with each
    part: str  # WHOLE, or "slice I/N"
    spec: str  # its hash
    preparing: bool = False  # makes, repairs or grows the store, which slices do one after the other

    @classmethod
    def read(cls, entry: Any) -> LeaseHolder:
        """Read an entry of a lease; raises one of `UNREADABLE` where it is damaged."""
        holder = cls(**entry)
        for field in fields(cls):
            if not isinstance(getattr(holder, field.name), KINDS[str(field.type)]):
                raise TypeError(field.name)
        if not 0 < holder.process < LARGEST_PROCESS:
            raise ValueError(holder.process)
        _ = str(holder), holder.ended
        return holder

    @property
    def ended(self) -> bool | None:
        """Whether its process has ended; None where that cannot be told from here."""
        if self.id in RELEASED:
            return True
        return has_ended(self.process, self.started) if self.system == system_id() else None

    def excludes(self, other: LeaseHolder) -> bool:
        """Return whether both must not write at the same time.

        Slices of one spec may, if there are as many of them and their numbers differ.
        """
        (number, *of), (other_number, *other_of) = self.part.split("/"), other.part.split("/")
        return not (of and of == other_of and number != other_number and self.spec == other.spec)

    def __str__(self) -> str:
        """Return it for people to read."""
        since, seen = (
            datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            for moment in (self.since, self.seen)
        )
        return f"process {self.process} on {self.host} ({self.part}) since {since}, last heartbeat {seen}"


def new_holder(spec_hash: str, part: Slice | None = None) -> LeaseHolder:
    """Return this process as a holder."""
    now, process = time.time(), os.getpid()
    started = 0.0
    with suppress(OSError):
        started = start_of(process)
    return LeaseHolder(
        id=uuid.uuid4().hex,
        host=socket.gethostname(),
        system=system_id(),
        process=process,
        started=started,
        since=now,
        seen=now,
        heartbeats=0,
        part=WHOLE if part is None else f"slice {part}",
        spec=spec_hash,
        preparing=part is not None,
    )


def holders(location: Location) -> list[LeaseHolder]:
    """Return the holders of the lease of a store, dead or alive. A damaged or copied lease has none."""
    return read_holders(location.read(KEY), location.identity())


def document(location: Location, entries: list[LeaseHolder]) -> bytes:
    """Return the lease of a location with some holders, as it is stored.

    Without holders it does not tell the location, so that a store at rest names no folder.
    """
    if not entries:
        return AT_REST
    identity = location.identity()._asdict()
    return json.dumps({**identity, "holders": [asdict(holder) for holder in entries]}, indent=1).encode()


def read_holders(content: bytes | None, identity: Identity) -> list[LeaseHolder]:
    """Return the holders in the content of a lease, none if it is damaged or that of another location."""
    origin, entries = read_lease(content)
    return entries if origin.is_same(identity) else []


def read_lease(content: bytes | None) -> tuple[Identity, list[LeaseHolder]]:
    """Return the location that a lease was written for, and its holders."""
    try:
        lease = json.loads(content or b"{}")
        entries = [LeaseHolder.read(entry) for entry in lease["holders"]]
        return Identity(lease["path"], lease["inode"]), entries
    except UNREADABLE:
        return Identity("", 0), []
