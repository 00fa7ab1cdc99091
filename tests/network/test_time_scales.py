"""Time scales of the exact flow: convergence, rotation of the hidden space, escape from the zero saddle."""

import itertools
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

import fastlin as fl
from tests import reference
from tests.networks import CLASSES, draw

SCALES = ["convergence_time", "rotation_time", "escape_time"]
FRACTIONS = [0.1, 0.5, 0.9, 0.99, 0.9999]
# For tiny lam that is not 0 the rounding of the weights decides when a start near a saddle's inset leaves it.
lams = st.just(0.0) | st.floats(1e-3, 10) | st.floats(-10, -1e-3)


@st.composite
def problems(draw_value):
    """Draw (sigma_yx, w1, w2, lam) of an architecture of any class."""
    shape = draw_value(st.sampled_from(list(CLASSES.values())))
    lam, scale = draw_value(lams), draw_value(st.sampled_from([0.1, 1.0, 2.0, 30.0]))
    return (*draw(*shape, lam, scale, draw_value(st.integers(0, 10**6))), lam)


def task_of(sigma_yx, off=0.0):
    """Return a task of 16 samples with this Sigma_yx. `off` is the size of targets off the inputs' span."""
    n_i = sigma_yx.shape[1]
    y = np.pad(4 * sigma_yx, ((0, 0), (0, 16 - n_i)))
    y[:, n_i:] = off * np.resize([1.0, -1.0], 16 - n_i)  # without a mean, which would be warned about
    return fl.Task(4 * np.eye(n_i, 16), y)


def solved(problem, names=SCALES, **options):
    """Return time scales of (sigma_yx, w1, w2, lam), by name."""
    sigma_yx, w1, w2, lam = problem
    dataset = fl.exact(task_of(sigma_yx), fl.Network(w1, w2, lam), [0.0], names, **options)
    return {name: float(dataset[name]) for name in names}


def converged(problem, fraction=0.99):
    return solved(problem, ["convergence_time"], fraction=fraction)["convergence_time"]


def excess(problem, t):
    """Return the loss at t above the least loss of this width, its rate of descent and its rounding error."""
    sigma_yx, w1, w2, _ = problem
    n_i = w1.shape[1]
    qqt = reference.at_infinity(*problem) if math.isinf(t) else reference.any_time(*problem, t)
    product = qqt[n_i:, :n_i]
    error = sigma_yx - product
    # |W2^T E|^2 + |E W1^T|^2 with E = Sigma - W2 W1.
    descent = np.sum(error * (qqt[n_i:, n_i:] @ error)) + np.sum(error * (error @ qqt[:n_i, :n_i]))
    # The error of W2 W1 is a few units in the last place of |Q|^2, at the start and at t.
    size = 1e-13 * (np.linalg.norm(sigma_yx) + np.sum(w1**2) + np.sum(w2**2))
    start = np.linalg.norm(sigma_yx - w2 @ w1)
    rounding = size * (start + np.linalg.norm(sigma_yx)) + size**2
    return reference.excess_loss(product, sigma_yx, len(w1)), descent, rounding


def slack(problem, t):
    """Return the error of the time of convergence by rounding of the loss, and by 1e-12 of t."""
    if math.isinf(t):
        return 0.0
    _, descent, rounding = excess(problem, t)
    return 1e-12 * t + (rounding / descent if descent > 0 else math.inf)


def diagonal(values, n_i, n_o):
    sigma_yx = np.zeros((n_o, n_i))
    np.fill_diagonal(sigma_yx, values)
    return sigma_yx


def spaced(shape, seed):
    """Return Sigma_yx with the singular values 3 * 0.6^a, and these values."""
    n_i, _, n_o = shape
    rng = np.random.default_rng([seed, *shape])
    u, v = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (n_o, n_i))
    values = 3 * 0.6 ** np.arange(min(n_i, n_o))
    return u @ diagonal(values, n_i, n_o) @ v.T, values


# ---------------------------------------------------------------- convergence


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("lam", [-2.0, 0.0, 0.7])
@pytest.mark.parametrize("fraction", [0.5, 0.99])
def test_convergence_agrees_with_an_ode_solver(shape, lam, fraction):
    problem = (*draw(*shape, lam), lam)
    expected = reference.convergence_time(*problem, fraction)
    got = converged(problem, fraction)
    # The solver's local tolerance of 1e-12 accumulates, so that its loss is right to about 1e-10.
    assert got == expected or abs(got - expected) <= 1e-9 * expected + 100 * slack(problem, expected)


