"""The closed form for given weights: reference values, limits, and properties on random networks."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.weights.solve import Starts, convergence_times, factors
from tests import reference
from tests.networks import CLASSES, draw, networks, relative

CASES = json.loads((Path(__file__).parents[1] / "data" / "qqt_reference.json").read_text())["cases"]


def limit(sigma_yx, w1, w2, lam):
    """Return QQ^T(inf), also if it is a saddle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fl.SaddleWarning)
        return fl.solve_qqt(sigma_yx, w1, w2, [np.inf], lam)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_reference_values(case):
    expected = np.array(case["qqt"])
    for lam in (case["lam"], None):
        got = fl.solve_qqt(case["sigma_yx"], case["W1"], case["W2"], case["times"], lam)
        for t, value, wanted in zip(case["times"], got, expected, strict=True):
            assert relative(value, wanted) < 1e-11, t


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("lam", [0.0, 1e-12, 1e3])
@pytest.mark.parametrize("init_scale", [1e-8, 1.0, 10.0])
def test_late_times_reach_the_limit(shape, lam, init_scale):
    """Directions outside the planes of F are left out, because they decay like 1/t if lam/2 is near 0."""
    n_i, n_h, n_o = shape
    _, w1, w2 = draw(n_i, n_h, n_o, lam, init_scale)
    m, t = min(n_i, n_o), 1e6
    sigma_yx = np.zeros((n_o, n_i))
    sigma_yx[:m, :m] = np.diag(2.0 ** -np.arange(m))  # gaps that t = 1e6 resolves at lam = 1e3
    late, final = fl.solve_qqt(sigma_yx, w1, w2, [t], lam)[0], limit(sigma_yx, w1, w2, lam)
    outside = np.zeros(n_i + n_o, dtype=bool)
    outside[m:n_i] = outside[n_i + m :] = True
    block = np.ix_(outside, outside)
    if outside.any():
        assert np.abs(late[block] - final[block]).max() <= max(1 / t, 1e-11 * final.max())
    late[block] = final[block]
    assert relative(late, final) < 1e-11


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("lam", [-3.0, 0.0, 2.0])
def test_limit_is_the_reference_limit(shape, lam):
    sigma_yx, w1, w2 = draw(*shape, lam)
    expected = reference.at_infinity(sigma_yx, w1, w2, lam)
    assert relative(limit(sigma_yx, w1, w2, lam), expected) < 1e-11


@pytest.mark.parametrize("n_h", [3, 5, 8])
def test_half_of_the_square_starts_at_lam_0_end_at_a_saddle(n_h):
    """The sign of det(W2 W1) is conserved, so that a start with the opposite sign of Sigma's loses a mode."""
    saddles = 0
    for seed in range(40):
        sigma_yx, w1, w2 = draw(3, n_h, 3, 0.0, seed=seed)
        wrong_sign = np.linalg.det(w2 @ w1) * np.linalg.det(sigma_yx) < 0
        saddles += wrong_sign
        expected = np.linalg.matrix_rank(sigma_yx) - wrong_sign
        late = limit(sigma_yx, w1, w2, 0.0)[3:, :3]
        assert np.linalg.matrix_rank(late, tol=1e-9) == expected
        if wrong_sign:
            with pytest.warns(fl.SaddleWarning, match="saddle"):
                fl.solve_qqt(sigma_yx, w1, w2, [np.inf], 0.0)
    assert 10 < saddles < 30


@given(networks(), st.floats(0, 50))
def test_symmetric_positive_semidefinite(network, t):
    sigma_yx, w1, w2, lam = network
    qqt = fl.solve_qqt(sigma_yx, w1, w2, [t], lam)[0]
    assert np.array_equal(qqt, qqt.T) or relative(qqt, qqt.T) < 1e-15
    values = np.linalg.eigvalsh(qqt)
    assert values[0] >= -1e-13 * values[-1]


@given(networks(), st.floats(0, 3), st.floats(0, 20))
def test_semigroup(network, first, second):
    """Solving to t1 and from there to t2 equals solving to t1 + t2."""
    sigma_yx, w1, w2, lam = network
    q = factors(Starts.of(sigma_yx, w1, w2, np.array(lam)), np.array([first]))[0][0]
    n_i = w1.shape[1]
    onward = fl.solve_qqt(sigma_yx, q[:n_i].T, q[n_i:], [second], lam)[0]
    assert relative(onward, fl.solve_qqt(sigma_yx, w1, w2, [first + second], lam)[0]) < 1e-10


