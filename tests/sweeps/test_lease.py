"""The lease: one run writes at a time, that of a dead run is taken over, and bytes are the same anyway."""

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
from tests.commands import BLOCKS, SMALL, ended
from tests.fault_injection import until
from tests.planting import Gate
from tests.sweeping import content, marks

pytestmark = pytest.mark.processes

OTHER = "another-host"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The spec SMALL as a file, and all files of its store."""
    folder = tmp_path_factory.mktemp("whole")
    source = folder / "small.toml"
    source.write_text(SMALL)
    done = ended("run", source, "--store", folder / "whole.zarr", patches=[commands.smaller_blocks])
    assert done.code == 0, done.err
    return source, content(folder / "whole.zarr")


def arguments(source, path):
    return ["run", source, "--store", path, "--json"]


def holder(**changes):
    return dataclasses.replace(lease_holders.new_holder("0" * 64), **changes)


def elsewhere(**changes):
    """Return a holder in another system."""
    return holder(**{"host": OTHER, "system": OTHER, "process": 7} | changes)


def entered(path, *holders):
    """Write a lease with some holders, at a time at which others may write it."""
    place = locate(path)
    place.make()
    content = lease_holders.document(place, list(holders))
    until(lambda: place.swap(lease_holders.KEY, place.read(lease_holders.KEY), content))


def acquired(place, mine, note=print):
    return lease.acquired(place, mine, note)


class Clock:
    """The module `time` for a lease: it stands still, but while somebody sleeps.

    Parameters
    ----------
    events : dict
        What happens while somebody sleeps: functions, by the second.
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
    """A gate that lets one block through."""
    return Gate(tmp_path / "gate", 1)


@trials(3, 100, slow=8)
def test_of_two_at_the_same_moment_one_is_refused(whole, tmp_path, trials):
    """No block is computed before one of them has ended, so the other one cannot have been done by then."""
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
    """Not by its silence: here that of nobody is ever long enough."""
    source, expected = whole
    chance = random.Random(1)
    for trial in range(trials):
        path, wanted = tmp_path / f"{trial}.zarr", chance.randrange(1, 10)
        patches = [commands.smaller_blocks, Gate(tmp_path / f"gate-{trial}", wanted).patch]
        with commands.command(*arguments(source, path), patches=patches) as killed:
            until(lambda path=path, wanted=wanted: len(marks(path)) == wanted)
            killed.kill()
        assert json.loads(commands.lease_file(path).read_bytes())["holders"][0]["process"] == killed.pid
        patches = [commands.smaller_blocks, partial(commands.impatient, math.inf)]
        done = ended(*arguments(source, path), patches=patches)
        assert (done.code, done.report["computed_blocks"]) == (0, BLOCKS - wanted)
        assert content(path) == expected


def test_a_stopped_run_is_alive(whole, tmp_path, gate):
    source, expected = whole
    path = tmp_path / "s.zarr"
    patches = [commands.smaller_blocks, gate.patch]
    with commands.command(*arguments(source, path), patches=patches) as first:
        until(lambda: marks(path))
        first.send(signal.SIGSTOP)
        second = ended(*arguments(source, path))
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
        assert f"being written by process {writer.pid} on" in ended("status", path).out
        writer.kill()
    assert "no run is writing it; fastlin run continues" in ended("status", path).out
    assert ended("status", path, "--json").report["holders"] == []


PARTS = {"a run": None, "a slice": Slice(2, 4)}
part = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)


@part
@pytest.mark.parametrize("behind", [0.0, 300.0, 1e9, -3600.0])
def test_a_dead_holder_elsewhere_is_taken_over_after_its_silence(tmp_path, monkeypatch, part, behind):
    """Whatever its clock said: it may have been behind, or ahead."""
    clock, notes = Clock(), []
    monkeypatch.setattr(lease, "time", clock)
    dead = elsewhere(part=lease_holders.new_holder("", part).part, seen=clock.time() - behind)
    entered(tmp_path / "s.zarr", dead)
    place = locate(tmp_path / "s.zarr")
    place.write(f"{SCRATCH}/{dead.id}.1.partial", b"half")
    mine = lease_holders.new_holder(dead.spec, part)
    with acquired(place, mine, notes.append):
        assert lease_holders.holders(place) == [mine]
        assert place.read(f"{SCRATCH}/{dead.id}.1.partial") is None
    assert 120.0 <= clock.now <= 122.0
    (note,) = notes
    assert f"waiting for process 7 on {OTHER} ({dead.part})" in note
    assert "it counts as dead after 117 s more without a heartbeat" in note


