"""Tasks of given data and of given statistics: inputs, whitening, means, and which need samples."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import fastlin as fl
from fastlin.observables.registry import REGISTRY
from fastlin.tasks.means import CHANCE, floor_share
from tests.networks import relative

OF_SAMPLES = ("network_function", "rsm_input", "rsm_output", "ntk", "rdm_cosine", "rdm_correlation")
OF_STATISTICS = [name for name, entry in REGISTRY.items() if entry.over_time and name not in OF_SAMPLES]
DEFAULT = [name for name in OF_STATISTICS if REGISTRY[name].default]
SIZES = st.integers(1, 5)


@st.composite
def data(draw, kinds=("white", "isotropic", "projector", "general")):
    """Draw (x, y, kind, variance, projector on the span of the inputs)."""
    kind = draw(st.sampled_from(kinds))
    n_i, n_o, extra = draw(st.integers(2, 5)), draw(SIZES), draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    rank = draw(st.integers(1, n_i - 1)) if kind == "projector" else n_i
    if kind == "general":
        rank = draw(st.integers(2, n_i))
    samples = rank + extra
    frame = np.linalg.qr(rng.standard_normal((samples, rank)))[0].T * samples**0.5
    axes = np.linalg.qr(rng.standard_normal((n_i, rank)))[0]
    variance = 1.0 if kind == "white" else draw(st.sampled_from([1e-8, 0.125, 3.0, 1e8]))
    spread = np.geomspace(1.0, draw(st.floats(1.001, 1e4)), rank) if kind == "general" else np.ones(rank)
    x = axes * np.sqrt(variance * spread) @ frame
    return x, rng.standard_normal((n_o, samples)), kind, variance, axes @ axes.T


@given(data())
def test_inputs_are_described_by_their_second_moments(drawn):
    x, y, kind, variance, projector = drawn
    samples = x.shape[1]
    for task in (fl.Task(x, y), fl.Task.from_sigma(y @ x.T / samples, x @ x.T / samples)):
        assert task.inputs == kind
        assert task.whitened == (kind == "white")
        assert task.variance == pytest.approx(
            np.nan if kind == "general" else variance, rel=1e-12, nan_ok=True
        )
        assert task.span.shape == (len(x), round(np.trace(projector)))
        assert np.abs(task.span.T @ task.span - np.eye(task.span.shape[1])).max() < 1e-13
        # The axis of the least variance is known to rounding errors of the largest one.
        assert np.abs(task.span @ task.span.T - projector).max() < 1e-10
        if task.span.shape[1] == len(x):
            assert np.array_equal(task.span, np.eye(len(x)))


@pytest.mark.parametrize("variance", [1.0, 1e-12, 7.0])
@pytest.mark.parametrize("projected", [False, True])
def test_the_tolerance_is_relative_to_the_largest_eigenvalue(variance, projected):
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    flat = "projector" if projected else "white" if variance == 1.0 else "isotropic"
    for deviation, expected in ((5e-10, flat), (5e-9, "general")):
        values = variance * np.array([0.0 if projected else 1.0, 1.0, 1.0, 1.0 + deviation])
        task = fl.Task.from_sigma(np.zeros((2, 4)), rotation * values @ rotation.T)
        assert task.inputs == expected


def test_a_weak_direction_that_targets_use_is_no_rounding_error():
    """A variance of 1e-10 beside 1 is below the tolerance, but |Sigma_yx| along it may be 1e-5."""
    weak = np.diag([1.0, 1.0, 1e-10])
    assert fl.Task.from_sigma([[1.0, 0.0, 0.0]], weak).inputs == "projector"
    task = fl.Task.from_sigma([[1.0, 0.0, 1e-5]], weak)
    assert task.inputs == "general"
    assert task.span.shape == (3, 3)
    assert task.sigma_yy_trace == pytest.approx(2.0, rel=1e-12)


def test_examples_of_inputs():
    labels = np.ones((2, 8))
    assert repr(fl.Task(np.eye(8), labels)) == (
        "<Task of 8 inputs (isotropic, variance 0.125), 2 outputs, 8 samples>"
    )
    assert repr(fl.Task(8**0.5 * np.eye(8), labels)) == "<Task of 8 inputs (whitened), 2 outputs, 8 samples>"
    one = fl.Task([[3.0], [4.0]], [[1.0]])
    assert repr(one) == "<Task of 2 inputs (projector of rank 1, variance 25), 1 outputs, 1 samples>"
    assert np.abs(one.span) == pytest.approx(np.array([[0.6], [0.8]]))
    general = fl.Task.from_sigma(np.eye(2), np.diag([1.0, 2.0]))
    assert repr(general) == "<Task of 2 inputs (general), 2 outputs, from statistics>"
    nothing = fl.Task(np.zeros((2, 3)), np.ones((1, 3)))
    assert (nothing.inputs, nothing.span.shape) == ("general", (2, 0))
    drawn = fl.random_regression(fl.Architecture(3, 1, 2), 5)
    assert (drawn.inputs, drawn.variance, drawn.whitening) == ("white", 1.0, None)
    assert np.array_equal(drawn.x_mean, np.zeros((3, 1)))
    assert np.array_equal(drawn.y_mean, np.zeros((2, 1)))


@given(data(), SIZES)
@settings(max_examples=40)
def test_statistics_are_enough_for_what_needs_no_samples(drawn, n_h):
    """A task of statistics has the dynamics of a task of data, and the loss of the definition."""
    x, y, _, variance, _ = drawn
    x = x / variance**0.5
    task = fl.Task(x, y)
    bare = fl.Task.from_sigma(task.sigma_yx, task.sigma_xx, task.loss_floor)
    assert bare.sigma_yy_trace == pytest.approx(task.sigma_yy_trace, rel=1e-10)
    rng = np.random.default_rng(0)
    net = fl.Network(rng.standard_normal((n_h, len(x))), rng.standard_normal((len(y), n_h)))
    weights = np.vstack([net.w1.T, net.w2])
    rate = 0.1 / (np.linalg.norm(task.sigma_xx, 2) * np.sum(weights**2) + np.linalg.norm(task.sigma_yx))
    of_data, of_statistics = (
        fl.gradient_descent(either, net, rate, 40, 20, observables)
        for either, observables in ((task, OF_STATISTICS), (bare, None))
    )
    assert set(of_statistics) == set(DEFAULT)
    for name in DEFAULT:
        expected = of_data[name].values
        assert np.abs(of_statistics[name].values - expected).max() <= 1e-9 * max(1, np.abs(expected).max())
    for product, loss in zip(of_statistics.w2w1.values, of_statistics.loss.values, strict=True):
        literal = 0.5 * np.sum((y - product @ x) ** 2) / x.shape[1]
        assert loss == pytest.approx(literal, rel=1e-10, abs=1e-12 * task.sigma_yy_trace)


def test_the_closed_form_takes_statistics():
    arch = fl.Architecture(4, 2, 3)
    task, net = fl.random_regression(arch, 9), fl.balanced_init(arch, 0.5)
    bare = fl.Task.from_sigma(task.sigma_yx, floor=task.loss_floor)
    names = ["convergence_time", "escape_time", *OF_STATISTICS]
    expected = fl.exact(task, net, [0.0, 1.0, np.inf], names)
    assert fl.exact(bare, net, [0.0, 1.0, np.inf], names).identical(expected)
    assert set(fl.exact(bare, net, [0.0])) == set(DEFAULT)


def test_the_loss_of_statistics_does_not_cancel_at_its_minimum():
    rng = np.random.default_rng(0)
    best, error = rng.standard_normal((2, 3, 3))
    root = np.diag([1.0, 0.1, 0.01])
    task = fl.Task.from_sigma(best @ root @ root, root @ root)
    loss = fl.gradient_descent(task, fl.Network(best + 1e-9 * error, np.eye(3)), 1e-6, 1).loss.values[0]
    assert loss == pytest.approx(0.5 * np.sum((1e-9 * error @ root) ** 2), rel=1e-5)


@given(data(), st.booleans())
def test_whitening_maps_inputs_and_weights(drawn, center):
    x, y = drawn[:2]
    raw = fl.Task(x, y, center=center and x.shape[1] > 2)
    white = raw.whiten()
    n_i, samples = x.shape
    assert white.inputs == ("white" if raw.span.shape[1] == n_i else "projector")
    assert white.variance == pytest.approx(1.0, rel=1e-12)
    assert relative(white.X @ white.X.T / samples, raw.span @ raw.span.T) < 1e-9
    assert relative(white.whitening @ (x - white.x_mean), white.X) < 1e-12
    assert np.array_equal(white.Y, y - white.y_mean)
    assert white.whitening.shape == (n_i, n_i)
    w1 = np.random.default_rng(0).standard_normal((2, n_i))
    assert relative((w1 @ white.whitening) @ raw.X, w1 @ white.X) < 1e-12
    # No linear map of the inputs is lost or gained.
    assert white.loss_floor == pytest.approx(raw.loss_floor, rel=1e-6, abs=1e-12 * raw.sigma_yy_trace)
    again = white.whiten()
    assert relative(again.whitening, white.whitening) < 1e-9
    assert raw.whitening is None


@given(data())
def test_statistics_are_whitened_as_data_are(drawn):
    x, y = drawn[:2]
    task = fl.Task(x, y)
    of_data = task.whiten()
    of_statistics = fl.Task.from_sigma(task.sigma_yx, task.sigma_xx, 0.25).whiten()
    assert (of_statistics.inputs, of_statistics.loss_floor) == (of_data.inputs, 0.25)
    for name in ("sigma_xx", "whitening"):
        assert relative(getattr(of_statistics, name), getattr(of_data, name)) < 1e-9
    assert np.abs(of_statistics.sigma_yx - of_data.sigma_yx).max() < 1e-8 * of_data.sigma_yy_trace**0.5


@given(st.floats(1, 14), st.integers(0, 10**6))
def test_ill_conditioned_inputs_become_white(decades, seed):
    """Rounding errors of one whitening grow with the condition number, so that a second one follows."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    x = axes * np.geomspace(1.0, 10 ** (-decades / 2), 4) @ axes.T @ rng.standard_normal((4, 9))
    white = fl.Task(x, rng.standard_normal((2, 9))).whiten()
    assert white.whitened
    assert np.abs(white.whitening @ x - white.X).max() < 1e-6


