"""Sweeps of structured tasks: points are those of the networks that are rebuilt, and parameters are axes."""

import numpy as np
import pytest

import fastlin as fl

AXES = {"architecture": [[4, 2, 4], [4, 9, 4]], "seed": [0, 3], "lam": [-1.0, 0.5]}
TIMES = {"times": [0.0, 1.0, 4.0]}
KINDS = [
    ({"kind": "hierarchy", "levels": 2}, {}),
    (
        {"kind": "student_teacher", "rank": [1, 3], "noise": [0.0, 0.4], "n_samples": 12},
        {"rank": 3, "noise": 0.4},
    ),
    ({"kind": "spectrum", "power": [0.0, 1.0, 2.5]}, {"power": 2.5}),
    ({"kind": "spectrum", "singular_values": [2.0, 1.0, 0.5]}, {}),
    ({"kind": "autoencoder", "power": 0.0}, {}),
]


@pytest.mark.parametrize(("task", "chosen"), KINDS, ids=lambda part: "-".join(map(str, part)))
def test_points_are_those_of_the_rebuilt_networks(task, chosen, tmp_path):
    fl.run_sweep({"axes": AXES, "task": task, "dynamics": TIMES}, tmp_path / "s.zarr")
    dataset = fl.open_sweep(tmp_path / "s.zarr")
    for name in chosen:
        assert dataset[name].size == len(task[name])
    for shape in ("4-2-4", "4-9-4"):
        at = {"architecture": shape, "seed": 3, "lam": 0.5, **chosen}
        rebuilt, net = fl.rebuild(dataset, **at)
        alone = fl.exact(rebuilt, net, dataset.time, ["loss", "kernel_distance"])
        point = dataset.fastlin.select(**at)
        for name in alone.data_vars:
            assert np.allclose(point[name], alone[name], rtol=1e-9, atol=1e-12), name


def test_the_modes_of_a_teacher_are_an_axis(tmp_path):
    """Without noise, a network of two hidden units reaches a teacher of rank 1 and no teacher of rank 3."""
    task = {"kind": "student_teacher", "rank": [1, 3]}
    axes = AXES | {"architecture": [[4, 2, 4]]}
    fl.run_sweep({"axes": axes, "task": task, "dynamics": {"times": [np.inf]}}, tmp_path / "s.zarr")
    loss = fl.open_sweep(tmp_path / "s.zarr").loss
    assert float(loss.sel(rank=1).max()) < 1e-20
    assert np.allclose(loss.sel(rank=3), 0.5, rtol=1e-9)


def test_a_plan_takes_parameters_that_are_axes():
    task = {"kind": "spectrum", "power": [0.0, 1.0, 2.5]}
    plan = fl.plan({"axes": AXES, "task": task, "dynamics": TIMES})
    assert plan.points == 24
    assert plan.seconds > 0.0


@pytest.mark.parametrize("noise", [0.0, [0.0, 0.3]], ids=["clean", "denoising"])
def test_an_autoencoder_is_solved_by_the_flow_by_itself(noise, tmp_path):
    task = {"kind": "autoencoder", "spectrum": [4.0, 2.0, 1.0, 0.5], "noise": noise}
    spec = fl.Spec.from_dict({"axes": AXES, "task": task, "dynamics": TIMES})
    assert spec.solvers == ("flow",)
    assert fl.run_sweep(spec, tmp_path / "s.zarr").ok == spec.points
    dataset = fl.open_sweep(tmp_path / "s.zarr")
    at = {"architecture": "4-2-4", "seed": 3, "lam": -1.0, **({"noise": 0.3} if noise else {})}
    rebuilt, net = fl.rebuild(dataset, **at)
    alone = fl.flow(rebuilt, net, dataset.time.values, observables=["loss", "kernel_distance"])
    for name in alone.data_vars:
        assert np.allclose(dataset.fastlin.select(**at)[name], alone[name], rtol=1e-7, atol=1e-9), name


def test_an_exact_autoencoder_is_refused():
    task = {"kind": "autoencoder", "power": 1.0}
    with pytest.raises(fl.InputError, match="use 'flow'"):
        fl.Spec.from_dict({"axes": AXES, "task": task, "dynamics": {**TIMES, "solver": "exact"}})
