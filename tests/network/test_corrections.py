"""One test for each place where the paper's printed formulas had to be corrected.

Each test compares the corrected formula with an independent result (LAPACK's symmetric eigensolver, an ODE
solver, exact decimal arithmetic), and shows that the printed formula fails the same comparison by far more
than rounding. The library's result must agree with the corrected formula where it evaluates it.

One further misprint cannot be tested: the heading of appendix B.4 names "Figure 5", but it describes Figure
2.
"""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import fastlin as fl
from tests import reference

UNEQUAL = [(4, 2, 2), (2, 2, 4), (4, 2, 3), (2, 3, 4), (4, 3, 2)]  # (n_i, n_h, n_o), N_i != N_o
SOLVER = 1e-10  # largest accumulated error of the ODE solver at a local tolerance of 1e-12


def network(n_i, n_h, n_o, lam, seed=0):
    """Return a task's sigma_yx (N_o, N_i) and lam-balanced (w1, w2) that are not aligned with it."""
    rng = np.random.default_rng([seed, n_i, n_h, n_o])
    x, y = reference.random_task(rng, n_i, n_o, 20, math.sqrt(3 * n_o))
    w1, w2 = reference.random_balanced(rng, n_i, n_h, n_o, lam)
    return y @ x.T / 20, w1, w2


def flow(sigma_yx, w1, w2, t):
    """Return QQ^T(t) by an ODE solver, without any formula of the paper."""
    return reference.qqt(*reference.flow_ode(sigma_yx, w1, w2, [t])[0])


def riccati_matrix(sigma_yx, lam):
    """Return F (N, N), entry by entry."""
    n_o, n_i = sigma_yx.shape
    return np.block([[-lam / 2 * np.eye(n_i), sigma_yx.T], [sigma_yx, lam / 2 * np.eye(n_o)]])


def equations_7_and_8(sigma_yx, lam, sign, printed_h=False):
    """Return P (N, N) and the diagonal of Lambda (N,), literally. ``sign`` is that of lam_perp."""
    n_o, n_i = sigma_yx.shape
    m = min(n_i, n_o)
    u, s, vt = np.linalg.svd(sigma_yx)
    s_lam = np.sqrt(s**2 + lam**2 / 4)
    h = lam / 2 / (s_lam + s)
    if printed_h:
        h = np.sign(lam) * np.sqrt((s_lam - s) / (s_lam + s))
    g = 1 / np.sqrt(1 + h**2)
    plus, minus = g + h * g, g - h * g
    perp = np.vstack([vt[m:].T, np.zeros((n_o, n_i - m))])
    if n_o > n_i:
        perp = np.vstack([np.zeros((n_i, n_o - m)), u[:, m:]])
    first = np.vstack([vt[:m].T * minus, u[:, :m] * plus]) / math.sqrt(2)
    second = np.vstack([vt[:m].T * plus, -u[:, :m] * minus]) / math.sqrt(2)
    lam_perp = np.full(abs(n_o - n_i), sign * lam / 2)
    return np.hstack([first, second, perp]), np.concatenate([s_lam, -s_lam, lam_perp])


def equation_2(p, w, phi, w1, w2, t):
    """Return Eq 2 with the diagonal ``phi`` (N,) in place of (e^{2 Lambda t} - I) / (2 Lambda)."""
    k = p.T @ np.vstack([w1.T, w2])
    half = p @ (np.exp(w * t)[:, None] * k)
    return half @ np.linalg.solve(np.eye(k.shape[1]) + k.T @ (phi[:, None] * k), half.T)


def growth(w, t):
    """Return (e^{2 w t} - 1) / (2 w). No w is zero."""
    return np.expm1(2 * w * t) / (2 * w)


def distance(a, b):
    """Return the largest difference of two QQ^T in units of the largest entry of the second."""
    return abs(a - b).max() / abs(b).max()


@pytest.mark.parametrize("lam", [-1.5, 1.5])
def test_a2_is_a_difference_not_a_product(lam):
    def printed(w1, w2):
        return w2.T @ w2 @ w1 @ w1.T

    sigma_yx, w1, w2 = network(3, 2, 4, lam)
    later = reference.flow_ode(sigma_yx, w1, w2, [2.0])[0]
    net = fl.balanced_init(fl.Architecture(n_i=3, n_h=2, n_o=4), lam=lam, init_scale=1.0, seed=0)
    for weights in [(w1, w2), later, (net.w1, net.w2)]:
        difference = reference.balance(*weights)
        np.testing.assert_allclose(difference, lam * np.eye(2), rtol=0, atol=SOLVER)
        assert abs(printed(*weights) - lam * np.eye(2)).max() > 0.1
    # The product is not conserved, either. The difference is, so that a condition at the start is enough.
    assert abs(printed(*later) - printed(w1, w2)).max() > 0.1


