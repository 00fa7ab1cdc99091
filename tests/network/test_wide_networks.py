"""Wide networks of standard initialisations tend to two-sided balance, which keeps their lazy regime."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import fastlin as fl
from tests import beyond

CASES = json.loads((Path(__file__).parents[1] / "data" / "beyond_reference.json").read_text())
ROWS = CASES["wide_xavier"]
WIDTHS = np.array([16, 64, 256, 1024])
SEEDS = range(200)


def slope(widths, errors):
    """Return the slope of the mean error (width, seed) over width, both as logarithms."""
    return np.polyfit(np.log(widths), np.log(np.mean(errors, axis=1)), 1)[0]


@pytest.mark.parametrize("kind", ["ntk", "lecun"])
def test_the_residual_of_the_fit_falls_like_the_root_of_the_width(kind):
    fits = [
        [fl.random_init(fl.Architecture(4, int(n_h), 4), kind=kind, seed=seed).fit() for seed in SEEDS]
        for n_h in WIDTHS
    ]
    assert slope(WIDTHS, [[fit.residual for fit in row] for row in fits]) == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize("n_h", [8, 16, 1024])
def test_the_fit_is_the_least_squares_of_the_plain_reference(n_h):
    net = fl.random_init(fl.Architecture(3, n_h, 5), kind="ntk", seed=2)
    assert net.balance == "none"
    np.testing.assert_allclose(net.fit(), beyond.fit(net.w1, net.w2), rtol=1e-11)


@pytest.mark.parametrize("n_h", [1, 2, 7])
def test_the_fit_of_narrow_networks_has_lam_alone(n_h):
    net = fl.random_init(fl.Architecture(3, n_h, 5), kind="lecun", seed=2)
    assert net.fit().kappa == 0.0
    np.testing.assert_allclose(net.fit(), beyond.fit(net.w1, net.w2), rtol=1e-11, atol=1e-15)


def fitted(arch, net):
    """Return the network of two-sided balance that is nearest to a network, with the same product."""
    fit = net.fit()
    return fl.balanced_init(arch, fit.lam, kappa=fit.kappa, weights=(net.w1, net.w2))


@pytest.mark.slow
def test_the_error_of_the_fit_falls_like_the_root_of_the_width():
    """The error is the largest deviation of W2 W1 from the flow, over |Sigma_yx|.

    The widths are reduced to N = 8 by ``Q^T = (orthonormal) R``, which changes neither flow nor fit.
    """
    arch, times = fl.Architecture(4, 8, 4), np.linspace(0.0, 6.0, 25)
    widths = np.array([64, 256, 1024, 4096])
    errors = np.empty((widths.size, len(SEEDS)))
    for (row, seed), _ in np.ndenumerate(errors):
        raw = np.random.default_rng([seed, row]).standard_normal((widths[row], 8)) / math.sqrt(widths[row])
        q = np.linalg.qr(raw, mode="r").T
        net = fl.Network(q[:4].T, q[4:])
        task = fl.random_regression(arch, n_samples=20, target_scale=math.sqrt(3), seed=seed)
        true = fl.flow(task, net, times, observables=["w2w1"])
        near = fl.exact(task, fitted(arch, net), times, ["w2w1"])
        errors[row, seed] = abs(near - true).w2w1.max() / np.linalg.norm(task.sigma_yx)
    assert slope(widths, errors) == pytest.approx(-0.5, abs=0.1)


@pytest.fixture(params=ROWS)
def xavier(request):
    """A wide Xavier network, its task, architecture and stored row."""
    n_i, n_h, n_o = map(int, request.param.strip("()").split(","))
    arch, rng = fl.Architecture(n_i, n_h, n_o), np.random.default_rng(0)
    w1 = math.sqrt(2 / (n_i + n_h)) * rng.standard_normal((n_h, n_i))
    w2 = math.sqrt(2 / (n_h + n_o)) * rng.standard_normal((n_o, n_h))
    task = fl.random_regression(arch, n_samples=20, target_scale=math.sqrt(3), seed=0)
    return arch, task, fl.Network(w1, w2), ROWS[request.param]


def distance(task, net):
    """Return the kernel distance at t = 40 of the exact solution."""
    return float(fl.exact(task, net, [40.0], ["kernel_distance"]).kernel_distance[0])


def test_gradient_descent_of_a_wide_xavier_network_is_lazy(xavier):
    _, task, net, row = xavier
    path = fl.gradient_descent(task, net, 0.002, 20_000, every=20_000, observables=["kernel_distance"])
    assert path.kernel_distance.values[-1] == pytest.approx(row["gd_kernel_distance"], abs=1e-9)
    true = fl.flow(task, net, [40.0], observables=["kernel_distance"]).kernel_distance.values[0]
    assert true == pytest.approx(row["gd_kernel_distance"], rel=0.01)


def test_one_sided_balance_makes_it_rich_and_two_sided_balance_keeps_it_lazy(xavier):
    """The row has lam of the support of Q, and alpha and beta from the norms of the layers."""
    arch, task, net, row = xavier
    weights = net.w1, net.w2
    rebalanced = fl.balanced_init(arch, row["lam"], weights=weights)
    assert distance(task, rebalanced) == pytest.approx(row["balanced_kernel_distance"], abs=1e-9)
    lam, kappa = row["beta"] - row["alpha"], math.sqrt(row["alpha"] * row["beta"])
    two_sided = fl.balanced_init(arch, lam, kappa=kappa, weights=weights)
    assert distance(task, two_sided) == pytest.approx(row["two_sided_kernel_distance"], abs=1e-9)
    assert row["balanced_kernel_distance"] > 50 * row["gd_kernel_distance"]


def test_the_fit_keeps_the_regime_of_a_wide_xavier_network(xavier):
    arch, task, net, row = xavier
    near = fitted(arch, net)
    np.testing.assert_allclose(near.w2 @ near.w1, net.w2 @ net.w1, rtol=0, atol=1e-13)
    assert distance(task, near) == pytest.approx(row["gd_kernel_distance"], rel=0.2)
