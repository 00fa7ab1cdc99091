"""Times and losses that compare tasks learned in a row."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

import fastlin as fl
from fastlin.observables.relearning import (
    forgetting,
    is_least,
    least_loss,
    passage_time,
    reversal_times,
    reverses,
    slowest_reversal,
    without_rounding,
)


@pytest.mark.parametrize("s", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("lam", [-4.0, 0.01, 1.0])
def test_the_half_time_is_the_integral_of_its_flow(s, lam):
    """``f' = -sqrt(lam^2 + 4 f^2) (s + f)`` from s to 0."""
    wanted = quad(lambda f: 1.0 / (math.hypot(lam, 2.0 * f) * (s + f)), 0.0, s, epsabs=1e-12)[0]
    assert reversal_times(s, lam) == pytest.approx(wanted, rel=1e-9)


def test_the_half_time_has_its_limits():
    assert reversal_times(1.0, 0.0) == math.inf
    assert math.isnan(reversal_times(0.0, 1.0))
    assert reversal_times(2.0, 1e-200) == pytest.approx(math.log(4.0 / 1e-200) / 4.0)


def test_forgetting_has_earlier_tasks_only():
    ends = np.array([[[1.0, 9.0], [5.0, 2.0]]])
    np.testing.assert_array_equal(forgetting(ends), [[[np.nan, np.nan], [4.0, np.nan]]])


def test_the_least_loss_leaves_out_what_no_unit_learns():
    task = fl.Task.from_sigma(np.diag([3.0, 2.0, 1.0]), floor=0.5)
    assert [least_loss(task, n_h) for n_h in (1, 2, 3)] == [3.0, 1.0, 0.5]


def test_reversed_targets_are_recognised():
    task = fl.Task.from_sigma([[1.0, 2.0]])
    assert reverses(fl.Task.from_sigma([[-1.0, -2.0]]), task)
    assert not reverses(task, task)
    assert not reverses(fl.Task.from_sigma([[-1.0, -2.0]], 2.0 * np.eye(2)), task)


def test_a_least_loss_is_told_from_a_saddle():
    assert is_least(1.0 + 1e-14, 1.0, 2.0)
    assert not is_least(1.5, 1.0, 2.0)


def test_the_slowest_mode_that_is_learned_counts():
    target = np.diag([3.0, 1.0, 0.0])
    assert slowest_reversal(target, 0.5, 3) == reversal_times(1.0, 0.5)
    assert slowest_reversal(target, 0.5, 1) == reversal_times(3.0, 0.5)
    assert slowest_reversal(target, np.zeros(2), 3).tolist() == [math.inf] * 2


def test_rounding_errors_do_not_end_a_reversal():
    times, reversal = np.array([3.0, 3.0, math.inf]), np.array([math.inf, 2.0, math.nan])
    assert without_rounding(times, reversal, 0.75).tolist() == [math.inf, 3.0, math.inf]
    assert without_rounding(times, reversal, 0.7).tolist() == times.tolist()


@pytest.mark.parametrize("end", [5.0, math.inf])
def test_a_passage_is_found(end):
    assert passage_time(lambda t: np.exp(-t), 0.02, end) == pytest.approx(-math.log(0.02), rel=1e-9)


def test_a_passage_at_once_and_none():
    assert passage_time(lambda t: np.exp(-t), 2.0, 5.0) == 0.0
    assert passage_time(lambda t: np.exp(-t), 1e-9, 5.0) == math.inf
