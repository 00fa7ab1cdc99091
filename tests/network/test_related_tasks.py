"""Tasks that are made of another one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl

FORMS = ["drawn", "white", "isotropic", "projector", "general", "statistics"]


def explained(task):
    """Return Sigma_yx Sigma_xx^(+1/2), by the eigenvectors of Sigma_xx."""
    values, vectors = np.linalg.eigh(task.sigma_xx)
    keep = values > 1e-12 * values[-1]
    return task.sigma_yx @ (vectors[:, keep] / np.sqrt(values[keep])) @ vectors[:, keep].T


def task_of(form, seed):
    """Return a task of 3 inputs and 2 outputs."""
    if form == "drawn":
        return fl.random_regression(fl.Architecture(3, 2, 2), n_samples=9, seed=seed)
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((3, 9)), rng.standard_normal((2, 9))
    if form == "general":
        return fl.Task(x, y)
    if form == "statistics":
        return fl.Task.from_sigma(y @ x.T / 9, x @ x.T / 9, floor=0.3)
    if form == "projector":
        x[2] = x[0]
    return fl.Task((3.0 if form == "isotropic" else 1.0) * fl.Task(x, y).whiten().X, y)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FORMS), st.integers(0, 2**40), st.floats(-1, 1), st.integers(0, 2**63 - 1))
def test_similar_tasks_have_the_cosine_and_the_inputs(form, seed, similarity, other_seed):
    task = task_of(form, seed % 1000)
    other = fl.similar(task, similarity, other_seed)
    first, second = explained(task), explained(other)
    size = np.sum(first**2)
    assert np.sum(first * second) == pytest.approx(similarity * size, abs=1e-12 * size)
    assert np.sum(second**2) == pytest.approx(size, rel=1e-12)
    assert other.inputs == task.inputs
    assert np.array_equal(other.sigma_xx, task.sigma_xx)
    assert other.loss_floor == task.loss_floor
    check_samples(task, other)


def check_samples(task, other):
    """Check that samples have the statistics that the task says."""
    assert other.has_samples == task.has_samples
    if not task.has_samples:
        return
    assert np.array_equal(other.X, task.X)
    again = fl.Task(other.X, other.Y)
    assert np.allclose(again.sigma_yx, other.sigma_yx, rtol=0, atol=1e-12)
    assert again.loss_floor == pytest.approx(other.loss_floor, rel=1e-10)
    assert again.sigma_yy_trace == pytest.approx(other.sigma_yy_trace, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_the_ends_are_the_task_and_its_reversal(form):
    task = task_of(form, 4)
    back = fl.reversed(task)
    for other, sign in ((fl.similar(task, 1), 1.0), (fl.similar(task, -1), -1.0), (back, -1.0)):
        assert np.array_equal(other.sigma_yx, sign * task.sigma_yx)
        check_samples(task, other)
        if task.has_samples:
            assert np.array_equal(other.Y, sign * task.Y)
    assert np.array_equal(fl.reversed(back).sigma_yx, task.sigma_yx)


def test_the_direction_is_a_function_of_the_seed():
    task = task_of("drawn", 0)
    first, again, other = (fl.similar(task, 0.5, seed).sigma_yx for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 1e-2


def test_a_similar_task_is_solved_and_whitened():
    task = fl.similar(task_of("general", 1), 0.2)
    net = fl.balanced_init(fl.Architecture(3, 3, 2), lam=0.5)
    path = fl.flow(task, net, [0.0, 60.0], observables=["loss"])
    assert float(path.loss[-1]) == pytest.approx(task.loss_floor, rel=1e-6)
    white = task.whiten()
    assert white.inputs == "white"
    assert np.allclose(white.sigma_yx, explained(task), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("task", "similarity", "message"),
    [
        (fl.Task.from_sigma([[1.0, 2.0]]), 1.5, r"similarity is 1\.5; it must be at least -1 and at most 1"),
        (fl.Task.from_sigma([[0.0, 0.0]]), 0.5, "do not depend on its inputs"),
        (fl.Task.from_sigma([[2.0]]), 0.5, r"one input and one output has one direction; allowed: -1, 1"),
        ("task", 0.5, "needed is one of class Task"),
    ],
)
def test_bad_input(task, similarity, message):
    with pytest.raises(fl.InputError, match=message):
        fl.similar(task, similarity)


def test_a_task_of_lora_is_refused():
    task = task_of("drawn", 0)
    adapted, _ = fl.lora(task, np.zeros((2, 3)), rank=1)
    for call in (fl.reversed, lambda task: fl.similar(task, 0.5)):
        with pytest.raises(fl.InputError, match=r"the task is one of fastlin\.lora; turn the task"):
            call(adapted)
