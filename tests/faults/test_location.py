"""Stores at unusual locations: read-only, moved or removed during a run, on Windows."""

import dataclasses
import errno
import os
import re
import shutil
import subprocess
import sys

import pytest

import fastlin as fl
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.store import folder, lease, lease_holders
from fastlin.sweeps.store.locate import locate
from tests import commands, fault_injection, sweeping
from tests.fault_injection import PATIENCE, intercepting, until
from tests.faults.test_kills import REDUCED, own, tiny
from tests.planting import Gate
from tests.sweeping import content, marks

KINDS = {"points": tiny(), "reduced": tiny() | {"output": REDUCED}, "own data": own()}


@pytest.fixture(params=KINDS)
def complete(request, tmp_path):
    """A spec, and its complete store."""
    path = tmp_path / "s.zarr"
    with fault_injection.blocks_in_turn():
        fl.run_sweep(KINDS[request.param], path)
        yield KINDS[request.param], path


def test_a_complete_store_may_be_read_only(complete):
    spec, path = complete
    before = content(path)
    with intercepting(fault_injection.read_only):
        for options in ({}, {"slice": "1/2"}, {"retry_failed": True}, {"durable": True}):
            report = fl.run_sweep(spec, path, **options)
            assert (report.computed_blocks, report.pending, report.ok) == (0, 0, report.points)
        damaged, _ = repair(path)
    assert damaged == []
    assert content(path) == before


@pytest.mark.parametrize("lost", ["status/c.*", "loss/c.*", None], ids=["marker", "values", "nothing"])
def test_a_run_that_has_to_write_says_that_its_store_is_read_only(complete, lost):
    """Lost values beside a commit marker are left to verify, but lost statistics are computed again."""
    spec, path = complete
    if lost is None:
        spec = spec | {"axes": spec["axes"] | {"seed": {"start": 0, "num": 4}}}
    else:
        next(path.glob(lost)).unlink()
    with intercepting(fault_injection.read_only):
        if lost == "loss/c.*" and "reduce" not in spec["output"]:
            assert fl.run_sweep(spec, path).computed_blocks == 0
        else:
            with pytest.raises(fl.StoppedError, match="Read-only file system"):
                fl.run_sweep(spec, path)


@pytest.mark.processes
def test_the_command_draws_a_complete_store_that_is_read_only(tmp_path):
    source, path, picture = tmp_path / "small.toml", tmp_path / "s.zarr", tmp_path / "s.png"
    source.write_text(commands.SMALL)
    fl.run_sweep(source, path)
    arguments = ("run", source, "--store", path, "--plot", picture)
    done = commands.run_to_end(*arguments, patches=[commands.make_read_only])
    assert done.code == 0, done.err
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_complete_store_needs_no_lease(complete):
    spec, path = complete
    place, other = locate(path), lease_holders.new_holder("another spec")
    with lease.acquired(place, other, print):
        assert fl.run_sweep(spec, path).computed_blocks == 0
        assert lease_holders.holders(place) == [other]


@pytest.mark.processes
@pytest.mark.parametrize("how", ["moved", "removed"])
@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["threads", "workers"])
def test_a_run_stops_when_its_store_is_gone_and_leaves_nothing_behind(tmp_path, how, options):
    source, path, gate = tmp_path / "short.toml", tmp_path / "s.zarr", Gate(tmp_path / "gate", 2)
    source.write_text(fault_injection.SHORT)
    with fault_injection.started("run", source, "--store", path, *options, **gate.environment) as process:
        until(lambda: len(marks(path)) == 2)
        path.rename(tmp_path / "moved.zarr")
        if how == "removed":
            shutil.rmtree(tmp_path / "moved.zarr")
        gate.open()
        errors = process.communicate(timeout=PATIENCE)[1].splitlines()
    assert process.returncode == 1
    messages = [line for line in errors if "kernels" not in line and "points/s" not in line]
    assert messages == [f"fastlin: {path} was moved or removed while this run wrote it"]
    assert not path.exists()
    if how == "moved":
        assert fl.run_sweep(source, tmp_path / "moved.zarr").pending == 0


def test_a_store_that_is_gone_is_not_made_again(tmp_path, monkeypatch):
    """No write, no heartbeat and no end of the run creates the store again."""
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    path, beats, real = tmp_path / "s.zarr", [], folder.LocalFolder.swap

    def swap(place, *arguments):
        beats.append(place)
        return real(place, *arguments)

    with lease.acquired(locate(path), lease_holders.new_holder("0" * 64), print) as own_lease:
        shutil.rmtree(path)
        monkeypatch.setattr(folder.LocalFolder, "swap", swap)
        until(lambda: len(beats) > 2)
        for key in ("zarr.json", "status/c.0.0.0.0"):
            with pytest.raises(FileNotFoundError, match="the folder was moved or removed"):
                own_lease.location.write(key, b"content")
    assert not path.exists()