@given(problems(), st.sampled_from(FRACTIONS))
def test_loss_at_convergence_is_the_target(problem, fraction):
    """L(t) = L* + (1 - f) (L(0) - L*) at the time of convergence, or the flow ends above it."""
    sigma_yx, w1, w2, lam = problem
    t = converged(problem, fraction)
    start, _, rounding = excess(problem, 0.0)
    target = (1 - fraction) * start
    if t == 0:
        assert start <= rounding
    elif math.isinf(t):
        assert excess(problem, math.inf)[0] > target - rounding
    else:
        task = task_of(sigma_yx)
        losses = fl.exact(task, fl.Network(w1, w2, lam), [0.0, t], ["loss"]).loss.values
        least = np.sum(np.linalg.svd(sigma_yx, compute_uv=False)[len(w1) :] ** 2) / 2
        wanted = least + (1 - fraction) * (losses[0] - least)
        assert abs(losses[1] - wanted) <= rounding + 1e-12 * t * excess(problem, t)[1]


@given(problems())
def test_a_larger_share_takes_longer(problem):
    times = [converged(problem, fraction) for fraction in FRACTIONS]
    for sooner, later in itertools.pairwise(times):
        assert later >= sooner - slack(problem, sooner)
    assert times[-1] > times[0] or math.isinf(times[0])  # a saddle may be nearly as high as the start


@pytest.mark.parametrize("start", [1e-50, 1e-6, 0.1, 1.9, 1e8])
@pytest.mark.parametrize("fraction", [1e-6, 0.5, 0.99, 1 - 1e-9])
def test_one_mode_converges_as_its_logistic_curve(start, fraction):
    """1-1-1, s = 1, lam = 0: p(t) = 1 / (1 + (1 / p_0 - 1) e^{-2 t}), and 1 - p falls by sqrt(1 - f)."""
    weight = np.array([[math.sqrt(start)]])
    rest = math.sqrt(1 - fraction)
    drop = -math.expm1(math.log1p(-fraction) / 2)  # 1 - rest
    expected = math.log1p(drop / (start * rest)) / 2
    # Rounding of the loss, (1 - p)^2 / 2, divided by its rate of descent, 2 p (1 - p)^2.
    p = 1 - rest * (1 - start)
    tolerance = 1e-12 * expected + 1e-15 * (1 + start) ** 2 / (2 * p * (1 - p) ** 2)
    assert converged((np.eye(1), weight, weight, 0.0), fraction) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("fraction", [0.5, 0.99, 0.999999])
def test_without_a_target_and_lam_weights_decay_like_1_over_t(fraction):
    """With Sigma = 0, W2 W1 = a^2 / (1 + 2 a^2 t), and no direction grows, turns or escapes."""
    weight = np.full((1, 1), 0.5)
    got = solved((np.zeros((1, 1)), weight, weight, 0.0), fraction=fraction)
    assert got["convergence_time"] == pytest.approx((1 / math.sqrt(1 - fraction) - 1) / 0.5, rel=1e-12)
    assert got["rotation_time"] == 0
    assert got["escape_time"] == math.inf


def one_unit(values, w1, w2, lam):
    """Return the excess loss of N_h = 1 and a diagonal target as a function of t, in 60 digits."""
    n_i, n_o = w1.size, w2.size
    half = mp.mpf(lam) / 2
    inputs, outputs = ([mp.mpf(float(x)) for x in w.ravel()] for w in (w1, w2))
    planes = []  # eigenvalue, input, output, (cos, sin): a row of P^T
    for a, s in enumerate(map(mp.mpf, map(float, values))):
        r = mp.hypot(s, half)
        size = mp.hypot(s, r + half)
        cos, sin = s / size, (r + half) / size
        planes += [(r, cos, sin, a), (-r, sin, -cos, a)]
    m = len(values)
    rows = [(w, cos * inputs[a] + sin * outputs[a]) for w, cos, sin, a in planes]
    rows += [(-half, x) for x in inputs[m:]] + [(half, x) for x in outputs[m:]]
    top = max(w for w, _ in rows)

    def at(t):
        def phi(w):  # (e^{2 w t} - 1) / (2 w), divided by e^{2 top t}
            start, end = mp.exp(-2 * top * t), mp.exp(2 * (w - top) * t)
            return (end - start) / (2 * w) if w else t * start

        scale = mp.exp(-2 * top * t) + sum(phi(w) * k**2 for w, k in rows)
        grown = [k * mp.exp((w - top) * t) for w, k in rows]
        v, u = ([mp.mpf(0)] * n for n in (n_i, n_o))
        for (_, cos, sin, a), k in zip(planes, grown, strict=False):
            v[a], u[a] = v[a] + cos * k, u[a] + sin * k
        v[m:], u[m:] = grown[2 * m :][: n_i - m], grown[2 * m :][: n_o - m]
        crossed = sum(s * u[a] * v[a] for a, s in enumerate(map(mp.mpf, map(float, values)))) / scale
        square = sum(x**2 for x in u) * sum(x**2 for x in v) / scale**2
        return mp.mpf(float(values[0])) ** 2 / 2 - crossed + square / 2

    return at


