"""Resume after kills, full disks, damage and changed specs: nothing is lost, and nothing is done twice."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

import fastlin as fl
from fastlin.sweeps.run import prepare, worker
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import block_shape, contents, counts, folder
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store, is_new
from tests import fault_injection, sweeping
from tests.fault_injection import PATIENCE, until
from tests.planting import Gate
from tests.sweeping import content, marks


def test_only_blocks_without_their_mark_are_computed(swept, tmp_path, monkeypatch):
    path = tmp_path / "part.zarr"
    shutil.copytree(swept, path)
    # One block was interrupted between its data and its marker, and one before its data.
    (path / "status" / "c.1.0.0.0").unlink()
    (path / "status" / "c.2.1.0.0").unlink()
    (path / "loss" / "c.2.1.0.0.0").unlink()
    run_block, calls = worker.run_block, []

    def counted(order, index):
        calls.append(index)
        return run_block(order, index)

    monkeypatch.setattr(worker, "run_block", counted)
    report = fl.run_sweep(sweeping.spec(), path)
    assert sorted(calls) == [(1, 0, 0, 0), (2, 1, 0, 0)]
    assert report.computed_blocks == 2
    assert content(path) == content(swept)
    assert fl.run_sweep(sweeping.spec(), path).computed_blocks == 0


def test_blocks_without_a_mark_that_can_be_read_are_pending(tmp_path, monkeypatch):
    spec, path = Spec.from_dict(sweeping.spec()), tmp_path / "cut.zarr"
    monkeypatch.setattr(block_shape, "BLOCK_BYTES", 4 * contents.bytes_per_seed(spec))
    assert fl.run_sweep(spec, path).blocks == 12
    for chunk in ("0.0.0.0", "1.1.1.0"):
        (path / "status" / f"c.{chunk}").unlink()
    damaged = path / "status" / "c.2.0.1.0"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    counted = counts.count_points(Store.open(locate(path)))
    assert (counted.blocks, counted.pending, counted.ok) == (12, (4 + 2 + 2) * 5, 180 - 40)
    assert np.flatnonzero(~counted.complete).tolist() == [0, 7, 9]


SHORT = fault_injection.SHORT.replace("num = 40", "num = 12")  # 24 blocks


@pytest.mark.processes
def test_a_run_is_resumed_after_sigkill(tmp_path):
    """The store equals an undisturbed one, and no complete block is computed twice."""
    source, path, whole = tmp_path / "short.toml", tmp_path / "killed.zarr", tmp_path / "whole.zarr"
    source.write_text(SHORT)
    command = ["run", source, "--store", path]
    gate, finished = Gate(tmp_path / "gate", 0), {}
    for wanted in (3, 9):
        gate.let(wanted - len(finished))
        with fault_injection.started(*command, **gate.environment) as process:
            until(lambda wanted=wanted: len(marks(path)) == wanted)
            process.send_signal(signal.SIGKILL)
            process.wait()
        after = marks(path)
        assert len(after) == wanted
        assert finished.items() <= after.items()  # markers of complete blocks were not written again
        finished = after
    with fault_injection.started(*command, "--json") as process:
        out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    # Zarr reads a marker whole or not at all, so exactly the blocks with a marker are not computed.
    assert json.loads(out)["computed_blocks"] == 24 - len(finished)
    assert finished.items() <= marks(path).items()
    fl.run_sweep(source, whole)
    assert content(path) == content(whole)


@pytest.mark.processes
@pytest.mark.parametrize("options", [[], pytest.param(["--workers", "2"], marks=pytest.mark.slow)])
def test_an_interrupt_tells_how_to_resume(tmp_path, options):
    """Ctrl-C reaches the whole process group, as on a terminal, and the user presses it twice."""
    source, path = tmp_path / "short.toml", tmp_path / "stopped.zarr"
    source.write_text(SHORT)
    gate = Gate(tmp_path / "gate", 1)
    with fault_injection.started("run", source, "--store", path, *options, **gate.environment) as process:
        until(lambda: marks(path))
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.1)
        errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert "run the same command again to go on" in errors
    assert "Traceback" not in errors
    assert fl.run_sweep(source, path).pending == 0


def test_another_spec_is_refused_with_the_difference(swept):
    before = content(swept)
    axes = sweeping.spec()["axes"] | {"lam": [0.0, 1.0]}
    other = sweeping.spec(axes=axes, task={"n_samples": 9, "target_scale": 1.5})
    with pytest.raises(fl.InputError, match="another spec") as caught:
        fl.run_sweep(other, swept)
    lines = str(caught.value).splitlines()[1:]
    assert any("axes.lam" in line and "[0.0, 1.0]" in line for line in lines)
    assert any("task.n_samples: the store has 8, the spec 9" in line for line in lines)
    assert len(lines) == 2
    assert content(swept) == before


def test_a_store_made_again_in_one_process_is_written_by_its_own_shape(tmp_path):
    """The process has written another store at this path before, as in a notebook."""
    smaller = sweeping.spec(axes={"architecture": [4, 2, 2], "seed": 3, "lam": [0.5, 1.0]})
    path, fresh = tmp_path / "again.zarr", tmp_path / "apart.zarr"
    fl.run_sweep(sweeping.spec(), path)
    shutil.rmtree(path)
    fl.run_sweep(smaller, path)
    fl.run_sweep(smaller, fresh)
    assert content(path) == content(fresh)


def test_the_same_axes_written_otherwise_are_the_same_spec(swept):
    axes = {
        "architecture": [[4, 2, 2], [3, 4, 3], [2, 3, 4]],
        "init_scale": [1.0, 0.5],
        "seed": [5, 4, 3, 2, 1, 0],
        "lam": [-4, -2, 0, 2, 4],
    }
    assert fl.run_sweep(sweeping.spec(axes=axes, name="renamed"), swept).computed_blocks == 0


def test_no_resume_refuses_a_store(swept):
    with pytest.raises(fl.InputError, match="exists already"):
        fl.run_sweep(sweeping.spec(), swept, resume=False)


@pytest.mark.parametrize("kind", ["nothing", "file", "folder", "foreign"])
def test_a_path_without_a_store_is_named(tmp_path, kind):
    path = tmp_path / "x.zarr"
    if kind == "file":
        path.write_text("hello")
    elif kind == "folder":
        path.mkdir()
    elif kind == "foreign":
        zarr.create_group(str(path))
    with pytest.raises(fl.InputError, match=r"no store|not a Zarr store|not one of a fastlin sweep"):
        fl.open_sweep(path)
    if kind not in ("nothing", "folder"):
        with pytest.raises(fl.InputError):
            fl.run_sweep(sweeping.spec(), path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("rm lam/c.0", "the axis 'lam' has not the values of its spec"),
        ("truncate seed/c.0", "is damaged: .*fastlin repair mends it"),
        ("empty zarr.json", "zarr.json is damaged; fastlin repair .* mends it"),
    ],
)
def test_damaged_stores_are_named(swept, tmp_path, damage, message):
    path = tmp_path / "damaged.zarr"
    shutil.copytree(swept, path)
    verb, name = damage.split()
    if verb == "rm":
        (path / name).unlink()
    elif verb == "truncate":
        (path / name).write_bytes((path / name).read_bytes()[:-3])
    else:
        (path / name).write_text("[]")
    with pytest.raises(fl.InputError, match=message):
        fl.open_sweep(path)


@pytest.mark.parametrize("length", [0, 5, None])
def test_a_damaged_mark_is_computed_again(swept, tmp_path, length):
    path = tmp_path / "mark.zarr"
    shutil.copytree(swept, path)
    mark = path / "status" / "c.1.0.0.0"
    data = mark.read_bytes()
    mark.write_bytes(data[:length] if length is not None else bytes([data[0] ^ 2]) + data[1:])
    assert fl.run_sweep(sweeping.spec(), path).computed_blocks == 1
    assert content(path) == content(swept)


@pytest.mark.parametrize("path", ["", "s3://bucket", "file:///tmp/x.zarr", None, 5, b"x", "a\0b"])
def test_locations_that_cannot_hold_a_store_are_named(path):
    with pytest.raises(fl.InputError, match="needed is the path of a folder, or s3://bucket/path"):
        fl.run_sweep(sweeping.spec(), path)


@pytest.mark.parametrize("length", [300, 5000])
def test_a_path_that_is_too_long_is_named(length):
    for use in (fl.open_sweep, lambda path: fl.run_sweep(sweeping.spec(), path)):
        with pytest.raises(fl.InputError, match="its path or a name in it is too long") as caught:
            use("x" * length)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slice": 3}, "slice is 3; needed is the text I/N"),
        ({"slice": (1, 2)}, r"slice is \(1, 2\); needed is the text I/N"),
        ({"resume": "a"}, "resume is 'a'; allowed: true, false"),
        ({"retry_failed": None}, "retry_failed is None; allowed: true, false"),
        ({"timeout": 5.0}, "timeout needs worker processes"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(tmp_path, options, message):
    with pytest.raises(fl.InputError, match=message):
        fl.run_sweep(sweeping.spec(), tmp_path / "s.zarr", **options)
    assert not list(tmp_path.iterdir())


def test_too_little_disk_or_memory_is_refused_before_any_work(tmp_path, monkeypatch):
    axes = {
        "architecture": [4, 2, 4],
        "seed": {"start": 0, "num": 10**7},
        "lam": {"start": 0, "stop": 1, "num": 9999},
    }
    with pytest.raises(fl.InputError, match=r"needs \d.* TB more on the disk"):
        fl.run_sweep(sweeping.spec(axes=axes), tmp_path / "huge.zarr")
    wide = {"architecture": [30000, 2, 30000], "seed": 0, "lam": 0.0}
    with pytest.raises(fl.InputError, match=r"blocks at a time need .* [GT]B of memory"):
        fl.run_sweep(sweeping.spec(axes=wide, task={"n_samples": 30000}), tmp_path / "wide.zarr")
    monkeypatch.setattr(prepare, "MEMORY_LIMIT", 1000)
    with pytest.raises(fl.InputError, match="of memory and 1 kB are available"):
        fl.run_sweep(sweeping.spec(), tmp_path / "small.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.processes
def test_a_script_without_main_guard_is_explained(tmp_path):
    """Worker processes import the calling script. Without the guard each would start a sweep."""
    script = tmp_path / "script.py"
    script.write_text("import fastlin as fl\nfl.run_sweep('bottleneck-width', 's.zarr', workers=1)\n")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert 'put the call under: if __name__ == "__main__":' in done.stderr
    assert "StoppedError: worker processes cannot start" in done.stderr


def test_a_store_is_new_while_its_lease_is_being_renamed(tmp_path, monkeypatch):
    """The listing has the lease under its old name, which no longer exists, and not under its new name."""
    store = tmp_path / "s.zarr"
    lease = store / "status" / "lease" / "lease.json"
    lease.parent.mkdir(parents=True)
    lease.write_text("{}")
    place = locate(store)
    listed = place.entries
    monkeypatch.setattr(folder.LocalFolder, "exists", lambda self: True)
    monkeypatch.setattr(
        folder.LocalFolder,
        "entries",
        lambda self, key: (e for e in listed(key) if e.key != "status/lease/lease.json"),
    )
    assert is_new(place)
    monkeypatch.undo()
    (store / "notes.txt").write_text("not ours")
    lease.unlink()
    assert not is_new(place)
    (tmp_path / "file").write_text("a file")
    assert not is_new(locate(tmp_path / "file"))
    assert is_new(locate(tmp_path / "nothing"))
