"""Gradient descent of one network against literal loops: rates, decay, width, batches and noise."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from tests import reference
from tests.networks import CLASSES, OVER_TIME, literal, point, relative

SIZES = st.integers(1, 5)
RATES = st.floats(1e-3, 0.02)
DECAY = st.floats(0.0, 2.0)
CONTINUOUS = [name for name in OVER_TIME if name != "rsm_output"]  # its pseudo-inverse loses digits


def general(task, seed=1):
    """Return the task with inputs that are not white."""
    mix = np.random.default_rng(seed).standard_normal((task.n_i, task.n_i))
    return fl.Task(mix @ task.X, task.Y)


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("whitened", [True, False])
@pytest.mark.parametrize(("rates", "decay"), [((0.01, 0.01), (0.0, 0.0)), ((0.02, 0.005), (0.3, 0.1))])
def test_every_observable(shape, whitened, rates, decay):
    task, net = point(shape, seed=1)  # with seed 0 the funnel's W2 W2^T is too ill-conditioned to invert
    if not whitened:
        task = general(task)
        assert not task.whitened
    dataset = fl.gradient_descent(task, net, rates, 40, every=20, observables=OVER_TIME, decay=decay)
    assert dataset.time.values == pytest.approx([0.0, 0.2, 0.4], rel=1e-15)
    relative_rates = rates[0] / 0.01, rates[1] / 0.01
    for index, steps in enumerate([0, 20, 40]):
        weights = reference.gradient_descent(
            task.sigma_yx, net.w1, net.w2, rates, steps, task.sigma_xx, decay
        )
        for name, expected in literal(task, (net.w1, net.w2), *weights, relative_rates).items():
            got = dataset[name].values[index]
            assert np.abs(got - expected).max() <= 1e-10 * max(1.0, np.abs(expected).max()), name


@given(SIZES, SIZES, SIZES, RATES, RATES, DECAY, DECAY, st.integers(0, 99))
def test_rates_and_decay_are_those_of_a_plain_loop(n_i, n_h, n_o, rate1, rate2, decay1, decay2, seed):
    rng = np.random.default_rng(seed)
    task = fl.Task(rng.standard_normal((n_i, 7)), rng.standard_normal((n_o, 7)))
    net = fl.Network(0.5 * rng.standard_normal((n_h, n_i)), 0.5 * rng.standard_normal((n_o, n_h)))
    rates, decay = (rate1, rate2), (decay1, decay2)
    gd = fl.gradient_descent(task, net, rates, 25, 25, ["qqt"], decay=decay)
    weights = reference.gradient_descent(task.sigma_yx, net.w1, net.w2, rates, 25, task.sigma_xx, decay)
    assert relative(gd.qqt[-1], reference.qqt(*weights)) < 1e-12
    assert float(gd.time[-1]) == pytest.approx(25 * np.sqrt(rate1 * rate2), rel=1e-14)


def test_small_steps_tend_to_the_flow_of_rates_and_decay_on_any_data():
    """The limit by Richardson's extrapolation is that of SciPy's DOP853 at a tolerance of 1e-13, t = 2."""
    sigma_yx = np.array([[1.2, -0.3, 0.5], [0.4, 0.9, -0.7]])
    sigma_xx = np.array([[1.5, 0.3, 0.0], [0.3, 0.8, -0.2], [0.0, -0.2, 0.5]])
    net = fl.Network([[0.5, -0.2, 0.3], [0.1, 0.7, -0.4]], [[0.2, 0.6], [-0.5, 0.3]])
    x = 3**0.5 * np.linalg.cholesky(sigma_xx)
    task = fl.Task(x, sigma_yx @ np.linalg.inv(sigma_xx) @ x)
    ends = []
    for steps in (1000, 2000, 4000, 8000):
        rates = 2.0 / steps * 1.0, 2.0 / steps * 2.0
        gd = fl.gradient_descent(task, net, rates, steps, steps, ["w2w1"], decay=(0.1, 0.3))
        ends.append(gd.w2w1.values[-1])
    for power in (2, 4, 8):
        ends = [(power * fine - coarse) / (power - 1) for coarse, fine in pairwise(ends)]
    flow = [
        [0.7495711358676, -0.4409752400249, 0.644878369941],
        [0.04247360406169, 0.7921464303103, -0.7323111978432],
    ]
    assert np.abs(ends[0] - flow).max() < 1e-10


def test_one_number_is_a_pair_of_the_same_numbers():
    task, net = point()
    one = fl.gradient_descent(task, net, 0.013, 30, observables=OVER_TIME, decay=0.4)
    two = fl.gradient_descent(task, net, [0.013, 0.013], 30, observables=OVER_TIME, decay=(0.4, 0.4))
    assert one.identical(two)


@pytest.mark.parametrize("shape", [(4, 2, 4), (4, 4, 4), (2, 3, 4)])
def test_gradient_descent_is_of_order_one(shape):
    task, net = point(shape, lam=0.5)
    rates = 0.02 / 2.0 ** np.arange(5)
    errors = []
    for rate in rates:
        steps = round(2.0 / rate)
        gd = fl.gradient_descent(task, net, rate, steps, every=steps, observables=["qqt"])
        errors.append(np.abs(gd.qqt[-1] - fl.exact(task, net, gd.time, ["qqt"]).qqt[-1]).max())
    slope = np.polyfit(np.log(rates), np.log(errors), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.07)


def test_the_balance_of_unequal_rates_drifts_by_the_order_of_the_step():
    """``e1 W2^T W2 - e2 W1 W1^T`` is conserved by the flow, and W2^T W2 - W1 W1^T is not."""
    task, net = point((3, 4, 3), lam=0.7)
    drifts = []
    for rate in (0.004, 0.002, 0.001):
        steps = round(2.0 / rate)
        gd = fl.gradient_descent(task, net, (2 * rate, rate / 2), steps, steps, ["balance_drift"])
        drifts.append(float(gd.balance_drift[-1]))
    assert drifts[0] / drifts[1] == pytest.approx(2.0, rel=0.02)
    assert drifts[1] / drifts[2] == pytest.approx(2.0, rel=0.02)


def test_the_ntk_of_unequal_rates_drives_the_network_function():
    """d(W2 W1 X)/dt = K (Y - W2 W1 X) / P; the first step deviates by terms of second order in its length."""
    task, net = point((4, 3, 2))
    deviations = []
    for rate in (1e-3, 1e-4):
        gd = fl.gradient_descent(task, net, (4 * rate, rate), 1, 1, ["network_function", "ntk"])
        now = gd.network_function.values
        kernel = gd.ntk.values[0].reshape(now[0].size, now[0].size)
        expected = kernel @ (task.Y - now[0]).ravel() / task.n_samples
        speed = (now[1] - now[0]).ravel() / float(gd.time[1])
        deviations.append(np.abs(speed - expected).max() / np.abs(expected).max())
    assert deviations[0] < 0.02
    assert deviations[0] / deviations[1] == pytest.approx(10.0, rel=0.02)


def test_attributes_name_the_kernel_of_unequal_rates():
    task, net = point()
    equal = fl.gradient_descent(task, net, 0.01, 1, observables=OVER_TIME)
    unequal = fl.gradient_descent(task, net, (0.02, 0.005), 1, observables=OVER_TIME)
    changed = {name for name in equal if equal[name].attrs != unequal[name].attrs}
    assert changed == {"kernel_distance", "ntk_norm", "ntk", "balance_drift"}
    kernel = "; K = e2 I x X^T W1^T W1 X + e1 W2 W2^T x X^T X, e1 = 2, e2 = 0.5"
    assert unequal.kernel_distance.equation == equal.kernel_distance.equation + kernel
    assert unequal.time.long_name == "time t / tau = sqrt(eta1 eta2) * step"
    assert unequal.attrs["learning_rate"] == [0.02, 0.005]
    assert equal.attrs["learning_rate"] == 0.01
    assert not {"decay", "batch_size", "noise_seed"} & set(equal.attrs)


@pytest.mark.parametrize("decay", [(0.3, 0.3), (0.9, 0.1)])
def test_decay_ends_at_shrunken_singular_values(decay):
    """The limit is max(s_a - sqrt(g1 g2), 0), the largest N_h of them."""
    task = fl.Task(np.eye(3) * 3**0.5, np.diag([3.0, 1.0, 0.2]) * 3**0.5)
    net = fl.balanced_init(fl.Architecture(3, 4, 3), 0.0, 0.5, seed=3)
    gd = fl.gradient_descent(task, net, 0.05, 8000, 8000, ["w2w1"], decay=decay)
    assert np.abs(gd.w2w1[-1] - np.diag([2.7, 0.7, 0.0])).max() < 1e-9
    assert gd.attrs["decay"] == (0.3 if decay[0] == 0.3 else [0.9, 0.1])


@settings(max_examples=30)
@given(SIZES, SIZES, st.integers(1, 30), st.integers(0, 99))
def test_observables_of_a_reduced_width_are_those_of_all_units(n_i, n_o, extra, seed):
    rng = np.random.default_rng(seed)
    n_h = n_i + n_o + extra
    task = fl.Task(rng.standard_normal((n_i, 8)), rng.standard_normal((n_o, 8)))
    w1, w2 = 0.4 * rng.standard_normal((n_h, n_i)), 0.4 * rng.standard_normal((n_o, n_h))
    gd = fl.gradient_descent(task, fl.Network(w1, w2), (0.01, 0.02), 30, 30, CONTINUOUS, decay=(0.1, 0.2))
    weights = reference.gradient_descent(task.sigma_yx, w1, w2, (0.01, 0.02), 30, task.sigma_xx, (0.1, 0.2))
    relative_rates = 0.5**0.5, 2.0**0.5
    for name, expected in literal(task, (w1, w2), *weights, relative_rates).items():
        if name in CONTINUOUS:
            floor = 1.0 if name == "kernel_distance" else 0.0  # 1 minus a cosine has an absolute error
            error = np.abs(gd[name].values[-1] - expected).max()
            assert error <= 1e-12 * max(floor, np.abs(expected).max()), name


def test_wide_networks_take_the_memory_of_narrow_ones():
    rng = np.random.default_rng(0)
    w1, w2 = rng.standard_normal((4023, 40)) / 40**0.5, rng.standard_normal((40, 4023)) / 4023**0.5
    task = fl.random_regression(fl.Architecture(40, 4023, 40), 100)
    tracemalloc.start()
    gd = fl.gradient_descent(task, fl.Network(w1, w2), 1e-3, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    assert gd.attrs["n_h"] == 4023


@pytest.mark.parametrize("label_noise", [0.0, 0.5])
def test_batches_of_all_samples_are_plain_gradient_descent(label_noise):
    task, net = point((4, 9, 3))
    task = general(task)
    options = {"decay": (0.2, 0.1), "label_noise": label_noise, "noise_seed": 4}
    plain = fl.gradient_descent(task, net, (0.01, 0.02), 50, 1, CONTINUOUS, **options)
    batched = fl.gradient_descent(task, net, (0.01, 0.02), 50, 1, CONTINUOUS, batch_size=9, **options)
    for name in plain:
        assert relative(batched[name], plain[name].values) < 1e-12, name
    assert (batched.attrs["batch_size"], batched.attrs["label_noise"]) == (9, label_noise)


def seen(batch_size, steps, noise_seed=0):
    """Return the samples that each step saw: sample j moves column j of W1 alone, as X = I."""
    task = fl.Task(np.eye(7), np.linspace(1.0, 2.0, 7)[None])
    net = fl.Network(np.full((1, 7), 0.1), [[0.2]])
    options = {"batch_size": batch_size, "noise_seed": noise_seed}
    gd = fl.gradient_descent(task, net, 1e-3, steps, 1, ["w1tw1"], **options)
    norms = np.diagonal(gd.w1tw1.values, axis1=1, axis2=2)
    return [np.flatnonzero(moved).tolist() for moved in np.diff(norms, axis=0)]


@pytest.mark.parametrize(("batch_size", "lengths"), [(1, [1] * 7), (3, [3, 3, 1]), (4, [4, 3])])
def test_an_epoch_sees_each_sample_once_in_an_order_of_its_own(batch_size, lengths):
    steps = seen(batch_size, 6 * len(lengths))
    epochs = [steps[first : first + len(lengths)] for first in range(0, len(steps), len(lengths))]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == lengths
        assert sorted(np.concatenate(epoch)) == list(range(7))
    assert len({str(epoch) for epoch in epochs}) == 6
    assert seen(batch_size, len(lengths), noise_seed=1) != epochs[0]


@pytest.mark.parametrize("options", [{"batch_size": 2}, {"label_noise": 0.3}], ids=["batches", "labels"])
def test_noise_is_a_function_of_its_seed(options):
    task, net = point()
    run = fl.gradient_descent(task, net, 0.01, 60, 20, noise_seed=3, **options)
    assert fl.gradient_descent(task, net, 0.01, 60, 20, noise_seed=3, **options).identical(run)
    longer = fl.gradient_descent(task, net, 0.01, 90, 15, noise_seed=3, **options)
    assert np.array_equal(longer.loss[[0, 4]], run.loss[[0, 3]])
    other = fl.gradient_descent(task, net, 0.01, 60, 20, noise_seed=4, **options)
    assert other.loss[0] == run.loss[0]
    assert (other.loss[1:] != run.loss[1:]).all()
    assert run.attrs["noise_seed"] == 3


@pytest.mark.parametrize(
    ("rate", "options", "message"),
    [
        (0.9, {}, r"diverged before t = .* learning_rate 0\.9 is too large; .* about 0\.\d+ at most$"),
        ((1.2, 0.3), {}, r"learning_rate \(1\.2, 0\.3\) is too large; .* about \(0\.\d+, 0\.\d+\) at most$"),
        (0.9, {"batch_size": 2}, r"about 0\.\d+ at most, less with 2 of 9 samples a step$"),
        (0.1, {"decay": 100.0}, r"learning_rate 0\.1 is too large; .* about 0\.0\d+ at most$"),
    ],
)
def test_divergence_is_explained(rate, options, message):
    task, net = point()
    with pytest.raises(fl.InputError, match=message) as caught:
        fl.gradient_descent(task, net, rate, 400, **options)
    assert "\n" not in str(caught.value)


def test_the_rates_that_the_message_bears_have_the_ratio_of_those_given():
    task, net = point()
    with pytest.raises(fl.InputError) as caught:
        fl.gradient_descent(task, net, (1.2, 0.3), 400)
    first, second = str(caught.value).split("about (")[1].split(") at most")[0].split(", ")
    assert float(first) / float(second) == pytest.approx(4.0, rel=0.05)
    fl.gradient_descent(task, net, (float(first) / 2, float(second) / 2), 400)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.0, 10), {}, "learning_rate is 0; it must be above 0"),
        ((float("nan"), 10), {}, "learning_rate is nan"),
        (("fast", 10), {}, "learning_rate is 'fast'; a number is needed"),
        (((0.1, -0.1), 10), {}, r"learning_rate\[1\] is -0.1; it must be above 0"),
        (((0.1, None), 10), {}, r"learning_rate\[1\] is None; a number is needed"),
        (((0.1, 0.1, 0.1), 10), {}, r"learning_rate is \(0.1, 0.1, 0.1\); needed is one number, or a pair"),
        (((1e-90, 0.1), 10), {}, r"learning_rate is \(1e-90, 0.1\); the ratio of both must be from 1e-60"),
        ((0.1, 0), {}, "steps is 0"),
        ((0.1, 2.5), {}, "steps is 2.5; a whole number"),
        ((0.1, 10, 11), {}, "every is 11; allowed is 1 to 10"),
        ((0.1, 10), {"decay": -1.0}, "decay is -1; it must be at least 0"),
        ((0.1, 10), {"decay": [0.0, np.inf]}, r"decay\[1\] is inf; a finite number"),
        ((0.1, 10), {"decay": np.zeros(3)}, r"decay is \[0.0, 0.0, 0.0\]; needed is one number, or a pair"),
        ((0.1, 10), {"batch_size": 0}, "batch_size is 0; allowed is 1 to 9"),
        ((0.1, 10), {"batch_size": 10}, "batch_size is 10; allowed is 1 to 9"),
        ((0.1, 10), {"batch_size": 2.0}, "batch_size is 2.0; a whole number"),
        ((0.1, 10), {"label_noise": -0.1}, "label_noise is -0.1; it must be at least 0"),
        ((0.1, 10), {"noise_seed": -1}, "noise_seed is -1; allowed is 0 to"),
    ],
)
def test_bad_input_is_named(arguments, options, message):
    with pytest.raises(fl.InputError, match=message) as caught:
        fl.gradient_descent(*point(), *arguments, **options)
    assert "\n" not in str(caught.value)
