"""The lease: one run writes at a time, and the lease of a dead run is taken over without changing a byte."""

import dataclasses
import itertools
import json
import math
import random
import shutil
import signal
import socket
import threading
from functools import partial

import pytest

import fastlin as fl
from fastlin.sweeps.run import worker
from fastlin.sweeps.store import folder, lease, lease_holders, store
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import SCRATCH
from fastlin.sweeps.store.slice import Slice
from tests import commands, sweeping
from tests.campaign import trials
from tests.commands import BLOCKS, SMALL, run_to_end
from tests.fault_injection import until
from tests.leases import GARBAGE, OTHER, acquired, holder, remote_holder, write_holders
from tests.planting import Gate
from tests.sweeping import content, marks

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The spec SMALL as a file, and all files of its store."""
    folder = tmp_path_factory.mktemp("whole")
    source = folder / "small.toml"
    source.write_text(SMALL)
    done = run_to_end("run", source, "--store", folder / "whole.zarr", patches=[commands.smaller_blocks])
    assert done.code == 0, done.err
    return source, content(folder / "whole.zarr")


def arguments(source, path):
    return ["run", source, "--store", path, "--json"]


class Clock:
    """The module `time` for a lease. Its time changes only in `sleep`.

    Parameters
    ----------
    events : dict
        Functions by the second at which `sleep` calls them.
    """

    def __init__(self, events=()):
        self.now, self._events = 0.0, dict(events)

    def monotonic(self):
        return self.now

    def time(self):
        return 1e9 + self.now

    def sleep(self, seconds):
        self.now += seconds
        for due in [second for second in self._events if second <= self.now]:
            self._events.pop(due)()


@pytest.fixture
def gate(tmp_path):
    """A gate that lets one block pass."""
    return Gate(tmp_path / "gate", 1)


@trials(3, 100)
def test_one_of_two_simultaneous_runs_is_refused(whole, tmp_path, trials):
    """No block is computed before one run has ended, so the run that continues cannot have been complete."""
    source, expected = whole
    for trial in range(trials):
        path, gate = tmp_path / f"{trial}.zarr", Gate(tmp_path / f"gate-{trial}", 0)
        both = [arguments(source, path)] * 2
        with commands.commands(*both, patches=[commands.smaller_blocks, gate.patch]) as started:
            until(lambda started=started: not all(command.running for command in started))
            gate.open()
            ends = [command.end() for command in started]
        assert sorted(end.code for end in ends) == [0, 1]
        ((other, end),) = [
            (other, end) for other, end in zip(reversed(started), ends, strict=True) if end.code
        ]
        assert f"is being written by process {other.pid} on {socket.gethostname()}" in end.line
        assert "(all blocks) since 20" in end.line
        assert content(path) == expected


@trials(2, 30)
def test_the_lease_of_a_killed_run_is_taken_over_at_once(whole, tmp_path, trials):
    """The expiry time is infinite in this test, so that it cannot be the reason."""
    source, expected = whole
    chance = random.Random(1)
    for trial in range(trials):
        path, wanted = tmp_path / f"{trial}.zarr", chance.randrange(1, 10)
        patches = [commands.smaller_blocks, Gate(tmp_path / f"gate-{trial}", wanted).patch]
        with commands.command(*arguments(source, path), patches=patches) as killed:
            until(lambda path=path, wanted=wanted: len(marks(path)) == wanted)
            killed.kill()
        assert json.loads(commands.lease_file(path).read_bytes())["holders"][0]["process"] == killed.pid
        patches = [commands.smaller_blocks, partial(commands.shorten_expiry, math.inf)]
        done = run_to_end(*arguments(source, path), patches=patches)
        assert (done.code, done.report["computed_blocks"]) == (0, BLOCKS - wanted)
        assert content(path) == expected


def test_a_stopped_run_is_alive(whole, tmp_path, gate):
    source, expected = whole
    path = tmp_path / "s.zarr"
    patches = [commands.smaller_blocks, gate.patch]
    with commands.command(*arguments(source, path), patches=patches) as first:
        until(lambda: marks(path))
        first.send(signal.SIGSTOP)
        second = run_to_end(*arguments(source, path))
        assert second.code == 1
        assert f"process {first.pid} on" in second.line
        gate.open()
        first.send(signal.SIGCONT)
        assert first.end().code == 0
    assert content(path) == expected


def test_status_tells_who_writes(whole, tmp_path, gate):
    source, _ = whole
    path = tmp_path / "s.zarr"
    patches = [commands.smaller_blocks, gate.patch]
    with commands.command(*arguments(source, path), patches=patches) as writer:
        until(lambda: marks(path))
        assert f"being written by process {writer.pid} on" in run_to_end("status", path).out
        writer.kill()
    assert "no run is writing it; fastlin run continues" in run_to_end("status", path).out
    assert run_to_end("status", path, "--json").report["holders"] == []


PARTS = {"a run": None, "a slice": Slice(2, 4)}
part = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)


@part
@pytest.mark.parametrize("behind", [0.0, 300.0, 1e9, -3600.0])
def test_a_dead_holder_on_another_host_is_taken_over_after_its_expiry(tmp_path, monkeypatch, part, behind):
    """The clock of the other host may have been behind or ahead."""
    clock, notes = Clock(), []
    monkeypatch.setattr(lease, "time", clock)
    dead = remote_holder(part=lease_holders.new_holder("", part).part, seen=clock.time() - behind)
    write_holders(tmp_path / "s.zarr", dead)
    place = locate(tmp_path / "s.zarr")
    place.write(f"{SCRATCH}/{dead.id}.1.partial", b"half")
    own_holder = lease_holders.new_holder(dead.spec, part)
    with acquired(place, own_holder, notes.append):
        assert lease_holders.holders(place) == [own_holder]
        assert place.read(f"{SCRATCH}/{dead.id}.1.partial") is None
    assert 120.0 <= clock.now <= 122.0
    (note,) = notes
    assert f"waiting for process 7 on {OTHER} ({dead.part})" in note
    assert "it counts as dead after 117 s more without a heartbeat" in note


@part
@pytest.mark.parametrize("behind", [0.0, 300.0, 1e9])
def test_a_holder_on_another_host_with_heartbeats_is_not_taken_over(tmp_path, monkeypatch, part, behind):
    """The clock of the other host is behind, so that its heartbeats seem old."""
    path = tmp_path / "s.zarr"
    place = locate(path)
    alive = remote_holder(part=lease_holders.new_holder("", part).part)
    clock = Clock({19.0: lambda: write_holders(path, dataclasses.replace(alive, heartbeats=1))})
    alive = dataclasses.replace(alive, seen=clock.time() - behind)
    monkeypatch.setattr(lease, "time", clock)
    write_holders(path, alive)
    place.write(f"{SCRATCH}/{alive.id}.1.partial", b"half")
    with (
        pytest.raises(fl.StoppedError, match=rf"is being written by process 7 on {OTHER} .*; wait for it"),
        acquired(place, lease_holders.new_holder(alive.spec, part)),
    ):
        pass
    assert clock.now <= 21.0
    assert place.read(f"{SCRATCH}/{alive.id}.1.partial") == b"half"
    assert [other.id for other in lease_holders.holders(place)] == [alive.id]


def test_a_dead_slice_on_another_host_delays_no_other_slice_and_expires(tmp_path, monkeypatch):
    path = tmp_path / "s.zarr"
    place, dead = locate(path), remote_holder(part="slice 1/4")
    write_holders(path, dead)
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    clock = Clock()
    monkeypatch.setattr(lease, "time", clock)
    own_holder = lease_holders.new_holder(dead.spec, Slice(2, 4))
    with acquired(place, own_holder):
        assert clock.now == 0.0
        until(lambda: any(other.heartbeats > 2 for other in lease_holders.holders(place)))
        assert {other.id for other in lease_holders.holders(place)} == {dead.id, own_holder.id}
        clock.now = 121.0
        until(lambda: {other.id for other in lease_holders.holders(place)} == {own_holder.id})


def test_the_command_names_the_holder_that_it_waits_for(whole, tmp_path):
    source, expected = whole
    path = tmp_path / "s.zarr"
    write_holders(path, remote_holder())
    patches = [commands.smaller_blocks, partial(commands.shorten_expiry, lease.QUIET_SECONDS + 0.5)]
    done = run_to_end(*arguments(source, path), patches=patches)
    assert done.code == 0, done.err
    assert f"waiting for process 7 on {OTHER} (all blocks) since 20" in done.err
    assert "without a heartbeat" in done.err
    assert content(path) == expected


def test_files_of_a_writer_that_has_not_entered_yet_stay(tmp_path):
    """A writer writes a temporary file with its entry before it is in the lease."""
    place = locate(tmp_path / "s.zarr")
    write_holders(tmp_path / "s.zarr", holder(process=commands.NO_PROCESS))
    key = f"{SCRATCH}/{holder().id}.1.partial"
    place.write(key, b"half")
    with acquired(place, holder()):
        assert place.read(key) == b"half"


def test_files_of_a_writer_without_a_lease_are_deleted_after_the_expiry(tmp_path, monkeypatch):
    """Such files are left by a worker process that was killed after its run had released the lease."""
    place, clock, own_holder = locate(tmp_path / "s.zarr"), Clock(), holder()
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(lease, "time", clock)
    key, own = (f"{SCRATCH}/{writer}.1.partial" for writer in (holder().id, own_holder.id))
    place.write(key, b"half")
    with acquired(place, own_holder):

        def beat_twice():
            (now,) = lease_holders.holders(place)
            until(lambda: lease_holders.holders(place)[0].heartbeats > now.heartbeats + 2)

        place.write(own, b"half")
        beat_twice()
        clock.now = 119.0
        beat_twice()
        place.write(key, b"more than half")
        beat_twice()
        clock.now = 230.0
        beat_twice()
        assert place.read(key) is not None
        clock.now = 250.0
        until(lambda: place.read(key) is None)
        beat_twice()
        assert place.read(own) == b"half"


def test_a_run_without_blocks_to_compute_removes_files_of_dead_runs(swept, tmp_path):
    path = tmp_path / "s.zarr"
    shutil.copytree(swept, path)
    before, dead = content(path), holder(process=commands.NO_PROCESS)
    write_holders(path, dead, alive := remote_holder())
    for writer in (dead.id, alive.id, "swap"):
        locate(path).write(f"{SCRATCH}/{writer}.1.partial", b"half")
    assert fl.run_sweep(sweeping.spec(), path).computed_blocks == 0
    assert lease_holders.holders(locate(path)) == [alive]
    key = f"{SCRATCH}/{alive.id}.1.partial"
    assert content(path) == before | {
        key: b"half",
        lease_holders.KEY: lease_holders.document(locate(path), [alive]),
    }


def test_files_of_a_dead_holder_of_the_lock_are_deleted_by_the_next(tmp_path):
    place = locate(tmp_path / "s.zarr")
    place.write(f"{SCRATCH}/swap.1.partial", b"half")
    assert place.swap("key", None, b"new")
    assert sweeping.content(tmp_path / "s.zarr") == {"key": b"new", f"{SCRATCH}/lock": b""}


@trials(1, 10)
def test_a_run_that_lost_its_lease_stops(whole, tmp_path, trials):
    """Blocks that it has begun are finished, which does no harm."""
    source, _ = whole
    for trial in range(trials):
        path, gate = tmp_path / f"{trial}.zarr", Gate(tmp_path / f"gate-{trial}", 1)
        beats = tmp_path / f"beats-{trial}"
        patches = [
            partial(commands.smaller_blocks, 1),
            gate.patch,
            partial(commands.record_heartbeats, beats),
        ]
        with commands.command(*arguments(source, path), patches=patches) as first:
            until(lambda path=path: marks(path))
            write_holders(path, remote_holder())
            looks = beats.stat().st_size + 2  # one of them may have begun before
            until(lambda beats=beats, looks=looks: beats.stat().st_size >= looks)
            gate.open()
            done = first.end()
        assert done.code == 1
        assert "was taken over while this run was silent, by process 7 on another-host" in done.err
        assert "Traceback" not in done.err
        missing = 24 - len(marks(path))
        assert missing > 0
        (other,) = lease_holders.holders(locate(path))
        assert other.host == OTHER
        write_holders(path)
        assert run_to_end(*arguments(source, path)).report["computed_blocks"] == missing


def test_a_store_with_a_damaged_lease_is_resumed(swept, tmp_path):
    path = tmp_path / "s.zarr"
    shutil.copytree(swept, path)
    (path / "status" / "c.1.0.0.0").unlink()
    commands.lease_file(path).write_bytes(GARBAGE[-1])
    assert fl.open_sweep(path).sizes["seed"] == 6
    assert fl.run_sweep(sweeping.spec(), path).computed_blocks == 1
    assert content(path) == content(swept)


@pytest.mark.parametrize("damage", [b"", b"[" * 100_000, b'{"holders": []}', None])
def test_a_lease_that_is_damaged_during_a_run_is_written_again(whole, tmp_path, gate, damage):
    source, expected = whole
    path = tmp_path / "s.zarr"
    patches = [commands.smaller_blocks, gate.patch, commands.shorten_heartbeats]
    with commands.command(*arguments(source, path), patches=patches) as run:
        until(lambda: marks(path))
        if damage is None:
            commands.lease_file(path).unlink()
        else:
            commands.lease_file(path).write_bytes(damage)
        until(lambda: [other.process for other in lease_holders.holders(locate(path))] == [run.pid])
        gate.open()
        assert run.end().code == 0
    assert content(path) == expected


def test_a_heartbeat_does_not_restore_a_lease_that_is_released_meanwhile(tmp_path, monkeypatch):
    """The lease is released between the read and the write of a heartbeat."""
    real, released = folder.LocalFolder.swap, threading.Event()

    def swap(place, key, old, new):
        if threading.current_thread().name == "lease" and not released.is_set():
            released.set()
            own_lease.release()
        return real(place, key, old, new)

    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(folder.LocalFolder, "swap", swap)
    place = locate(tmp_path / "s.zarr")
    before = threading.active_count()
    with acquired(place, lease_holders.new_holder("0" * 64)) as own_lease:
        assert released.wait(30.0)
        until(lambda: threading.active_count() == before)
        assert lease_holders.holders(place) == []


def test_a_swap_whose_answer_was_lost_is_recognised_as_own(tmp_path, monkeypatch):
    """A first try may succeed although its answer is lost, and the second try then sees its own entry."""
    real, answers = folder.LocalFolder.swap, []

    def swap(place, key, old, new):
        done = real(place, key, old, new)
        answers.append(done)
        return done and len(answers) % 2 == 0

    monkeypatch.setattr(folder.LocalFolder, "swap", swap)
    place = locate(tmp_path / "s.zarr")
    for part in (None, Slice(1, 2)):
        own_holder = lease_holders.new_holder("0" * 64, part)
        with acquired(place, own_holder) as own_lease:
            own_lease.prepared()
            assert [other.id for other in lease_holders.holders(place)] == [own_holder.id]
        assert lease_holders.holders(place) == []


@pytest.mark.parametrize("created", ["lease", "store"])
@pytest.mark.parametrize("at", range(5))
def test_a_store_that_another_run_creates_during_the_check_is_new_or_complete(
    swept, tmp_path, monkeypatch, created, at
):
    """It is either a new store or a store that exists, at whichever read the other run makes it."""
    path, looks = tmp_path / "s.zarr", itertools.count()

    def make():
        if created == "store":
            shutil.copytree(swept, path)
        else:
            write_holders(path, holder())

    def looking(name):
        real = getattr(folder.LocalFolder, name)

        def look(*arguments):
            if next(looks) == at:
                make()
            return real(*arguments)

        monkeypatch.setattr(folder.LocalFolder, name, look)

    for name in ("read", "entries", "exists"):
        looking(name)
    place = locate(path)
    if not store.is_new(place):
        assert created == "store"
        assert store.Store.open(place).layout.block_count == 6


@trials(1, 20)
def test_blocks_that_are_computed_twice_have_the_same_bytes(swept, tmp_path, trials, monkeypatch):
    """Each block is computed twice in turn, and the second time overwrites the first."""

    def twice(order, index, run=worker.run_block):
        run(order, index)
        opened = store.reopen(order.location)
        opened.withdraw(index)
        return run(order, index)

    monkeypatch.setattr(worker, "run_block", twice)
    for trial in range(trials):
        path = tmp_path / f"{trial}.zarr"
        assert fl.run_sweep(sweeping.spec(), path).ok == 180
        assert content(path) == content(swept)


@trials(1, 20)
def test_concurrent_runs_without_exclusion_write_the_same(whole, tmp_path, trials):
    """Two hosts may each take the other for dead.

    No block is computed before all of the runs hold the lease.
    """
    source, expected = whole
    for trial in range(trials):
        path, gate = tmp_path / f"{trial}.zarr", Gate(tmp_path / f"gate-{trial}", 0)
        patches = [commands.smaller_blocks, commands.share_lease, gate.patch]
        with commands.commands(*[arguments(source, path)] * 3, patches=patches) as started:
            until(lambda path=path: len(lease_holders.holders(locate(path))) == 3)
            gate.open()
            assert [command.end().code for command in started] == [0, 0, 0]
        assert content(path) == expected


@trials(2, 20)
def test_a_writer_that_resumes_after_completion_changes_nothing(whole, tmp_path, trials):
    """The writer was stopped in the middle of a write of the lease, metadata, values or a commit marker."""
    source, expected = whole
    chance = random.Random(2)
    woken = 0
    for trial in range(trials):
        path = tmp_path / f"{trial}.zarr"
        at = chance.randrange(3, 75)
        patches = [commands.smaller_blocks, partial(commands.stop_in_write, at)]
        with commands.command(*arguments(source, path), patches=patches) as sleeper:
            if not commands.wait_until_stopped(sleeper):
                assert content(path) == expected
                continue
            woken += 1
            commands.write_lease(path, process=commands.NO_PROCESS)
            done = run_to_end(*arguments(source, path), patches=[commands.smaller_blocks])
            assert done.code == 0, done.err
            assert content(path) == expected
            sleeper.send(signal.SIGCONT)
            last = sleeper.end()
        assert last.code in (0, 1)
        assert "Traceback" not in last.err and "internal" not in last.err
        assert content(path) == expected, (at, last)
    assert woken
