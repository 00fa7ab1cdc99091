"""Status and plan of a sweep: how much is done, and how long the rest takes."""

import itertools
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

import fastlin as fl
from fastlin.formatting import format_bytes, format_duration
from fastlin.sweeps.run import calibration, worker
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.progress import NoProgress
from fastlin.sweeps.run.projection import project
from fastlin.sweeps.run.run import run
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import folder, status
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.status import in_words, sweep_status
from fastlin.sweeps.store.store import Store
from tests import sweeping
from tests.commands import NO_PROCESS
from tests.fault_injection import PATIENCE
from tests.leases import holder, write_holders


def test_status_of_a_partial_sweep(tmp_path, client):
    path = tmp_path / "s.zarr"
    run(Spec.from_dict(sweeping.spec()), path, client, RunOptions(only=frozenset({0, 3})), NoProgress())
    content = sweep_status(path)
    assert (content["points"], content["ok"], content["pending"]) == (180, 60, 120)
    assert (content["blocks"], content["complete_blocks"]) == (6, 2)
    assert content["holders"] == content["bad"] == []
    files = sweeping.content(path)
    assert (content["files"], content["bytes"]) == (len(files), sum(map(len, files.values())))
    size = f"{format_bytes(content['bytes'])} in {len(files)} files"
    assert f"60 of 180 points done (2 of 6 blocks); {size}" in in_words(content)
    assert "no run is writing it; fastlin run continues" in in_words(content)


def test_a_folder_in_place_of_a_file_is_named(tmp_path, client, command_line):
    path = tmp_path / "s.zarr"
    fl.run_sweep(sweeping.spec(), path, client)
    mark = min((path / "status").glob("c.*"))
    mark.unlink()
    mark.mkdir()
    code, _, err = command_line("status", str(path))
    assert (code, err) == (1, f"fastlin: {mark}: Is a directory\n")


def test_rate_and_time_left_are_of_the_latest_marks_of_a_live_run(tmp_path, client, monkeypatch):
    path = tmp_path / "s.zarr"
    run(Spec.from_dict(sweeping.spec()), path, client, RunOptions(only=frozenset(range(4))), NoProgress())
    now = time.time()
    for mark, age in zip(sorted((path / "status").glob("c.*")), (3600, 4, 2, 0), strict=True):
        os.utime(mark, (now - age, now - age))
    stopped = sweep_status(path)
    assert stopped["blocks_per_second"] is None
    assert stopped["seconds_left"] is None
    monkeypatch.setattr(status, "holders", lambda location: [holder(since=now - 4000)])
    content = sweep_status(path)
    assert content["blocks_per_second"] == pytest.approx(0.5)
    seconds = Plan(Store.open(locate(path)).layout).seconds_of_blocks.ravel()
    seconds_left = 4.0 * seconds[4:].sum() / seconds[2:4].sum()
    assert content["seconds_left"] == pytest.approx(seconds_left)
    assert f"0.5 blocks/s in the last minute, about {format_duration(seconds_left)} left" in in_words(content)
    # In a copy all markers have the time of the copy, which is before the start of a run into it.
    monkeypatch.setattr(status, "holders", lambda location: [holder(since=now + 1)])
    assert sweep_status(path)["blocks_per_second"] is None


def test_status_of_a_live_store_names_its_holder(tmp_path, client, monkeypatch):
    path, seen = tmp_path / "s.zarr", []

    def look(order, index):
        seen.append(sweep_status(path))
        return work_run_block(order, index)

    work_run_block = worker.run_block
    monkeypatch.setattr(worker, "run_block", look)
    fl.run_sweep(sweeping.spec(), path, client)
    for content in seen:
        (holder,) = content["holders"]
        assert holder["process"] == os.getpid()
        assert "being written by process" in in_words(content)
    assert sweep_status(path)["holders"] == []


def test_points_that_diverged_are_listed_with_what_rebuilds_them(tmp_path, client):
    axes = {"architecture": [[4, 2, 4], [2, 2, 2]], "seed": [3, 5], "lam": [0.0, 400.0], "init_scale": 1.0}
    dynamics = {"solver": ["exact", "gradient_descent"], "learning_rate": [0.01], "times": [0.0, 5.0]}
    path = tmp_path / "wild.zarr"
    fl.run_sweep(sweeping.spec(axes=axes, dynamics=dynamics), path, client)
    content = sweep_status(path)
    assert [(point["architecture"], point["seed"]) for point in content["bad"]] == list(
        itertools.product(["4-2-4", "2-2-2"], [3, 5])
    )
    dataset = fl.open_sweep(path)
    for point in content["bad"]:
        assert (point["status"], point["solver"], point["learning_rate"]) == (
            "diverged",
            "gradient_descent",
            0.01,
        )
        names = ("architecture", "seed", "lam", "init_scale")
        task, net = fl.rebuild(dataset, **{name: point[name] for name in names})
        assert net.lam == 400.0
        with pytest.raises(fl.InputError, match="diverged"):
            fl.gradient_descent(task, net, point["learning_rate"], 500)
    assert "fl.rebuild(ds, architecture='4-2-4', seed=3, lam=400.0, init_scale=1.0)" in in_words(content)


