"""Sweeps end to end: stored numbers are right, reproducible, resumable and readable."""

import getpass
import json
import os
import random
import socket

import numpy as np
import pytest
import xarray as xr
import zarr

import fastlin as fl
from fastlin.sweeps.run import worker
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.worker import BlockRequest, run_block
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import block_shape, lease_holders, store
from fastlin.sweeps.store.contents import bytes_per_seed, layout_of
from fastlin.sweeps.store.layout import BlockShape
from fastlin.sweeps.store.locate import locate
from tests import reference, sweeping
from tests.sweeping import BOTH, content


def test_every_point_rebuilt_alone_gives_the_stored_numbers(swept):
    dataset = fl.open_sweep(swept).load()
    assert (dataset.status == "ok").all()
    for shape, scale, seed, lam in [
        ("4-2-2", 0.5, 0, -4.0),
        ("3-4-3", 1.0, 5, 0.0),
        ("2-3-4", 0.5, 3, 2.0),
        ("3-4-3", 0.5, 2, 4.0),
    ]:
        task, net = fl.rebuild(dataset, architecture=shape, seed=seed, lam=lam, init_scale=scale)
        stored = dataset.sel(architecture=shape, seed=seed, lam=lam, init_scale=scale)
        exact = fl.exact(task, net, dataset.time, ["loss", "kernel_distance", "weight_norms"])
        for name in exact:
            assert np.abs(exact[name].values - stored[name].values).max() < 1e-10, name


def test_gradient_descent_stepped_with_plain_numpy_gives_the_stored_numbers(tmp_path):
    path = tmp_path / "gd.zarr"
    fl.run_sweep(sweeping.spec(dynamics=BOTH), path)
    dataset = fl.open_sweep(path).load()
    gd = dataset.sel(solver="gradient_descent")
    for shape, seed, lam in [("4-2-2", 4, -4.0), ("3-4-3", 0, 0.0), ("2-3-4", 5, 4.0)]:
        task, net = fl.rebuild(dataset, architecture=shape, seed=seed, lam=lam, init_scale=1.0)
        for t in (0.9, 9.0):
            w1, w2 = reference.gradient_descent(task.sigma_yx, net.w1, net.w2, 0.009, round(t / 0.009))
            stored = gd.sel(architecture=shape, seed=seed, lam=lam, init_scale=1.0, time=t)
            expected = reference.loss(w1, w2, task.sigma_yx, task.sigma_yy_trace)
            assert float(stored.loss) == pytest.approx(expected, abs=1e-10)
            norms = [np.linalg.norm(w1), np.linalg.norm(w2)]
            assert np.abs(stored.weight_norms.values - norms).max() < 1e-10
    gap = abs(gd.kernel_distance - dataset.kernel_distance.sel(solver="exact"))
    assert 0 < float(gap.max()) < 0.05


def test_two_runs_are_bit_identical_and_hold_no_clock(swept, tmp_path):
    fl.run_sweep(sweeping.spec(), tmp_path / "again.zarr")
    assert content(tmp_path / "again.zarr") == content(swept)


@pytest.mark.parametrize("seeds_per_block", [1, 4])
def test_blocks_workers_and_order_change_no_bit(swept, tmp_path, monkeypatch, seeds_per_block):
    spec = Spec.from_dict(sweeping.spec())
    monkeypatch.setattr(block_shape, "BLOCK_BYTES", seeds_per_block * bytes_per_seed(spec))
    layout = Plan.of(spec).layout
    assert layout.block_shape.seeds == seeds_per_block
    place = locate(path := tmp_path / "cut.zarr")
    store.create(place, layout)
    numbers = list(range(layout.block_count))
    random.Random(0).shuffle(numbers)
    for number in numbers:
        run_block(BlockRequest(place, 100.0), layout.index(number))
    one, other = fl.open_sweep(path).load(), fl.open_sweep(swept).load()
    assert one.identical(other)


def test_solvers_of_a_sweep_can_be_subtracted(tmp_path):
    fl.run_sweep(sweeping.spec(dynamics=BOTH), tmp_path / "both.zarr")
    dataset = fl.open_sweep(tmp_path / "both.zarr")
    gap = dataset.sel(solver="exact") - dataset.sel(solver="gradient_descent")
    assert 0 < float(abs(gap.loss).max()) < 1
    assert dataset.sel(lam=2.0).sizes["seed"] == 6


@pytest.mark.processes
def test_processes_write_what_threads_write(swept, tmp_path):
    report = fl.run_sweep(sweeping.spec(), tmp_path / "processes.zarr", workers=2)
    assert report.computed_blocks == 6
    assert content(tmp_path / "processes.zarr") == content(swept)


