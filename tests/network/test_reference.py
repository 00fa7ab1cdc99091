"""The plain reference agrees with 60-digit values, an ODE solver, LAPACK and finite differences."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests import reference

CASES = json.loads((Path(__file__).parents[1] / "data" / "qqt_reference.json").read_text())["cases"]
CASE_NAMES = [case["name"] for case in CASES]

ARCHITECTURES = [  # one or two of every class: (n_i, n_h, n_o)
    (4, 2, 2),  # funnel
    (2, 2, 4),  # inverted funnel
    (3, 3, 3),  # square
    (4, 2, 4),  # bottleneck
    (5, 2, 3),
    (3, 1, 4),
    (2, 3, 4),  # hidden width between the two others
    (4, 3, 2),
    (2, 4, 4),  # hidden width equal to the larger
    (2, 5, 3),  # wide
    (3, 5, 2),
    (1, 1, 1),
]
LAMS = [-2.0, 0.0, 0.7]


def network(n_i, n_h, n_o, lam, seed=0):
    """Return a task's sigma_yx (N_o, N_i) and lam-balanced (w1, w2) that are not aligned with it."""
    rng = np.random.default_rng([seed, n_i, n_h, n_o])
    x, y = reference.random_task(rng, n_i, n_o, 20, math.sqrt(3 * n_o))
    w1, w2 = reference.random_balanced(rng, n_i, n_h, n_o, lam)
    return y @ x.T / 20, w1, w2


def stored(case):
    """Return the problem of a stored case: sigma_yx, w1, w2, lam."""
    return np.array(case["sigma_yx"]), np.array(case["W1"]), np.array(case["W2"]), case["lam"]


def riccati_matrix(sigma_yx, lam):
    """Return F (N, N) of the Riccati equation, entry by entry."""
    n_o, n_i = sigma_yx.shape
    return np.block([[-lam / 2 * np.eye(n_i), sigma_yx.T], [sigma_yx, lam / 2 * np.eye(n_o)]])


def assert_close(actual, expected, tolerance):
    """Check that the largest difference is at most ``tolerance`` times the largest expected entry."""
    difference = abs(np.asarray(actual) - expected).max()
    assert difference <= tolerance * abs(np.asarray(expected)).max()


def distance_from_blocks(first, last, n_i):
    """Return S(t) for whitened inputs from two QQ^T, by the traces of the Kronecker products."""

    def inner(a, b):
        m, k, other_m, other_k = a[:n_i, :n_i], a[n_i:, n_i:], b[:n_i, :n_i], b[n_i:, n_i:]
        crossed = np.trace(m) * np.trace(other_k) + np.trace(other_m) * np.trace(k)
        return len(k) * np.sum(m * other_m) + crossed + n_i * np.sum(k * other_k)

    return 1 - inner(first, last) / math.sqrt(inner(first, first) * inner(last, last))


# ---------------------------------------------------------------- against stored 60-digit values


@pytest.mark.parametrize("case", CASES, ids=CASE_NAMES)
def test_march_and_any_time_reproduce_high_precision_qqt(case):
    marched = reference.march(*stored(case), case["times"])
    for t, step, expected in zip(case["times"], marched, case["qqt"], strict=True):
        assert_close(step, expected, 1e-11)
        assert_close(reference.any_time(*stored(case), t), expected, 1e-11)


@pytest.mark.parametrize("case", CASES, ids=CASE_NAMES)
def test_loss_reproduces_high_precision_values(case):
    sigma_yx, *_ = problem = stored(case)
    weights = reference.march_weights(*problem, case["times"])
    for (w1, w2), expected in zip(weights, case["loss_excess"], strict=True):
        scale = np.linalg.norm(w2 @ w1) * (np.linalg.norm(sigma_yx) + np.linalg.norm(w2 @ w1))
        assert abs(reference.loss(w1, w2, sigma_yx, 0.0) - expected) <= 1e-11 * scale


@pytest.mark.parametrize("case", CASES, ids=CASE_NAMES)
def test_kernel_distance_reproduces_high_precision_values(case):
    marched = reference.march(*stored(case), case["times"])
    start = reference.qqt(np.array(case["W1"]), np.array(case["W2"]))
    got = [distance_from_blocks(start, now, case["n_i"]) for now in marched]
    np.testing.assert_allclose(got, case["kernel_distance"], rtol=0, atol=1e-11)