@pytest.mark.parametrize("shape", [(3, 1, 3), (3, 1, 5), (5, 1, 3)], ids=str)
@pytest.mark.parametrize("lam", [0.0, 1.0, 1e2, -1e2, 1e4, -1e4, 1e6, -1e6, 1e8])
@pytest.mark.parametrize(("init_scale", "fraction"), [(1.0, 0.5), (1.0, 0.999999), (1e-4, 0.99)])
def test_convergence_of_one_hidden_unit_in_60_digits(shape, lam, init_scale, fraction):
    values = [3.0, 2.0, 1.0]
    sigma_yx = diagonal(values, shape[0], shape[2])
    w1, w2 = draw(*shape, lam, init_scale)[1:]
    with mp.workdps(60):
        loss = one_unit(values, w1, w2, lam)
        start = loss(mp.mpf(0))
        target = (1 - mp.mpf(fraction)) * start
        got = mp.mpf(converged((sigma_yx, w1, w2, lam), fraction))
        assert mp.isfinite(got)
        # The loss has opposite signs on both sides of the result. Its own rounding is 1e-14 of L(0).
        descent = mp.diff(lambda log_t: loss(mp.exp(log_t)), mp.log(got))
        margin = mp.mpf(1e-12) + mp.mpf(1e-14) * start / abs(descent)
        assert margin < 1e-9, "well conditioned"
        assert loss(got * (1 - margin)) > target > loss(got * (1 + margin))


def saddle(n_h=3):
    """Return a 3-N_h-3 network with the wrong sign of det W2 W1, which never learns the mode of s = 1."""
    rng = np.random.default_rng(13)
    u, v = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    rotation = np.linalg.qr(rng.standard_normal((n_h, n_h)))[0]
    w1, w2 = reference.balanced_weights(u * [1, 1, -1], np.array([0.5, 0.2, 0.1]), v, 0.0, n_h, rotation)
    return u @ np.diag([3.0, 2.0, 1.0]) @ v.T, w1, w2, 0.0


@pytest.mark.parametrize("n_h", [3, 5])
def test_a_saddle_is_where_convergence_ends(n_h):
    problem = saddle(n_h)
    start, _, _ = excess(problem, 0.0)
    reached = 1 - 0.5 / start  # the excess loss at the saddle is s^2 / 2
    assert math.isfinite(converged(problem, reached - 1e-6))
    assert converged(problem, reached + 1e-6) == math.inf
    assert converged(problem, 0.999) == math.inf


@pytest.mark.parametrize("s", [1.0, 0.3, 7.0])
@pytest.mark.parametrize("n_h", [1, 4])
def test_a_wrong_sign_never_escapes(s, n_h):
    sigma_yx, w1, w2 = draw(1, n_h, 1, 0.0, 0.3, seed=2)
    sigma_yx[:] = -s * np.sign(w2 @ w1)
    got = solved((sigma_yx, w1, w2, 0.0))
    assert got["convergence_time"] == math.inf
    assert got["escape_time"] == math.inf
    turned = solved((-sigma_yx, w1, w2, 0.0))
    assert math.isfinite(turned["convergence_time"])
    assert math.isfinite(turned["escape_time"])


def test_zero_weights_never_converge_or_escape():
    zero = np.diag([2.0, 1.0]), np.zeros((2, 2)), np.zeros((2, 2)), 0.0
    got = solved(zero)
    assert (got["convergence_time"], got["escape_time"]) == (math.inf, math.inf)


