"""The integrated flow of a stack is that of each of its networks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from tests.network.test_trajectory import random_task
from tests.networks import relative

TIMES = [0.4, 0.0, 2.0]
TOLERANCE = 1e-10


@settings(max_examples=15)
@given(
    shape=st.tuples(*(st.integers(1, 4),) * 3),
    kinds=st.lists(st.sampled_from(["white", "samples", "statistics"]), min_size=1, max_size=2),
    scales=st.sampled_from([0.5, [0.2, 1.0]]),
    rates=st.sampled_from([(1.0, 1.0), (0.5, 2.0)]),
    decay=st.sampled_from([0.0, (0.1, 0.3)]),
    seed=st.integers(0, 1000),
)
def test_a_stack_has_the_results_of_each_network(shape, kinds, scales, rates, decay, seed):
    """Both are computed by the same steps, so that only rounding differs."""
    rng, (n_i, _, n_o) = np.random.default_rng(seed), shape
    tasks = [random_task(rng, n_i, n_o, kind) for kind in kinds]
    nets = fl.random_init(fl.Architecture(*shape), "lecun", scales, [7, 2])
    names = ["loss", "w2w1", "balance_drift"]
    options = {"learning_rates": rates, "decay": decay, "observables": names}
    together = fl.flow(tasks, nets, TIMES, **options)
    for task, index in np.ndindex(len(tasks), nets.size):
        index = np.unravel_index(index, nets.shape)
        alone = fl.flow(tasks[task], nets[index], TIMES, **options)
        part = together.isel(dict(zip(nets.dims, index, strict=True)) | {"task": task})
        assert all(relative(part[name], alone[name]) < 1e-12 for name in names[:2])
        assert abs(part.balance_drift - alone.balance_drift).max() < 1e-13
        assert number(part, "steps") == alone.attrs["steps"]
        assert number(part, "drift") == pytest.approx(alone.attrs["drift"], abs=1e-13)


def number(part, name):
    """Return a number that is an attribute where the stack shares it, else a coordinate."""
    return part.coords[name].item() if name in part.coords else part.attrs[name]


@pytest.mark.parametrize("rates", [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("decay", [0.0, (0.1, 0.3)])
def test_lanes_integrate_to_the_tolerance(rates, decay):
    """Inputs are white, isotropic, a projector (networks have parts that do not learn), and general."""
    rng, arch = np.random.default_rng(3), fl.Architecture(3, 4, 2)
    v = np.linalg.qr(rng.standard_normal((3, 2)))[0]
    tasks = [
        fl.random_regression(arch, 5, seed=1),
        fl.Task.from_sigma(rng.standard_normal((2, 3)), 1.7 * np.eye(3), 0.2),
        fl.Task.from_sigma(rng.standard_normal((2, 2)) @ v.T, 0.6 * v @ v.T, 0.1),
    ]
    nets = fl.random_init(arch, "lecun", seed=range(3))
    for names, used in (
        (["loss", "kernel_distance", "ntk_norm", "balance_drift"], tasks),
        (NORMS, tasks[:2]),
    ):
        options = {"learning_rates": rates, "decay": decay, "tolerance": TOLERANCE, "observables": names}
        together = fl.flow(used, nets, TIMES, **options)
        for task, seed in np.ndindex(len(used), 3):
            alone = fl.flow(used[task], nets[seed], TIMES, **options)
            for name in names:
                error = np.abs(together[name].values[task, seed] - alone[name].values).max()
                assert error < 1e3 * TOLERANCE * max(1.0, float(abs(alone[name]).max())), name
        assert (together.steps > 0).all()


OF_KERNEL = ["loss", "kernel_distance", "ntk_norm", "balance_drift"]
NORMS = ["loss", "weight_norms", "effective_rank"]


def test_a_stack_flows_to_infinity_and_warns_of_saddles():
    arch = fl.Architecture(3, 3, 3)
    tasks, nets = fl.random_regression(arch, 8, seed=range(6)), fl.balanced_init(arch, 0.0, seed=range(6))
    with pytest.warns(fl.SaddleWarning) as caught:
        ds = fl.flow(tasks, nets, [0.0, np.inf], observables=["loss"])
    assert [each.filename for each in caught] == [__file__]
    assert (ds.loss.isel(time=-1) < ds.loss.isel(time=0)).all()


def test_errors_name_the_element():
    arch = fl.Architecture(2, 2, 2)
    tasks = fl.random_regression(arch, 4, [0.1, 1e3])
    nets = fl.random_init(arch, seed=range(2))
    for names in (["loss"], ["w2w1"]):
        with pytest.raises(fl.InputError, match=r"^at target_scale = 1000\.0, seed = 0: the flow"):
            fl.flow(tasks, nets, [50.0], observables=names, max_steps=200)
    with pytest.raises(fl.InputError, match="convergence_time is a time scale"):
        fl.flow(tasks, nets, [1.0], observables=["convergence_time"])
