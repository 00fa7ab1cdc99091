"""Weights at the end of a task: exact, balanced as before, and a start of the next task."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from tests import beyond, reference
from tests.networks import relative

BALANCES = [(3, 2, 3, 0.0, 0.0), (3, 4, 2, -1.0, 0.0), (2, 6, 3, 2.0, 0.0), (4, 1, 3, 0.5, 0.0)]
BALANCES += [(2, 6, 3, 0.0, 0.7), (3, 5, 2, -1.0, 1e-4), (4, 9, 4, 2.0, 0.5)]
CLOSE = 1e-13  # error of a chain of exact stages, over the largest entry


def case(n_i, n_h, n_o, lam, kappa, tasks=1):
    """Return tasks with white inputs, and a balanced network."""
    rng = np.random.default_rng(n_i + 10 * n_h)
    targets = [fl.Task.from_sigma(rng.standard_normal((n_o, n_i))) for _ in range(tasks)]
    return targets, fl.balanced_init(fl.Architecture(n_i, n_h, n_o), lam, kappa=kappa, init_scale=0.5)


def qqt(net):
    return reference.qqt(net.w1, net.w2)


def general(n_i, n_o):
    """Return a task with inputs of condition number 6."""
    rng = np.random.default_rng(5)
    return fl.Task.from_sigma(rng.standard_normal((n_o, n_i)), np.diag(np.linspace(0.5, 3.0, n_i)))


@pytest.mark.parametrize("sizes", BALANCES)
def test_one_stage_cut_in_two_is_one_stage(sizes):
    (task,), net = case(*sizes)
    whole = qqt(net.after(task, 1.7))
    assert relative(qqt(net.after(task, 0.5).after(task, 1.2)), whole) < CLOSE
    assert relative(whole, fl.solve_qqt(task.sigma_yx, net.w1, net.w2, [1.7])[0]) < CLOSE


@pytest.mark.parametrize("sizes", BALANCES)
def test_lam_and_kappa_stay_the_same_numbers(sizes):
    tasks, net = case(*sizes, tasks=3)
    for task, t in zip([*tasks, general(*sizes[0:3:2])], [3.0, math.inf, 0.1, 1.0], strict=True):
        end = net.after(task, t)
        assert (end.lam, end.kappa, end.balance) == (net.lam, net.kappa, net.balance)
        net = end


@pytest.mark.parametrize("sizes", BALANCES)
@pytest.mark.parametrize("inputs", ["white", "general"])
def test_the_balance_matrix_stays(sizes, inputs):
    (task,), net = case(*sizes)
    end = net.after(task if inputs == "white" else general(*sizes[0:3:2]), 2.0)
    assert relative(reference.balance(end.w1, end.w2), reference.balance(net.w1, net.w2)) < 1e-13 or (
        sizes[3] == 0.0 and np.abs(reference.balance(end.w1, end.w2)).max() < 1e-14
    )


@pytest.mark.parametrize("sizes", BALANCES)
def test_a_network_at_t_0_is_itself(sizes):
    (task,), net = case(*sizes)
    assert net.after(task, 0.0) is net
    end = net.after(task, 1e-9)
    assert np.abs(end.w1 - net.w1).max() < 1e-8


def test_the_weights_of_one_hidden_unit_are_those_of_the_flow():
    (task,), net = case(4, 1, 3, 0.5, 0.0)
    (w1, w2), end = beyond.flow(task.sigma_yx, net.w1, net.w2, [1.5])[0], net.after(task, 1.5)
    np.testing.assert_allclose(end.w1, w1, rtol=1e-11)
    np.testing.assert_allclose(end.w2, w2, rtol=1e-11)


def test_weights_aligned_with_the_task_are_those_of_the_flow():
    task = fl.Task.from_sigma(np.diag([3.0, 1.0]))
    net = fl.Network(np.diag([0.5, 0.1])[[1, 0]], np.diag([0.5, 0.1])[:, [1, 0]])
    (w1, w2), end = beyond.flow(task.sigma_yx, net.w1, net.w2, [0.8])[0], net.after(task, 0.8)
    np.testing.assert_allclose(end.w1, w1, atol=1e-12)
    np.testing.assert_allclose(end.w2, w2, atol=1e-12)


def test_hidden_units_of_weight_0_stay_at_0():
    (task,), narrow = case(3, 2, 3, 1.0, 0.0)
    net = fl.Network(np.pad(narrow.w1, ((0, 2), (0, 0))), np.pad(narrow.w2, ((0, 0), (0, 2))))
    assert net.balance == "support"
    end = net.after(task, 2.0)
    assert end.balance == "support"
    assert np.abs(end.w1[2:]).max() < 1e-15
    assert np.abs(end.w2[:, 2:]).max() < 1e-15


@pytest.mark.parametrize("width", [3, 12])
def test_any_weights_are_those_of_the_flow(width):
    arch = fl.Architecture(3, width, 2)
    net, task = fl.random_init(arch, "xavier"), general(3, 2)
    (w1, w2) = beyond.flow(task.sigma_yx, net.w1, net.w2, [2.0], task.sigma_xx)[0]
    end = net.after(task, 2.0, tolerance=1e-12)
    assert end.balance == "none"
    np.testing.assert_allclose(end.w1, w1, atol=1e-10)
    np.testing.assert_allclose(end.w2, w2, atol=1e-10)


@pytest.mark.parametrize("n_h", [1, 4])
def test_weights_off_the_span_of_the_inputs_are_carried_along(n_h):
    """W1 off the span does not learn, and the next task, which has all inputs, finds it."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3, 2))
    projector = x @ np.linalg.pinv(x)
    first = fl.Task.from_sigma(rng.standard_normal((2, 3)) @ projector, 1.5 * projector)
    second = fl.Task.from_sigma(rng.standard_normal((2, 3)))
    net = fl.balanced_init(fl.Architecture(3, n_h, 2), lam=0.7)
    start = net.w1, net.w2
    middle = beyond.flow(first.sigma_yx, *start, [1.0], first.sigma_xx)[0]
    end = beyond.flow(second.sigma_yx, *middle, [1.0])[0]
    got = net.after(first, 1.0, tolerance=1e-12).after(second, 1.0)
    assert got.lam == 0.7
    assert relative(qqt(got), reference.qqt(*end)) < 1e-10


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(BALANCES), st.floats(1e-4, 1.0))
def test_an_exact_chain_equals_the_plain_flow(seed, sizes, init_scale):
    n_i, n_h, n_o, lam, kappa = sizes
    rng = np.random.default_rng(seed)
    net = fl.balanced_init(fl.Architecture(n_i, n_h, n_o), lam, kappa=kappa, init_scale=init_scale, seed=seed)
    weights = net.w1, net.w2
    for t in rng.uniform(0.1, 2.0, 3):
        task = fl.Task.from_sigma(rng.standard_normal((n_o, n_i)))
        net, weights = net.after(task, t), beyond.flow(task.sigma_yx, *weights, [t])[0]
    assert relative(qqt(net), reference.qqt(*weights)) < 1e-9


def test_what_is_refused_is_named():
    (task,), net = case(3, 2, 3, 0.0, 0.0)
    with pytest.raises(fl.InputError, match=r"times hold -1"):
        net.after(task, -1.0)
    with pytest.raises(fl.InputError, match="t holds 2 times"):
        net.after(task, [1.0, 2.0])
    with pytest.raises(fl.InputError, match="maps 2 inputs"):
        net.after(fl.Task.from_sigma(np.eye(2)), 1.0)
    with pytest.raises(fl.InputError, match="tolerance is 1"):
        net.after(task, 1.0, tolerance=1.0)
    with pytest.raises(fl.InputError, match="neither whitened"):
        net.after(general(3, 3), math.inf)


def test_an_end_at_a_saddle_is_warned_of():
    net = fl.Network([[0.5]], [[0.5]])
    with pytest.warns(fl.SaddleWarning, match="at t = inf the flow ends at a saddle"):
        end = net.after(fl.Task.from_sigma([[-1.0]]), math.inf)
    assert abs(end.w1[0, 0]) < 1e-15