@pytest.mark.parametrize("lam", [-1.0, 0.0, 2.0])
@pytest.mark.parametrize("n_h", [1, 2, 3, 4])
def test_a_learned_start_has_converged(lam, n_h):
    values = np.array([3.0, 2.0, 1.0])
    w1, w2 = reference.balanced_weights(np.eye(3), values, np.eye(3), lam, n_h)
    assert converged((np.diag(values), w1, w2, lam), 0.999) == 0
    blank = np.zeros((3, 3)), np.zeros((n_h, 3)), np.zeros((3, n_h)), 0.0
    assert converged(blank) == 0


@given(problems())
@settings(max_examples=30)
def test_targets_off_the_span_of_the_inputs_change_nothing(problem):
    sigma_yx, w1, w2, lam = problem
    dataset = fl.exact(task_of(sigma_yx, off=1.0), fl.Network(w1, w2, lam), [0.0], SCALES)
    expected = solved(problem)
    t = expected["convergence_time"]
    got = float(dataset.convergence_time)
    assert got == t or abs(got - t) <= slack(problem, t)
    assert float(dataset.rotation_time) == expected["rotation_time"]
    assert float(dataset.escape_time) == expected["escape_time"]


# ---------------------------------------------------------------- rotation


@given(st.sampled_from(list(CLASSES.values())), lams, st.integers(0, 1000))
def test_rotation_is_the_smallest_gap_of_the_spectrum(shape, lam, seed):
    sigma_yx, values = spaced(shape, seed)
    w1, w2 = draw(*shape, lam, seed=seed)[1:]
    n_i, n_h, n_o = shape
    expected = reference.rotation_time(values, lam, n_i, n_h, n_o)
    assert solved((sigma_yx, w1, w2, lam))["rotation_time"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("sizes", [(3, 3), (3, 5), (5, 3)], ids=str)
@pytest.mark.parametrize("n_h", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("values", [(2.0, 1.0, 0.5), (2.0, 1.0, 0.0)], ids=str)
def test_rotation_loses_no_digits_at_any_lam(sizes, n_h, values):
    n_i, n_o = sizes
    for lam in (0.0, 1e-9, 1.0, -1.0, 1e3, -1e3, 1e6, -1e6, 1e9):
        w1, w2 = draw(n_i, n_h, n_o, lam)[1:]
        got = solved((diagonal(values, n_i, n_o), w1, w2, lam), ["rotation_time"])["rotation_time"]
        expected = reference.rotation_time(values, lam, n_i, n_h, n_o)
        assert got == pytest.approx(expected, rel=1e-13, abs=0), lam
        assert (got == 0) == (n_h >= n_i + n_o)


def test_rotation_of_a_bottleneck_is_its_formula():
    for lam in (0.0, 0.3, -40.0, 1e6):
        r2, r3 = math.hypot(2.0, lam / 2), math.hypot(1.0, lam / 2)
        w1, w2 = draw(4, 2, 4, lam)[1:]
        got = solved((np.diag([3.0, 2.0, 1.0, 0.5]), w1, w2, lam))["rotation_time"]
        assert got == pytest.approx((r2 + r3) / (2.0**2 - 1.0**2), rel=1e-13)
    assert got == pytest.approx(1e6 / 3, rel=1e-10)  # |lam| / (s_h^2 - s_{h+1}^2)


@pytest.mark.parametrize(
    ("values", "n_h", "gap"),
    [
        ([2.0, 2.0, 1.0], 1, 1.0),
        ([2.0, 2.0, 2.0], 2, 4.0),
        ([1.0, 0.0, 0.0], 2, 1.0),
        ([0.0, 0.0, 0.0], 1, None),
    ],
)
def test_directions_of_equal_growth_do_not_turn(values, n_h, gap):
    """Directions of equal rates (also to rounding) turn only against directions that grow more slowly."""
    w1, w2 = draw(3, n_h, 3, 0.0)[1:]
    expected = 1 / gap if gap else 0.0
    assert solved((np.diag(values), w1, w2, 0.0))["rotation_time"] == expected
    u, v = (np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0] for seed in (0, 1))
    turned = u @ np.diag(values) @ v
    assert solved((turned, w1, w2, 0.0))["rotation_time"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(4, 2, 4), (5, 2, 3), (3, 1, 4)], ids=str)