@pytest.mark.parametrize("lam", [-1.5, 1.5])
@pytest.mark.parametrize("shape", [(4, 2, 2), (4, 2, 3), (4, 3, 2)], ids=str)
def test_eq_8_sign_of_lam_perp(shape, lam):
    n_i, _, n_o = shape
    sigma_yx, w1, w2 = network(*shape, lam)
    f = riccati_matrix(sigma_yx, lam)
    p, w = equations_7_and_8(sigma_yx, lam, np.sign(n_o - n_i))
    np.testing.assert_allclose(np.sort(w), np.linalg.eigvalsh(f), rtol=0, atol=1e-13)
    np.testing.assert_allclose(f @ p, p * w, rtol=0, atol=1e-13)
    # The printed sign is always plus, and the printed size of the block is N_o - N_i. Both hold for N_o > N_i
    # only.
    _, printed = equations_7_and_8(sigma_yx, lam, np.sign(abs(n_o - n_i)))
    assert abs(np.sort(printed) - np.linalg.eigvalsh(f)).max() > 0.1
    with pytest.raises(ValueError, match="negative dimensions"):
        np.eye(n_o - n_i)
    expected = flow(sigma_yx, w1, w2, 1.0)
    assert distance(equation_2(p, w, growth(w, 1.0), w1, w2, 1.0), expected) < SOLVER
    assert distance(fl.solve_qqt(sigma_yx, w1, w2, [1.0])[0], expected) < SOLVER
    assert distance(equation_2(p, printed, growth(printed, 1.0), w1, w2, 1.0), expected) > 0.05


@pytest.mark.parametrize("lam", [-1.5, 1.5])
@pytest.mark.parametrize("shape", UNEQUAL, ids=str)
def test_eq_13_exponent_of_the_perpendicular_term(shape, lam):
    n_i, _, n_o = shape
    m, t = min(n_i, n_o), 1.0
    sigma_yx, w1, w2 = network(*shape, lam)
    expected = flow(sigma_yx, w1, w2, t)
    p, w = equations_7_and_8(sigma_yx, lam, np.sign(n_o - n_i))
    phi = growth(w, t)
    printed = phi.copy()
    printed[2 * m :] = np.expm1(w[2 * m :] * t) / w[2 * m :]
    assert distance(equation_2(p, w, phi, w1, w2, t), expected) < SOLVER
    assert distance(reference.theorem_a3(sigma_yx, w1, w2, lam, t), expected) < SOLVER
    assert distance(fl.solve_qqt(sigma_yx, w1, w2, [t])[0], expected) < SOLVER
    # The term has most weight where the surplus units carry sqrt(|lam|). Otherwise the layer is small there.
    visible = 0.02 if lam * (n_o - n_i) > 0 else 5e-4
    assert distance(equation_2(p, w, printed, w1, w2, t), expected) > visible


def test_eq_13_perpendicular_term_becomes_t_as_lam_vanishes():
    # The printed factor is right in this limit only, because both integrals tend to t.
    sigma_yx, w1, w2 = network(4, 2, 2, 0.0)
    expected = flow(sigma_yx, w1, w2, 1.0)
    assert distance(reference.theorem_a3(sigma_yx, w1, w2, 0.0, 1.0), expected) < SOLVER
    assert distance(fl.solve_qqt(sigma_yx, w1, w2, [1.0], lam=0.0)[0], expected) < SOLVER
    for lam_perp in (1e-9, -1e-9):
        assert growth(lam_perp, 3.0) == pytest.approx(3.0, rel=1e-8)
        assert math.expm1(lam_perp * 3.0) / lam_perp == pytest.approx(3.0, rel=1e-8)


@pytest.mark.parametrize(("lam", "lost"), [(1e-3, 1e-10), (-1e-5, 1e-6), (1e-7, 1e-2), (-1e-9, 0.9)])
def test_eq_8_h_without_cancellation(lam, lost):
    s = 1.7
    with localcontext(prec=60):
        exact_s, exact_lam = Decimal(s), Decimal(lam)
        exact_s_lam = (exact_s**2 + exact_lam**2 / 4).sqrt()
        printed_form = ((exact_s_lam - exact_s) / (exact_s_lam + exact_s)).sqrt()
        exact = printed_form.copy_sign(exact_lam)
        right_form = exact_lam / 2 / (exact_s_lam + exact_s)
        assert abs(right_form / exact - 1) < Decimal("1e-35")  # one number, written in two ways
    s_lam = math.sqrt(s**2 + lam**2 / 4)
    right = lam / 2 / (s_lam + s)
    printed = math.copysign(math.sqrt((s_lam - s) / (s_lam + s)), lam)
    assert right == pytest.approx(float(exact), rel=1e-15)
    # s_lam - s is about lam^2 / (8 s), and s_lam is known to 1e-16 only.
    assert abs(printed / float(exact) - 1) > lost