def test_plain_xarray_reads_the_store(swept):
    dataset = xr.open_zarr(swept, consolidated=False)
    assert dataset.loss.dims == ("architecture", "init_scale", "seed", "lam", "time")
    assert dataset.weight_norms.dims[-1] == "layer"
    assert dataset.status.dtype == np.uint8
    assert dataset.status.attrs["flag_meanings"].split() == [
        "pending",
        "ok",
        "diverged",
        "failed",
        "too_stiff",
        "absent",
    ]
    assert (dataset.status == 1).all()
    assert {"n_i", "n_h", "n_o"} < set(dataset.coords)
    assert dataset.n_h.values.tolist() == [2, 4, 3]
    assert dataset.time.values[-1] == np.inf
    assert dataset.loss.attrs["equation"]
    assert dataset.sel(architecture="3-4-3").n_h == 4
    assert dataset.attrs["spec_hash"] == Spec.from_json(dataset.attrs["spec"]).hash
    assert {"fastlin", "numba", "numpy", "zarr", "kernels"} <= set(json.loads(dataset.attrs["versions"]))


def test_store_is_checksummed_and_one_chunk_a_block(swept):
    group = zarr.open_group(swept, mode="r")
    assert group.metadata.zarr_format == 3
    for name, array in group.arrays():
        codecs = [codec["name"] for codec in array.metadata.to_dict()["codecs"]]
        assert "crc32c" in codecs, name
    assert group["loss"].chunks == (1, 1, 6, 5, 4)
    assert group["status"].chunks == (1, 1, 6, 5)


def test_a_store_contains_no_names_of_hosts_or_users(tmp_path, monkeypatch):
    """The lease names host and process during a run, because other runs need them."""
    monkeypatch.setattr(socket, "gethostname", lambda: "a-host-of-mine")
    path, seen = tmp_path / "s.zarr", []

    def look(order, index):
        seen.append(lease_holders.holders(order.location))
        return run_block(order, index)

    monkeypatch.setattr(worker, "run_block", look)
    fl.run_sweep(sweeping.spec(), path)
    assert {(holder.host, holder.process) for holders in seen for holder in holders} == {
        ("a-host-of-mine", os.getpid())
    }
    text = b"".join(content(path).values())
    for private in ("a-host-of-mine", str(path), str(tmp_path), f"/home/{getpass.getuser()}"):
        assert private.encode() not in text


def test_float32_and_axes_of_one_value(tmp_path):
    axes = {"architecture": [2, 1, 2], "seed": 3, "lam": 0.5}
    output = {"observables": ["loss"], "dtype": "float32"}
    fl.run_sweep(sweeping.spec(axes=axes, output=output, dynamics={"times": 1.0}), tmp_path / "one.zarr")
    dataset = fl.open_sweep(tmp_path / "one.zarr").load()
    task, net = fl.rebuild(dataset)
    assert dataset.loss.dtype == np.float32
    assert float(dataset.loss.squeeze()) == pytest.approx(float(fl.exact(task, net, [1.0]).loss[0]), rel=1e-6)


def test_init_kinds_and_learning_rate_axis(tmp_path):
    for kind in ("aligned", "random_regression"):
        axes = sweeping.spec()["axes"] | {"init_scale": [0.3]}
        dynamics = BOTH | {"learning_rate": [0.01, 0.02], "times": [0.0, 2.0]}
        path = tmp_path / f"{kind}.zarr"
        fl.run_sweep(sweeping.spec(axes=axes, dynamics=dynamics, init={"kind": kind}), path)
        dataset = fl.open_sweep(path).load()
        assert dataset.loss.dims[:4] == ("architecture", "init_scale", "solver", "learning_rate")
        task, net = fl.rebuild(dataset, architecture="3-4-3", seed=2, lam=2.0)
        point = dataset.sel(architecture="3-4-3", seed=2, lam=2.0, time=2.0).squeeze()
        exact = fl.exact(task, net, [2.0], ["loss"]).loss[0]
        assert np.abs(point.loss.sel(solver="exact") - exact).max() < 1e-10
        for rate in (0.01, 0.02):
            gd = fl.gradient_descent(task, net, rate, round(2 / rate), round(2 / rate), ["loss"]).loss[-1]
            stored = point.loss.sel({"solver": "gradient_descent", "learning_rate": rate})
            assert float(stored) == pytest.approx(float(gd), abs=1e-10)


