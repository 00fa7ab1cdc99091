"""Tasks, initialisations and their checks."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import fastlin as fl
from fastlin.weights.balance import _one_sided_residual, reduced_width, scaled
from tests import reference
from tests.networks import CLASSES, relative

SIZES = st.integers(1, 6)


@given(SIZES, SIZES, st.integers(0, 9), st.integers(0, 2**63 - 1), st.floats(1e-3, 1e3))
def test_random_regression_is_consistent(n_i, n_o, extra, seed, scale):
    """The statistics that are drawn are those of the data that are formed later."""
    task = fl.random_regression(fl.Architecture(n_i, 1, n_o), n_i + extra, scale, seed)
    literal = fl.Task(task.X, task.Y)
    assert literal.whitened
    assert relative(literal.sigma_xx, np.eye(n_i)) < 1e-13
    assert relative(literal.sigma_yx, task.sigma_yx) < 1e-12
    assert literal.sigma_yy_trace == pytest.approx(task.sigma_yy_trace, rel=1e-12)
    assert literal.loss_floor == pytest.approx(task.loss_floor, rel=1e-9, abs=1e-13 * task.sigma_yy_trace)


def test_law_of_the_statistics_is_that_of_the_literal_construction():
    """A Kolmogorov-Smirnov test compares with drawing X, whitening it, drawing Y and averaging (B.2.1)."""
    n_i, n_o, samples, count = 3, 2, 5, 4000
    rng = np.random.default_rng(0)
    drawn, literal = [], []
    for seed in range(count):
        task = fl.random_regression(fl.Architecture(n_i, 1, n_o), samples, 1.3, seed)
        drawn.append(_numbers(task.sigma_yx, task.sigma_yy_trace))
        x, y = reference.random_task(rng, n_i, n_o, samples, 1.3)
        literal.append(_numbers(y @ x.T / samples, np.sum(y**2) / samples))
    for column in range(5):
        result = stats.ks_2samp(np.array(drawn)[:, column], np.array(literal)[:, column])
        assert result.pvalue > 1e-3, column


def _numbers(sigma_yx, trace):
    s = np.linalg.svd(sigma_yx, compute_uv=False)
    return [sigma_yx[0, 0], s[0], s[1], trace, trace - np.sum(s**2)]


def test_law_of_the_data():
    """X is a whitened Gaussian, and Y is normal with standard deviation target_scale / sqrt(N_o)."""
    xs, ys = [], []
    for seed in range(1500):
        task = fl.random_regression(fl.Architecture(2, 1, 3), 6, 2.0, seed)
        xs.append(task.X[1, 4])
        ys.append(task.Y[2, 3])
    rng = np.random.default_rng(1)
    whitened = [reference.random_task(rng, 2, 3, 6, 2.0)[0][1, 4] for _ in range(1500)]
    assert stats.ks_2samp(xs, whitened).pvalue > 1e-3
    assert stats.kstest(np.array(ys) * 3**0.5 / 2.0, "norm").pvalue > 1e-3


def test_all_hidden_sizes_share_a_task_and_more_samples_keep_its_directions():
    tasks = [fl.random_regression(fl.Architecture(4, n_h, 3), 10, 1.0, 5) for n_h in (1, 2, 9)]
    assert all(np.array_equal(task.sigma_yx, tasks[0].sigma_yx) for task in tasks)
    longer = fl.random_regression(fl.Architecture(4, 2, 3), 40, 1.0, 5)
    assert relative(2 * longer.sigma_yx, tasks[0].sigma_yx) < 1e-14


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("lam", [-4.0, 0.0, 1e-12, 2.5])
@pytest.mark.parametrize("kind", ["gaussian", "random_regression", "aligned"])
def test_balance_is_strict_where_it_can_be(shape, lam, kind):
    arch = fl.Architecture(*shape)
    task = fl.random_regression(arch, 9, 1.0)
    net = fl.balanced_init(arch, lam, 0.8, 3, kind, n_samples=9, task=task)
    n_i, n_h, n_o = shape
    feasible = lam == 0 or (lam > 0 and n_h <= n_o) or (lam < 0 and n_h <= n_i)
    if abs(lam) > 1e-6:
        assert net.balance == ("strict" if feasible else "support")
    d, q = reference.balance(net.w1, net.w2), np.vstack([net.w1.T, net.w2])
    assert np.abs(q @ d - lam * q).max() < 1e-13 * np.linalg.norm(q) ** 3
    if feasible:
        assert np.abs(d - lam * np.eye(n_h)).max() < 1e-13 * np.linalg.norm(q) ** 2
    assert fl.Network(net.w1, net.w2).lam == pytest.approx(lam, abs=1e-13 * np.linalg.norm(q) ** 2)


@given(SIZES, SIZES, st.integers(0, 40), st.sampled_from([-4.0, 0.0, 1e-12, 2.5]), st.integers(0, 999))
def test_width_beyond_all_units_is_reduced_without_loss(n_i, n_o, extra, lam, seed):
    """QQ^T and the balance D, up to the basis of the hidden units and to zeros, stay the same."""
    rng = np.random.default_rng(seed)
    n_h = n_i + n_o + extra
    raw = rng.standard_normal((n_h, n_i)), rng.standard_normal((n_o, n_h))
    for w1, w2 in (raw, reference.random_balanced(rng, n_i, n_h, n_o, lam)):
        small = reduced_width(w1, w2)
        assert (small[0].shape, small[1].shape) == ((n_i + n_o, n_i), (n_o, n_i + n_o))
        size = np.sum(w1**2) + np.sum(w2**2)
        assert np.abs(reference.qqt(*small) - reference.qqt(w1, w2)).max() <= 1e-14 * size
        values = np.zeros(n_h)
        values[: n_i + n_o] = np.linalg.eigvalsh(reference.balance(*small))
        difference = np.sort(values) - np.linalg.eigvalsh(reference.balance(w1, w2))
        assert np.abs(difference).max() <= 1e-14 * size
        q, d = np.vstack([w1.T, w2]), reference.balance(w1, w2)
        literal = np.linalg.norm(q @ (d - lam * np.eye(n_h))) / np.linalg.norm(q) ** 3
        assert _one_sided_residual(scaled(w1, w2), lam) == pytest.approx(literal, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(("lam", "expected"), [(0.0, "strict"), (1e-3, "support"), (-2.0, "support")])
def test_balance_of_a_wide_network_is_strict_at_lam_0_only(lam, expected):
    w1, w2 = reference.random_balanced(np.random.default_rng(0), 3, 30, 3, lam)
    assert fl.Network(w1, w2).balance == expected


def test_memory_of_a_wide_network_is_that_of_its_weights():
    rng = np.random.default_rng(0)
    w1, w2 = rng.standard_normal((4023, 40)), rng.standard_normal((40, 4023))
    tracemalloc.start()
    fl.Network(w1, w2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * (w1.nbytes + w2.nbytes)  # W2^T W2 alone is 50 times the weights


def test_gaussian_init_keeps_the_product_of_the_raw_weights():
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((2, 4)), rng.standard_normal((3, 2))
    net = fl.balanced_init(fl.Architecture(4, 2, 3), -2.0, 0.5, weights=raw)
    assert relative(net.w2 @ net.w1, 0.25 * raw[1] @ raw[0]) < 1e-13
    assert net.lam == -2.0


def test_init_kinds():
    arch = fl.Architecture(4, 2, 3)
    task = fl.random_regression(arch, 9, 1.0)
    aligned = fl.balanced_init(arch, 0.0, 0.1, kind="aligned", task=task)
    u, _, vt = np.linalg.svd(task.sigma_yx)
    modes = u.T @ aligned.w2 @ aligned.w1 @ vt.T
    assert np.abs(modes - 0.01 * np.eye(3, 4) * [1, 1, 0, 0]).max() < 1e-16 * 10
    strong = fl.balanced_init(fl.Architecture(4, 9, 3), 0.0, 3.0, 1, "random_regression", n_samples=9)
    weak = fl.balanced_init(fl.Architecture(4, 9, 3), 0.0, 1.0, 1, "random_regression", n_samples=9)
    assert relative(strong.w2 @ strong.w1, 3.0 * weak.w2 @ weak.w1) < 1e-13


def test_hidden_rotation_is_haar():
    """An entry of a uniform rotation in three dimensions is uniform on [-1, 1] (Archimedes)."""
    entries = []
    for seed in range(1500):
        net = fl.balanced_init(fl.Architecture(3, 3, 3), 0.0, seed=seed, kind="aligned", task=_eye())
        entries.append(net.w1[0, 1])
    assert stats.kstest(entries, "uniform", args=(-1, 2)).pvalue > 1e-3


def _eye():
    return fl.Task(np.eye(3) * 3**0.5, np.diag([3.0, 2.0, 1.0]) * 3**0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: fl.Architecture(0, 1, 1), "n_i is 0; allowed is 1 to"),
        (lambda a: fl.Architecture(1, 2.0, 1), "n_h is 2.0; a whole number is needed"),
        (lambda a: fl.Architecture(1, 1, True), "n_o is True"),
        (
            lambda a: fl.random_regression(a, 3),
            "n_samples is 3, and whitening N_i = 4 inputs needs at least 4",
        ),
        (lambda a: fl.random_regression(a, 9, -1.0), "target_scale is -1; it must be at least"),
        (lambda a: fl.random_regression(a, 9, 1.0, -1), "seed is -1"),
        (lambda a: fl.balanced_init(a, np.nan), "lam is nan"),
        (lambda a: fl.balanced_init(a, "1"), "lam is '1'; a number is needed"),
        (lambda a: fl.balanced_init(a, 1.0, 0.0), "init_scale is 0; it must be at least"),
        (lambda a: fl.balanced_init(a, 1.0, kind="gausian"), "did you mean 'gaussian'"),
        (lambda a: fl.balanced_init(a, 1.0, kind="aligned"), "needs the task"),
        (lambda a: fl.balanced_init(a, 1.0, kind="aligned", task=_eye()), "the task maps 3 to 3"),
        (lambda a: fl.balanced_init(a, 1.0, kind="random_regression"), "needs the size of its task"),
        (lambda a: fl.balanced_init(a, 1.0, weights=(np.eye(2), np.eye(2))), "weights are those of 2-2-2"),
        (lambda a: fl.Network(np.ones((2, 3)), np.ones((3, 3))), "disagree on N_h"),
        (lambda a: fl.Network(np.ones((2, 3)), np.ones((3, 2)), 5.0), "not balanced"),
        (lambda a: fl.Task(np.ones((2, 3)), np.ones((2, 4))), "X has 3 samples and Y has 4"),
        (lambda a: fl.Task(np.ones(3), np.ones((2, 3))), "X has shape"),
        (lambda a: fl.Task(None, None), "X is not an array of real numbers"),
        (lambda a: fl.Task(np.ones((2, 3)), [[1.0, None, 2.0]]), "Y is not an array of real numbers"),
        (lambda a: fl.Network(None, np.ones((2, 3))), "w1 is not an array of real numbers"),
        (lambda a: fl.Task([[1.0, -1e155]], np.ones((1, 2))), r"X\[0, 1\] is -1e\+155; allowed are entries"),
        (lambda a: fl.Task(np.ones((1, 2)), [[0.0, 1.0], [1e65, 0.0]]), r"Y\[1, 0\] is 1e\+65; allowed are"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(fl.InputError, match=message) as caught:
        call(fl.Architecture(4, 2, 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "family"),
    [
        ((4, 2, 2), "funnel"),
        ((2, 2, 4), "inverted funnel"),
        ((4, 4, 4), "square"),
        ((4, 2, 4), "bottleneck"),
        ((4, 8, 4), "wide"),
        ((5, 3, 2), "between"),
    ],
)
def test_families_of_the_paper(shape, family):
    assert fl.Architecture(*shape).family == family
