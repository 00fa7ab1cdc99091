"""The tier for large networks against the lanes, on sizes that both can do."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import block_diag

from fastlin.kernels import closed_form as lanes_closed_form
from fastlin.kernels import gradient_descent as lanes_gradient_descent
from fastlin.kernels import problems
from fastlin.kernels.blas import dynamics
from fastlin.kernels.blas import problems as blas_problems
from fastlin.kernels.codes import Row, Status
from fastlin.kernels.points import padded
from fastlin.kernels.sizes import Given, Record, Sizes
from tests import reference

SHAPES = [(4, 2, 4), (5, 2, 3), (3, 8, 5), (5, 8, 3), (9, 1, 2), (4, 4, 4), (3, 8, 3), (1, 1, 1)]
SHAPES += [(12, 10, 11)]
ROWS = np.array(list(Row), dtype=np.int64)
TIMES = np.array([0.0, 0.3, 5.0, 1e6, np.inf])
GRID = np.linspace(0.0, 3.0, 16)


def record(sizes, seed, saddle=False):
    """Return the `Record` of random weights and a random task; on the inset of a saddle if wanted.

    The sign of det W2 W1 is conserved, so that of a square net at lam = 0 decides which minima it reaches.
    """
    rng = np.random.default_rng([seed, sizes.n_i, sizes.n_h, sizes.n_o])
    u_task, s, vt_task = np.linalg.svd(0.8 * rng.standard_normal((sizes.n_o, sizes.n_i)))
    first = rng.standard_normal((sizes.n_h, sizes.n_i))
    u, p, vt = np.linalg.svd(rng.standard_normal((sizes.n_o, sizes.n_h)) @ first)
    if saddle:
        sign = np.linalg.det(u_task) * np.linalg.det(vt_task) * np.linalg.det(u) * np.linalg.det(vt)
        u[:, 0] *= -np.sign(sign)
    v, u = (vt_task @ vt.T)[:, : sizes.k_i], (u_task.T @ u)[:, : sizes.k_o]
    v, u = reduced(v, sizes.m, sizes.rows_i), reduced(u, sizes.m, sizes.rows_o)
    assert v.shape == (sizes.rows_i, sizes.k_i) and u.shape == (sizes.rows_o, sizes.k_o)
    made = np.concatenate([s, p[: sizes.k], [0.3], v.ravel(), u.ravel()])
    assert made.size == Record(sizes).length
    return made


def reduced(vectors, m, rows):
    if len(vectors) == rows:
        return vectors
    return np.vstack([vectors[:m], np.linalg.qr(vectors[m:], mode="r")])


def run(kernel, sizes, records, lams, *arguments, rows=ROWS):
    """Return the rows (R, S, L, T) and status (S, L) of a kernel."""
    count = len(records) * lams.size
    out = np.full((rows.size, padded(count), arguments[-1].size), np.nan)
    status = np.zeros(padded(count), dtype=np.uint8)
    kernel(sizes, records, lams, *arguments, rows, out, status)
    shape = (len(records), lams.size)
    return out[:, :count].reshape(rows.size, *shape, -1), status[:count].reshape(shape)


def assert_equal_rows(actual, expected, tolerance):
    for row, values, others in zip(Row, actual, expected, strict=True):
        scale = 1.0 if row in (Row.KERNEL_DISTANCE, Row.BALANCE_DRIFT) else np.maximum(np.abs(others), 1e-2)
        near = np.abs(values - others) <= tolerance * scale
        assert (near | (np.isnan(values) & np.isnan(others))).all(), (row, values, others)


def assert_tiers_agree(sizes, records, lams, times, tolerance=1e-11):
    expected = run(lanes_closed_form, sizes, records, lams, times)
    actual = run(dynamics.closed_form, sizes, records, lams, times)
    # A network that decays to nothing has no kernel, in either tier: 0/0.
    assert np.array_equal(expected[1], actual[1])
    assert (actual[1] == np.where(np.isnan(actual[0]).any(axis=(0, 3)), Status.FAILED, Status.OK)).all()
    assert_equal_rows(actual[0], expected[0], tolerance)


lam_values = st.just(0.0) | st.floats(1e-3, 10) | st.floats(-10, -1e-3)


@given(
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 10**6),
    lams=st.lists(lam_values, min_size=1, max_size=3),
)
def test_closed_form_is_that_of_lanes(shape, seed, lams):
    sizes = Sizes(*shape)
    assert_tiers_agree(sizes, record(sizes, seed)[None], np.array(lams), TIMES)


@pytest.mark.parametrize("shape", SHAPES)
def test_closed_form_marches_like_lanes(shape):
    sizes = Sizes(*shape)
    records = np.stack([record(sizes, seed) for seed in range(3)])
    assert_tiers_agree(sizes, records, np.array([-4.0, 0.0, 0.5]), np.append(GRID, [40.0, np.inf]))


@given(n=st.sampled_from([1, 2, 3, 4]), wide=st.booleans(), seed=st.integers(0, 10**6))
def test_saddles_stay(n, wide, seed):
    sizes = Sizes(n, 2 * n if wide else n, n)
    made = record(sizes, seed, saddle=True)
    assert_tiers_agree(sizes, made[None], np.array([0.0]), TIMES)
    (loss,), _ = run(dynamics.closed_form, sizes, made[None], np.array([0.0]), TIMES, rows=ROWS[:1])
    # The direction that is never learned is the slowest.
    assert loss[0, 0, -1] == pytest.approx(0.3 + 0.5 * made[n - 1] ** 2, rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("by_gram", [False, True])
def test_gradient_descent_is_that_of_lanes(shape, by_gram):
    sizes, lams, steps = Sizes(*shape), np.array([-4.0, 0.0, 0.5]), np.array([0, 1, 50, 400])
    records = np.stack([record(sizes, seed) for seed in range(3)])
    expected = run(lanes_gradient_descent, sizes, records, lams, 0.01, steps)
    actual = run(partial(dynamics.gradient_descent, by_gram=by_gram), sizes, records, lams, 0.01, steps)
    assert np.array_equal(expected[1], actual[1])
    assert_equal_rows(actual[0], expected[0], 1e-11)


@pytest.mark.parametrize("shape", [*SHAPES, (3, 2, 20), (2, 6, 9), (9, 6, 2), (7, 3, 4)], ids=str)
@pytest.mark.parametrize("kind", ["gaussian", "random_regression", "aligned"])
def test_setup_is_that_of_lanes(shape, kind):
    """The same values, and vectors that differ by what no observable sees: signs and completions."""
    sizes, at = Sizes(*shape), Record(Sizes(*shape))
    arguments = (sizes, np.arange(5), max(9, shape[0]), 1.5, kind, 0.7)
    one, other = problems.draw_records(*arguments), blas_problems.draw_records(*arguments)
    for part in (slice(at.s, at.p), slice(at.p, at.floor), at.floor):
        assert np.allclose(one[:, part], other[:, part], rtol=1e-12, atol=1e-13)
    lams = np.array([-3.0, 0.8])
    solved = run(lanes_closed_form, sizes, one, lams, TIMES)
    again = run(lanes_closed_form, sizes, other, lams, TIMES)
    assert np.array_equal(solved[1], again[1])
    assert_equal_rows(solved[0], again[0], 1e-11)


@pytest.mark.parametrize("shape", [(4, 2, 4), (5, 3, 2), (2, 3, 5), (3, 8, 5), (5, 8, 3), (4, 1, 4)], ids=str)
def test_factors_are_those_of_a_product(shape):
    n_i, n_h, n_o = shape
    rng = np.random.default_rng(4)
    product = rng.standard_normal((n_o, n_h)) @ rng.standard_normal((n_h, n_i))
    for factorise in (problems.factorise, blas_problems.factorise):
        u, p, v = factorise(product, n_h)
        assert u.shape == (n_o, min(n_h, n_o)) and v.shape == (n_i, min(n_h, n_i))
        for vectors in (u, v):
            assert np.allclose(vectors.T @ vectors, np.eye(vectors.shape[1]), atol=1e-14)
        assert np.allclose((u[:, : p.size] * p) @ v[:, : p.size].T, product, atol=1e-13)


def test_diverging_runs_are_coded():
    sizes, steps = Sizes(4, 2, 4), np.array([0, 10, 400])
    out, status = run(
        dynamics.gradient_descent, sizes, record(sizes, 1)[None], np.array([0.0, 200.0]), 0.02, steps
    )
    assert status.tolist() == [[Status.OK, Status.DIVERGED]]
    assert np.isfinite(out[:, 0, 0]).all() and np.isfinite(out[:, 0, 1, 0]).all()
    assert np.isnan(out[:, 0, 1, 2]).all()


@pytest.mark.parametrize("kernel", [lanes_closed_form, dynamics.closed_form])
def test_a_network_without_kernel_fails(kernel):
    sizes = Sizes(3, 2, 3)
    empty = record(sizes, 0)[None].copy()
    empty[:, Record(sizes).p : Record(sizes).floor] = 0.0
    out, status = run(kernel, sizes, empty, np.array([0.0]), TIMES)
    assert status.tolist() == [[Status.FAILED]]
    assert np.isnan(out[Row.KERNEL_DISTANCE]).all() and np.isfinite(out[Row.LOSS]).all()


def test_rows_alone_are_the_rows_together():
    sizes, lams = Sizes(5, 2, 3), np.array([-1.0, 2.0])
    records = record(sizes, 3)[None]
    together, _ = run(dynamics.closed_form, sizes, records, lams, TIMES)
    for row in Row:
        alone, _ = run(dynamics.closed_form, sizes, records, lams, TIMES, rows=np.array([row]))
        assert alone[0] == pytest.approx(together[row], rel=1e-14)


@given(
    n_i=st.integers(1, 5),
    n_h=st.integers(1, 12),
    n_o=st.integers(1, 5),
    lam=lam_values,
    seed=st.integers(0, 10**6),
)
def test_follow_is_the_reference(n_i, n_h, n_o, lam, seed):
    rng = np.random.default_rng(seed)
    sigma_yx = rng.standard_normal((n_o, n_i))
    w1, w2 = reference.random_balanced(rng, n_i, n_h, n_o, lam, 1.0)
    u, s, vt = np.linalg.svd(sigma_yx)
    start = np.vstack([vt @ w1.T, u.T @ w2])
    times = np.array([0.0, 0.3, 5.0, 1e3])
    path, growth, lead, w, lift = dynamics.follow(Given(n_i, n_h, n_o), lam, s, start, times)
    assert (growth >= 0.0).all() and growth.shape == lead.shape == (n_h,)
    assert (np.diff(w) <= 0.0).all()
    assert lift == pytest.approx(np.where(w > 0.0, w - abs(lam) / 2, 0.0), abs=1e-12 * w[0])
    basis = block_diag(vt.T, u)
    for t, q in zip(times[1:], path[1:], strict=True):
        expected = reference.any_time(sigma_yx, w1, w2, lam, t)
        assert np.abs(basis @ q @ q.T @ basis.T - expected).max() <= 1e-8 * np.abs(expected).max()
