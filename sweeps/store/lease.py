"""The lease of a store: one run writes at a time, or several slices with different blocks.

The lease is one small JSON document in the store, which is replaced by compare-and-swap. Results do not
depend on it, because every process writes the same bytes of a block. The lease keeps people from doing work
twice, and from growing a store under a run.

A holder in the same system counts as dead when its process has ended. A holder elsewhere counts as dead when
its entry in the lease has not changed for `EXPIRY_SECONDS` of this process's own clock. No two clocks are
ever compared.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from fastlin.errors import StoppedError
from fastlin.sweeps.store.lease_holders import (
    KEY,
    RELEASED,
    LeaseHolder,
    document,
    holders,
    read_holders,
    read_lease,
)
from fastlin.sweeps.store.location import Location, stopping, writer_of

HEARTBEAT_SECONDS = 20.0  # between heartbeats
EXPIRY_SECONDS = 120.0  # without a heartbeat, after which a holder in another system counts as dead
ABANDON_SECONDS = 2.0  # time limit of releasing the leases of a process that is about to end
PREPARING_SECONDS = 0.05  # between two reads of the lease while a slice prepares the store
WATCH_SECONDS = 1.0  # between two reads while a holder in another system is watched
QUIET_SECONDS = 2.0  # of waiting, after which the wait is told

Note = Callable[[str], None]


@contextmanager
def acquired(location: Location, holder: LeaseHolder, note: Note) -> Iterator[Lease]:
    """Hold the lease of a store, and take over that of a dead holder.

    A holder in another system is watched until it has shown a heartbeat, or none for `EXPIRY_SECONDS`.
    A slice that prepares the store is waited for. `note` gets a line about each such wait.

    Raises
    ------
    StoppedError
        If a run that is alive holds the lease. The message names the process, the host and the time.
    """
    lease = Lease(location, holder, note)
    _LEASES.add(lease)
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


_LEASES: set[Lease] = set()  # that this process holds
# Ids of holders of this process that are about to release, so that no thread begins to write; and the number
# of threads that write for each holder.
_RELEASING: set[str] = set()
_WRITING: Counter[str] = Counter()
_WRITTEN = threading.Condition()


@contextmanager
def writing(location: Location) -> Iterator[None]:
    """Write for a run. If it is a run of this process, its lease is not released meanwhile.

    A run that fails does not end the threads that compute its other blocks, and Dask waits for them for some
    seconds at most. They stop here.

    Raises
    ------
    StoppedError
        If the run has ended.
    """
    with _WRITTEN:
        if location.writer in _RELEASING:
            raise StoppedError(f"the run that was to write to {location.text} has ended")
        _WRITING[location.writer] += 1
    try:
        yield
    finally:
        with _WRITTEN:
            _WRITING[location.writer] -= 1
            _WRITTEN.notify_all()


def abandon() -> None:
    """Release all leases of this process, which is about to end, within `ABANDON_SECONDS` for each."""
    threads = [threading.Thread(target=lease.release, daemon=True) for lease in list(_LEASES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=ABANDON_SECONDS)


class _Watch:
    """When values have changed, by the monotonic clock of this process."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._last: dict[str, tuple[Any, float]] = {}

    def see(self, key: str, value: Any) -> float:
        """Note the present value, and return the least number of seconds for which it has not changed."""
        now = time.monotonic()
        self._first.setdefault(key, value)
        if key not in self._last or self._last[key][0] != value:
            self._last[key] = value, now
        return now - self._last[key][1]

    def has_changed(self, key: str) -> bool:
        """Return whether a value has changed since it was first seen."""
        return bool(self._last[key][0] != self._first[key])