def test_eq_8_h_without_cancellation_shows_in_the_dynamics():
    lam = 3e-8  # the printed H is zero for every s > 1, and the right one is about 1e-8
    rng = np.random.default_rng(1)
    (u, _), (v, _) = (np.linalg.qr(rng.standard_normal((3, 3))) for _ in range(2))
    sigma_yx = u @ np.diag([2.3, 1.6, 1.1]) @ v.T
    w1, w2 = reference.random_balanced(rng, 3, 2, 3, lam)
    expected = flow(sigma_yx, w1, w2, 0.5)
    errors = []
    for printed_h in (False, True):
        p, w = equations_7_and_8(sigma_yx, lam, 0, printed_h)
        errors.append(distance(equation_2(p, w, growth(w, 0.5), w1, w2, 0.5), expected))
    assert errors[0] < SOLVER
    assert errors[1] > 1e-9
    assert distance(fl.solve_qqt(sigma_yx, w1, w2, [0.5], lam=lam)[0], expected) < SOLVER


@pytest.mark.parametrize("shape", [(4, 2, 4), (5, 2, 3), (2, 4, 4), (3, 5, 2)], ids=str)
def test_eq_20_21_b_and_c_have_m_columns(shape):
    n_i, n_h, n_o = shape
    lam, t, m = 1.5, 1.0, min(n_i, n_o)
    sigma_yx, w1, w2 = network(*shape, lam)
    p, w = equations_7_and_8(sigma_yx, lam, np.sign(n_o - n_i))
    k = p.T @ np.vstack([w1.T, w2])
    b, minus_c = math.sqrt(2) * k[:m].T, math.sqrt(2) * k[m : 2 * m].T  # Eq 19
    assert b.shape == minus_c.shape == (n_h, m)
    expected = flow(sigma_yx, w1, w2, t)
    assert distance(equation_2(p, w, growth(w, t), w1, w2, t), expected) < SOLVER
    library = fl.solve_qqt(sigma_yx, w1, w2, [0.0, t])
    assert library.shape == (2, n_i + n_o, n_i + n_o)
    assert distance(library[1], expected) < SOLVER
    # As printed B would be square: it would have an inverse, and N_h of the task's m modes.
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.inv(b)
    if n_h < m:
        indices = [*range(n_h), *range(m, m + n_h), *range(2 * m, n_i + n_o)]
        square = equation_2(p[:, indices], w[indices], growth(w[indices], t), w1, w2, t)
        assert distance(square, expected) > 0.05


def test_lemma_a1_identity_is_of_size_n():
    lam, t, m = -0.8, 1.0, 2
    sigma_yx, w1, w2 = network(4, 3, 2, lam)
    w, p = np.linalg.eigh(riccati_matrix(sigma_yx, lam))
    expected = flow(sigma_yx, w1, w2, t)
    right = (np.exp(2 * w * t) - np.diag(np.eye(6))) / (2 * w)
    assert distance(equation_2(p, w, right, w1, w2, t), expected) < SOLVER
    assert distance(fl.solve_qqt(sigma_yx, w1, w2, [t])[0], expected) < SOLVER
    with pytest.raises(ValueError, match="broadcast"):
        np.diag(np.exp(2 * w * t)) - np.eye(m)
    # An identity on m of the N directions does not even give QQ^T(0).
    padded = np.diag(np.pad(np.eye(m), (0, 6 - m)))
    start = reference.qqt(w1, w2)
    assert distance(equation_2(p, w, growth(w, 0.0), w1, w2, 0.0), start) < 1e-14
    assert distance(equation_2(p, w, (1 - padded) / (2 * w), w1, w2, 0.0), start) > 0.05


