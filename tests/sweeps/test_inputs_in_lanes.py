"""Sweeps over inputs that are not whitened: points of kernels are those of single networks."""

import itertools

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.run import stacked
from fastlin.weights.rates import Rates

OBSERVABLES = ["loss", "kernel_distance", "ntk_norm", "weight_norms", "effective_rank"]
AXES = {"architecture": [[3, 2, 3], [3, 7, 3]], "seed": [0, 3], "init_scale": [0.4, 0.9]}
STARTS = {
    "balanced": ({"lam": [-1.0, 0.5]}, {}),
    "two-sided": ({"lam": [-1.0, 0.5], "kappa": [0.4, 1.1], "architecture": [[3, 7, 3]]}, {}),
    "raw": ({"rate_ratio": [1.0, 3.0]}, {"kind": "xavier", "balance": False}),
}
SOLVERS = {"flow": {"tolerance": 1e-10}, "gradient_descent": {"learning_rate": 0.05}}


def alone(dataset, solver, at):
    """Return the results of a single network that is rebuilt from a store."""
    task, net = fl.rebuild(dataset, **at)
    rates = Rates.of_ratio(at.get("rate_ratio", 1.0))
    if solver == "flow":
        return fl.flow(task, net, dataset.time, 1e-10, rates, observables=OBSERVABLES)
    rates = tuple(0.05 * rate for rate in rates)
    path = fl.gradient_descent(task, net, rates, 80, 20, OBSERVABLES)
    return path.sel(time=dataset.time, method="nearest")


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_points_are_those_of_single_networks(solver, start, tmp_path, monkeypatch):
    axes, init = STARTS[start]
    axes = AXES | axes
    monkeypatch.delattr(stacked, "outputs")  # so that kernels compute all points
    fl.run_sweep(
        {
            "axes": axes,
            "task": {"kind": "autoencoder", "power": 1.0},
            "dynamics": {"solver": solver, "times": [0.0, 1.0, 4.0]} | SOLVERS[solver],
            "output": {"observables": OBSERVABLES, "dtype": "float64"},
        }
        | ({"init": init} if init else {}),
        tmp_path / "s.zarr",
    )
    dataset = fl.open_sweep(tmp_path / "s.zarr")
    assert (dataset.status == "ok").all()
    names = [name for name in axes if name != "architecture"]
    for shape in dataset.architecture.values:
        for values in itertools.product(*(axes[name] for name in names)):
            at = {"architecture": str(shape), **dict(zip(names, values, strict=True))}
            point, expected = dataset.fastlin.select(**at), alone(dataset, solver, at)
            for name in OBSERVABLES:
                assert np.allclose(point[name], expected[name], rtol=1e-7, atol=1e-8), (name, at)