@given(SIZES, SIZES, st.integers(0, 10**6))
def test_centring_subtracts_the_means(n_i, n_o, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n_i, 12)), rng.standard_normal((n_o, 12))
    plain = fl.Task(x, y)
    task = fl.Task(x + 100.0, y - 1e3, center=True)
    assert task.x_mean.shape == (n_i, 1)
    assert relative(task.x_mean, x.mean(axis=1, keepdims=True) + 100.0) < 1e-14
    assert relative(task.y_mean, y.mean(axis=1, keepdims=True) - 1e3) < 1e-14
    covariance = np.atleast_2d(np.cov(np.vstack([x, y]), bias=True))
    assert np.abs(task.sigma_xx - covariance[:n_i, :n_i]).max() < 1e-12
    assert np.abs(task.sigma_yx - covariance[n_i:, :n_i]).max() < 1e-12
    share = floor_share(x.mean(axis=1), y.mean(axis=1), plain.moments, plain.sigma_yy_trace)
    assert task.loss_floor == pytest.approx((1.0 - share) * plain.loss_floor, rel=1e-10)


def test_centred_one_hot_inputs_are_a_projector():
    task = fl.Task(np.eye(8), np.eye(8), center=True)
    assert (task.inputs, task.span.shape) == ("projector", (8, 7))
    assert task.variance == pytest.approx(0.125, rel=1e-14)


