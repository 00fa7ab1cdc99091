"""Observables of trajectories with leading dimensions are those of each trajectory alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from fastlin.observables.registry import REGISTRY
from fastlin.solutions.dynamics import trajectory
from fastlin.tasks.arrays import TaskArrays
from fastlin.weights.rates import Rates
from tests.networks import OVER_TIME, relative

SAMPLES = 5


def random_task(rng, n_i, n_o, kind):
    """Return a task of one of the kinds whose loss has another form: white, of samples, of statistics."""
    task = fl.Task(rng.standard_normal((n_i, SAMPLES)), rng.standard_normal((n_o, SAMPLES)))
    if kind == "white":
        return fl.random_regression(fl.Architecture(n_i, 1, n_o), SAMPLES, seed=int(rng.integers(100)))
    return task if kind == "samples" else fl.Task.from_sigma(task.sigma_yx, task.sigma_xx, 0.3)


@settings(max_examples=25)
@given(
    shape=st.tuples(*(st.integers(1, 4),) * 3),
    kinds=st.lists(st.sampled_from(["white", "samples", "statistics"]), min_size=1, max_size=3),
    columns=st.integers(1, 3),
    ratio=st.sampled_from([1.0, 2.5]),
    seed=st.integers(0, 1000),
)
def test_leading_dimensions_are_those_of_each_trajectory_alone(shape, kinds, columns, ratio, seed):
    rng, (n_i, n_h, n_o) = np.random.default_rng(seed), shape
    tasks, rates = [random_task(rng, n_i, n_o, kind) for kind in kinds], Rates.of_ratio(ratio)
    index = rng.integers(len(tasks), size=(2, columns))
    w1, w2 = (rng.standard_normal((2, columns, 3, *size)) for size in ((n_h, n_i), (n_o, n_h)))
    arrays = TaskArrays(tasks, index)
    together = trajectory(w1, w2, arrays, n_h, rates)
    for name in OVER_TIME:
        if REGISTRY[name].needs_samples and not arrays.has_samples:
            continue
        values = np.asarray(REGISTRY[name].evaluate(together))
        for at in np.ndindex(2, columns):
            alone = trajectory(w1[at], w2[at], tasks[index[at]], n_h, rates)
            assert relative(values[at], np.asarray(REGISTRY[name].evaluate(alone))) < 1e-11, name


def test_tasks_of_unequal_samples_have_a_loss_and_no_data():
    tasks = [fl.Task(np.eye(2), np.ones((1, 2))), fl.Task(np.ones((2, 1)), [[3.0]])]
    w1, w2 = np.ones((2, 1, 1, 2)), np.ones((2, 1, 1, 1))
    path = trajectory(w1, w2, TaskArrays(tasks, np.arange(2)), 1, Rates(1.0, 1.0))
    assert REGISTRY["loss"].evaluate(path).ravel().tolist() == [0.0, 0.5]
    with pytest.raises(fl.InputError, match="from 1 to 2 samples"):
        _ = path.task.X


def test_a_part_of_the_tasks_is_that_of_its_networks():
    tasks = [fl.random_regression(fl.Architecture(3, 2, 2), 5, seed=seed) for seed in range(3)]
    arrays = TaskArrays(tasks, np.array([0, 2, 1, 2]))
    part = arrays.take(np.array([3, 0]))
    assert np.array_equal(part.sigma_yx, [tasks[2].sigma_yx, tasks[0].sigma_yx])
    assert np.array_equal(part.X, arrays.X[[3, 0]])
