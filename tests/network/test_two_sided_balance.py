"""Networks with two-sided balance: their start, their fit, and the error messages about both."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.weights.fit import fit_balance, signature
from tests import reference
from tests.networks import relative


@st.composite
def wide(draw_value):
    """Draw (architecture, lam, kappa, seed) of a network with N_h >= N_i + N_o."""
    n_i, n_o = draw_value(st.integers(1, 4)), draw_value(st.integers(1, 4))
    n_h = n_i + n_o + draw_value(st.integers(0, 4))
    lam = draw_value(st.just(0.0) | st.floats(-10, 10).filter(lambda x: abs(x) > 1e-3))
    kappa = 10 ** draw_value(st.floats(-3, 1))
    return fl.Architecture(n_i, n_h, n_o), lam, kappa, draw_value(st.integers(0, 10**6))


def deviation(net, lam, kappa):
    """Return the largest entry of ``Q (D - lam I) Q^T + kappa^2 J`` over |Q|^4, from the full matrices."""
    q = np.vstack([net.w1.T, net.w2])
    off = q @ (reference.balance(net.w1, net.w2) - lam * np.eye(q.shape[1])) @ q.T
    j = np.diag(signature(net.w1.shape[1], len(net.w2)))
    return np.abs(off + kappa**2 * j).max() / np.linalg.norm(q) ** 4


@given(wide())
def test_a_start_has_its_balance_and_keeps_the_product(point):
    arch, lam, kappa, seed = point
    net = fl.balanced_init(arch, lam, 0.7, seed, kappa=kappa)
    assert deviation(net, lam, kappa) < 1e-13
    assert (net.balance, net.lam, net.kappa) == ("two-sided", lam, kappa)
    product = fl.balanced_init(arch, lam, 0.7, seed)
    assert relative(net.w2 @ net.w1, product.w2 @ product.w1) < 1e-12


@given(wide())
def test_the_fit_of_an_exact_solution_is_its_balance(point):
    arch, lam, kappa, seed = point
    net = fl.balanced_init(arch, lam, 0.7, seed, kappa=kappa)
    size = np.linalg.norm(net.w1) ** 2 + np.linalg.norm(net.w2) ** 2
    fit = net.fit()
    assert fit.lam == pytest.approx(lam, abs=1e-11 * size)
    assert fit.kappa**2 == pytest.approx(kappa**2, abs=1e-11 * size**2)
    assert fit.residual < 1e-13


def test_weights_without_their_balance_are_recognised():
    net = fl.balanced_init(fl.Architecture(3, 9, 2), -1.5, kappa=0.8, seed=4)
    read = fl.Network(net.w1, net.w2)
    assert read.balance == "two-sided"
    assert (read.lam, read.kappa) == pytest.approx((-1.5, 0.8), rel=1e-9)
    assert fl.Network(net.w1, net.w2, lam=-1.5).kappa == pytest.approx(0.8)
    assert fl.Network(net.w1, net.w2, kappa=0.8).lam == pytest.approx(-1.5)


@given(st.integers(0, 10**6), st.sampled_from([(3, 2, 4), (2, 5, 3), (3, 9, 2)]))
def test_the_fit_is_the_least_squares(seed, shape):
    """No lam and kappa nearby leave a smaller residual, and lam alone is fitted where N_h < N."""
    n_i, n_h, n_o = shape
    rng = np.random.default_rng(seed)
    net = fl.Network(rng.standard_normal((n_h, n_i)), rng.standard_normal((n_o, n_h)))
    fit = net.fit()
    q = np.vstack([net.w1.T, net.w2])
    d, j = reference.balance(net.w1, net.w2), np.diag(signature(n_i, n_o))

    def residual(lam, square):
        return np.linalg.norm(q @ (d - lam * np.eye(n_h)) @ q.T + square * j) / np.linalg.norm(q) ** 4

    assert fit.residual == pytest.approx(residual(fit.lam, fit.kappa**2), rel=1e-9)
    for step in (-0.1, 0.1):
        assert residual(fit.lam + step, fit.kappa**2) > fit.residual
        if n_h >= n_i + n_o and fit.kappa**2 + step >= 0.0:
            assert residual(fit.lam, fit.kappa**2 + step) > fit.residual
    assert n_h >= n_i + n_o or fit.kappa == 0.0


def test_a_fit_takes_many_networks_at_once_and_any_scale():
    rng = np.random.default_rng(0)
    q = rng.standard_normal((3, 5, 7)) * np.array([1.0, 1e-100, 1e100])[:, None, None]
    many = fit_balance(q, 3, 7)
    for index, each in enumerate(q):
        alone = fit_balance(each, 3, 7)
        expected = [float(part) for part in alone]
        assert [float(part[index]) for part in many] == pytest.approx(expected, rel=1e-12)
    assert fit_balance(np.zeros((2, 4)), 1, 4) == (0.0, 0.0, 0.0)


def test_unequal_rates_draw_the_balance_of_the_rescaled_weights():
    arch, rates = fl.Architecture(3, 8, 2), (0.5, 3.0)
    net = fl.balanced_init(arch, 1.2, kappa=0.4, learning_rates=rates, seed=1)
    rescaled = fl.Network(rates[1] ** 0.5 * net.w1, rates[0] ** 0.5 * net.w2)
    assert (rescaled.lam, rescaled.kappa) == pytest.approx((1.2, 0.4), rel=1e-9)
    plain = fl.balanced_init(arch, 1.2, kappa=0.4, seed=1)
    assert relative(net.w2 @ net.w1, plain.w2 @ plain.w1) < 1e-12


def test_a_representation_shows_the_balance_or_the_fit():
    exact = fl.balanced_init(fl.Architecture(2, 6, 2), 0.5, kappa=2.0)
    assert "lam 0.5, kappa 2, balance 'two-sided'" in repr(exact)
    raw = fl.random_init(fl.Architecture(2, 6, 2), "gaussian")
    fit = raw.fit()
    assert f"fitted lam {fit.lam:g}, kappa {fit.kappa:g}, residual {fit.residual:.1e}" in repr(raw)


def test_a_wide_network_needs_no_matrix_of_its_hidden_units():
    rng = np.random.default_rng(0)
    w1, w2 = rng.standard_normal((4000, 3)), rng.standard_normal((3, 4000))
    tracemalloc.start()
    fl.Network(w1, w2).fit()
    fl.balanced_init(fl.Architecture(3, 4000, 3), 0.1, kappa=1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 4000 * 100  # a matrix (N_h, N_h) has 128 MB


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: fl.balanced_init(a, 0.0, kappa=-1.0), "kappa is -1; it must be at least 0"),
        (lambda a: fl.balanced_init(a, 0.0, kappa=np.nan), "kappa is nan; a finite number is needed"),
        (
            lambda a: fl.balanced_init(a, 0.0, kappa=1e-300),
            "kappa is 1e-300; allowed is 0, or 1e-60 to 1e+60",
        ),
        (
            lambda a: fl.balanced_init(a, 0.0, kappa=1e300),
            "kappa is 1e+300; it must be at least 0 and at most",
        ),
        (lambda a: fl.balanced_init(a, 1e200, kappa=1e-10), "kappa is 1e-10, and weights have entries up to"),
        (lambda a: fl.Network(*_weights(a), kappa=1e300), "|Q|^4 is inf at lam"),
        (lambda a: fl.Network(*_weights(a), lam=1e300), "|Q|^3 is inf at lam = 1e+300"),
        (
            lambda a: fl.balanced_init(fl.Architecture(4, 7, 4), 0.0, kappa=0.5),
            "kappa is 0.5, and N_h = 7 hidden units are fewer than N_i + N_o = 8",
        ),
        (lambda a: fl.balanced_init(a, 0.0, learning_rates=(1.0, 0.0)), "learning_rates[1] is 0"),
        (lambda a: fl.balanced_init(a, 0.0, learning_rates=(1.0,)), "learning_rates is (1.0,)"),
        (
            lambda a: fl.Network(*_weights(a), lam=3.0, kappa=1.0),
            "the weights have another balance: |Q (D - lam I) Q^T + kappa^2 J| / |Q|^4 is",
        ),
        (lambda a: fl.Network(*_weights(a), lam=3.0), "the weights are not balanced"),
        (lambda a: fl.random_init(a, "aligned"), "kind is 'aligned'; "),
        (lambda a: fl.random_init(a, "lecun", 0.0), "init_scale is 0"),
    ],
)
def test_bad_input_has_one_line(call, message):
    with pytest.raises(fl.InputError) as caught:
        call(fl.Architecture(2, 4, 2))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def _weights(arch):
    net = fl.balanced_init(arch, 0.5, kappa=1.0)
    return net.w1, net.w2


@pytest.mark.parametrize("lam", [0.0, 1e3])
def test_the_least_kappa_has_finite_values_at_all_times(lam):
    arch = fl.Architecture(2, 4, 2)
    net = fl.balanced_init(arch, lam, kappa=1e-60)
    ds = fl.exact(fl.random_regression(arch, n_samples=8), net, [0.0, 1.0, np.inf], ["loss", "ntk_norm"])
    assert np.isfinite(ds.to_array()).all()
