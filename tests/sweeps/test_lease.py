"""Who may write: one run at a time; the dead are followed, the lost stop, and bytes are the same anyway."""

import dataclasses
import itertools
import json
import math
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

import fastlin as fl
from fastlin.sweeps.run import worker
from fastlin.sweeps.store import folder, lease, store
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
    return dataclasses.replace(lease.new_holder("0" * 64), **changes)


def entered(path, *holders):
    """Write a lease that some hold; who holds it may be writing, too."""
    place, content = locate(path), lease.document(list(holders))
    until(lambda: place.swap(lease.KEY, place.read(lease.KEY), content))


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
    assert "nobody is writing it; fastlin run goes on" in ended("status", path).out
    assert ended("status", path, "--json").report["holders"] == []


@pytest.mark.parametrize(
    ("silent", "alive"), [(0.0, True), (60.0, True), (119.0, True), (121.0, False), (1e9, False)]
)
def test_the_silence_of_another_host_decides(whole, tmp_path, silent, alive):
    source, expected = whole
    path, now = tmp_path / "s.zarr", time.time()
    entered(path, holder(host=OTHER, process=7, since=now - silent - 60, seen=now - silent))
    patches = [commands.smaller_blocks, partial(commands.at_time, now)]
    done = ended(*arguments(source, path), patches=patches)
    if alive:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now - silent - 60))
        assert done.code == 1
        assert (
            f"is being written by process 7 on {OTHER} (all blocks) since {since}, last seen 2" in done.line
        )
        assert set(content(path)) == {lease.KEY, f"{SCRATCH}/lock"}
    else:
        assert done.code == 0
        assert content(path) == expected


def test_on_this_host_the_process_decides():
    mine = holder()
    assert mine.alive
    assert dataclasses.replace(mine, seen=0.0).alive
    assert not dataclasses.replace(mine, started=mine.started - 60).alive  # its number was given again
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        dead = holder(process=process.pid)
        until(lambda: not dead.alive)  # a zombie: nobody has asked for its exit code yet


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
            entered(path, holder(host=OTHER, process=7))
            looks = beats.stat().st_size + 2  # of which one may have begun before
            until(lambda beats=beats, looks=looks: beats.stat().st_size >= looks)
            gate.open()
            done = first.end()
        assert done.code == 1
        assert "was taken over while this run was silent, by process 7 on another-host" in done.err
        assert "Traceback" not in done.err
        left = 24 - len(marks(path))
        assert left > 0
        (other,) = lease.holders(locate(path))
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
    *(
        json.dumps({"holders": [dataclasses.asdict(holder(host=host)) | changes]}).encode()
        for host in (OTHER, socket.gethostname())
        for changes in (
            {"process": "x"},
            {"process": None},
            {"since": 1e300},
            {"seen": "now"},
            {"seen": float("nan")},
            {"started": []},
            {"part": 3},
            {"unknown": 1},
        )
    ),
    lease.document([holder(process=-5)]),
]


@pytest.mark.parametrize("damage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_damaged_lease_is_nobodys(tmp_path, damage):
    place, mine = locate(tmp_path / "s.zarr"), holder()
    place.write(lease.KEY, damage)
    assert lease.holders(place) == []
    with lease.held(place, mine):
        assert lease.holders(place) == [mine]
    assert lease.holders(place) == []


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
        until(lambda: [other.process for other in lease.holders(locate(path))] == [run.pid])
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
    with lease.held(place, lease.new_holder("0" * 64)) as held:
        assert left.wait(30.0)
        until(lambda: threading.active_count() == before)
        assert lease.holders(place) == []


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
        mine = lease.new_holder("0" * 64, part)
        with lease.held(place, mine) as held:
            held.prepared()
            assert [other.id for other in lease.holders(place)] == [mine.id]
        assert lease.holders(place) == []


@pytest.mark.parametrize("what", ["lease", "store"])
@pytest.mark.parametrize("at", range(5))
def test_a_store_that_another_run_makes_while_this_one_looks(swept, tmp_path, monkeypatch, what, at):
    """Whatever it finds, it takes it for a store that is to be made, or that is there."""
    path, looks = tmp_path / "s.zarr", itertools.count()

    def make():
        if what == "store":
            shutil.copytree(swept, path)
        else:
            locate(path).write(lease.KEY, lease.document([holder()]))

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
            until(lambda path=path: len(lease.holders(locate(path))) == 3)
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
            commands.write_lease(path, host=OTHER, seen=0.0)
            done = ended(*arguments(source, path), patches=[commands.smaller_blocks])
            assert done.code == 0, done.err
            assert content(path) == expected
            sleeper.send(signal.SIGCONT)
            last = sleeper.end()
        assert last.code in (0, 1)
        assert "Traceback" not in last.err and "internal" not in last.err
        assert content(path) == expected, (at, last)
    assert woken