@given(networks(), st.floats(0.1, 3))
def test_riccati_equation(network, t):
    """d(QQ^T)/dt = F QQ^T + QQ^T F - (QQ^T)^2. The derivative is a difference of order four."""
    sigma_yx, w1, w2, lam = network
    n_o, n_i = sigma_yx.shape
    f = np.block([[-lam / 2 * np.eye(n_i), sigma_yx.T], [sigma_yx, lam / 2 * np.eye(n_o)]])
    speed = np.linalg.norm(f, 2) + np.linalg.norm(reference.qqt(w1, w2), 2)
    h = min(1e-2 / speed, t / 2)
    back2, back1, x, on1, on2 = fl.solve_qqt(sigma_yx, w1, w2, t + h * np.arange(-2, 3), lam)
    slope = (back2 - 8 * back1 + 8 * on1 - on2) / (12 * h)
    # The error is h^4 times a fifth derivative (a few hundred times speed^5), and rounding divided by h.
    assert np.abs(slope - (f @ x + x @ f - x @ x)).max() <= 1e-5 * speed * np.abs(x).max()


@given(networks(), st.floats(0, 10))
def test_balance_is_conserved(network, t):
    """Q (D - lam I) = 0 along the flow, and the eigenvalues of D do not change."""
    sigma_yx, w1, w2, lam = network
    q = factors(Starts.of(sigma_yx, w1, w2, np.array(lam)), np.array([t]))[0][0]
    q = np.pad(q, ((0, 0), (0, len(w1) - q.shape[1])))  # q has no more columns than rows
    d = reference.balance(q[: w1.shape[1]].T, q[w1.shape[1] :])
    assert np.linalg.norm(q @ d - lam * q) <= 1e-12 * (np.linalg.norm(q) ** 3 + abs(lam) * np.linalg.norm(q))
    before = np.linalg.eigvalsh(reference.balance(w1, w2))
    size = np.linalg.norm(q) ** 2 + np.linalg.norm(reference.qqt(w1, w2))
    assert np.abs(np.linalg.eigvalsh(d) - before).max() <= 1e-11 * size


@given(networks(max_size=4), st.floats(0.01, 6))
def test_agrees_with_an_ode_solver(network, t):
    sigma_yx, w1, w2, lam = network
    expected = reference.qqt(*reference.flow_ode(sigma_yx, w1, w2, [t])[0])
    assert np.abs(fl.solve_qqt(sigma_yx, w1, w2, [t], lam)[0] - expected).max() < 1e-9 * (1 + expected.max())


@given(networks(), st.floats(0, 30), st.integers(0, 1000))
def test_hidden_rotation_changes_nothing(network, t, seed):
    sigma_yx, w1, w2, lam = network
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(w1), len(w1))))[0]
    expected = fl.solve_qqt(sigma_yx, w1, w2, [t], lam)[0]
    turned = fl.solve_qqt(sigma_yx, rotation @ w1, w2 @ rotation.T, [t], lam)[0]
    assert relative(turned, expected) < 1e-10


@given(networks())
def test_rotations_of_inputs_and_outputs_go_along(network):
    sigma_yx, w1, w2, lam = network
    rng = np.random.default_rng(0)
    o1, o2 = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (w1.shape[1], w2.shape[0]))
    both = np.block([[o1, np.zeros((len(o1), len(o2)))], [np.zeros((len(o2), len(o1))), o2]])
    expected = both @ fl.solve_qqt(sigma_yx, w1, w2, [2.0], lam)[0] @ both.T
    assert relative(fl.solve_qqt(o2 @ sigma_yx @ o1.T, w1 @ o1.T, o2 @ w2, [2.0], lam)[0], expected) < 1e-10


def test_times_in_any_order_and_start_exact():
    sigma_yx, w1, w2 = draw(4, 2, 3, 0.5)
    times = np.array([np.inf, 3.0, 0.0, 1e-300, 1e300, 3.0])
    shuffled = fl.solve_qqt(sigma_yx, w1, w2, times)
    for t, value in zip(times, shuffled, strict=True):
        assert np.array_equal(value, fl.solve_qqt(sigma_yx, w1, w2, [t])[0])
    assert relative(shuffled[2], reference.qqt(w1, w2)) < 1e-14


@pytest.mark.parametrize("lam", [0.0, 5e-324, 1e-200, -1e-30, 1e100, -1e200, 1e307])
@pytest.mark.parametrize("t", [0.0, 1e-300, 1.0, 1e6, 1e300, np.inf])
def test_never_overflows(lam, t):
    sigma_yx, _, _ = draw(3, 2, 4, 0.0)
    net = fl.balanced_init(fl.Architecture(3, 2, 4), lam=lam)
    qqt = fl.solve_qqt(sigma_yx, net.w1, net.w2, [t], lam)
    assert np.isfinite(qqt).all()
    assert np.abs(qqt).max() <= 4 * (abs(lam) + 40)


