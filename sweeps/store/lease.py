"""Who writes to a store: one run at a time, or the slices of a job array, each with blocks of its own.

The lease is one small document at the store, replaced by compare-and-swap. Results do not depend on it, as
blocks are the same bytes whoever writes them: it keeps people from doing work twice, and from growing a
store under a run.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

import psutil

from fastlin.errors import StoppedError
from fastlin.sweeps.store.location import SCRATCH, Location, stopping
from fastlin.sweeps.store.slice import Slice

KEY = f"{SCRATCH}/lease.json"
HEARTBEAT_SECONDS = 20.0  # seconds between signs of life
# Seconds without one after which a holder on another machine counts as dead; clocks must agree to half of it.
EXPIRY_SECONDS = 120.0
ABANDON_SECONDS = 2.0
PREPARING_SECONDS = 0.05  # between looks at a slice that makes the store ready
WHOLE = "all blocks"
UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError)
KINDS = {"str": str, "int": int, "float": int | float, "bool": bool}


@dataclass(frozen=True)
class LeaseHolder:
    """One run that writes to a store."""

    id: str
    host: str
    process: int
    started: float  # of the process, so that another one with its number is not taken for it
    since: float  # seconds since 1970, as `seen`
    seen: float
    part: str  # WHOLE, or "slice I/N"
    spec: str  # its hash
    preparing: bool = False  # makes, mends or grows the store, which slices do one after the other

    @classmethod
    def read(cls, entry: Any) -> LeaseHolder:
        """Read one as it is stored; raises one of `UNREADABLE` where that makes no sense."""
        holder = cls(**entry)
        for field in fields(cls):
            if not isinstance(getattr(holder, field.name), KINDS[str(field.type)]):
                raise TypeError(field.name)
        _ = str(holder), holder.alive
        return holder

    @property
    def alive(self) -> bool:
        """Whether the process is there, as far as can be told from here."""
        if self.id in _ENDED:
            return False
        if self.host == socket.gethostname():
            with suppress(psutil.Error):
                process = psutil.Process(self.process)
                there = abs(process.create_time() - self.started) < 2.0
                return there and bool(process.status() != psutil.STATUS_ZOMBIE)
            return False
        return time.time() - self.seen < EXPIRY_SECONDS

    def excludes(self, other: LeaseHolder) -> bool:
        """Whether both may not write at the same time: slices may, of one spec and cut, each its own."""
        (mine, *of), (theirs, *of_other) = self.part.split("/"), other.part.split("/")
        return not (of and of == of_other and mine != theirs and self.spec == other.spec)

    def __str__(self) -> str:
        """Return who it is, in words."""
        since, seen = (
            datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            for moment in (self.since, self.seen)
        )
        return f"process {self.process} on {self.host} ({self.part}) since {since}, last seen {seen}"


def new_holder(spec_hash: str, part: Slice | None = None) -> LeaseHolder:
    """Return this process as a holder."""
    now, started = time.time(), psutil.Process().create_time()
    name = WHOLE if part is None else f"slice {part}"
    host, process = socket.gethostname(), os.getpid()
    preparing = part is not None
    return LeaseHolder(uuid.uuid4().hex, host, process, started, now, now, name, spec_hash, preparing)


def holders(location: Location) -> list[LeaseHolder]:
    """Return who holds the lease of a store, dead or alive; a lease that is damaged is nobody's."""
    return _parsed(location.read(KEY))


def document(there: list[LeaseHolder]) -> bytes:
    """Return the lease that some hold, as it is stored."""
    return json.dumps({"holders": [asdict(holder) for holder in there]}, indent=1).encode()


def _parsed(content: bytes | None) -> list[LeaseHolder]:
    try:
        return [LeaseHolder.read(entry) for entry in json.loads(content or b"{}")["holders"]]
    except UNREADABLE:
        return []


@contextmanager
def held(location: Location, holder: LeaseHolder) -> Iterator[Lease]:
    """Hold the lease of a store; that of a dead holder is taken over.

    Raises
    ------
    StoppedError
        If somebody holds it who is alive: the message says who, where and since when. A slice that
        makes the store ready is waited for.
    """
    lease = Lease(location, holder)
    _HELD.add(lease)
    try:
        with stopping(location):
            lease.acquire()
    except BaseException:
        lease.release()
        raise
    threading.Thread(target=lease.heartbeat, name="lease", daemon=True).start()
    try:
        yield lease
    finally:
        lease.release()