def noise(seed, *shape):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (noise(0, 3, 60) + 2.0, noise(1, 2, 60), r"^the mean of X is [78]\d% of its second moment; Task"),
        (noise(0, 3, 60), noise(1, 2, 60) + 2.0, r"^[78]\d% of the loss floor is due to means; Task"),
        (
            noise(0, 3, 60) + 9.0,
            noise(1, 2, 60) * 3 - 9.0,
            r"^the mean of X is 9\d% of its second mom",
        ),
        (
            noise(0, 1, 60) + 2.0,
            noise(1, 2, 60) + 9.0,
            r"^the mean of X is .*, and \d\d% of the loss floor is",
        ),
        (noise(0, 9, 12) + 9.0, noise(1, 2, 12), r"^the mean of X is 99% of its second moment; Task"),
    ],
)
def test_large_means_give_one_warning(x, y, message):
    with pytest.warns(fl.MeanWarning, match=message) as caught:
        task = fl.Task(x, y)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task.whiten()
        assert fl.Task(x, y, center=True).loss_floor <= task.loss_floor


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.vstack([noise(0, 3, 60), np.ones(60)]), noise(1, 2, 60) + 5.0),  # ones learn the mean of Y
        (noise(0, 3, 60), noise(1, 2, 3) @ noise(0, 3, 60)),  # no loss floor
        (noise(0, 3, 60), noise(1, 2, 3) @ noise(0, 3, 60) + 1e-5),  # a floor of 1e-10
        (np.eye(50), np.ones((2, 50))),  # no loss floor
        (np.ones((1, 60)), noise(1, 1, 60)),  # centring would leave no inputs
        (noise(0, 3, 4) + 0.5, noise(1, 2, 4) + 2.0),  # too few samples to tell
        (noise(0, 3, 60) + 0.5, noise(1, 2, 60) + 0.5),  # small means
    ],
)
def test_other_means_give_no_warning(x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fl.Task(x, y)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 45), st.integers(0, 10**6))
@settings(max_examples=200)
def test_random_data_of_mean_zero_give_no_warning(n_i, n_o, samples, seed):
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fl.Task(rng.standard_normal((n_i, samples)), rng.standard_normal((n_o, samples)))