@pytest.mark.parametrize("case", [CASES[0], CASES[5]], ids=[CASE_NAMES[0], CASE_NAMES[5]])
def test_kernel_distance_of_the_dense_kernels_is_the_same_number(case):
    sigma_yx, w1, w2, lam = stored(case)
    x, _ = reference.random_task(np.random.default_rng(1), case["n_i"], case["n_o"], 9, 1.0)
    kernel = reference.ntk(w1, w2, x)
    for (a, b), expected in zip(
        reference.march_weights(sigma_yx, w1, w2, lam, case["times"]),
        case["kernel_distance"],
        strict=True,
    ):
        got = reference.kernel_distance(kernel, reference.ntk(a, b, x))
        assert got == pytest.approx(expected, rel=0, abs=1e-11)


# ---------------------------------------------------------------- closed forms


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("shape", ARCHITECTURES, ids=str)
def test_closed_forms_follow_the_flow_of_an_ode_solver(shape, lam):
    problem = *network(*shape, lam), lam
    times = [0.0, 0.3, 1.0, 2.5]
    flow = reference.flow_ode(*problem[:3], times)
    for t, pair in zip(times, flow, strict=True):
        expected = reference.qqt(*pair)
        # The solver's local tolerance of 1e-12 accumulates to below 1e-10 over these times.
        assert_close(reference.theorem_a3(*problem, t), expected, 1e-10)
        assert_close(reference.any_time(*problem, t), expected, 1e-10)


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("shape", ARCHITECTURES, ids=str)
def test_the_three_closed_forms_agree_far_below_the_error_of_the_solver(shape, lam):
    problem = *network(*shape, lam), lam
    times = [0.2, 1.0, 3.0]
    for t, step in zip(times, reference.march(*problem, times), strict=True):
        assert_close(reference.theorem_a3(*problem, t), step, 1e-11)
        assert_close(reference.any_time(*problem, t), step, 1e-12)


@pytest.mark.parametrize("lam", [-9.0, -0.3, 0.0, 1e-9, 2.0])
@pytest.mark.parametrize(
    "sigma_yx",
    [
        np.random.default_rng(2).standard_normal((2, 4)),
        np.random.default_rng(3).standard_normal((4, 2)),
        np.random.default_rng(4).standard_normal((3, 3)),
        np.outer([1.0, 2.0, -1.0], [0.5, 0.0, 1.0, 3.0]),  # two singular values are zero
        np.diag([1.5, 1.5, 1.5]),  # all equal
        np.diag([1.0, 1e-9]),
        np.zeros((2, 3)),
    ],
    ids=["2x4", "4x2", "3x3", "rank one", "degenerate", "near zero", "zero"],
)
def test_eigen_system_diagonalises_f(sigma_yx, lam):
    f = riccati_matrix(sigma_yx, lam)
    w, p = reference.eigen_system(sigma_yx, lam)
    rounding = 1e-14 * max(np.linalg.norm(f), 1e-300)
    np.testing.assert_allclose(p.T @ p, np.eye(len(f)), rtol=0, atol=1e-14)
    np.testing.assert_allclose(f @ p, p @ np.diag(w), rtol=0, atol=rounding)
    np.testing.assert_allclose(w, np.linalg.eigvalsh(f)[::-1], rtol=0, atol=rounding)
    assert np.all(np.diff(w) <= 0)


@pytest.mark.parametrize("case", CASES, ids=CASE_NAMES)
def test_the_limit_is_where_the_flow_ends_and_is_stationary(case):
    problem = stored(case)
    limit = reference.at_infinity(*problem)
    f = riccati_matrix(problem[0], problem[3])
    rounding = 1e-13 * np.linalg.norm(f) ** 2
    np.testing.assert_allclose(f @ limit + limit @ f, limit @ limit, rtol=0, atol=rounding)
    # At t = 1e4 the slowest of all transients is below e^-200. The difference is rounding, which splits a
    # repeated eigenvalue by about 1e-16 and grows in proportion to t.
    assert_close(reference.any_time(*problem, 1e4), limit, 1e-10)


def test_a_mode_that_is_not_reached_stays_away_through_rounding():
    # At lam = 0 the sign of det(W2 W1) is conserved. It is opposite to the target's, so that the weakest mode
    # is never learned and the flow ends in a saddle. Its exact start is a zero of K. Rounding makes 1e-16 of
    # it, which e^{w t} would amplify.
    rng = np.random.default_rng(13)
    u, v, rotation = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(3))
    flipped = u * [1.0, 1.0, -1.0]
    w1, w2 = reference.balanced_weights(flipped, np.array([0.5, 0.2, 0.1]), v, 0.0, 3, rotation)
    problem = u @ np.diag([3.0, 2.0, 1.0]) @ v.T, w1, w2, 0.0
    saddle = u @ np.diag([3.0, 2.0, 0.0]) @ v.T
    np.testing.assert_allclose(reference.at_infinity(*problem)[3:, :3], saddle, atol=1e-13)
    np.testing.assert_allclose(reference.any_time(*problem, 1e3)[3:, :3], saddle, atol=1e-13)