@part
@pytest.mark.parametrize("behind", [0.0, 300.0, 1e9])
def test_a_holder_elsewhere_that_shows_a_heartbeat_is_not_overtaken(tmp_path, monkeypatch, part, behind):
    """Its clock is behind, so that its heartbeats seem old."""
    path = tmp_path / "s.zarr"
    place = locate(path)
    alive = elsewhere(part=lease_holders.new_holder("", part).part)
    clock = Clock({19.0: lambda: entered(path, dataclasses.replace(alive, heartbeats=1))})
    alive = dataclasses.replace(alive, seen=clock.time() - behind)
    monkeypatch.setattr(lease, "time", clock)
    entered(path, alive)
    place.write(f"{SCRATCH}/{alive.id}.1.partial", b"half")
    with (
        pytest.raises(fl.StoppedError, match=rf"is being written by process 7 on {OTHER} .*; wait for it"),
        acquired(place, lease_holders.new_holder(alive.spec, part)),
    ):
        pass
    assert clock.now <= 21.0
    assert place.read(f"{SCRATCH}/{alive.id}.1.partial") == b"half"
    assert [other.id for other in lease_holders.holders(place)] == [alive.id]


def test_a_dead_slice_elsewhere_does_not_hold_up_others_and_goes_in_time(tmp_path, monkeypatch):
    path = tmp_path / "s.zarr"
    place, dead = locate(path), elsewhere(part="slice 1/4")
    entered(path, dead)
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    clock = Clock()
    monkeypatch.setattr(lease, "time", clock)
    mine = lease_holders.new_holder(dead.spec, Slice(2, 4))
    with acquired(place, mine):
        assert clock.now == 0.0
        until(lambda: any(other.heartbeats > 2 for other in lease_holders.holders(place)))
        assert {other.id for other in lease_holders.holders(place)} == {dead.id, mine.id}
        clock.now = 121.0
        until(lambda: {other.id for other in lease_holders.holders(place)} == {mine.id})


def test_the_command_tells_whom_it_waits_for(whole, tmp_path):
    source, expected = whole
    path = tmp_path / "s.zarr"
    entered(path, elsewhere())
    patches = [commands.smaller_blocks, partial(commands.impatient, lease.QUIET_SECONDS + 0.5)]
    done = ended(*arguments(source, path), patches=patches)
    assert done.code == 0, done.err
    assert f"waiting for process 7 on {OTHER} (all blocks) since 20" in done.err
    assert "without a heartbeat" in done.err
    assert content(path) == expected


def test_files_of_a_writer_that_has_not_entered_yet_stay(tmp_path):
    """It writes a temporary file before it is in the lease: its entry."""
    place = locate(tmp_path / "s.zarr")
    entered(tmp_path / "s.zarr", holder(process=commands.NO_PROCESS))
    key = f"{SCRATCH}/{holder().id}.1.partial"
    place.write(key, b"half")
    with acquired(place, holder()):
        assert place.read(key) == b"half"


def test_files_of_a_writer_that_is_in_no_lease_go_when_they_have_not_changed_for_long(tmp_path, monkeypatch):
    """As of a worker process that was killed when its run had given its lease back."""
    place, clock, mine = locate(tmp_path / "s.zarr"), Clock(), holder()
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(lease, "time", clock)
    key, own = (f"{SCRATCH}/{writer}.1.partial" for writer in (holder().id, mine.id))
    place.write(key, b"half")
    with acquired(place, mine):

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


def test_a_run_that_has_nothing_to_do_removes_what_a_dead_one_left(swept, tmp_path):
    path = tmp_path / "s.zarr"
    shutil.copytree(swept, path)
    before, dead = content(path), holder(process=commands.NO_PROCESS)
    entered(path, dead, alive := elsewhere())
    for writer in (dead.id, alive.id, "swap"):
        locate(path).write(f"{SCRATCH}/{writer}.1.partial", b"half")
    assert fl.run_sweep(sweeping.spec(), path).computed_blocks == 0
    assert lease_holders.holders(locate(path)) == [alive]
    key = f"{SCRATCH}/{alive.id}.1.partial"
    assert content(path) == before | {
        key: b"half",
        lease_holders.KEY: lease_holders.document(locate(path), [alive]),
    }


def test_what_died_under_the_lock_is_cleaned_by_the_next_who_has_it(tmp_path):
    place = locate(tmp_path / "s.zarr")
    place.write(f"{SCRATCH}/swap.1.partial", b"half")
    assert place.swap("key", None, b"new")
    assert sweeping.content(tmp_path / "s.zarr") == {"key": b"new", f"{SCRATCH}/lock": b""}