@given(st.floats(0.5, 1.0), st.integers(1, 200))
def test_bound_of_the_chance_of_a_share(share, freedom):
    """The share of the mean of one normal feature follows a Beta law."""
    assert stats.beta.sf(share, 0.5, freedom / 2) <= (1.0 - share) ** (freedom / 2) * (1 + 1e-9)
    assert 0.5 ** (40 / 2) < CHANCE < 0.5 ** (39 / 2)


def bare():
    return fl.Task.from_sigma(np.diag([3.0, 1.0]), np.diag([2.0, 1.0]))


def network():
    return fl.balanced_init(fl.Architecture(2, 2, 2), 0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fl.Task.from_sigma(np.eye(2), np.eye(3)),
            r"sigma_xx has shape \(3, 3\); needed is \(2, 2\)",
        ),
        (lambda: fl.Task.from_sigma([1.0, 2.0]), r"sigma_yx has shape \(2,\); needed is \(N_o, N_i\)"),
        (lambda: fl.Task.from_sigma([[np.nan]]), "sigma_yx holds NaN"),
        (
            lambda: fl.Task.from_sigma(np.eye(2), [[1, 2], [0, 9]]),
            r"sigma_xx\[0, 1\] is 2 and sigma_xx\[1, 0\]",
        ),
        (lambda: fl.Task.from_sigma(np.eye(2), np.diag([1.0, -0.1])), "sigma_xx has the eigenvalue -0.1"),
        (
            lambda: fl.Task.from_sigma([[1.0, 0.0], [1.0, 0.5]], np.diag([1.0, 0.0])),
            r"row 1 of sigma_yx leaves the span of sigma_xx by 0\.5 \(rank 1 of 2\)",
        ),
        (lambda: fl.Task.from_sigma([[1.0]], [[0.0]]), r"row 0 of sigma_yx leaves .* \(rank 0 of 1\)"),
        (lambda: fl.Task.from_sigma([[1e129]]), r"sigma_yx\[0, 0\] is 1e\+129; allowed are entries"),
        (lambda: fl.Task.from_sigma([[1e20]], [[1e-100]]), r"Sigma_xx\^\(\+1/2\)\[0, 0\] is 1e\+70; allowed"),
        (lambda: fl.Task.from_sigma([[1.0]], floor=-1.0), "floor is -1; it must be at least 0"),
        (lambda: fl.Task.from_sigma([[1.0]], floor="0"), "floor is '0'; a number is needed"),
        (lambda: bare().X, r"statistics and no samples \(Task\.from_sigma\); X and Y need Task\(x, y\)"),
        (lambda: bare().Y, "statistics and no samples"),
        (lambda: bare().n_samples, "statistics and no samples"),
        *(
            (
                lambda name=name: fl.gradient_descent(bare(), network(), 0.1, 1, 1, ["loss", name]),
                f"observable '{name}' needs samples, and the task has statistics only",
            )
            for name in OF_SAMPLES
        ),
        (lambda: fl.exact(fl.Task.from_sigma(np.eye(2)), network(), [0], ["ntk"]), "'ntk' needs samples"),
        (lambda: fl.Task(np.eye(2), np.eye(2), center=1), "center is 1; allowed: true, false"),
        (lambda: fl.Task([[1.0]], [[2.0]], center=True), "X is the same in all samples"),
        (lambda: fl.Task(np.full((2, 7), 0.1), np.ones((1, 7)), center=True), "X is the same in all samples"),
        (lambda: fl.Task(np.zeros((2, 3)), np.ones((1, 3))).whiten(), "all inputs are 0, so they cannot be"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(fl.InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_rounding_errors_of_given_statistics_are_no_fault():
    """Targets without correlation have a Sigma_yx of rounding errors, which leave the span of the inputs."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 2)) @ rng.standard_normal((2, 9))
    y = rng.standard_normal((2, 9)) @ (np.eye(9) - np.linalg.pinv(x) @ x)
    task = fl.Task(x, y)
    # How large the rounding errors are depends on the processor, so these are given.
    sigma_yx = 1e-16 * rng.standard_normal((2, 3))
    given_moments = fl.Task.from_sigma(sigma_yx, task.sigma_xx, task.loss_floor)
    off = np.eye(3) - given_moments.span @ given_moments.span.T
    assert np.abs(sigma_yx @ off).max() > 1e-17
    assert np.abs(given_moments.sigma_yx @ off).max() < 1e-30
    # A matrix that was written with ten digits is made symmetric.
    skew = fl.Task.from_sigma([[1.0, 1.0]], [[2.0, 1.0 + 1e-10], [1.0 - 1e-10, 2.0]])
    assert np.array_equal(skew.sigma_xx, skew.sigma_xx.T)
    assert skew.sigma_xx[0, 1] == pytest.approx(1.0, rel=1e-15)


@given(st.floats(1, 13), st.integers(0, 10**6))
def test_ill_conditioned_statistics_become_white(decades, seed):
    axes = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))[0]
    root = axes * np.geomspace(1.0, 10 ** (-decades / 2), 4) @ axes.T
    white = fl.Task.from_sigma(axes[:2] @ root, root @ root).whiten()
    assert white.whitened
    assert np.array_equal(white.sigma_xx, np.eye(4))