def test_zero_weights_never_move():
    zero = np.ones((2, 3)), np.zeros((2, 3)), np.zeros((2, 2)), 0.0
    for end in (*reference.march(*zero, [1.0]), reference.any_time(*zero, 1e3)):
        np.testing.assert_array_equal(end, np.zeros((5, 5)))
    np.testing.assert_array_equal(reference.at_infinity(*zero), np.zeros((5, 5)))


# ---------------------------------------------------------------- initialisation and tasks


@pytest.mark.parametrize("lam", [-9.0, -1.0, 0.0, 1e-6, 0.5, 9.0])
@pytest.mark.parametrize("shape", ARCHITECTURES, ids=str)
def test_balanced_weights_are_balanced_and_keep_the_product(shape, lam):
    n_i, n_h, n_o = shape
    rng = np.random.default_rng(5)
    # A product of rank at most n_h, as Algorithm 1 decomposes it.
    product = rng.standard_normal((n_o, n_h)) @ rng.standard_normal((n_h, n_i))
    u, p, vt = np.linalg.svd(product)
    rotation, _ = np.linalg.qr(rng.standard_normal((n_h, n_h)))
    w1, w2 = reference.balanced_weights(u, p, vt.T, lam, n_h, rotation)
    off = reference.balance(w1, w2) - lam * np.eye(n_h)
    q = np.vstack([w1.T, w2])
    size = np.linalg.norm(q) ** 2
    assert (w1.shape, w2.shape) == ((n_h, n_i), (n_o, n_h))
    assert_close(w2 @ w1, product, 1e-14 * max(1.0, size / abs(product).max()))
    assert abs(q @ off).max() <= 1e-14 * size**1.5
    strict = lam == 0 or (lam > 0 and n_h <= n_o) or (lam < 0 and n_h <= n_i)
    if strict:
        assert abs(off).max() <= 1e-14 * size
    else:  # the surplus hidden units are silent, and their balance is 0 instead of lam
        assert np.linalg.norm(off, 2) == pytest.approx(abs(lam), rel=1e-12)


def test_balanced_weights_lose_no_digits_when_one_layer_is_tiny():
    u, v = np.eye(2), np.eye(2)
    w1, w2 = reference.balanced_weights(u, np.array([1e-9, 1e-12]), v, 9.0, 2)
    np.testing.assert_allclose(np.diag(w2 @ w1), [1e-9, 1e-12], rtol=1e-15)
    # s1 = s / s2 with s2 = 3 to rounding. The difference of squares would lose all digits.
    np.testing.assert_allclose(np.diag(w1), [1e-9 / 3, 1e-12 / 3], rtol=1e-15)


def test_random_balanced_has_the_product_of_the_raw_weights():
    w1, w2 = reference.random_balanced(np.random.default_rng(6), 4, 3, 5, 0.8, init_scale=2.0)
    rng = np.random.default_rng(6)
    raw1, raw2 = 2.0 * rng.standard_normal((3, 4)), 2.0 * rng.standard_normal((5, 3))
    assert_close(w2 @ w1, raw2 @ raw1, 1e-14)
    assert_close(reference.balance(w1, w2), 0.8 * np.eye(3), 1e-13)
    assert abs(w1 @ w1.T - np.diag(np.diag(w1 @ w1.T))).max() > 0.1  # the hidden rotation is applied


def test_random_task_is_whitened_and_scaled():
    x, y = reference.random_task(np.random.default_rng(7), 3, 4, 20_000, 0.5)
    np.testing.assert_allclose(x @ x.T / 20_000, np.eye(3), rtol=0, atol=1e-14)
    # The standard deviation of 80 000 values is known to 0.25 %. The tolerance is four times that.
    assert y.std() == pytest.approx(0.5 / 2, rel=0.01)


# ---------------------------------------------------------------- gradient descent


@pytest.mark.parametrize("shape", ARCHITECTURES, ids=str)
def test_gram_form_is_gradient_descent(shape):
    sigma_yx, w1, w2 = network(*shape, 0.7)
    plain = reference.gradient_descent(sigma_yx, w1, w2, 0.01, 300)
    gram = reference.gradient_descent_gram(sigma_yx, w1, w2, 0.01, 300)
    for a, b in zip(plain, gram, strict=True):
        assert_close(b, a, 1e-12)