@pytest.mark.parametrize("lam", [-30.0, 30.0, 3.0])
def test_the_hidden_space_turns_at_the_rate_of_rotation_time(shape, lam):
    """The component of the dropped direction in the span of Q(t) falls like exp(-t / rotation_time)."""
    n_i, n_h, n_o = shape
    values = [5.0, 3.0, 2.0, 1.0][: min(n_i, n_o)]
    sigma_yx = diagonal(values, n_i, n_o)
    w1, w2 = draw(*shape, lam)[1:]
    rotation = solved((sigma_yx, w1, w2, lam))["rotation_time"]
    times = rotation * np.array([10.0, 14.0])
    dropped = reference.eigen_system(sigma_yx, lam)[1][:, n_h]
    spans = np.linalg.eigh(fl.solve_qqt(sigma_yx, w1, w2, times, lam))[1][..., -n_h:]
    overlap = np.linalg.norm(dropped @ spans, axis=-1)
    slope = np.log(overlap[0] / overlap[1]) / (times[1] - times[0])
    assert slope * rotation == pytest.approx(1.0, rel=1e-4)


# ---------------------------------------------------------------- escape


@given(problems())
def test_escape_is_when_the_first_mode_is_half_way(problem):
    sigma_yx, w1, w2, lam = problem
    times = reference.escape_times(*problem)
    # A row of K has the rounding error of all of Q. That of log x is divided by the size of the row, and that
    # of t by 2 w - x > w.
    m = times.size
    w, p = reference.eigen_system(sigma_yx, lam)
    q = np.vstack([w1.T, w2])
    rows = np.linalg.norm(p[:, :m].T @ q, axis=1)
    reached = np.isfinite(times)
    rounding = np.zeros(m)
    rounding[reached] = 1e-14 * np.linalg.norm(q) / (rows * w[:m])[reached] + 1e-13 * times[reached]
    got = solved(problem)["escape_time"]
    assert (times - rounding).min() <= got <= (times + rounding).min()


def first_arrival(problem, latest):
    """Return the first time at which x_a = p_a^T QQ^T p_a of a plane reaches half of 2 r_a."""
    sigma_yx, w1, w2, lam = problem
    m = min(sigma_yx.shape)
    w, p = reference.eigen_system(sigma_yx, lam)

    def short(t):
        qqt = fl.solve_qqt(sigma_yx, w1, w2, [t], lam)[0]
        return max(np.einsum("na,nk,ka->a", p[:, :m], qqt, p[:, :m]) / w[:m]) - 1

    return brentq(short, 0.0, latest, xtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 2, 4), (3, 8, 3), (2, 3, 4), (4, 2, 2)], ids=str)
def test_escape_is_right_in_the_limit_of_small_weights(shape):
    sigma_yx, _ = spaced(shape, 0)
    errors = []
    for init_scale in (1e-1, 1e-2, 1e-4, 1e-6):
        problem = (sigma_yx, *draw(*shape, 0.0, init_scale)[1:], 0.0)
        escape = solved(problem)["escape_time"]
        errors.append(abs(escape / first_arrival(problem, 3 * escape + 1) - 1))
    assert errors[1] < errors[0]
    assert errors[3] < errors[2] < errors[1]
    assert errors[3] < 1e-4


@pytest.mark.parametrize("shape", [(4, 2, 4), (3, 8, 3), (2, 3, 4), (4, 2, 2)], ids=str)
def test_loss_leaves_its_plateau_at_the_escape(shape):
    """The map then has half of the first mode, s / 2, so the loss is down by s (s / 2) - (s / 2)^2 / 2."""
    sigma_yx, values = spaced(shape, 0)
    w1, w2 = draw(*shape, 0.0, 1e-6)[1:]
    task, net = task_of(sigma_yx), fl.Network(w1, w2, 0.0)
    escape = float(fl.exact(task, net, [0.0], ["escape_time"]).escape_time)
    loss = fl.exact(task, net, [0.0, 0.7 * escape, escape], ["loss"]).loss.values
    assert loss[0] - loss[1] < 1e-3 * loss[0]
    assert loss[0] - loss[2] == pytest.approx(0.375 * values[0] ** 2, rel=1e-3)


@pytest.mark.parametrize("start", [1e-50, 1e-3, 0.4999, 0.5, 0.7])
def test_escape_of_one_mode(start):
    """1-1-1, s = 1, w1 = w2: x = 2 w1^2 reaches 1 at log(1 / w1^2 - 1) / 2, or at 0 if it starts above 1."""
    weight = np.array([[math.sqrt(start)]])
    expected = max(0.0, math.log(1 / start - 1) / 2)
    got = solved((np.eye(1), weight, weight, 0.0))["escape_time"]
    assert got == pytest.approx(expected, rel=1e-13, abs=1e-15)