def test_diverging_points_are_coded_and_the_others_finish(tmp_path):
    axes = {"architecture": [4, 2, 4], "seed": [0, 1], "lam": [0.0, 400.0]}
    dynamics = {"solver": "gradient_descent", "learning_rate": 0.01, "times": [0.0, 5.0]}
    report = fl.run_sweep(sweeping.spec(axes=axes, dynamics=dynamics), tmp_path / "wild.zarr")
    assert (report.ok, report.diverged, report.failed, report.pending) == (2, 2, 0, 0)
    dataset = fl.open_sweep(tmp_path / "wild.zarr").load()
    assert (dataset.status.sel(lam=400.0) == "diverged").all()
    assert np.isnan(dataset.loss.sel(lam=400.0, time=5.0)).all()
    assert np.isfinite(dataset.loss.sel(lam=0.0)).all()


def test_rebuild_names_what_is_missing(swept):
    dataset = fl.open_sweep(swept)
    with pytest.raises(fl.InputError, match="seed has 6 values in the dataset; say which"):
        fl.rebuild(dataset, architecture="4-2-2", lam=0.0, init_scale=1.0)
    with pytest.raises(fl.InputError, match=r"lam = 0.1 is not on the axis .*; nearest: -2.0, 0.0, 2.0"):
        fl.rebuild(dataset, architecture="4-2-2", seed=0, lam=0.1, init_scale=1.0)
    with pytest.raises(fl.InputError, match="no spec in its attributes"):
        fl.rebuild(dataset.drop_attrs(), seed=0)
    selected = dataset.sel(seed=3, lam=-2.0, init_scale=1.0).isel(architecture=2)
    task, net = fl.rebuild(selected)
    assert (task.n_i, net.architecture.n_h, net.lam) == (2, 3, -2.0)
    for other in ("4-2-2", 0):
        with pytest.raises(fl.InputError, match=f"architecture is {other!r}; .*allowed: 2-3-4$"):
            fl.rebuild(selected, architecture=other)
    with pytest.raises(fl.InputError, match=r"dataset is .*; needed is one of class Dataset"):
        fl.rebuild(dataset.loss)


def test_rebuild_refuses_values_near_an_axis(tmp_path):
    axes = {"architecture": [2, 1, 2], "seed": [10**15, 10**15 + 1], "lam": [0.0, 1.0]}
    fl.run_sweep(sweeping.spec(axes=axes), tmp_path / "large.zarr")
    dataset = fl.open_sweep(tmp_path / "large.zarr")
    for bad in ({"seed": 10**15 + 2}, {"lam": 5e-13}, {"seed": 1e15}, {"architecture": True}, {"lam": "0"}):
        with pytest.raises(fl.InputError):
            fl.rebuild(dataset, **({"seed": 10**15, "lam": 1.0} | bad))


def test_points_that_overflow_float32_have_failed(tmp_path):
    axes = {"architecture": [4, 2, 4], "seed": [0], "lam": [0.0, 1e100]}
    output = {"observables": ["loss", "ntk_norm"], "dtype": "float32"}
    report = fl.run_sweep(sweeping.spec(axes=axes, output=output), tmp_path / "small.zarr")
    assert (report.ok, report.failed) == (1, 1)


def test_specs_from_python_may_hold_arrays(swept):
    axes = {
        "architecture": ((4, 2, 2), (3, 4, 3), (2, 3, 4)),
        "init_scale": np.array([0.5, 1.0]),
        "seed": range(6),
        "lam": np.linspace(-4, 4, 5),
    }
    assert fl.run_sweep(sweeping.spec(axes=axes), swept).computed_blocks == 0
    with pytest.raises(fl.InputError, match="a spec is 5"):
        fl.run_sweep(5, swept)


def test_kernel_distance_of_figure_2():
    """The mean limits t = inf over seeds agree with those of an independent implementation."""
    expected = {
        (4, 2, 2): [0.48, 0.24, 0.004],
        (2, 2, 4): [0.004, 0.24, 0.48],
        (4, 4, 4): [0.017, 0.23, 0.017],
        (4, 2, 4): [0.47, 0.385, 0.47],
        (4, 8, 4): [0.027, 0.20, 0.027],
    }
    spec = fl.Spec.from_dict(
        {
            "axes": {"architecture": [list(shape) for shape in expected], "seed": {"start": 0, "num": 400},
                     "lam": [-9.0, 0.0, 9.0]},
            "task": {"n_samples": 10, "target_scale": 3**0.5},
            "dynamics": {"times": [float("inf")]},
            "output": {"observables": ["kernel_distance"]},
        }
    )  # fmt: skip
    from fastlin.sweeps.run.block import compute

    layout = layout_of((spec,), BlockShape(seeds=400, lams=3, times=1))
    for ((_, group),) in map(layout.block, np.ndindex(layout.grid)):
        shape = group.architecture
        means = compute(group).values["kernel_distance"].mean(axis=0)[:, 0]
        wanted = expected[shape.n_i, shape.n_h, shape.n_o]
        assert np.abs(means - wanted).max() < 0.03, shape
