"""Sweeps meet the stored values of structured tasks and of sequences, as the functions of one network do."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import fastlin as fl

CASES = json.loads((Path(__file__).parents[1] / "data" / "beyond_reference.json").read_text())


def swept(path, spec, **own):
    """Return the points of a sweep, which is run in a folder."""
    report = fl.run_sweep(spec, path / "s.zarr", **own)
    assert report.ok == report.points
    return fl.open_sweep(path / "s.zarr").compute()


def excess(target, maps):
    """Return the excess losses (T,) of maps (T, N_o, N_i) for whitened inputs."""
    return 0.5 * np.sum((np.array(target) - np.array(maps)) ** 2, axis=(-2, -1))


def test_the_hierarchy(tmp_path):
    case = CASES["hierarchy_8"]
    axes = {"architecture": "8-8-8", "init_scale": 1e-3, "seed": [0, 1], "lam": -1.0}
    output = {"observables": ["loss", "weight_norms"]}
    spec = {"axes": axes, "task": {"kind": "hierarchy", "levels": 3}, "dynamics": {"times": math.inf}}
    ds = swept(tmp_path, spec | {"output": output})
    s = np.array(case["singular_values_of_sigma_yx"])
    task, _ = fl.rebuild(ds, seed=1)
    np.testing.assert_allclose(np.linalg.svd(task.sigma_yx)[1], s, rtol=1e-9)
    w1 = ds.weight_norms.sel(layer="w1").values.ravel()
    np.testing.assert_allclose(w1**2, np.sum(0.5 + np.sqrt(s**2 + 0.25)), rtol=1e-9)
    np.testing.assert_allclose(w1**2, np.sum(case["w1tw1_limit_at_lam_minus_1"]), atol=8 * 5e-4)
    np.testing.assert_allclose(ds.loss, 0.0, atol=1e-12)


def test_the_autoencoder(tmp_path):
    case = CASES["autoencoder"]
    spec = {
        "axes": {"architecture": "3-1-3", "seed": 0},
        "init": {"balance": False},
        "dynamics": {"times": case["times"], "tolerance": 1e-12},
        "output": {"observables": ["loss"]},
    }
    task, net = fl.Task.from_sigma(case["sigma_yx"], case["sigma_xx"]), fl.Network(case["w1"], case["w2"])
    ds = swept(tmp_path, spec, task=task, init=net)
    root = np.sqrt(np.array(case["sigma_xx"]))
    expected = excess(root, np.array(case["w2w1"]) @ root)
    np.testing.assert_allclose(ds.loss.values.ravel(), expected, rtol=0, atol=1e-9)
    assert fl.Spec.from_json(ds.attrs["spec"]).solvers == ("flow",)


def test_the_sequence(tmp_path):
    case = CASES["sequence"]
    stages = []
    for number, (target, duration) in enumerate(zip(case["tasks"], case["durations"], strict=True)):
        x, y = tmp_path / f"x{number}.npy", tmp_path / f"y{number}.npy"
        np.save(x, math.sqrt(3.0) * np.eye(3))
        np.save(y, math.sqrt(3.0) * np.array(target))
        stages.append({"kind": "data", "x": str(x), "y": str(y), "duration": duration})
    spec = {
        "axes": {"architecture": "3-2-2", "seed": 0, "lam": case["lam"]},
        "task": {"sequence": stages},
        "dynamics": {"times": [0.0]},
        "output": {"observables": ["final_loss"]},
    }
    # The stored start is the balanced one of its product, in another hidden basis, on which no loss depends.
    ds = swept(tmp_path, spec, init=fl.Network(case["w1"], case["w2"], case["lam"]))
    expected = case["excess_loss_of_every_task_at_the_end_of_each"]
    np.testing.assert_allclose(ds.final_loss.squeeze(), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("case", CASES["reversal_half_time"], ids=lambda case: f"{case['s']}, {case['lam']}")
def test_the_half_time_of_a_reversal(tmp_path, case):
    first = {"kind": "spectrum", "singular_values": [case["s"]], "duration": math.inf}
    spec = {
        "axes": {"architecture": "1-1-1", "seed": 0, "lam": [-case["lam"], case["lam"]]},
        "task": {"sequence": [first, {"kind": "reversed", "duration": math.inf}]},
        "dynamics": {"times": [0.0]},
        "output": {"observables": ["reversal_time", "relearning_time"], "fraction": 0.75},
    }
    ds = swept(tmp_path, spec)
    np.testing.assert_allclose(ds.reversal_time.isel(stage=1), case["half_time"], rtol=1e-11)
    # At half time the loss has fallen by three quarters. The direction that grows is a difference of weights
    # of the order of lam. So it is known to 1e-16 / lam.
    rtol = max(1e-11, 1e-16 / case["lam"])
    np.testing.assert_allclose(ds.relearning_time.isel(stage=1), case["half_time"], rtol=rtol)