# ---------------------------------------------------------------- symmetries and extremes


@given(problems())
def test_transposition_changes_nothing(problem):
    sigma_yx, w1, w2, lam = problem
    straight, transposed = solved(problem), solved((sigma_yx.T, w2.T, w1.T, -lam))
    t = straight["convergence_time"]
    assert transposed["convergence_time"] == t or abs(transposed["convergence_time"] - t) <= slack(problem, t)
    # The singular values of draws may be close to each other.
    assert transposed["rotation_time"] == pytest.approx(straight["rotation_time"], rel=1e-10)
    assert transposed["escape_time"] == pytest.approx(straight["escape_time"], rel=1e-9, abs=1e-12)


@given(problems(), st.integers(-12, 12).filter(bool))
def test_times_scale_like_one_over_the_target(problem, power):
    """Sigma -> c Sigma, W -> sqrt(c) W, lam -> c lam gives t -> t / c. Rounding is equal for c = 4^n."""
    sigma_yx, w1, w2, lam = problem
    c, root = 4.0**power, 2.0**power
    original, scaled = solved(problem), solved((c * sigma_yx, root * w1, root * w2, c * lam))
    for name in SCALES:
        assert scaled[name] * c == pytest.approx(original[name], rel=1e-12), name


@pytest.mark.parametrize("lam", [0.0, 5e-324, 1e-200, -1e-30, 1e12, -1e100, 1e200, -1e307])
@pytest.mark.parametrize("init_scale", [1e-60, 1.0, 1e60])
def test_never_nan(lam, init_scale):
    for shape in [(3, 2, 4), (4, 4, 4), (2, 5, 2)]:
        arch = fl.Architecture(*shape)
        task, net = fl.random_regression(arch, 5), fl.balanced_init(arch, lam, init_scale)
        for name, value in fl.exact(task, net, [0.0], SCALES).items():
            assert float(value) >= 0, (shape, name)


@pytest.mark.parametrize("target_scale", [1e-60, 1e60])
def test_never_nan_for_tiny_and_huge_targets(target_scale):
    arch = fl.Architecture(4, 2, 4)
    for lam in (-1.0, 0.0, 1.0):
        dataset = fl.exact(
            fl.random_regression(arch, 5, target_scale), fl.balanced_init(arch, lam), [0.0], SCALES
        )
        assert all(float(value) >= 0 for value in dataset.values())


# ---------------------------------------------------------------- the interface


def small():
    arch = fl.Architecture(4, 2, 3)
    return fl.random_regression(arch, 9, 3**0.5), fl.balanced_init(arch, -1.0)


def test_time_scales_have_no_time_axis_and_are_in_the_registry():
    task, net = small()
    dataset = fl.exact(task, net, [0.0, 1.0, 2.0], ["loss", *SCALES])
    assert dataset.loss.dims == ("time",)
    for name in SCALES:
        entry = fl.OBSERVABLES[name]
        assert dataset[name].dims == entry.dims == ()
        assert dataset[name].attrs["units"] == entry.unit == "1"
        assert entry.equation and dataset[name].attrs["equation"] == entry.equation
        assert not entry.default
        assert name not in fl.exact(task, net, [0.0])


def test_time_scales_do_not_depend_on_times():
    task, net = small()
    one, other = (fl.exact(task, net, times, SCALES) for times in ([3.0], [0.0, 1e6, np.inf]))
    assert all(one[name].identical(other[name]) for name in SCALES)


def test_the_default_fraction_is_99_percent():
    task, net = small()
    names = ["convergence_time"]
    plain = fl.exact(task, net, [0.0], names).convergence_time
    assert float(plain) == float(fl.exact(task, net, [0.0], names, fraction=0.99).convergence_time)
    assert float(plain) > float(fl.exact(task, net, [0.0], names, fraction=0.9).convergence_time)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2, float("nan"), "0.9", True, None])
def test_a_fraction_is_between_0_and_1(fraction):
    task, net = small()
    with pytest.raises(fl.InputError, match="fraction") as caught:
        fl.exact(task, net, [0.0], SCALES, fraction=fraction)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SCALES)
def test_gradient_descent_refuses_time_scales(name):
    task, net = small()
    with pytest.raises(fl.InputError, match=f"{name}.*exact") as caught:
        fl.gradient_descent(task, net, 0.01, 10, observables=["loss", name])
    assert "\n" not in str(caught.value)
