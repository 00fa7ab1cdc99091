"""Stochastic gradient descent against a literal loop, and the law of its noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fastlin.kernels.random import Stream, pairs_of, shared, standard_normals
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.stochastic_descent import Noise, descend, rows_of
from tests.networks import relative


def run(w1, w2, x, y, noise, steps, rates=(0.01, 0.01), decay=(0.0, 0.0)):
    """Return the weights after each number of steps, (W1, W2)."""
    paths = np.empty((len(steps), *w1.shape)), np.empty((len(steps), *w2.shape))
    descend(w1.copy(), w2.copy(), x, y, rates, decay, noise, np.array(steps), *paths)
    return paths


def plain(w1, w2, x, y, noise, steps, rates, decay):
    """Return the weights after all steps, by the definition of the order and of the noise."""
    (n_i, samples), n_o = x.shape, len(y)
    batch, deviation, seed = noise
    sizes, batches = shared(Sizes(n_i, 0, n_o)), -(-samples // batch)
    places = [4 * rows_of(count) for count in (samples, batch * n_o)]  # pairs of an epoch and of a step
    for step in range(steps):
        first = step // batches * places[0]
        order = np.argsort(standard_normals(Stream.BATCHES, seed, sizes, samples, first), kind="stable")
        if batch == samples:
            order = np.arange(samples)
        members = order[step % batches * batch :][:batch]
        drawn = standard_normals(Stream.LABEL_NOISE, seed, sizes, members.size * n_o, step * places[1])
        targets = y[:, members] + deviation * drawn.reshape(-1, n_o).T
        error = (targets - w2 @ w1 @ x[:, members]) @ x[:, members].T / members.size
        w1, w2 = (
            w1 + rates[0] * (w2.T @ error - decay[0] * w1),
            w2 + rates[1] * (error @ w1.T - decay[1] * w2),
        )
    return w1, w2


@given(
    *[st.integers(1, 4)] * 3,
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 2**63 - 1),
)
def test_batches_and_noise_are_those_of_a_plain_loop(n_i, n_h, n_o, samples, batch, deviation, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n_i, samples)), rng.standard_normal((n_o, samples))
    w1, w2 = rng.standard_normal((n_h, n_i)), rng.standard_normal((n_o, n_h))
    noise = Noise(min(batch, samples), deviation, seed)
    rates, decay = (0.02, 0.01), (0.3, 0.1)
    expected = plain(w1, w2, x, y, noise, 13, rates, decay)
    path1, path2 = run(w1, w2, x, y, noise, [0, 13], rates, decay)
    assert np.array_equal(path1[0], w1)
    assert np.array_equal(path2[0], w2)
    assert relative(path1[1], expected[0]) < 1e-12
    assert relative(path2[1], expected[1]) < 1e-12


def test_rows_hold_whole_blocks_of_all_numbers():
    assert [rows_of(count) for count in (1, 32, 33, 64, 65)] == [4, 4, 8, 8, 12]
    assert all(8 * rows_of(count) // 2 % pairs_of(1) == 0 for count in range(1, 100))


def first_steps(batch, deviation, count):
    """Return E of the first step of many seeds (count, N_o, N_i), that of all samples, and the problem."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 11)), rng.standard_normal((2, 11))
    w1, w2 = 0.3 * rng.standard_normal((2, 3)), np.eye(2)  # W2 = I: the step of W1 is E
    errors = [run(w1, w2, x, y, Noise(batch, deviation, seed), [1])[0][0] - w1 for seed in range(count)]
    residual = y - w2 @ w1 @ x
    return np.array(errors) / 0.01, residual @ x.T / 11, residual[:, None, :] * x[None, :, :], x


@pytest.mark.parametrize(("batch", "deviation"), [(1, 0.0), (4, 0.0), (11, 0.7), (4, 0.7)])
def test_the_mean_of_many_seeds_is_the_gradient_of_all_samples(batch, deviation):
    """Of B of P samples without replacement, plus noise on targets: mean and variance are known."""
    count = 1500
    errors, full, terms, x = first_steps(batch, deviation, count)
    of_batches = np.var(terms, axis=-1) / batch * (11 - batch) / 10
    of_labels = deviation**2 / batch * np.mean(x**2, axis=-1)
    variance = of_batches + of_labels
    assert (np.abs(errors.mean(axis=0) - full) < 4.5 * np.sqrt(variance / count)).all()
    spread = (
        stats.kurtosis(errors, axis=0) + 2.0
    )  # relative variance of an estimate of the variance, times count
    assert (np.abs(errors.var(axis=0) / variance - 1.0) < 4.5 * np.sqrt(spread / count)).all()
    later = [
        run(np.zeros((1, 3)), np.ones((2, 1)), x, x[:2], Noise(batch, deviation, seed), [2])[0]
        for seed in (0, 1)
    ]
    assert not np.array_equal(*later)


def test_noise_of_labels_is_normal_and_independent_between_steps():
    """With X = 1, W2 = 1, W1 = 0 and small rates the step of W1 is the mean noise of its batch."""
    x, y = np.ones((1, 3)), np.zeros((1, 3))
    steps = np.arange(4001)
    path, _ = run(np.zeros((1, 1)), np.ones((1, 1)), x, y, Noise(1, 2.0, 5), steps, (1e-12, 1e-12))
    noise = np.diff(path.ravel()) / 2e-12
    assert stats.kstest(noise, "norm").pvalue > 0.01
    for lag in (1, 2, 3):
        assert abs(np.corrcoef(noise[lag:], noise[:-lag])[0, 1]) < 4 / 4000**0.5