def test_lemma_a1_equation_carries_the_time_constant():
    lam, tau, t = 0.8, 100.0, 150.0
    sigma_yx, w1, w2 = network(3, 2, 3, lam)
    f, start = riccati_matrix(sigma_yx, lam), reference.qqt(w1, w2)
    w, p = np.linalg.eigh(f)
    solution = equation_2(p, w, growth(w, t / tau), w1, w2, t / tau)  # Eq 2, exponents t / tau

    def end_of_ode(time_constant):
        def velocity(_, flat):
            qqt = flat.reshape(start.shape)
            return ((f @ qqt + qqt @ f - qqt @ qqt) / time_constant).ravel()

        run = solve_ivp(velocity, (0, t), start.ravel(), "DOP853", rtol=1e-12, atol=1e-13)
        return run.y[:, -1].reshape(start.shape)

    assert distance(solution, end_of_ode(tau)) < SOLVER
    assert distance(solution, end_of_ode(1.0)) > 0.2  # the equation as printed
    # The library's times are t / tau, that is learning rate times steps.
    assert distance(fl.solve_qqt(sigma_yx, w1, w2, [t / tau])[0], solution) < 1e-12
    descended = reference.gradient_descent(sigma_yx, w1, w2, 1 / tau, round(t))
    assert distance(reference.qqt(*descended), solution) < 0.05  # of the order of the learning rate


@pytest.mark.parametrize("lam", [-3.0, 2.0, 9.0])
def test_alg_1_lam_stands_outside_the_inner_root(lam):
    s = np.array([2.0, 0.7, 0.1])
    w1, w2 = reference.balanced_weights(np.eye(3), s, np.eye(3), lam, 3)
    np.testing.assert_allclose(np.diag(w2) * np.diag(w1), s, rtol=1e-14)
    np.testing.assert_allclose(np.diag(w2) ** 2 - np.diag(w1) ** 2, lam, rtol=1e-13)
    # As printed lam is under the inner root, and neither the product nor the balance is right.
    printed2 = np.sqrt(np.sqrt(lam**2 + 4 * s**2 + lam) / 2)
    printed1 = np.sqrt(np.sqrt(lam**2 + 4 * s**2 - lam) / 2)
    assert abs(printed2 * printed1 - s).min() > 0.05
    assert abs(printed2**2 - printed1**2 - lam).min() > 0.5
    net = fl.balanced_init(fl.Architecture(n_i=3, n_h=3, n_o=3), lam=lam, init_scale=1.0, seed=0)
    s1, s2 = (np.linalg.svd(layer, compute_uv=False) for layer in (net.w1, net.w2))
    np.testing.assert_allclose(s2**2 - s1**2, lam, rtol=1e-13)


@pytest.mark.parametrize(("shape", "lam"), [((2, 4, 5), 1.5), ((5, 4, 2), -1.5)], ids=str)
def test_alg_1_loop_runs_over_all_hidden_units(shape, lam):
    n_i, n_h, n_o = shape
    net = fl.balanced_init(fl.Architecture(n_i=n_i, n_h=n_h, n_o=n_o), lam=lam, seed=0)
    for w1, w2 in [network(*shape, lam)[1:], (net.w1, net.w2)]:
        np.testing.assert_allclose(reference.balance(w1, w2), lam * np.eye(n_h), atol=1e-13)
        wider = np.linalg.svd(w2 if lam > 0 else w1, compute_uv=False)
        np.testing.assert_allclose(wider[2:], math.sqrt(abs(lam)), rtol=1e-13)
        # The paper does not define k. If the loop has only the m = 2 singular values of the product, the
        # other hidden units have no weights, and A2 is off by lam.
        u, p, vt = np.linalg.svd(w2 @ w1)
        few1, few2 = reference.balanced_weights(u, p, vt.T, lam, 2)
        few1, few2 = np.pad(few1, ((0, n_h - 2), (0, 0))), np.pad(few2, ((0, 0), (0, n_h - 2)))
        off = reference.balance(few1, few2) - lam * np.eye(n_h)
        assert np.linalg.norm(off, 2) == pytest.approx(abs(lam), rel=1e-12)


def test_fig_1_panels_a_and_c_are_lam_one_and_minus_one():
    # The caption gives lam = -1 for both A and C, and appendix B.3 gives 1, 0, -1. Equal lam, task and start
    # would give equal panels. The two signs give visibly different panels, so that B.3 must be right.
    panels = {}
    for lam in (1.0, -1.0):
        sigma_yx, w1, w2 = network(3, 2, 3, lam)
        times = [0.0, 1.0]
        panels[lam] = fl.solve_qqt(sigma_yx, w1, w2, times)
        assert distance(panels[lam][1], flow(sigma_yx, w1, w2, 1.0)) < SOLVER
    product = panels[1.0][:, 3:, :3], panels[-1.0][:, 3:, :3]
    np.testing.assert_allclose(product[0][0], product[1][0], rtol=0, atol=1e-13)  # the start is equal
    assert abs(product[0][1] - product[1][1]).max() > 0.1  # the later product is not
    assert abs(panels[1.0] - panels[-1.0])[0].max() > 0.1  # the layers are not
