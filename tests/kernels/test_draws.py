"""Laws of weights: their entries have the distributions that their names stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import fastlin as fl
from fastlin.kernels import Problem, Record, Sizes, draw_records
from fastlin.kernels.draws import ENTRY_LAWS, RegressionTask, WeightStart
from fastlin.kernels.random import Stream, standard_uniforms
from tests.networks import CLASSES

WIDE = Sizes(40, 60, 30)  # thousands of entries of each layer
SEEDS = range(10)
NORMAL = {
    "gaussian": (1.0, 1.0),
    "lecun": (1 / 40, 1 / 60),
    "he": (2 / 40, 2 / 60),
    "xavier": (2 / 100, 2 / 90),
    "ntk": (1 / 60, 1 / 60),
}  # variances of W1 and of W2
KINDS = list(ENTRY_LAWS)


def entries(kind, layer):
    """Return all entries of a layer of some seeds."""
    return np.concatenate([WeightStart(kind).weights(seed, WIDE)[layer].ravel() for seed in SEEDS])


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("kind", NORMAL)
def test_normal_weights_have_the_variance_of_their_law(kind, layer):
    numbers = entries(kind, layer) / np.sqrt(NORMAL[kind][layer])
    assert stats.kstest(numbers, "norm").pvalue > 0.01
    assert abs(np.var(numbers) - 1.0) < 4.0 * np.sqrt(2.0 / numbers.size)


@pytest.mark.parametrize(
    ("kind", "layer", "fan_in"), [("torch", 0, 40), ("torch", 1, 60), ("zero_output", 0, 40)]
)
def test_uniform_weights_fill_the_bounds_of_their_law(kind, layer, fan_in):
    """nn.Linear draws kaiming_uniform with a = sqrt(5), which is uniform within 1 / sqrt(fan_in)."""
    numbers = entries(kind, layer) * np.sqrt(fan_in)
    assert np.abs(numbers).max() <= 1.0 + 1e-15
    assert stats.kstest(numbers, stats.uniform(-1.0, 2.0).cdf).pvalue > 0.01
    assert np.abs(np.corrcoef(numbers[:-1:2], numbers[1::2])[0, 1]) < 0.04


def test_zero_output_starts_with_the_first_layer_of_torch_and_no_second_one():
    (w1, w2), (theirs, other) = (WeightStart(kind).weights(3, WIDE) for kind in ("zero_output", "torch"))
    assert np.array_equal(w1, theirs)
    assert w2.shape == other.shape
    assert not w2.any()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "zero_output"])
@pytest.mark.parametrize("shape", [(4, 2, 4), (3, 8, 5)], ids=str)
def test_the_product_is_that_of_the_weights(kind, shape):
    law, sizes = WeightStart(kind), Sizes(*shape)
    w1, w2 = law.weights(5, sizes)
    assert w1.shape == (sizes.n_h, sizes.n_i)
    assert w2.shape == (sizes.n_o, sizes.n_h)
    assert np.array_equal(law.product(5, sizes), w2 @ w1)
    net = fl.balanced_init(fl.Architecture(*shape), -0.5, 0.7, 5, kind)
    assert np.allclose(net.w2 @ net.w1, 0.49 * w2 @ w1, rtol=1e-12, atol=1e-14)


def test_the_ntk_of_wide_networks_tends_to_a_limit():
    """The NTK is made of W1^T W1 and W2 W2^T, both of which tend to the identity."""
    deviations = []
    for n_h in (100, 10_000):
        w1, w2 = WeightStart("ntk").weights(1, Sizes(3, n_h, 4))
        deviations.append(max(np.abs(w1.T @ w1 - np.eye(3)).max(), np.abs(w2 @ w2.T - np.eye(4)).max()))
    assert deviations[1] < 0.2 * deviations[0]
    assert deviations[1] < 0.05


@pytest.mark.parametrize("lam", [-0.36, 0.36])
def test_a_balanced_zero_output_start_has_orthogonal_rows_in_one_layer(lam):
    """At lam = -a^2 it is ``A A^T = a^2 I`` and B = 0. The rows point into the directions that were drawn."""
    arch = fl.Architecture(5, 2, 4)
    net, other = (fl.balanced_init(arch, lam, 1.0, seed, "zero_output") for seed in (0, 1))
    full, empty = (net.w1, net.w2) if lam < 0 else (net.w2.T, net.w1.T)
    assert np.abs(full @ full.T - 0.36 * np.eye(2)).max() < 1e-14
    assert not empty.any()
    projections = [w.T @ w for w in ((net.w1, other.w1) if lam < 0 else (net.w2.T, other.w2.T))]
    assert np.abs(projections[0] - projections[1]).max() > 0.05
    assert net.balance == "strict"


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
def test_balanced_records_of_normal_laws_differ_by_a_factor_of_p(shape):
    sizes = Sizes(*shape)
    at, task = Record(sizes), RegressionTask(9, 1.5)
    plain, *scaled = (
        draw_records(sizes, np.arange(9), Problem(task, WeightStart(kind), 0.7)) for kind in NORMAL
    )
    for kind, records in zip(list(NORMAL)[1:], scaled, strict=True):
        product, numbers = (WeightStart(name).product(0, sizes) for name in (kind, "gaussian"))
        factor = np.linalg.norm(product) / np.linalg.norm(numbers)
        p = slice(at.p, at.floor)
        assert np.allclose(records[:, p], factor * plain[:, p], rtol=1e-13)
        assert np.array_equal(np.delete(records, np.arange(at.p, at.floor), 1),
                              np.delete(plain, np.arange(at.p, at.floor), 1))  # fmt: skip


@given(seed=st.integers(0, 2**63 - 1), count=st.integers(1, 70), more=st.integers(0, 9))
def test_uniform_numbers_have_places(seed, count, more):
    numbers = standard_uniforms(Stream.INIT_UNIFORM, seed, Sizes(4, 2, 3), count + more)
    assert numbers.size == count + more
    assert (np.abs(numbers) <= 1.0).all()
    assert np.array_equal(
        numbers[:count], standard_uniforms(Stream.INIT_UNIFORM, seed, Sizes(4, 2, 3), count)
    )
