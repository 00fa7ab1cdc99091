"""The BLAS kernels for large networks agree with the lanes on sizes that both can compute."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from scipy.linalg import block_diag

from fastlin.kernels import Batch
from fastlin.kernels.batch import padded
from fastlin.kernels.blas import dynamics, starts, time_scales
from fastlin.kernels.blas import problems as blas_problems
from fastlin.kernels.blas.workspace import doubles, evolving, observing, shape_of
from fastlin.kernels.codes import Output, Status
from fastlin.kernels.sizes import Record, Sizes, UnreducedSizes
from fastlin.kernels.vector import closed_form as vector_closed_form
from fastlin.kernels.vector import gradient_descent as vector_gradient_descent
from fastlin.kernels.vector import problems
from tests import reference
from tests.networks import problem

SHAPES = [(4, 2, 4), (5, 2, 3), (3, 8, 5), (5, 8, 3), (9, 1, 2), (4, 4, 4), (3, 8, 3), (1, 1, 1)]
SHAPES += [(12, 10, 11)]
ROWS = np.array(list(Output), dtype=np.int64)
TIMES = np.array([0.0, 0.3, 5.0, 1e6, np.inf])
GRID = np.linspace(0.0, 3.0, 16)


def lanes_closed_form(sizes, records, lams, times, rows, out, status):
    batch = Batch(records, lams, times, out, status)
    vector_closed_form.prepare(sizes, tuple(rows.tolist()), batch, specialise=False)()


def lanes_gradient_descent(sizes, records, lams, rate, steps, rows, out, status):
    batch = Batch(records, lams, steps, out, status)
    vector_gradient_descent.prepare(sizes, tuple(rows.tolist()), batch, rate, specialise=False)()


def blas_closed_form(sizes, records, lams, times, rows, out, status):
    batch = Batch(records, lams, times, out, status)
    dynamics.prepare_closed_form(sizes, tuple(rows.tolist()), batch)()


def blas_gradient_descent(sizes, records, lams, rate, steps, rows, out, status, by_gram=None):
    batch = Batch(records, lams, steps, out, status)
    dynamics.prepare_gradient_descent(sizes, tuple(rows.tolist()), batch, rate, by_gram)()


def blas_time_scales(sizes, records, lams, out, status):
    batch = Batch(records, lams, np.empty(0), out[..., None], status)
    time_scales.prepare(sizes, (0, 1, 2), batch, 0.9)()


def record(sizes, seed, saddle=False):
    """Return the `Record` of random weights and a random task, on the inset of a saddle if `saddle`.

    The sign of det W2 W1 of a square network is conserved at lam = 0, so it decides which minima are reached.
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
    """Return the outputs (R, S, L, T) and the status (S, L) of a kernel."""
    count = len(records) * lams.size
    out = np.full((rows.size, padded(count), arguments[-1].size), np.nan)
    status = np.zeros(padded(count), dtype=np.uint8)
    kernel(sizes, records, lams, *arguments, rows, out, status)
    shape = (len(records), lams.size)
    return out[:, :count].reshape(rows.size, *shape, -1), status[:count].reshape(shape)


def assert_equal_rows(actual, expected, tolerance):
    for row, values, others in zip(Output, actual, expected, strict=True):
        scale = (
            1.0 if row in (Output.KERNEL_DISTANCE, Output.BALANCE_DRIFT) else np.maximum(np.abs(others), 1e-2)
        )
        near = np.abs(values - others) <= tolerance * scale
        assert (near | (np.isnan(values) & np.isnan(others))).all(), (row, values, others)


