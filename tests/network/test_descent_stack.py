"""Gradient descent of a stack is that of each of its networks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from tests.network.test_trajectory import random_task
from tests.networks import relative

BY_KERNEL = ["loss", "kernel_distance", "balance_drift"]


@settings(max_examples=15)
@given(
    shape=st.tuples(*(st.integers(1, 4),) * 3),
    kinds=st.lists(st.sampled_from(["white", "samples", "statistics"]), min_size=1, max_size=2),
    rate=st.sampled_from([0.02, (0.01, 0.03)]),
    decay=st.sampled_from([0.0, (0.1, 0.3)]),
    kernel=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_stack_has_the_results_of_each_network(shape, kinds, rate, decay, kernel, seed):
    rng, (n_i, _, n_o) = np.random.default_rng(seed), shape
    tasks = [random_task(rng, n_i, n_o, kind) for kind in kinds]
    nets = fl.random_init(fl.Architecture(*shape), "lecun", [0.2, 1.0], [7, 2])
    names = BY_KERNEL if kernel else ["loss", "w2w1", "balance_drift"]
    together = fl.gradient_descent(tasks, nets, rate, 20, 4, names, decay=decay)
    for task, scale, draw in np.ndindex(len(tasks), 2, 2):
        alone = fl.gradient_descent(tasks[task], nets[scale, draw], rate, 20, 4, names, decay=decay)
        for name in names:
            difference = np.abs(together[name].values[task, scale, draw] - alone[name].values)
            assert difference.max() < 1e-12 * max(1.0, np.abs(alone[name].values).max()), name
    assert together.time.attrs == alone.time.attrs
    assert together.attrs["learning_rate"] == alone.attrs["learning_rate"]


def test_noise_of_a_stack_is_that_of_each_network():
    arch = fl.Architecture(2, 2, 2)
    tasks, nets = fl.random_regression(arch, 4, seed=range(2)), fl.random_init(arch, seed=range(2))
    options = {"batch_size": 3, "label_noise": 0.1, "noise_seed": 5, "observables": ["loss"]}
    together = fl.gradient_descent(tasks, nets, 0.05, 10, **options)
    assert together.attrs["batch_size"] == 3
    for seed in range(2):
        alone = fl.gradient_descent(tasks[seed], nets[seed], 0.05, 10, **options)
        assert relative(together.loss[seed], alone.loss) < 1e-13


def test_lists_of_networks_have_a_dimension():
    arch, task = fl.Architecture(2, 2, 2), fl.Task.from_sigma(np.eye(2))
    nets = [fl.random_init(arch), fl.balanced_init(arch, 0.5)]
    ds = fl.gradient_descent(task, nets, 0.1, 3, observables=["loss"])
    assert ds.loss.dims == ("network", "time")
    assert ds.lam.values[1] == 0.5
    assert np.isnan(ds.lam.values[0])


def test_errors_name_the_element():
    arch = fl.Architecture(2, 2, 2)
    tasks, nets = fl.random_regression(arch, 4, [0.1, 1e3]), fl.random_init(arch, seed=range(2))
    for names in (["loss"], ["w2w1"]):
        with pytest.raises(fl.InputError, match=r"^at target_scale = 1000\.0, seed = 0: gradient descent"):
            fl.gradient_descent(tasks, nets, 0.1, 200, observables=names)
    with pytest.raises(fl.InputError, match="learning rates"):
        lora = [fl.lora(tasks[0], np.eye(2), 1, learning_rates=(1.0, ratio)) for ratio in (1.0, 2.0)]
        fl.gradient_descent([task for task, _ in lora], lora[0][1], 0.1, 2)
