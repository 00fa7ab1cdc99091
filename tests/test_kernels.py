"""The compiled kernels against the plain-NumPy reference, for every class of architecture."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import kernels
from fastlin.kernels import Row, Status
from fastlin.kernels.random import Stream, generator
from tests import reference
from tests.networks import CLASSES, relative

LAMS = np.array([-9.0, -1e-3, 0.0, 0.3, 4.0])
TIMES = np.array([0.0, 0.2, 3.0, 40.0])
ROWS = np.array(list(Row), dtype=np.int64)
SAMPLES, SCALE, SEEDS = 12, 3**0.5, (0, 7)


def problems(shape, seeds=SEEDS, kind="gaussian", init_scale=1.0):
    return kernels.draw_problems(*shape, seeds, SAMPLES, SCALE, kind, init_scale)


def point(shape, seed, lam, kind="gaussian", init_scale=1.0):
    """Return the task and network of one point, by the single-network API."""
    arch = fl.Architecture(*shape)
    task = fl.random_regression(arch, SAMPLES, SCALE, seed)
    return task, fl.balanced_init(arch, lam, init_scale, seed, kind, n_samples=SAMPLES, task=task)


def literal(task, start, w1, w2):
    """Return every row for weights w1, w2 by the literal definitions, with the dense NTK."""
    kernel, kernel0 = reference.ntk(w1, w2, task.X), reference.ntk(*start, task.X)
    return {
        Row.LOSS: reference.loss(w1, w2, task.sigma_yx, task.sigma_yy_trace),
        Row.KERNEL_DISTANCE: reference.kernel_distance(kernel0, kernel),
        Row.NTK_NORM: np.linalg.norm(kernel) / SAMPLES,
        Row.W1_NORM: np.linalg.norm(w1),
        Row.W2_NORM: np.linalg.norm(w2),
        Row.EFFECTIVE_RANK: reference.effective_rank(w2 @ w1),
    }


def factor(qqt, n_i):
    """Return weights of which `qqt` is the QQ^T."""
    values, vectors = np.linalg.eigh(qqt)
    q = vectors * np.sqrt(np.maximum(values, 0.0))
    return q[:n_i].T, q[n_i:]


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("kind", list(kernels.INIT_POWER))
def test_closed_form_rows(shape, kind):
    out = np.full((len(SEEDS), ROWS.size, TIMES.size, LAMS.size), np.nan)
    status = np.zeros((len(SEEDS), LAMS.size), dtype=np.uint8)
    kernels.closed_form(problems(shape, kind=kind, init_scale=0.7), LAMS, TIMES, ROWS, out, status)
    assert (status == Status.OK).all()
    assert not out[:, Row.BALANCE_DRIFT].any()
    for i, seed in enumerate(SEEDS):
        for j, lam in enumerate(LAMS):
            task, net = point(shape, seed, lam, kind, 0.7)
            for k, t in enumerate(TIMES):
                weights = (net.w1, net.w2)
                if t > 0:
                    qqt = reference.any_time(task.sigma_yx, net.w1, net.w2, lam, t)
                    weights = factor(qqt, shape[0])
                for row, expected in literal(task, (net.w1, net.w2), *weights).items():
                    # Distances are differences from 1; an empty map has a rank that rounding decides.
                    assert out[i, row, k, j] == pytest.approx(expected, rel=1e-9, abs=2e-13), (row, t)


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
def test_gradient_descent_rows(shape):
    rate, steps = 0.01, np.array([0, 1, 50])
    out = np.empty((len(SEEDS), ROWS.size, steps.size, LAMS.size))
    status = np.zeros((len(SEEDS), LAMS.size), dtype=np.uint8)
    kernels.gradient_descent(problems(shape), LAMS, rate, steps, ROWS, out, status)
    assert (status == Status.OK).all()
    for i, seed in enumerate(SEEDS):
        for j, lam in enumerate(LAMS):
            task, net = point(shape, seed, lam)
            for k, step in enumerate(steps):
                w1, w2 = reference.gradient_descent(task.sigma_yx, net.w1, net.w2, rate, step)
                for row, expected in literal(task, (net.w1, net.w2), w1, w2).items():
                    assert out[i, row, k, j] == pytest.approx(expected, rel=1e-11, abs=2e-14), (row, step)
                start, now = reference.balance(net.w1, net.w2), reference.balance(w1, w2)
                drift = np.linalg.norm(now - start)
                assert out[i, Row.BALANCE_DRIFT, k, j] == pytest.approx(drift, abs=1e-12)


def test_seeds_do_not_touch_each_other():
    """Bits are the same whoever the neighbours in a block are."""
    together = np.empty((5, 2, TIMES.size, LAMS.size))
    status = np.empty((5, LAMS.size), dtype=np.uint8)
    rows = np.array([Row.LOSS, Row.KERNEL_DISTANCE])
    kernels.closed_form(problems((4, 2, 3), range(5)), LAMS, TIMES, rows, together, status)
    for seed in range(5):
        alone = np.empty((1, 2, TIMES.size, LAMS.size))
        kernels.closed_form(problems((4, 2, 3), [seed]), LAMS, TIMES, rows, alone, status[:1])
        assert np.array_equal(alone[0], together[seed])


def test_more_lam_than_a_tile():
    lams = np.linspace(-5, 5, 2 * 64 + 3)
    out, status = np.empty((1, 1, 1, lams.size)), np.empty((1, lams.size), dtype=np.uint8)
    kernels.closed_form(problems((4, 2, 4), [3]), lams, np.array([1.0]), np.array([0]), out, status)
    for index in (0, 63, 64, 128, 130):
        one = np.empty((1, 1, 1, 1))
        kernels.closed_form(
            problems((4, 2, 4), [3]), lams[index : index + 1], np.array([1.0]), np.array([0]), one, status
        )
        assert one[0, 0, 0, 0] == pytest.approx(out[0, 0, 0, index], rel=1e-13)


def test_diverging_runs_are_coded():
    rows, steps = np.array([Row.LOSS, Row.KERNEL_DISTANCE]), np.array([0, 10, 400])
    lams = np.array([0.0, 200.0])
    out, status = np.empty((1, 2, 3, 2)), np.zeros((1, 2), dtype=np.uint8)
    kernels.gradient_descent(problems((4, 2, 4), [1]), lams, 0.02, steps, rows, out, status)
    assert status.tolist() == [[Status.OK, Status.DIVERGED]]
    assert np.isfinite(out[..., 0]).all()
    assert np.isfinite(out[:, :, 0]).all()
    assert np.isnan(out[:, :, 2, 1]).all()


def test_gram_form_is_the_plain_form():
    for shape in CLASSES.values():
        task, net = point(shape, 2, 1.3)
        plain = reference.gradient_descent(task.sigma_yx, net.w1, net.w2, 0.01, 300)
        dataset = fl.gradient_descent(task, net, 0.01, 300, 300, observables=["qqt"])
        assert relative(dataset.qqt.values[-1], reference.qqt(*plain)) < 1e-12
        out, status = np.empty((1, 2, 1, 1)), np.empty((1, 1), dtype=np.uint8)
        kernels.gradient_descent(
            problems(shape, [2]), np.array([1.3]), 0.01, np.array([300]), ROWS[3:5], out, status
        )
        norms = [np.linalg.norm(layer) for layer in plain]
        assert relative(out[0, :, 0, 0], np.array(norms)) < 1e-12


def test_singular_values_by_jacobi():
    rng = np.random.default_rng(0)
    for rows, columns in [(1, 1), (3, 2), (6, 6), (9, 4)]:
        matrix = rng.standard_normal((rows, columns)) * 10.0 ** -np.arange(0, 3 * columns, 3)
        values = np.empty(columns)
        kernels.linear_algebra.singular_values(matrix.copy(), values)
        expected = np.linalg.svd(matrix, compute_uv=False)
        assert np.abs(np.sort(values)[::-1] - expected).max() < 1e-14 * expected[0]


def test_streams_are_a_function_of_values():
    first = generator(Stream.TARGETS, 5, 4, 3).standard_normal(8)
    assert np.array_equal(first, generator(Stream.TARGETS, 5, 4, 3).standard_normal(8))
    others = [
        (Stream.INPUTS, 5, 4, 3, 0),
        (Stream.TARGETS, 6, 4, 3, 0),
        (Stream.TARGETS, 5, 3, 4, 0),
        (Stream.TARGETS, 5, 4, 3, 1),
    ]
    assert not any(np.isin(generator(*other).standard_normal(8), first).any() for other in others)


@pytest.mark.parametrize("lam", [-1e300, -3.0, -1e-12, 0.0, 1e-12, 3.0, 1e300])
@pytest.mark.parametrize("p", [0.0, 1e-30, 1.0, 1e8])
def test_balanced_scales(p, lam):
    s1, s2 = kernels.balanced_scales(p, lam)
    assert s1 * s2 == pytest.approx(p, rel=1e-14)
    assert (s2 - s1) * (s2 + s1) == pytest.approx(lam, rel=1e-9, abs=2e-16 * max(s1, s2) ** 2)