def test_batches_broadcast_and_keep_no_state():
    rng = np.random.default_rng(0)
    lams = np.array([[-2.0], [0.0], [1.5]])
    sigma_yx = rng.standard_normal((1, 4, 3, 5))
    weights = [[reference.random_balanced(rng, 5, 2, 3, lam[0]) for _ in range(4)] for lam in lams]
    w1, w2 = (np.array([[pair[k] for pair in row] for row in weights]) for k in (0, 1))
    got = fl.solve_qqt(sigma_yx, w1, w2, [0.5, np.inf], lams)
    assert got.shape == (3, 4, 2, 8, 8)
    for i in range(3):
        for j in range(4):
            alone = fl.solve_qqt(sigma_yx[0, j], w1[i, j], w2[i, j], [0.5, np.inf], lams[i, 0])
            assert relative(got[i, j], alone) < 1e-13
    assert np.array_equal(got, fl.solve_qqt(sigma_yx, w1, w2, [0.5, np.inf], lams))
    assert np.array_equal(got, fl.solve_qqt(sigma_yx, w1, w2, [0.5, np.inf], np.tile(lams, (1, 4))))


def test_degenerate_targets_keep_the_projection_at_infinity():
    """At t = inf the single hidden unit keeps its direction in the degenerate space of a rotation Sigma."""
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((4, 4)))[0]
    w1 = np.random.default_rng(4).standard_normal((1, 4))
    w2 = (rotation @ w1.T) * 1.0
    unit = np.concatenate([w1[0], w2[:, 0]]) / np.linalg.norm(w1) / np.sqrt(2)
    assert relative(limit(rotation, w1, w2, 0.0), 2.0 * np.outer(unit, unit)) < 1e-12


def test_equal_hidden_units_stay_equal():
    """Rounding must not let a rank-one start reach rank two, however late."""
    sigma_yx, w1, w2 = draw(4, 1, 4, 0.0)
    times = [50.0, 1e4, 1e9]
    doubled = fl.solve_qqt(sigma_yx, np.repeat(w1, 3, 0), np.repeat(w2, 3, 1), times, 0.0)
    assert relative(doubled, fl.solve_qqt(sigma_yx, w1 * 3**0.5, w2 * 3**0.5, times, 0.0)) < 1e-10


def test_zero_weights_stay_zero():
    assert not fl.solve_qqt(np.eye(3), np.zeros((2, 3)), np.zeros((3, 2)), [0, 1, 1e6]).any()
    with pytest.warns(fl.SaddleWarning):
        assert not fl.solve_qqt(np.eye(3), np.zeros((2, 3)), np.zeros((3, 2)), [np.inf]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"w1": np.ones((2, 3))}, "do not fit"),
        ({"sigma_yx": np.ones(4)}, "sigma_yx has shape"),
        ({"times": [-1.0]}, "times hold -1"),
        ({"times": []}, "non-empty"),
        ({"times": [np.nan]}, "times hold nan"),
        ({"w2": np.full((4, 2), np.nan)}, "w2 holds NaN"),
        ({"w1": "weights"}, "not an array of real numbers"),
        ({"lam": np.inf}, "lam holds NaN or infinite"),
        ({"lam": [1.0, 2.0], "sigma_yx": np.ones((3, 4, 4))}, "does not broadcast"),
        ({"lam": 7.0}, "not balanced"),
        ({"w1": np.eye(2, 4) * 3}, r"not balanced: .* is 0\.\d|not balanced: .* is \d\.\de-"),
    ],
)
def test_bad_input_is_named(arguments, message):
    sigma_yx, w1, w2 = draw(4, 2, 4, 1.0)
    given_arguments = {"sigma_yx": sigma_yx, "w1": w1, "w2": w2, "times": [1.0]} | arguments
    with pytest.raises(ValueError, match=message) as caught:
        fl.solve_qqt(**given_arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(48, 44, 3), (4, 50, 60)], ids=str)
def test_large_networks_are_solved_by_another_tier(shape):
    sigma_yx, w1, w2 = draw(*shape, 0.7)
    got = fl.solve_qqt(sigma_yx / 4, w1 / 4, w2 / 4, [0.5, 30.0], lam=0.7 / 16)
    for t, qqt in zip((0.5, 30.0), got, strict=True):
        expected = reference.any_time(sigma_yx / 4, w1 / 4, w2 / 4, 0.7 / 16, t)
        assert relative(qqt, expected) < 1e-10


@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_times_of_many_networks_are_those_of_each(kappa):
    tasks = [fl.random_regression(fl.Architecture(2, 5, 2), 10, seed=seed) for seed in range(3)]
    nets = [fl.balanced_init(fl.Architecture(2, 5, 2), lam, kappa=kappa, seed=1) for lam in (-1.0, 0.0, 2.0)]
    targets, w1, w2 = (
        np.array(part) for part in ([t.sigma_yx for t in tasks], [n.w1 for n in nets], [n.w2 for n in nets])
    )
    got = convergence_times(targets, w1, w2, np.array([-1.0, 0.0, 2.0]), kappa, 0.99)
    alone = [
        fl.exact(*pair, [0.0], ["convergence_time"]).convergence_time
        for pair in zip(tasks, nets, strict=True)
    ]
    assert got.tolist() == [float(time) for time in alone]