def test_in_the_same_system_the_process_decides_and_no_time():
    mine = holder()
    assert mine.ended is False
    assert dataclasses.replace(mine, seen=0.0).ended is False
    assert dataclasses.replace(mine, started=mine.started - 60).ended is True  # its number was given again
    assert holder(process=commands.NO_PROCESS).ended is True
    assert elsewhere(process=commands.NO_PROCESS).ended is None


def test_a_copy_of_a_store_that_is_written_is_free(tmp_path):
    path, copy = tmp_path / "s.zarr", tmp_path / "copy.zarr"
    place, mine = locate(path), holder()
    partial_key = f"{SCRATCH}/{mine.id}.1.partial"
    with acquired(place, mine):
        place.write(partial_key, b"half")
        shutil.copytree(path, copy)
        assert lease_holders.holders(locate(copy)) == []
        with acquired(locate(copy), other := holder()):
            assert lease_holders.holders(locate(copy)) == [other]
            assert locate(copy).read(partial_key) is None
        assert lease_holders.holders(place) == [mine]
        assert place.read(partial_key) == b"half"


def test_a_store_has_one_lease_under_all_its_paths(tmp_path):
    path, link, moved = (tmp_path / name for name in ("s.zarr", "link.zarr", "moved.zarr"))
    entered(path, mine := holder())
    link.symlink_to(path)
    assert lease_holders.holders(locate(link)) == [mine]
    link.unlink()
    path.rename(moved)
    assert lease_holders.holders(locate(moved)) == [mine]


@trials(1, 10)
def test_a_run_that_lost_its_lease_stops(whole, tmp_path, trials):
    """What is under way it finishes, which does no harm."""
    source, _ = whole
    for trial in range(trials):
        path, gate = tmp_path / f"{trial}.zarr", Gate(tmp_path / f"gate-{trial}", 1)
        beats = tmp_path / f"beats-{trial}"
        patches = [
            partial(commands.smaller_blocks, 1),
            gate.patch,
            partial(commands.noted_beats, beats),
        ]
        with commands.command(*arguments(source, path), patches=patches) as first:
            until(lambda path=path: marks(path))
            entered(path, elsewhere())
            looks = beats.stat().st_size + 2  # of which one may have begun before
            until(lambda beats=beats, looks=looks: beats.stat().st_size >= looks)
            gate.open()
            done = first.end()
        assert done.code == 1
        assert "was taken over while this run was silent, by process 7 on another-host" in done.err
        assert "Traceback" not in done.err
        left = 24 - len(marks(path))
        assert left > 0
        (other,) = lease_holders.holders(locate(path))
        assert other.host == OTHER
        entered(path)
        assert ended(*arguments(source, path)).report["computed_blocks"] == left


GARBAGE = [
    b"",
    b"{",
    b"\xff\x00",
    b"[]",
    b"null",
    b"5",
    b"[" * 100_000,
    b'{"holders": 5}',
    b'{"holders": {"a": 1}}',
    b'{"holders": [null]}',
    b'{"holders": [{}]}',
    b'{"holders": [[1, 2]]}',
]
NO_HOLDERS = [
    {"process": "x"},
    {"process": None},
    {"process": -5},
    {"process": 10**30},
    {"since": 1e300},
    {"seen": "now"},
    {"seen": float("nan")},
    {"heartbeats": 0.5},
    {"started": []},
    {"part": 3},
    {"unknown": 1},
]