@pytest.mark.processes
def test_watching_ends_when_all_is_done(tmp_path, client):
    path = tmp_path / "s.zarr"
    run(Spec.from_dict(sweeping.spec()), path, client, RunOptions(only=frozenset({0})), NoProgress())
    command = [sys.executable, "-m", "fastlin", "status", str(path), "--watch", "--json"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    first = watching.stdout.readline()
    assert first == "{\n"
    fl.run_sweep(sweeping.spec(), path, client)
    remaining = watching.stdout.read()
    assert watching.wait(timeout=PATIENCE) == 0
    watching.stdout.close()
    decoder, text, seen = json.JSONDecoder(), first + remaining, []
    while text.strip():
        content, end = decoder.raw_decode(text)
        seen.append(content["pending"])
        text = text[end:].lstrip()
    assert seen[0] == 150
    assert seen[-1] == 0


def test_a_plan_has_the_counts_of_a_run(tmp_path, client):
    spec = Spec.from_dict(sweeping.spec())
    content = project(spec, None)
    path = tmp_path / "s.zarr"
    report = fl.run_sweep(spec, path, client)
    files = sweeping.content(path)
    assert (content.points, content.blocks) == (report.points, report.blocks)
    assert (content.files, content.bytes) == (len(files), sum(map(len, files.values())))
    assert content.seconds > 0
    json.dumps(content.to_dict())


@pytest.mark.parametrize(
    ("output", "pending"),
    [({}, 180), ({"reduce": {"statistics": ["mean"]}}, 360)],  # so small a store keeps no partial sums
    ids=["points", "reduced"],
)
def test_a_plan_of_a_store_is_of_the_points_that_it_lacks(tmp_path, client, output, pending):
    path, small = tmp_path / "s.zarr", sweeping.spec()
    small["output"] = {**small["output"], **output}
    axes = {**small["axes"], "seed": {"start": 0, "num": 8}, "init_scale": [0.5, 1.0, 2.0]}
    larger = small | {"axes": axes}
    new, whole = fl.plan(larger), fl.plan(larger, path)
    assert (new.store, whole.store) == (None, str(path))
    for every in (new, whole):
        assert (every.pending_points, every.pending_blocks) == (360, new.blocks)
    fl.run_sweep(small, path, client)
    before = sweeping.content(path)
    left = fl.plan(larger, path)
    assert sweeping.content(path) == before
    report = fl.run_sweep(larger, path, client)
    assert (left.points, left.pending_points) == (360, pending) == (report.points, report.computed_points)
    assert (left.blocks, left.pending_blocks) == (report.blocks, report.computed_blocks)
    assert f"to compute: {pending} points in {left.pending_blocks} blocks of {path}" in str(left)
    done = fl.plan(larger, path)
    assert (done.pending_points, done.pending_blocks, done.kernels, done.seconds) == (0, 0, 0, 0.0)
    assert left.bytes == done.bytes
    times = larger | {"dynamics": {"times": [0.0, 0.5, 0.9, 9.0, float("inf")]}}
    assert fl.plan(times, path).pending_points == 360  # all points need the new time
    with pytest.raises(fl.InputError, match="was made from another spec"):
        fl.plan(small, path)


def test_more_workers_take_less_time_and_more_memory(monkeypatch):
    """This holds in the model. The benchmark checks the seconds."""
    monkeypatch.setattr(calibration, "_measure", lambda _plan, sample, _cores: sample.seconds)
    spec = fl.Spec.from_dict(
        sweeping.spec(axes={**sweeping.spec()["axes"], "seed": {"start": 0, "num": 10**7}})
    )
    one, many = project(spec, 1), project(spec, 64)
    assert many.seconds < one.seconds / 8
    assert many.memory_bytes > one.memory_bytes


def test_a_dead_holder_is_not_reported_as_writing(tmp_path, client):
    path = tmp_path / "s.zarr"
    fl.run_sweep(sweeping.spec(), path, client)
    write_holders(path, holder(process=NO_PROCESS))
    assert sweep_status(path)["holders"] == []


def test_each_marker_is_read_once(tmp_path, client, monkeypatch):
    """Each marker is read once, and no other chunk is read."""
    path = tmp_path / "s.zarr"
    fl.run_sweep(sweeping.spec(), path, client)
    reads = []
    original = folder.LocalFolder.read
    monkeypatch.setattr(
        folder.LocalFolder, "read", lambda self, key: reads.append(key) or original(self, key)
    )
    content = sweep_status(path)
    marks = [key for key in reads if key.startswith("status/c")]
    assert len(marks) == content["blocks"]
    assert len(reads) == content["blocks"] + 2  # and the root, and the lease
    assert np.unique(reads).size == len(reads)
