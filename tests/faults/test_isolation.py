"""Points that raise, hang, kill their process or diverge: others finish, and each bad point is listed."""

import json
import random
import signal
import tomllib
from pathlib import Path

import numpy as np
import psutil
import pytest

import fastlin as fl
from fastlin.sweeps.run import block
from tests import fault_injection
from tests.campaign import trials
from tests.fault_injection import PATIENCE, until
from tests.planting import planted
from tests.sweeping import content

pytestmark = pytest.mark.processes

UNSTABLE = """
name = "unstable"
[axes]
architecture = [[4, 2, 4], [3, 3, 2]]
init_scale = { start = 0.5, stop = 1.5, num = 10 }
seed = { start = 0, num = 20 }
lam = { start = -20.0, stop = 20.0, num = 25 }
[task]
n_samples = 10
[dynamics]
solver = "gradient_descent"
learning_rate = 0.08
times = [0.0, 10.0]
"""
SPEC = fl.Spec.from_dict(tomllib.loads(UNSTABLE))


@pytest.fixture(scope="module")
def unstable(tmp_path_factory):
    """The path of a spec, the path of an undisturbed store of it, and the points that diverge there."""
    folder = tmp_path_factory.mktemp("unstable")
    (folder / "unstable.toml").write_text(UNSTABLE)
    report = fl.run_sweep(folder / "unstable.toml", folder / "whole.zarr")
    assert (report.points, report.diverged, report.failed) == (10_000, 22, 0)
    return folder / "unstable.toml", folder / "whole.zarr", bad_points(folder / "whole.zarr")


def bad_points(path):
    """Return the bad points that `fastlin status` lists, by (n_i, init_scale, seed, lam)."""
    with fault_injection.started("status", path, "--json") as process:
        listed = json.loads(process.communicate(timeout=PATIENCE)[0])["bad"]
    assert process.returncode == (1 if listed else 0)
    statuses = {}
    for point in listed:
        # These values alone rebuild the network, so it must be the one that was computed.
        shape = fl.Architecture.read(point["architecture"])
        statuses[(shape.n_i, point["init_scale"], point["seed"], point["lam"])] = point["status"]
    return statuses


def choose(chance, kinds, excluded):
    """Return points for each kind of fault, without those in `taken`. Kills and hangs are in few blocks."""
    blocks = [(shape.n_i, float(scale)) for shape in SPEC.architectures for scale in SPEC.init_scales]
    chance.shuffle(blocks)
    points = {}
    for kind, (count, spread) in kinds.items():
        candidates = [blocks.pop() for _ in range(spread)] if spread else list(blocks)
        while sum(chosen == kind for chosen in points.values()) < count:
            where = chance.choice(candidates)
            point = (*where, chance.choice(SPEC.seeds.tolist()), chance.choice(SPEC.lams.tolist()))
            if point not in excluded:
                points.setdefault(point, kind)
    return points


def spoiling(folder, points):
    """Return the environment variables that make points fail."""
    (folder / "points.json").write_text(json.dumps([[*point, kind] for point, kind in points.items()]))
    return planted(folder, Path(__file__).parents[1] / "spoiled.py")


KINDS = {
    "quick": {"kill": (1, 1), "spin": (1, 1), "raise": (76, 0)},
    "full": {"kill": (6, 2), "sleep": (2, 1), "spin": (2, 1), "raise": (68, 0)},
}


@pytest.mark.slow
@trials(1, 5)
def test_one_point_in_a_hundred_is_bad_and_the_others_finish(unstable, tmp_path, trials):
    source, whole, diverged = unstable
    for number in range(trials):
        chance = random.Random(20 + number)
        points = choose(chance, KINDS["quick" if trials == 1 else "full"], diverged)
        assert len(points) + len(diverged) == 100
        path, folder = tmp_path / f"{number}.zarr", tmp_path / f"site-{number}"
        folder.mkdir()
        command = ["run", source, "--store", path, "--workers", 2, "--json"]
        with fault_injection.started(*command, "--timeout", 2, **spoiling(folder, points)) as process:
            output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1, errors
        report = json.loads(output)
        assert (report["diverged"], report["failed"], report["pending"]) == (22, 78, 0), errors
        assert "Traceback" not in errors
        assert bad_points(path) == diverged | dict.fromkeys(points, "failed")
        check_others(path, whole, points)
        retried = fl.run_sweep(source, path, retry_failed=True)
        assert (retried.computed_points, retried.diverged, retried.failed) == (100, 22, 0)
        assert content(path) == content(whole)


