"""Sweeps that are drawn, and a check that drawing changes no global setting."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

import fastlin as fl
from tests import sweeping


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("plot") / "small.zarr"
    times = [0.0, 0.1, 0.3, 1.0, 10.0, 100.0, float("inf")]
    fl.run_sweep(sweeping.spec(dynamics={"times": times}), path)
    return fl.open_sweep(path).load()


@pytest.fixture(autouse=True)
def clean():
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """Fifteen architectures: several N_o for most pairs (N_i, N_h), several shapes for most ratios."""
    path = tmp_path_factory.mktemp("plot") / "shapes.zarr"
    sizes = [[n_i, n_h, n_o] for n_i in (2, 3, 5) for n_h in (1, 2) for n_o in (2, 3)]
    axes = {
        "architecture": [*sizes, [2, 4, 2], [3, 4, 3], [5, 4, 5]],
        "seed": [0, 1, 2],
        "lam": [-1.0, 0.0, 2.0],
    }
    dynamics = {"times": [0.0, 1.0, 100.0, float("inf")]}
    fl.run_sweep(sweeping.spec(axes=sweeping.spec()["axes"] | axes, dynamics=dynamics), path)
    return fl.open_sweep(path).load()