def test_a_store_that_is_gone_at_the_end_is_not_reported_as_pending(tmp_path, monkeypatch):
    path, real = tmp_path / "s.zarr", fl.sweeps.run.run._compute

    def compute(*arguments):
        real(*arguments)
        path.rename(tmp_path / "moved.zarr")

    monkeypatch.setattr(fl.sweeps.run.run, "_compute", compute)
    with pytest.raises(fl.StoppedError, match="was moved or removed while this run wrote it"):
        fl.run_sweep(tiny(), path)
    assert not path.exists()


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no folder")
    with pytest.raises(fl.InputError, match=r"notes\.txt is a file; needed is the path of a folder"):
        fl.run_sweep(sweeping.spec(), tmp_path / "notes.txt" / "s.zarr")


RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)),
}


@pytest.mark.parametrize("kind", [*KINDS, "everything"])
def test_names_of_files_suit_every_file_system(tmp_path, kind):
    """Names suit file systems that ignore case, and those that reserve names and characters."""
    spec = KINDS.get(kind, sweeping.spec(dynamics=sweeping.BOTH))
    with fault_injection.blocks_in_turn():
        fl.run_sweep(spec, tmp_path / "s.zarr")
    for part in {part for key in content(tmp_path / "s.zarr") for part in re.split(r"[/\\]", key)}:
        assert re.fullmatch(r"[a-z0-9_.]*[a-z0-9_]", part), part
        assert part.partition(".")[0] not in RESERVED


def test_a_file_that_windows_refuses_for_a_while_is_tried_again(tmp_path, monkeypatch):
    """Windows refuses a file while a reader has it open or a writer replaces it."""
    monkeypatch.setattr(folder, "SHARING_SECONDS", PATIENCE)
    refused = []

    def intercept(name, arguments):
        key = (name, str(arguments[0]))
        if name in ("replace", "unlink") or (name == "open" and not arguments[1] & os.O_CREAT):
            refused.append(key)
            if refused.count(key) < 3:
                raise PermissionError(errno.EACCES, "in use")

    place = locate(tmp_path)
    with intercepting(intercept):
        place.write("key", b"content")
        assert place.read("key") == b"content"
        place.delete("key")
    assert len(refused) == 9
    assert not (tmp_path / "key").exists()


def test_a_refusal_that_lasts_is_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "SHARING_SECONDS", 0.05)

    def intercept(name, _arguments):
        if name == "replace":
            raise PermissionError(errno.EACCES, "in use")

    with intercepting(intercept), pytest.raises(PermissionError, match="in use"):
        locate(tmp_path).write("key", b"content")


def test_folders_that_cannot_be_opened_are_not_synced(tmp_path, monkeypatch):
    synced = []

    def intercept(name, arguments):
        if name == "open" and os.path.isdir(arguments[0]):
            raise PermissionError(errno.EACCES, "a folder")
        if name == "fsync":
            synced.append(name)

    place = locate(tmp_path / "s.zarr", durable=True)
    with monkeypatch.context() as patch, intercepting(intercept):
        patch.delattr(os, "O_DIRECTORY")
        place.write("key", b"content")
        place.delete("key")
    assert len(synced) == 1


def test_files_are_opened_as_bytes_where_text_differs(tmp_path, monkeypatch):
    flags = []

    def intercept(name, arguments):
        if name == "open":
            flags.append(arguments[1])

    monkeypatch.setattr(os, "O_BINARY", os.O_NOCTTY, raising=False)
    with intercepting(intercept):
        assert locate(tmp_path).swap("key", None, b"a\r\nb")
        assert locate(tmp_path).read("key") == b"a\r\nb"
    assert flags
    assert all(flag & os.O_BINARY for flag in flags)


WITHOUT = """
import os, sys
sys.modules["fcntl"] = None
del os.rename
from fastlin.sweeps.store.locate import locate
place = locate(sys.argv[1])
assert place.swap("key", None, b"a") and place.swap("key", b"a", b"b") and not place.swap("key", b"a", b"c")
assert place.read("key") == b"b"
"""


@pytest.mark.processes
def test_a_store_is_written_without_fcntl_and_rename(tmp_path):
    subprocess.run([sys.executable, "-c", WITHOUT, str(tmp_path)], check=True, timeout=PATIENCE)


def test_a_lock_that_is_held_for_too_long_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "LOCK_SECONDS", 0.05)
    place = locate(tmp_path)
    with place._locked() as has_lock:
        assert has_lock
        place.write("status/lease/swap.1.partial", b"of the holder of the lock")
        assert place.swap("key", None, b"new")
        assert place.read("status/lease/swap.1.partial") is not None
    with place._locked() as has_lock:
        assert has_lock


def test_a_swap_whose_file_was_cleaned_away_is_tried_again(tmp_path):
    """Another process may delete the file on a file system whose locks hold on one machine only."""
    place, deleted = locate(tmp_path), []

    def intercept(name, arguments):
        if name == "replace" and not deleted:
            deleted.append(arguments[0])
            os.unlink(arguments[0])

    with intercepting(intercept):
        assert not place.swap("key", None, b"new")
        assert place.swap("key", None, b"new")


def test_a_location_knows_whether_its_run_has_opened_it(tmp_path):
    place = dataclasses.replace(locate(tmp_path / "s.zarr"), opened=True)
    with pytest.raises(FileNotFoundError, match="moved or removed"):
        place.write("key", b"content")
    assert not (tmp_path / "s.zarr").exists()