@pytest.mark.parametrize("damage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_damaged_lease_is_nobodys(tmp_path, damage):
    place = locate(tmp_path / "s.zarr")
    place.write(lease_holders.KEY, damage)
    is_nobodys(place)


@pytest.mark.parametrize("changes", NO_HOLDERS, ids=range(len(NO_HOLDERS)))
@pytest.mark.parametrize("system", [OTHER, None])
def test_a_lease_with_a_damaged_holder_is_nobodys(tmp_path, system, changes):
    place = locate(tmp_path / "s.zarr")
    entered(tmp_path / "s.zarr", holder())
    content = json.loads(place.read(lease_holders.KEY))
    (entry,) = content["holders"]
    content["holders"] = [entry | ({"system": system} if system else {}) | changes]
    place.write(lease_holders.KEY, json.dumps(content).encode())
    is_nobodys(place)


def is_nobodys(place):
    mine = holder()
    assert lease_holders.holders(place) == []
    with acquired(place, mine):
        assert lease_holders.holders(place) == [mine]
    assert lease_holders.holders(place) == []


def test_a_store_with_a_damaged_lease_is_gone_on_with(swept, tmp_path):
    path = tmp_path / "s.zarr"
    shutil.copytree(swept, path)
    (path / "status" / "c.1.0.0.0").unlink()
    commands.lease_file(path).write_bytes(GARBAGE[-1])
    assert fl.open_sweep(path).sizes["seed"] == 6
    assert fl.run_sweep(sweeping.spec(), path).computed_blocks == 1
    assert content(path) == content(swept)


@pytest.mark.parametrize("damage", [b"", b"[" * 100_000, b'{"holders": []}', None])
def test_a_lease_that_is_damaged_under_a_run_is_entered_again(whole, tmp_path, gate, damage):
    source, expected = whole
    path = tmp_path / "s.zarr"
    patches = [commands.smaller_blocks, gate.patch, commands.faster_beat]
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


def test_a_sign_of_life_does_not_enter_a_holder_again_that_leaves_meanwhile(tmp_path, monkeypatch):
    """The lease is given back between the look of a sign of life and its write."""
    real, left = folder.LocalFolder.swap, threading.Event()

    def swap(place, key, old, new):
        if threading.current_thread().name == "lease" and not left.is_set():
            left.set()
            held.release()
        return real(place, key, old, new)

    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(folder.LocalFolder, "swap", swap)
    place = locate(tmp_path / "s.zarr")
    before = threading.active_count()
    with acquired(place, lease_holders.new_holder("0" * 64)) as held:
        assert left.wait(30.0)
        until(lambda: threading.active_count() == before)
        assert lease_holders.holders(place) == []


def test_a_swap_whose_answer_was_lost_is_no_other_run(tmp_path, monkeypatch):
    """Over a network the first try may come through unheard, and the second then finds its own entry."""
    real, answers = folder.LocalFolder.swap, []

    def swap(place, key, old, new):
        done = real(place, key, old, new)
        answers.append(done)
        return done and len(answers) % 2 == 0

    monkeypatch.setattr(folder.LocalFolder, "swap", swap)
    place = locate(tmp_path / "s.zarr")
    for part in (None, Slice(1, 2)):
        mine = lease_holders.new_holder("0" * 64, part)
        with acquired(place, mine) as held:
            held.prepared()
            assert [other.id for other in lease_holders.holders(place)] == [mine.id]
        assert lease_holders.holders(place) == []


@pytest.mark.parametrize("what", ["lease", "store"])
@pytest.mark.parametrize("at", range(5))
def test_a_store_that_another_run_makes_while_this_one_looks(swept, tmp_path, monkeypatch, what, at):
    """Whatever it finds, it takes it for a store that is to be made, or that is there."""
    path, looks = tmp_path / "s.zarr", itertools.count()

    def make():
        if what == "store":
            shutil.copytree(swept, path)
        else:
            entered(path, holder())

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
        assert what == "store"
        assert store.Store.open(place).layout.block_count == 6


@trials(1, 20)
def test_every_block_executed_twice(swept, tmp_path, trials, monkeypatch):
    """One after the other, and the second time over what is there."""

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
def test_runs_that_do_not_know_of_each_other_write_the_same(whole, tmp_path, trials):
    """As where two hosts each take the other for dead: no block is computed before all of them hold it."""
    source, expected = whole
    for trial in range(trials):
        path, gate = tmp_path / f"{trial}.zarr", Gate(tmp_path / f"gate-{trial}", 0)
        patches = [commands.smaller_blocks, commands.shared_lease, gate.patch]
        with commands.commands(*[arguments(source, path)] * 3, patches=patches) as started:
            until(lambda path=path: len(lease_holders.holders(locate(path))) == 3)
            gate.open()
            assert [command.end().code for command in started] == [0, 0, 0]
        assert content(path) == expected


@trials(2, 20)
def test_a_writer_that_wakes_up_after_the_others_are_done(whole, tmp_path, trials):
    """It was stopped in the middle of a write: of the lease, of a document, of values, of a mark."""
    source, expected = whole
    chance = random.Random(2)
    woken = 0
    for trial in range(trials):
        path = tmp_path / f"{trial}.zarr"
        at = chance.randrange(3, 75)
        patches = [commands.smaller_blocks, partial(commands.stopping, at)]
        with commands.command(*arguments(source, path), patches=patches) as sleeper:
            if not commands.stopped(sleeper):
                assert content(path) == expected
                continue
            woken += 1
            commands.write_lease(path, process=commands.NO_PROCESS)
            done = ended(*arguments(source, path), patches=[commands.smaller_blocks])
            assert done.code == 0, done.err
            assert content(path) == expected
            sleeper.send(signal.SIGCONT)
            last = sleeper.end()
        assert last.code in (0, 1)
        assert "Traceback" not in last.err and "internal" not in last.err
        assert content(path) == expected, (at, last)
    assert woken