class Lease:
    """The lease of a store, as this process acquires, keeps and releases it."""

    def __init__(self, location: Location, holder: LeaseHolder, note: Note) -> None:
        self.location, self.holder = location, holder
        self._note = note
        self._watch = _Watch()
        self._released = threading.Event()
        self._lost = False

    def acquire(self) -> None:
        """Enter this holder in the place of dead holders, as soon as no live holder excludes it."""
        began = time.monotonic()
        self.location.make()
        self.location = replace(self.location, opened=True)
        self._clean_copy()

        def enter(entries: list[LeaseHolder]) -> list[LeaseHolder]:
            live = self._live_others(entries)
            late = time.monotonic() - began > EXPIRY_SECONDS
            for other in live:
                self._check_admitted(other, late)
            if any(other.preparing or other.excludes(self.holder) for other in live):
                return entries
            self._clean(self._others(entries), live)
            return [*live, self.holder]

        announced: set[str] = set()
        while self.holder not in (entries := self._change(enter)):
            self._wait(self._others(entries), announced)

    def _clean_copy(self) -> None:
        """Remove temporary files that came with a copy of a store, whose holders write to the original."""
        origin, entries = read_lease(self.location.read(KEY))
        if not origin.is_same(self.location.identity()):
            self.location.clean({other.id for other in entries})

    def _check_admitted(self, other: LeaseHolder, late: bool) -> None:
        """Raise if another holder is alive and excludes this one, or prepares the store for too long."""
        alive = other.ended is False or self._watch.has_changed(other.id)
        if alive and (other.excludes(self.holder) or (other.preparing and late)):
            raise StoppedError(
                f"{self.location.text} is being written by {other}; wait for it, or end it first"
            )

    def _wait(self, others: list[LeaseHolder], announced: set[str]) -> None:
        """Wait before the lease is read again. A long wait for a holder is told once."""
        for other in others:
            silence = self._silence(other)
            if other.ended is None and silence > QUIET_SECONDS and other.id not in announced:
                announced.add(other.id)
                self._note(
                    f"waiting for {other}, which holds the lease of {self.location.text}; it counts as dead "
                    f"after {EXPIRY_SECONDS - silence:.0f} s more without a heartbeat"
                )
        time.sleep(PREPARING_SECONDS if any(other.preparing for other in others) else WATCH_SECONDS)

    def tidy(self) -> None:
        """Remove dead holders and their temporary files without entering, if the location can be written."""

        def remove(entries: list[LeaseHolder]) -> list[LeaseHolder]:
            live = self._live_others(entries)
            self._clean(entries, live)
            return [*live]

        with suppress(OSError):
            content = self.location.read(KEY)
            if content not in (None, document(self.location, [])) or any(self.location.temporary_files()):
                self._clean_copy()
                self._change(remove)

    def prepared(self) -> None:
        """Let other slices go on, because the store is made, repaired and grown."""
        if self.holder.preparing:
            self.holder = replace(self.holder, preparing=False)
            self._change(lambda entries: [*self._others(entries), self.holder])

    def heartbeat(self) -> None:
        """Change the entry of this holder now and then, until the lease is released."""

        def beat(entries: list[LeaseHolder]) -> list[LeaseHolder]:
            if self._released.is_set():  # since the lease was read: do not enter again
                return entries
            entered = any(other.id == self.holder.id for other in entries)
            live = self._live_others(entries)
            # If the entry is missing, the lease was damaged, or another holder took this one for dead. It is
            # entered again unless such a holder is still there.
            self._lost = not entered and any(other.excludes(self.holder) for other in live)
            if self._lost:
                return entries
            others = self._others(entries)
            with suppress(OSError):  # those whose files cannot be removed now stay in the lease
                self._clean(others, live)
                others = live
            return [*others, replace(self.holder, seen=time.time(), heartbeats=next(numbers))]

        numbers = itertools.count(1)
        while not self._released.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # of a disk that is full now: the next heartbeat may be written
                self._change(beat)
                self._clean_orphans()

    def check(self) -> None:
        """Raise if another run has taken this lease over.

        Raises
        ------
        StoppedError
            The message names the holder.
        """
        if self._lost:
            others = "; ".join(str(other) for other in holders(self.location)) or "nobody"
            raise StoppedError(
                f"the lease of {self.location.text} was taken over while this run was silent, by {others}; "
                "what is complete stays"
            )

    def release(self) -> None:
        """Remove this holder from the lease when no thread of this process writes.

        The next run does not have to wait then. A failure loses nothing.
        """

        def leave(entries: list[LeaseHolder]) -> list[LeaseHolder]:
            others = self._others(entries)
            return others if len(others) < len(entries) else entries

        self._released.set()
        _LEASES.discard(self)
        with _WRITTEN:
            _RELEASING.add(self.holder.id)
            # If the disk hangs for longer than this, the lease has expired, too.
            _WRITTEN.wait_for(lambda: not _WRITING[self.holder.id], timeout=EXPIRY_SECONDS)
            del _WRITING[self.holder.id]
        RELEASED.add(self.holder.id)
        with suppress(OSError):
            self._change(leave)

    def _others(self, entries: list[LeaseHolder]) -> list[LeaseHolder]:
        return [other for other in entries if other.id != self.holder.id]

    def _live_others(self, entries: list[LeaseHolder]) -> list[LeaseHolder]:
        """Return the other holders that are not known to be dead."""
        return [other for other in self._others(entries) if not self._is_dead(other)]

    def _is_dead(self, other: LeaseHolder) -> bool:
        silence, ended = self._silence(other), other.ended
        return silence >= EXPIRY_SECONDS if ended is None else ended

    def _silence(self, other: LeaseHolder) -> float:
        """Return for how many seconds another holder has shown no heartbeat, at least."""
        return self._watch.see(other.id, other.heartbeats)

    def _clean(self, others: list[LeaseHolder], live: list[LeaseHolder]) -> None:
        """Remove the temporary files of dead holders, while the lease still has their ids."""
        self.location.clean({other.id for other in others} - {other.id for other in live})

    def _clean_orphans(self) -> None:
        """Remove temporary files that have not changed for `EXPIRY_SECONDS`, of writers that are in no lease.

        Worker processes leave them that were killed after their run had released the lease.
        """
        temporary = [*self.location.temporary_files()]
        ids = {other.id for other in holders(self.location)}
        for entry in temporary:
            silence = self._watch.see(entry.key, (entry.size, entry.modified))
            if silence >= EXPIRY_SECONDS and writer_of(entry) not in ids:
                self.location.delete(entry.key)

    def _change(self, change: Callable[[list[LeaseHolder]], list[LeaseHolder]]) -> list[LeaseHolder]:
        """Change the present list of holders, and return it."""
        while True:
            before = self.location.read(KEY)
            after = change(entries := read_holders(before, self.location.identity()))
            if after is entries:
                return after
            if self.location.swap(KEY, before, document(self.location, after)):
                return after
            time.sleep(0.01)