def test_gradient_descent_steps_down_the_loss_of_the_data():
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((3, 7)), rng.standard_normal((2, 7))  # inputs not whitened
    w1, w2 = rng.standard_normal((4, 3)), rng.standard_normal((2, 4))
    sigma_yx, sigma_xx, yy = y @ x.T / 7, x @ x.T / 7, np.sum(y**2) / 7
    data_loss = np.sum((y - w2 @ w1 @ x) ** 2) / 14
    assert reference.loss(w1, w2, sigma_yx, yy, sigma_xx) == pytest.approx(data_loss, rel=1e-13)
    stepped = reference.gradient_descent(sigma_yx, w1, w2, 0.1, 1, sigma_xx)
    h = 0.5  # the loss is quadratic in either layer, so central differences are exact
    for layer, (old, new) in enumerate(zip((w1, w2), stepped, strict=True)):
        for index in np.ndindex(old.shape):
            bump = np.zeros_like(old)
            bump[index] = h
            up = (w1 + bump, w2) if layer == 0 else (w1, w2 + bump)
            down = (w1 - bump, w2) if layer == 0 else (w1, w2 - bump)
            slope = np.sum((y - up[1] @ up[0] @ x) ** 2) - np.sum((y - down[1] @ down[0] @ x) ** 2)
            assert new[index] - old[index] == pytest.approx(-0.1 * slope / 14 / (2 * h), abs=1e-12)


def test_gradient_descent_converges_to_the_flow_at_order_one():
    problem = *network(4, 2, 4, -1.0), -1.0
    exact = reference.any_time(*problem, 1.0)
    errors = []
    for steps in (200, 400, 800):
        weights = reference.gradient_descent(*problem[:3], 1 / steps, steps)
        errors.append(abs(reference.qqt(*weights) - exact).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, 1.0, rtol=0, atol=0.05)


# ---------------------------------------------------------------- observables


def test_ntk_is_the_gram_matrix_of_the_jacobian():
    rng = np.random.default_rng(9)
    w1, w2, x = (rng.standard_normal(shape) for shape in [(2, 3), (4, 2), (3, 5)])
    columns = []
    for layer, weights in enumerate((w1, w2)):
        for index in np.ndindex(weights.shape):
            unit = np.zeros_like(weights)
            unit[index] = 1.0  # the output is linear in either layer
            columns.append((w2 @ unit @ x if layer == 0 else unit @ w1 @ x).ravel())
    jacobian = np.array(columns).T
    assert_close(reference.ntk(w1, w2, x), jacobian @ jacobian.T, 1e-14)


def test_similarity_matrices():
    rng = np.random.default_rng(10)
    w1, w2 = rng.standard_normal((2, 3)), rng.standard_normal((4, 2))
    x, y = rng.standard_normal((3, 6)), rng.standard_normal((4, 6))
    hidden = w1 @ x
    assert_close(reference.rsm_input(w1, x), hidden.T @ hidden, 1e-14)
    least_squares, *_ = np.linalg.lstsq(w2, y, rcond=None)  # the hidden activity that explains y
    assert_close(reference.rsm_output(w2, y), least_squares.T @ least_squares, 1e-13)
    # A silent or a repeated hidden unit, as in wide networks, does not change the rank.
    wide = np.hstack([w2, np.zeros((4, 1))])
    assert_close(reference.rsm_output(wide, y), reference.rsm_output(w2, y), 1e-13)
    repeated = np.hstack([w2, w2]) / math.sqrt(2)
    assert_close(reference.rsm_output(repeated, y), reference.rsm_output(w2, y), 1e-13)


def test_effective_rank_of_known_spectra():
    rng = np.random.default_rng(11)
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    assert reference.effective_rank(2.5 * rotation) == pytest.approx(3.0, rel=1e-14)
    assert reference.effective_rank(np.outer([1.0, 0.0], [0.0, 2.0])) == 1.0
    assert reference.effective_rank(np.zeros((2, 3))) == 0.0
    # Shares 3/4 and 1/4: exp(log 4 - (3/4) log 3) = 4 / 3^(3/4).
    assert reference.effective_rank(np.diag([3.0, 1.0])) == pytest.approx(4 / 3**0.75, rel=1e-14)


def test_balance_is_conserved_by_the_flow():
    rng = np.random.default_rng(12)  # the weights need not be balanced
    w1, w2, sigma_yx = (rng.standard_normal(shape) for shape in [(3, 4), (2, 3), (2, 4)])
    before = reference.balance(w1, w2)
    for pair in reference.flow_ode(sigma_yx, w1, w2, [0.5, 2.0, 5.0]):
        assert_close(reference.balance(*pair), before, 1e-10)