_HELD: set[Lease] = set()
_ENDED: set[str] = set()  # holders that were of this process, though a disk may be too full to say so
# Ids of holders of this process that let nobody write any more, and how many threads write for each.
_ENDING: set[str] = set()
_WRITING: Counter[str] = Counter()
_WRITTEN = threading.Condition()


@contextmanager
def writing(location: Location) -> Iterator[None]:
    """Write for a run: its lease is not given back meanwhile, where the run is one of this process.

    A run that fails does not end the threads that compute its other blocks, and Dask waits for them for some
    seconds at most. They stop here.

    Raises
    ------
    StoppedError
        If the run has ended.
    """
    with _WRITTEN:
        if location.writer in _ENDING:
            raise StoppedError(f"the run that was to write to {location.text} has ended")
        _WRITING[location.writer] += 1
    try:
        yield
    finally:
        with _WRITTEN:
            _WRITING[location.writer] -= 1
            _WRITTEN.notify_all()


def abandon() -> None:
    """Give back what this process holds, without waiting long: it is about to end."""
    giving = [threading.Thread(target=lease.release, daemon=True) for lease in list(_HELD)]
    for thread in giving:
        thread.start()
    for thread in giving:
        thread.join(timeout=ABANDON_SECONDS)


class Lease:
    """A lease that this process holds."""

    def __init__(self, location: Location, holder: LeaseHolder) -> None:
        self.location, self.holder = location, holder
        self._ended = threading.Event()
        self._lost = False

    def acquire(self) -> None:
        """Enter this holder, in the location of those who are dead."""
        end = time.monotonic() + EXPIRY_SECONDS

        def enter(there: list[LeaseHolder]) -> list[LeaseHolder]:
            live = self._live_others(there)
            for other in live:
                if other.excludes(self.holder) or (other.preparing and time.monotonic() > end):
                    raise StoppedError(
                        f"{self.location.text} is being written by {other}; wait for it, or end it first"
                    )
            return there if any(other.preparing for other in live) else [*live, self.holder]

        while self.holder not in (live := self._change(enter)):
            time.sleep(PREPARING_SECONDS)
        self.location.clean({other.id for other in live})

    def prepared(self) -> None:
        """Let other slices go on: the store is made, mended and grown."""
        if self.holder.preparing:
            self.holder = replace(self.holder, preparing=False)
            self._change(lambda there: [*self._others(there), self.holder])

    def heartbeat(self) -> None:
        """Give a sign of life now and then, until the end."""

        def show(there: list[LeaseHolder]) -> list[LeaseHolder]:
            if self._ended.is_set():  # since the lease was read, and it must not be entered again
                return there
            here = any(other.id == self.holder.id for other in there)
            # A lease that was damaged, or of somebody who came and went, is entered again.
            self._lost = not here and any(other.excludes(self.holder) for other in self._live_others(there))
            if self._lost:
                return there
            return [*self._others(there), replace(self.holder, seen=time.time())]

        while not self._ended.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # of a disk that is full now: the next sign may come through
                self._change(show)

    def check(self) -> None:
        """Raise if another run has taken this lease for a dead one's.

        Raises
        ------
        StoppedError
            Saying who holds it now.
        """
        if self._lost:
            others = "; ".join(str(other) for other in holders(self.location)) or "nobody"
            raise StoppedError(
                f"the lease of {self.location.text} was taken over while this run was silent, by {others}; "
                "what is complete stays"
            )

    def release(self) -> None:
        """Leave, when no thread of this process writes; who comes next need not wait.

        Nothing is lost where it fails.
        """
        self._ended.set()
        _HELD.discard(self)
        with _WRITTEN:
            _ENDING.add(self.holder.id)
            # A disk that hangs for longer than this has let the lease expire, too.
            _WRITTEN.wait_for(lambda: not _WRITING[self.holder.id], timeout=EXPIRY_SECONDS)
            del _WRITING[self.holder.id]
        _ENDED.add(self.holder.id)
        with suppress(OSError):
            self._change(self._others)

    def _others(self, there: list[LeaseHolder]) -> list[LeaseHolder]:
        return [other for other in there if other.id != self.holder.id]

    def _live_others(self, there: list[LeaseHolder]) -> list[LeaseHolder]:
        return [other for other in self._others(there) if other.alive]

    def _change(self, change: Callable[[list[LeaseHolder]], list[LeaseHolder]]) -> list[LeaseHolder]:
        """Change the list of holders, from what it is at that moment; return it."""
        while True:
            before = self.location.read(KEY)
            after = change(there := _parsed(before))
            if after is there:
                return after
            if self.location.swap(KEY, before, document(after)):
                return after
            time.sleep(0.01)