def check_others(path, whole, points):
    """Check that all other points have the bits of an undisturbed store, and that `points` are NaN."""
    dataset, undisturbed = (fl.open_sweep(store).load() for store in (path, whole))
    good = np.full(dataset.status.shape, True)
    axes = [
        [shape.n_i for shape in SPEC.architectures],
        *map(np.ndarray.tolist, (SPEC.init_scales, SPEC.seeds)),
    ]
    for *coordinates, lam in points:
        place = [axis.index(value) for axis, value in zip(axes, coordinates, strict=True)]
        good[(*place, SPEC.lams.tolist().index(lam))] = False
    assert (dataset.status.values == undisturbed.status.values)[good].all()
    for name in dataset.data_vars:
        actual, expected = dataset[name].values, undisturbed[name].values
        assert np.array_equal(actual[good], expected[good], equal_nan=True), name
        assert np.isnan(actual[~good]).all(), name


def test_points_that_raise_in_threads_do_not_affect_others(unstable, tmp_path, monkeypatch):
    """One of them is the first point of the sweep, on which kernels are loaded."""
    source, whole, diverged = unstable
    points = choose(random.Random(30), {"raise": (77, 0)}, diverged)
    points[(4, 0.5, 0, -20.0)] = "raise"
    path, folder = tmp_path / "s.zarr", tmp_path / "site"
    folder.mkdir()
    with fault_injection.started(
        "run", source, "--store", path, "--json", **spoiling(folder, points)
    ) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, errors
    assert json.loads(output)["failed"] == 78
    assert "failed: ZeroDivisionError: spoiled at " in errors
    assert bad_points(path) == diverged | dict.fromkeys(points, "failed")
    check_others(path, whole, points)
    assert fl.run_sweep(source, path, retry_failed=True).computed_points == 100
    assert content(path) == content(whole)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sleep", pytest.param("spin", marks=pytest.mark.campaign)])
def test_sigterm_while_a_block_hangs_leaves_no_process(unstable, tmp_path, kind):
    """The process in which the block is computed in isolation ends, too."""
    path, folder = tmp_path / "s.zarr", tmp_path / "site"
    folder.mkdir()
    spoiled = spoiling(folder, {(4, 0.5, 3, 0.0): kind})
    command = ["run", unstable[0], "--store", path, "--workers", 2, "--timeout", 2]
    with fault_injection.started(*command, **spoiled) as process:
        apart = until(lambda: computing_apart(process))
        family = fault_injection.descendants(process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert apart in family
    until(lambda: not fault_injection.still_running(family))


@pytest.mark.campaign
@pytest.mark.parametrize("victim", ["coordinator", "worker"])
def test_a_process_that_hangs_ends_though_its_parent_was_killed(unstable, tmp_path, victim):
    path, folder = tmp_path / "s.zarr", tmp_path / "site"
    folder.mkdir()
    spoiled = spoiling(folder, {(4, 0.5, 3, 0.0): "spin"})
    command = ["run", unstable[0], "--store", path, "--workers", 2, "--timeout", 2]
    with fault_injection.started(*command, **spoiled) as process:
        apart = until(lambda: computing_apart(process))
        (process if victim == "coordinator" else apart.parent()).kill()
        until(lambda: not fault_injection.still_running([apart]))


def computing_apart(process):
    """Return the isolated process of a command's worker, or None."""
    for child in fault_injection.descendants(process):
        try:
            if "isolation" in " ".join(child.cmdline()):
                return child
        except psutil.Error:
            continue
    return None


def test_a_bad_point_is_not_in_the_statistics(tmp_path, monkeypatch):
    reduced = SPEC.to_dict() | {
        "output": {"observables": ["loss"], "reduce": {"statistics": ["mean", "max"]}}
    }
    compute, scale = block.compute, float(SPEC.init_scales[2])

    def spoiled(part):
        if part.init_scale == scale and 7 in part.seeds and 0.0 in part.lams:
            raise ValueError("no")
        return compute(part)

    path, whole = tmp_path / "s.zarr", tmp_path / "whole.zarr"
    fl.run_sweep(reduced, whole)
    monkeypatch.setattr(block, "compute", spoiled)
    report = fl.run_sweep(reduced, path)
    assert (report.points, report.failed) == (10_000, 2)  # one of each architecture
    disturbed, undisturbed = (fl.open_sweep(store).load() for store in (path, whole))
    missed = (undisturbed["count"] - disturbed["count"]).drop_vars("status", errors="ignore")
    assert float(missed.sum()) == 2
    assert (missed.sel(init_scale=scale, lam=0.0) == 1).all()
    actual, expected = (
        dataset.loss.drop_vars("status", errors="ignore").where(missed == 0)
        for dataset in (disturbed, undisturbed)
    )
    assert actual.equals(expected)
    points = fl.run_sweep(SPEC, tmp_path / "points.zarr")
    assert points.failed == 2
    seeds = fl.open_sweep(tmp_path / "points.zarr").loss.sel(init_scale=scale, lam=0.0).load()
    assert np.isnan(seeds.sel(seed=7)).all()
    spoiled_maximum = disturbed.loss.sel(init_scale=scale, lam=0.0, statistic="max")
    assert (spoiled_maximum == seeds.max("seed")).all()
    monkeypatch.undo()
    assert fl.run_sweep(reduced, path, retry_failed=True).failed == 0
    assert content(path) == content(whole)
