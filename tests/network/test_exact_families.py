"""Every family of exact solutions against its invariant, the flow, an ODE solver, and its neighbours.

A family is drawn in canonical weights U, which follow the flow of white inputs and rates 1, and is mapped to
weights, data, rates and decay: ``U1 = sqrt(e2 c) W1 V``, ``U2 = sqrt(e1 c) W2``, target ``sqrt(e1 e2)
Sigma_yx V``, for rates e1, e2 and inputs ``Sigma_xx = c V V^T``.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from tests import beyond, reference
from tests.networks import relative

TOLERANCE = 1e-9
ACCUMULATED = 10 * TOLERANCE  # error of QQ^T over many steps that err by TOLERANCE |Q| each
FAMILIES = ["one-sided", "two-sided", "isotropic", "projector", "rates", "decay", "all but decay"]

sizes = st.integers(1, 3)
times = st.floats(0.05, 2.0)
seeds = st.integers(0, 10**6)
signed = st.floats(0.1, 3.0) | st.floats(-3.0, -0.1)
positive = st.floats(0.3, 2.0)
pairs = st.tuples(positive, positive)


class Start(NamedTuple):
    """A network, its data, and the map ``QQ^T -> turn QQ^T turn^T`` to canonical weights."""

    sigma_yx: np.ndarray
    sigma_xx: np.ndarray
    w1: np.ndarray
    w2: np.ndarray
    lam: float
    kappa: float
    turn: np.ndarray  # (r + N_o, N)
    rates: tuple = (1.0, 1.0)
    decay: float = 0.0

    @property
    def pair(self):
        return fl.Task.from_sigma(self.sigma_yx, self.sigma_xx), fl.Network(self.w1, self.w2)

    @property
    def options(self):
        return {"learning_rates": self.rates, "decay": self.decay}

    @property
    def rank(self):
        """Dimensions that the inputs span."""
        return len(self.turn) - len(self.w2)

    def canonical(self, qqt):
        """Return QQ^T of the canonical weights, which the part of W1 off the inputs does not enter."""
        return self.turn @ qqt @ self.turn.T

    def path(self, times):
        """Return the weights by an ODE solver at the given times."""
        decay = (self.decay, self.decay)
        return beyond.flow(self.sigma_yx, self.w1, self.w2, times, self.sigma_xx, self.rates, decay)

    def canonical_weights(self, w1, w2):
        r = self.rank
        return w1 @ self.turn[:r, : w1.shape[1]].T, self.turn[r:, w1.shape[1] :] @ w2


def orthonormal(rng, rows, columns):
    return np.linalg.qr(rng.standard_normal((rows, rows)))[0][:, :columns]


@st.composite
def starts(draw, family):
    """Draw a `Start` of a family. A saddle near the start would amplify errors without bound."""
    everything = family == "all but decay"
    n_i, n_o, rng = draw(sizes), draw(sizes), np.random.default_rng(draw(seeds))
    projects = family == "projector" or (everything and draw(st.booleans()))
    n_i += projects  # a projector leaves out an input
    rank = draw(st.integers(1, n_i - 1)) if projects else n_i
    rates = (draw(positive), draw(positive)) if family == "rates" or everything else (1.0, 1.0)
    variance = draw(positive) if projects or family == "isotropic" or everything else 1.0
    either = family not in ("one-sided", "two-sided", "decay")
    two_sided = draw(st.booleans()) if either else family == "two-sided"
    kappa = draw(st.floats(0.1, 2.0)) if two_sided else 0.0
    n_h = rank + n_o + draw(st.integers(0, 2)) if two_sided else draw(st.integers(1, 5))
    lam = 0.0 if family == "decay" else draw(signed)
    decay = draw(st.floats(0.05, 0.5)) if family == "decay" else 0.0

    if two_sided:
        u1, u2 = beyond.random_two_sided(rng, rank, n_h, n_o, lam, kappa)
    else:
        u1, u2 = reference.random_balanced(rng, rank, n_h, n_o, lam, 0.7)
    span = orthonormal(rng, n_i, rank)
    target = rng.standard_normal((n_o, rank))
    scale1, scale2 = math.sqrt(rates[1] * variance), math.sqrt(rates[0] * variance)
    # A single hidden unit has all of W1 in the closed form. Others have the part on the span of the inputs.
    off = (n_h == 1) * rng.standard_normal((n_h, n_i)) @ (np.eye(n_i) - span @ span.T)
    turn = np.zeros((rank + n_o, n_i + n_o))
    turn[:rank, :n_i], turn[rank:, n_i:] = scale1 * span.T, scale2 * np.eye(n_o)
    return Start(
        target @ span.T / math.sqrt(rates[0] * rates[1]),
        variance * span @ span.T,
        u1 @ span.T / scale1 + off,
        u2 / scale2,
        lam,
        kappa,
        turn,
        rates,
        decay,
    )


def of_every_family(test):
    """Run a test, which takes a `Start` and a time, on random starts of each family."""

    @pytest.mark.parametrize("family", FAMILIES)
    @settings(max_examples=12)
    @given(st.data(), times)
    def run(family, data, t):
        test(data.draw(starts(family)), t)

    run.__name__ = test.__name__
    return run


@of_every_family
def test_exact_is_the_solution_of_an_ode_solver(start, t):
    """The kernel distance is that of the NTK of the canonical weights, which drives the network function."""
    dataset = fl.exact(*start.pair, [0.0, t], ["qqt", "kernel_distance"], **start.options)
    path = start.path([0.0, t])
    for got, pair in zip(dataset.qqt.values, path, strict=True):
        assert relative(start.canonical(got), start.canonical(reference.qqt(*pair))) < 1e-11
    kernels = [reference.ntk(*start.canonical_weights(*pair), np.eye(start.rank)) for pair in path]
    expected = reference.kernel_distance(*kernels)
    assert float(dataset.kernel_distance[1]) == pytest.approx(expected, abs=1e-11)


@of_every_family
def test_flow_is_the_exact_solution_to_its_tolerance(start, t):
    names = ["qqt", "kernel_distance", "loss"]
    exact = fl.exact(*start.pair, [0.0, t / 2, t], names, **start.options)
    flow = fl.flow(*start.pair, [0.0, t / 2, t], TOLERANCE, observables=names, **start.options)
    for got, wanted in zip(flow.qqt.values, exact.qqt.values, strict=True):
        assert relative(got, wanted) < ACCUMULATED
    assert abs(flow.kernel_distance - exact.kernel_distance).max() < ACCUMULATED
    assert abs(flow.loss - exact.loss).max() < ACCUMULATED * max(1.0, float(exact.loss[0]))
    assert {name: flow[name].dims for name in flow} == {name: exact[name].dims for name in exact}


@of_every_family
def test_the_balance_is_conserved(start, t):
    """``Q (D - lam I) Q^T = -kappa^2 J`` at every time, along the exact solution and along the flow."""
    at = [0.0, t / 2, t, 10 * t]
    exact = fl.exact(*start.pair, at, ["qqt"], **start.options)
    flow = fl.flow(*start.pair, at, TOLERANCE, observables=["qqt"], **start.options)
    for dataset, bound in [(exact, 1e-12), (flow, ACCUMULATED)]:
        for qqt in dataset.qqt.values:
            residual = beyond.residual(start.canonical(qqt), start.lam, start.kappa, start.rank)
            assert residual * np.trace(start.canonical(qqt)) ** 2 <= bound * (1 + np.trace(qqt) ** 2)


@given(starts("projector"), times)
@settings(max_examples=12)
def test_weights_off_the_span_of_the_inputs_change_no_output(start, t):
    """Observables that depend on these weights are left out, and refused where they are named."""
    task, net = start.pair
    off = np.random.default_rng(0).standard_normal(net.w1.shape) @ (
        np.eye(task.n_i) - task.span @ task.span.T
    )
    net = fl.Network(net.w1 + off, net.w2)
    exact = fl.exact(task, net, [0.0, t])
    flow = fl.flow(task, net, [0.0, t], TOLERANCE)
    single = net.architecture.n_h == 1
    assert {"loss", "kernel_distance", "ntk_norm", "w2w2t"} <= set(exact.data_vars)
    assert ("w2w1" in exact) == ("weight_norms" in exact) == single
    for name in exact.data_vars:
        size = max(1.0, float(np.abs(exact[name]).max()))
        assert float(np.abs(flow[name] - exact[name]).max()) < ACCUMULATED * size
    if not single:
        with pytest.raises(fl.InputError, match="'w2w1' depends on W1 off the span of the inputs"):
            fl.exact(task, net, [t], ["loss", "w2w1"])


# ---------------------------------------------------------------- two-sided balance


@settings(max_examples=40)
@given(starts("two-sided"), times, times | st.just(math.inf))
def test_the_two_sided_solution_is_a_semigroup(start, first, second):
    """A start from any factor of QQ^T(t1), here of Cholesky, goes on as the first start does."""

    def solve(w1, w2, t):
        return fl.solve_qqt(start.sigma_yx, w1, w2, [t], start.lam, start.kappa)[0]

    n_i = start.w1.shape[1]
    factor = np.linalg.cholesky(solve(start.w1, start.w2, first))
    onward = solve(factor[:n_i].T, factor[n_i:], second)
    assert relative(onward, solve(start.w1, start.w2, first + second)) < 1e-11


@settings(max_examples=40)
@given(sizes, sizes, st.integers(0, 2), signed, seeds, times)
def test_kappa_to_0_is_continuous_with_kappa_0(n_i, n_o, surplus, lam, seed, t):
    """QQ^T differs by the order of kappa^2 = 1e-24, amplified by at most e^{4 s t}."""
    arch = fl.Architecture(n_i, n_i + n_o + surplus, n_o)
    sigma_yx = np.random.default_rng(seed).uniform(-0.7, 0.7, (n_o, n_i))
    one_sided, two_sided = (
        fl.solve_qqt(sigma_yx, net.w1, net.w2, [0.0, t, 2 * t], lam, kappa)
        for kappa in (0.0, 1e-12)
        for net in [fl.balanced_init(arch, lam, kappa=kappa, seed=seed)]
    )
    assert relative(two_sided, one_sided) < 1e-13


@settings(max_examples=40)
@given(sizes, sizes, st.integers(0, 2), signed | st.just(0.0), st.floats(0.05, 3.0), seeds, pairs)
def test_balanced_init_has_the_balance_and_the_product(n_i, n_o, surplus, lam, kappa, seed, rates):
    """``e1 W2^T W2 - e2 W1 W1^T`` has the eigenvalues beta (N_o times), -alpha (N_i times) and 0."""
    arch = fl.Architecture(n_i, n_i + n_o + surplus, n_o)
    net = fl.balanced_init(arch, lam, kappa=kappa, seed=seed, learning_rates=rates)
    half = math.hypot(lam / 2, kappa)
    expected = [-half + lam / 2] * n_i + [0.0] * surplus + [half + lam / 2] * n_o
    e1, e2 = rates
    values = np.linalg.eigvalsh(e1 * net.w2.T @ net.w2 - e2 * net.w1 @ net.w1.T)
    size = e1 * np.sum(net.w2**2) + e2 * np.sum(net.w1**2)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-14 * size)
    weights = net.w1, net.w2
    again = fl.balanced_init(arch, lam, kappa=kappa, seed=seed, weights=weights)
    assert relative(again.w2 @ again.w1, net.w2 @ net.w1) < 1e-13 * max(1.0, size)


@settings(max_examples=30)
@given(starts("two-sided"))
def test_fit_of_balanced_weights_is_their_balance(start):
    net = fl.Network(start.w1, start.w2)
    assert net.balance == "two-sided"
    for lam, kappa in [(net.lam, net.kappa), net.fit()[:2]]:
        assert lam == pytest.approx(start.lam, abs=1e-11)
        assert kappa == pytest.approx(start.kappa, rel=1e-10)
    assert net.fit().residual < 1e-14


@settings(max_examples=20)
@given(starts("two-sided"))
def test_flow_ends_where_the_exact_solution_does(start):
    exact = fl.exact(*start.pair, [math.inf], ["qqt"])
    flow = fl.flow(*start.pair, [math.inf], TOLERANCE, observables=["qqt"])
    assert relative(flow.qqt, exact.qqt.values) < ACCUMULATED


@pytest.mark.parametrize("rates", [(1.0, 1.0), (2.0, 0.5)])
def test_flow_to_infinity_warns_of_a_saddle_as_the_exact_solution_does(rates):
    arch, warned = fl.Architecture(3, 3, 3), []
    for seed in range(6):
        task = fl.random_regression(arch, n_samples=8, seed=seed)
        net = fl.balanced_init(arch, 0.0, seed=seed, learning_rates=rates)
        for solver in (fl.exact, fl.flow):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                solver(task, net, [math.inf], observables=["loss"], learning_rates=rates)
            warned.append([(each.category, each.filename) for each in caught])
    assert warned[::2] == warned[1::2]
    assert {len(each) for each in warned} == {0, 1}
    assert [(fl.SaddleWarning, __file__)] in warned


# ---------------------------------------------------------------- the flow of anything


class Anything(NamedTuple):
    """Arguments of the flow of any network on any data."""

    sigma_yx: np.ndarray
    sigma_xx: np.ndarray
    w1: np.ndarray
    w2: np.ndarray
    rates: tuple
    decay: tuple

    @property
    def pair(self):
        return fl.Task.from_sigma(self.sigma_yx, self.sigma_xx, floor=0.3), fl.Network(self.w1, self.w2)


@st.composite
def anything(draw, decays=True):
    n_i, n_o, n_h = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 10))
    rng = np.random.default_rng(draw(seeds))
    inputs = rng.standard_normal((n_i, n_i + draw(sizes)))
    sigma_xx = inputs @ inputs.T / inputs.shape[1]
    scale = draw(st.sampled_from([0.1, 0.5, 1.0]))
    decay = (draw(st.floats(0.0, 0.5)), draw(st.floats(0.0, 0.5))) if decays else (0.0, 0.0)
    return Anything(
        rng.standard_normal((n_o, n_i)) @ sigma_xx,
        sigma_xx,
        scale * rng.standard_normal((n_h, n_i)),
        scale * rng.standard_normal((n_o, n_h)),
        draw(st.just((1.0, 1.0)) | pairs),
        decay,
    )


@given(anything(), times)
def test_flow_of_anything_is_that_of_an_ode_solver(network, t):
    sigma_yx, sigma_xx, w1, w2, rates, decay = network
    dataset = fl.flow(
        *network.pair, [0.0, t], TOLERANCE, learning_rates=rates, decay=decay, observables=["qqt", "loss"]
    )
    best = sigma_yx @ np.linalg.inv(sigma_xx)
    path = beyond.flow(sigma_yx, w1, w2, [0.0, t], sigma_xx, rates, decay)
    for got, loss, (first, second) in zip(dataset.qqt.values, dataset.loss.values, path, strict=True):
        assert relative(got, reference.qqt(first, second)) < ACCUMULATED
        gap = second @ first - best
        expected = 0.3 + np.trace(gap @ sigma_xx @ gap.T) / 2
        assert loss == pytest.approx(expected, rel=ACCUMULATED)
    assert dataset.attrs["solver"] == "flow"
    assert dataset.attrs["tolerance"] == TOLERANCE
    assert dataset.attrs["steps"] > 0


@settings(max_examples=30)
@given(anything(decays=False), times)
def test_flow_conserves_d_for_any_data_and_rates(network, t):
    """``D = e1 W2^T W2 - e2 W1 W1^T = -Q^T diag(e2, -e1) Q``: QQ^T gives the traces of its powers."""
    *_, w1, w2, rates, _ = network
    dataset = fl.flow(
        *network.pair, [0.0, t, 4 * t], TOLERANCE, learning_rates=rates, observables=["qqt", "balance_drift"]
    )
    assert dataset.attrs["drift"] < TOLERANCE
    weighted = np.diag([rates[1]] * w1.shape[1] + [-rates[0]] * len(w2))
    start, *later = dataset.qqt.values
    for qqt in later:
        for power in (1, 2, 3):
            before, now = (
                np.trace(np.linalg.matrix_power(weighted @ matrix, power)) for matrix in (start, qqt)
            )
            assert abs(now - before) < ACCUMULATED * np.trace(abs(weighted) @ qqt) ** power
    if rates == (1.0, 1.0):
        assert dataset.balance_drift.max() < TOLERANCE


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("n_h", [1, 3, 4])
def test_kappa_needs_hidden_units_for_all_inputs_and_outputs(n_h):
    with pytest.raises(fl.InputError, match="kappa"):
        fl.balanced_init(fl.Architecture(3, n_h, 2), 0.5, kappa=0.1)
    net = fl.balanced_init(fl.Architecture(3, n_h, 2), 0.5)
    with pytest.raises(fl.InputError, match="kappa"):
        fl.solve_qqt(np.ones((2, 3)), net.w1, net.w2, [1.0], 0.5, 0.1)
    assert fl.balanced_init(fl.Architecture(3, n_h, 2), 0.5, kappa=0.0).kappa == 0.0


@given(anything(), times)
def test_exact_refuses_anything_else_and_names_the_flow(network, t):
    task, net = fl.Task.from_sigma(network.sigma_yx), fl.Network(network.w1, network.w2)
    if net.balance == "none":
        with pytest.raises(fl.InputError, match="flow"):
            fl.exact(task, net, [t])


@pytest.mark.parametrize("decay", [(0.1, 0.2), 0.1])
def test_exact_refuses_decay_of_other_balances(decay):
    arch = fl.Architecture(3, 2, 2)
    net = fl.balanced_init(arch, 0.0 if isinstance(decay, tuple) else 0.5)
    with pytest.raises(fl.InputError, match="flow"):
        fl.exact(fl.Task.from_sigma(np.ones((2, 3))), net, [1.0], decay=decay)


def test_exact_refuses_inputs_of_several_variances():
    net = fl.balanced_init(fl.Architecture(2, 2, 2), 0.5)
    with pytest.raises(fl.InputError, match="flow"):
        fl.exact(fl.Task.from_sigma(np.eye(2), np.diag([1.0, 2.0])), net, [1.0])