def assert_tiers_agree(sizes, records, lams, times, tolerance=1e-11):
    expected = run(lanes_closed_form, sizes, records, lams, times)
    actual = run(blas_closed_form, sizes, records, lams, times)
    # The kernel distance of a network that decays to nothing is 0/0 in both tiers.
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
    (loss,), _ = run(blas_closed_form, sizes, made[None], np.array([0.0]), TIMES, rows=ROWS[:1])
    # The direction that is never learned is the slowest.
    assert loss[0, 0, -1] == pytest.approx(0.3 + 0.5 * made[n - 1] ** 2, rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("by_gram", [False, True])
def test_gradient_descent_is_that_of_lanes(shape, by_gram):
    sizes, lams, steps = Sizes(*shape), np.array([-4.0, 0.0, 0.5]), np.array([0, 1, 50, 400])
    records = np.stack([record(sizes, seed) for seed in range(3)])
    expected = run(lanes_gradient_descent, sizes, records, lams, 0.01, steps)
    actual = run(partial(blas_gradient_descent, by_gram=by_gram), sizes, records, lams, 0.01, steps)
    assert np.array_equal(expected[1], actual[1])
    assert_equal_rows(actual[0], expected[0], 1e-11)


@pytest.mark.parametrize("shape", [*SHAPES, (3, 2, 20), (2, 6, 9), (9, 6, 2), (7, 3, 4)], ids=str)
@pytest.mark.parametrize("kind", ["gaussian", "random_regression", "aligned"])
def test_setup_is_that_of_lanes(shape, kind):
    """The values are equal. The vectors may differ by signs and completions, which no output shows."""
    sizes, at = Sizes(*shape), Record(Sizes(*shape))
    arguments = (sizes, np.arange(5), problem(kind, max(9, shape[0]), 1.5, 0.7), np.full(5, 0.7))
    one, other = problems.draw_records(*arguments, False), blas_problems.draw_records(*arguments)
    for part in (slice(at.s, at.p), slice(at.p, at.floor), at.floor):
        assert np.allclose(one[:, part], other[:, part], rtol=1e-12, atol=1e-13)
    lams = np.array([-3.0, 0.8])
    solved = run(lanes_closed_form, sizes, one, lams, TIMES)
    solved_by_lapack = run(lanes_closed_form, sizes, other, lams, TIMES)
    assert np.array_equal(solved[1], solved_by_lapack[1])
    assert_equal_rows(solved[0], solved_by_lapack[0], 1e-11)


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


@njit
def write_start(shape, made, lam, start):
    return starts.write_start(shape, made, lam, start)


def test_python_cannot_call_a_part_of_a_kernel():
    with pytest.raises(TypeError, match="prefers_gram can only be called by compiled code"):
        dynamics.prefers_gram(shape_of(Sizes(2, 2, 2)), 2)


def assert_reference(sizes, seed, lam):
    """Compare all outputs with the plain formulas, along a grid and at a late time."""
    made, times = record(sizes, seed), np.array([0.0, 0.02, 0.04, 0.06, 5.0])
    out, status = run(blas_closed_form, sizes, made[None], np.array([lam]), times)
    assert status.tolist() == [[Status.OK]]
    start = np.zeros((sizes.width, sizes.n))
    count = write_start(shape_of(sizes), made, lam, start)
    w1, w2 = start[:count, : sizes.rows_i], start[:count, sizes.rows_i :].T
    target = np.zeros((sizes.rows_o, sizes.rows_i))
    np.fill_diagonal(target, made[: sizes.m])
    first = Kernel(sizes, np.vstack([w1.T, w2]) @ np.hstack([w1, w2.T]))
    for index, t in enumerate(times):
        kernel = Kernel(sizes, reference.any_time(target, w1, w2, lam, t))
        values = np.linalg.svd(kernel.product, compute_uv=False)
        share = values[values > 1e-300] / values.sum()
        expected = {
            Output.LOSS: 0.3 + 0.5 * np.sum((target - kernel.product) ** 2),
            Output.KERNEL_DISTANCE: 1
            - first.inner(kernel) / np.sqrt(first.inner(first) * kernel.inner(kernel)),
            Output.NTK_NORM: np.sqrt(kernel.inner(kernel)),
            Output.W1_NORM: np.sqrt(kernel.inputs.trace()),
            Output.W2_NORM: np.sqrt(kernel.outputs.trace()),
            Output.BALANCE_DRIFT: 0.0,
            Output.EFFECTIVE_RANK: np.exp(-(share @ np.log(share))),
        }
        for row, value in expected.items():
            assert out[row, 0, 0, index] == pytest.approx(value, rel=1e-8, abs=1e-9), (row, t)


class Kernel:
    """The NTK of a QQ^T of whitened inputs, by its two factors."""

    def __init__(self, sizes, qqt):
        self.sizes, rows = sizes, sizes.rows_i
        self.inputs, self.outputs, self.product = qqt[:rows, :rows], qqt[rows:, rows:], qqt[rows:, :rows]

    def inner(self, other):
        inputs, outputs = np.vdot(self.inputs, other.inputs), np.vdot(self.outputs, other.outputs)
        traces = self.inputs.trace() * other.outputs.trace() + self.outputs.trace() * other.inputs.trace()
        return self.sizes.n_o * inputs + self.sizes.n_i * outputs + traces


@given(
    sizes=st.builds(Sizes, st.integers(1, 14), st.integers(1, 20), st.integers(1, 14)),
    seed=st.integers(0, 10**6),
    lam=lam_values,
)
def test_any_size_is_the_reference(sizes, seed, lam):
    assert_reference(sizes, seed, lam)


@pytest.mark.parametrize("shape", [(60, 45, 50), (12, 60, 90), (90, 60, 12), (41, 41, 41)], ids=str)
@pytest.mark.parametrize("lam", [-2.0, 0.0, 2.0])
def test_large_sizes_are_the_reference(shape, lam):
    """Large networks use triangles of Gram matrices and blocks of reflections."""
    assert_reference(Sizes(*shape), 5, lam)


@pytest.mark.parametrize("shape", [(50, 41, 45), (12, 60, 90), (100, 3, 90)], ids=str)
@pytest.mark.parametrize("by_gram", [False, True])
def test_descent_beyond_lanes_is_that_of_numpy(shape, by_gram):
    sizes, rate, steps = Sizes(*shape), 1e-3, np.array([0, 1, 30])
    made, lam = record(sizes, 6), -0.5
    out, status = run(
        partial(blas_gradient_descent, by_gram=by_gram), sizes, made[None], np.array([lam]), rate, steps
    )
    assert status.tolist() == [[Status.OK]]
    start = np.zeros((sizes.width, sizes.n))
    count = write_start(shape_of(sizes), made, lam, start)
    q = start[:count].T.copy()
    x, y = q[: sizes.rows_i], q[sizes.rows_i :]
    target = np.zeros((sizes.rows_o, sizes.rows_i))
    np.fill_diagonal(target, made[: sizes.m])
    balance = y.T @ y - x.T @ x
    for step in range(31):
        if step in steps:
            index = steps.tolist().index(step)
            loss = 0.3 + 0.5 * np.sum((target - y @ x.T) ** 2)
            drift = np.linalg.norm(y.T @ y - x.T @ x - balance)
            assert out[Output.LOSS, 0, 0, index] == pytest.approx(loss, rel=1e-12)
            assert out[Output.BALANCE_DRIFT, 0, 0, index] == pytest.approx(drift, rel=1e-9, abs=1e-11)
        error = target - y @ x.T
        x, y = x + rate * error.T @ y, y + rate * error @ x


@pytest.mark.parametrize("place", ["s", "p", "floor", "v", "u"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_point_fails_alone(place, value, capfd):
    sizes = Sizes(5, 3, 4)
    at = Record(sizes)
    records = np.stack([record(sizes, seed) for seed in range(3)])
    records[1, getattr(at, place)] = value
    lams, steps = np.array([-1.0, 0.5]), np.array([0, 5])
    good = Status.OK
    for kernel, arguments in (
        (blas_closed_form, (np.append(GRID, np.inf),)),
        (blas_gradient_descent, (0.01, steps)),
    ):
        alone, _ = run(kernel, sizes, records[[0, 2]], lams, *arguments)
        out, status = run(kernel, sizes, records, lams, *arguments)
        assert (status[[0, 2]] == good).all() and np.array_equal(out[:, [0, 2]], alone)
        assert np.isin(status[1], [Status.FAILED, Status.DIVERGED]).all()
        if place != "floor":
            assert np.isnan(out[:, 1]).all() or kernel is blas_gradient_descent
        assert not np.isfinite(out[Output.LOSS, 1]).any()
    scales, status = np.full((3, padded(6)), np.nan), np.zeros(padded(6), np.uint8)
    blas_time_scales(sizes, records, lams, scales, status)
    assert status[[0, 1, 4, 5]].tolist() == [good] * 4
    assert place == "floor" or status[[2, 3]].tolist() == [Status.FAILED] * 2
    assert capfd.readouterr() == ("", "")  # LAPACK prints a message if an argument is wrong


def test_diverging_runs_are_coded():
    sizes, steps = Sizes(4, 2, 4), np.array([0, 10, 400])
    out, status = run(
        blas_gradient_descent, sizes, record(sizes, 1)[None], np.array([0.0, 200.0]), 0.02, steps
    )
    assert status.tolist() == [[Status.OK, Status.DIVERGED]]
    assert np.isfinite(out[:, 0, 0]).all() and np.isfinite(out[:, 0, 1, 0]).all()
    assert np.isnan(out[:, 0, 1, 2]).all()


@pytest.mark.parametrize("kernel", [lanes_closed_form, blas_closed_form])
def test_a_network_without_kernel_fails(kernel):
    sizes = Sizes(3, 2, 3)
    empty = record(sizes, 0)[None].copy()
    empty[:, Record(sizes).p : Record(sizes).floor] = 0.0
    out, status = run(kernel, sizes, empty, np.array([0.0]), TIMES)
    assert status.tolist() == [[Status.FAILED]]
    assert np.isnan(out[Output.KERNEL_DISTANCE]).all() and np.isfinite(out[Output.LOSS]).all()


def test_single_outputs_equal_those_computed_together():
    sizes, lams = Sizes(5, 2, 3), np.array([-1.0, 2.0])
    records = record(sizes, 3)[None]
    together, _ = run(blas_closed_form, sizes, records, lams, TIMES)
    for row in Output:
        alone, _ = run(blas_closed_form, sizes, records, lams, TIMES, rows=np.array([row]))
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
    path, growth, lead, w, lift = dynamics.follow(UnreducedSizes(n_i, n_h, n_o), lam, s, start, times)
    assert (growth >= 0.0).all() and growth.shape == lead.shape == (n_h,)
    assert (np.diff(w) <= 0.0).all()
    assert lift == pytest.approx(np.where(w > 0.0, w - abs(lam) / 2, 0.0), abs=1e-12 * w[0])
    basis = block_diag(vt.T, u)
    for t, q in zip(times[1:], path[1:], strict=True):
        expected = reference.any_time(sigma_yx, w1, w2, lam, t)
        assert np.abs(basis @ q @ q.T @ basis.T - expected).max() <= 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("shape", [(4, 2, 4), (3, 8, 5), (784, 64, 10), (9, 1, 300)], ids=str)
def test_memory_of_blas_kernels_is_the_sum_of_their_arrays(shape):
    sizes = Sizes(*shape)
    arrays = sum(array.size for array in (*evolving(sizes), *observing(sizes)))
    assert doubles(sizes) == arrays + 4 * sizes.n * sizes.width


@pytest.mark.parametrize("spoil", [False, True])
def test_kernels_leave_denormals_as_they_were(spoil):
    sizes = Sizes(4, 2, 4)
    made = record(sizes, 1)[None].copy()
    if spoil:
        made[0, 0] = np.nan
    run(blas_closed_form, sizes, made, np.array([200.0]), TIMES)
    run(blas_gradient_descent, sizes, made, np.array([200.0]), 0.02, np.array([400]))
    out, status = np.empty((3, padded(1))), np.empty(padded(1), np.uint8)
    blas_time_scales(sizes, made, np.array([1.0]), out, status)
    assert np.full(4, np.finfo(float).tiny).prod(where=[True, False, False, False], initial=0.5) > 0.0


def test_kernels_hold_no_lock():
    for kernel in (
        dynamics._solve_points,
        dynamics._descend_points,
        dynamics._follow,
        time_scales._scales_of_points,
    ):
        assert kernel.targetoptions["nogil"]
