"""Modes of the task and representations of conditions, over time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from tests import reference
from tests.networks import relative

SHAPES = [(4, 4, 3), (3, 2, 4), (5, 9, 5), (2, 1, 2)]
MODES = ["mode_strengths", "alignment"]
DISTANCES = ["rdm_cosine", "rdm_correlation"]


def logistic(s, start, t):
    """Return u of ``u' = 2 u (s - u)``, the strength of a mode of an aligned start at lam = 0."""
    return s / (1.0 + (s / start - 1.0) * np.exp(-2.0 * s * t))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 1000), st.floats(0.01, 1.0))
def test_modes_of_an_aligned_start_are_logistic(shape, seed, init_scale):
    arch = fl.Architecture(*shape)
    values = np.linspace(2.0, 0.5, min(arch.n_i, arch.n_o))
    task = fl.spectrum(arch, values, seed=seed)
    net = fl.balanced_init(arch, 0.0, init_scale, seed, "aligned", task=task)
    times = np.array([0.0, 0.3, 1.0, 4.0, 20.0])
    got = fl.exact(task, net, times, MODES)
    k = min(shape)
    wanted = logistic(values[:k], init_scale**2, times[:, None])
    assert relative(got.mode_strengths.values[:, :k], wanted) < 1e-12
    assert np.abs(got.mode_strengths.values[:, k:]).max(initial=0.0) < 1e-12
    assert np.abs(got.alignment.values[:, :k] - 1.0).max() < 1e-9
    assert got.alignment.side.values.tolist() == ["output", "input"]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 1000), st.floats(0.2, 3), st.sampled_from([-1, 1]))
def test_alignment_is_one_at_convergence(shape, seed, size, sign):
    arch = fl.Architecture(*shape)
    task = fl.random_regression(arch, n_samples=20, seed=seed)
    net = fl.balanced_init(arch, sign * size, 0.8, seed)
    path = fl.exact(task, net, [0.0, np.inf], MODES)
    s, k = np.linalg.svd(task.sigma_yx)[1], min(shape)
    assert relative(path.mode_strengths.values[1, :k], s[:k]) < 1e-8
    assert np.abs(path.alignment.values[1, :k] - 1.0).max() < 1e-8
    at_start = path.alignment.values[0]
    assert ((at_start >= 0.0) & (at_start <= 1.0)).all()


def test_alignment_is_one_also_where_singular_values_are_equal():
    """The singular vectors of the task and of the network are other ones of the same space there."""
    task = fl.hierarchy(levels=3)
    net = fl.balanced_init(fl.Architecture(8, 8, 8), lam=-1.0)
    end = fl.exact(task, net, [np.inf], MODES)
    assert np.abs(end.alignment.values - 1.0).max() < 1e-9
    assert relative(end.mode_strengths.values[0], np.linalg.svd(task.sigma_yx)[1]) < 1e-9


def test_alignment_is_the_overlap_of_singular_vectors():
    """It is (u_a . uhat_b)^2 where W has one singular vector, and NaN for a network without weights."""
    task = fl.spectrum(fl.Architecture(3, 1, 3), [3.0, 2.0, 1.0], seed=2)
    rng = np.random.default_rng(0)
    w1, w2 = rng.standard_normal((1, 3)), rng.standard_normal((3, 1))
    path = fl.flow(task, fl.Network(w1, w2), [0.0], observables=["alignment"])
    u, _, vt = np.linalg.svd(task.sigma_yx)
    assert np.allclose(path.alignment.values[0, :, 0], (u.T @ w2[:, 0] / np.linalg.norm(w2)) ** 2)
    assert np.allclose(path.alignment.values[0, :, 1], (vt @ w1[0] / np.linalg.norm(w1)) ** 2)
    nothing = fl.flow(task, fl.Network(0.0 * w1, 0.0 * w2), [0.0], observables=["alignment"])
    assert np.isnan(nothing.alignment.values).all()


def weights_of(task, net, times):
    """Return the weights at some times, by plain integration."""
    return [(net.w1, net.w2), *reference.flow_ode(task.sigma_yx, net.w1, net.w2, times[1:])]


def distances(patterns):
    """Return cosine distances of columns."""
    unit = patterns / np.linalg.norm(patterns, axis=0)
    return 1.0 - unit.T @ unit


@pytest.mark.parametrize("labels", [None, ["a", "b", "a", "c", "b", "a", "c", "c"], [3, 1, 3, 1, 3, 3, 2, 2]])
def test_distances_of_conditions_are_those_of_hidden_activity(labels):
    rng = np.random.default_rng(5)
    task = fl.Task(rng.standard_normal((3, 8)), rng.standard_normal((2, 8)), labels=labels).whiten()
    net, times = fl.balanced_init(fl.Architecture(3, 4, 2), lam=0.7, seed=1), [0.0, 0.5, 3.0]
    path = fl.exact(task, net, times, DISTANCES)
    names = list(dict.fromkeys(labels)) if labels else list(range(8))
    assert path.condition.values.tolist() == path.condition_2.values.tolist() == names
    given_labels = labels or names
    means = np.stack(
        [
            np.mean(
                [column for column, own in zip(task.X.T, given_labels, strict=True) if own == name], axis=0
            )
            for name in names
        ],
        axis=1,
    )
    for place, (w1, _) in enumerate(weights_of(task, net, times)):
        hidden = w1 @ means
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        assert np.allclose(path.rdm_cosine.values[place], distances(hidden), rtol=0, atol=1e-9)
        assert np.allclose(path.rdm_correlation.values[place], distances(centred), rtol=0, atol=1e-9)


def test_items_of_a_hierarchy_differ_by_their_common_branches():
    """At convergence of rich learning, items are the closer the later their branches part (Saxe et al.)."""
    task = fl.hierarchy(levels=3)
    net = fl.balanced_init(fl.Architecture(8, 8, 8), lam=0.0, init_scale=0.05)
    rdm = fl.exact(task, net, [60.0], ["rdm_cosine"]).rdm_cosine.values[0]
    sister, cousin, stranger = rdm[0, 1], rdm[0, 2], rdm[0, 4]
    assert 0.0 < sister < cousin < stranger


def test_conditions_need_samples_and_labels_fit_them():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 4)), rng.standard_normal((2, 4))
    net = fl.balanced_init(fl.Architecture(2, 2, 2), lam=0.0)
    with pytest.raises(fl.InputError, match="'rdm_cosine' needs samples"):
        fl.exact(fl.Task.from_sigma(np.eye(2)), net, [0.0], ["rdm_cosine"])
    for labels, message in (
        (["a", "b"], "labels has 2 entries; needed is one for each of 4 samples"),
        ("abcd", "needed is a list of one for each sample"),
        (["a", "b", None, "c"], r"labels\[2\] is None; needed is a text or a whole number"),
    ):
        with pytest.raises(fl.InputError, match=message):
            fl.Task(x, y, labels=labels)


def test_labels_stay_with_the_samples():
    rng = np.random.default_rng(0)
    task = fl.Task(rng.standard_normal((2, 4)), rng.standard_normal((2, 4)), labels=[np.int64(1), 0, 1, 0])
    for other in (task.whiten(), fl.reversed(task), fl.similar(task, 0.3), fl.similar(task.whiten(), 0.3)):
        assert other.labels == (1, 0, 1, 0)
        assert other.conditions == (1, 0)
    assert fl.Task(task.X, task.Y, labels=np.array(["b", "a", "b", "a"])).labels == ("b", "a", "b", "a")
    assert np.allclose(task.condition_means, np.stack([task.X[:, ::2], task.X[:, 1::2]]).mean(axis=2).T)


def test_modes_of_low_rank_adaptation_are_those_of_its_whole_map():
    arch, rng = fl.Architecture(4, 3, 4), np.random.default_rng(2)
    w0 = rng.standard_normal((4, 4))
    task, net = fl.lora(fl.random_regression(arch, 20), w0, rank=2, alpha=3.0)
    path = fl.exact(task, net, [0.0, 2.0], ["mode_strengths", "w2w1"])
    u, _, vt = np.linalg.svd(task.sigma_yx)
    for strengths, product in zip(path.mode_strengths.values, path.w2w1.values, strict=True):
        assert relative(strengths, np.diagonal(u.T @ product @ vt.T)) < 1e-12
    assert relative(path.w2w1.values[0], w0) < 1e-12


def test_stacks_have_the_numbers_of_their_networks():
    """Tasks with one number of conditions have their own representations; the labels are those of all."""
    rng, arch = np.random.default_rng(3), fl.Architecture(3, 4, 2)
    labels = ["a", "b", "b", "a", "c", "c", "a", "b"]
    tasks = [
        fl.Task(rng.standard_normal((3, 8)), rng.standard_normal((2, 8)), labels=labels).whiten()
        for _ in range(2)
    ]
    nets = fl.balanced_init(arch, lam=[-1.0, 0.5], seed=range(3))
    names = [*MODES, *DISTANCES]
    stacked = fl.exact(fl.Tasks(tasks), nets, [0.0, 2.0], names)
    assert stacked.condition.values.tolist() == ["a", "b", "c"]
    for place, task in enumerate(tasks):
        for seed in range(3):
            for lam in range(2):
                alone = fl.exact(task, nets.isel(seed=seed, lam=lam), [0.0, 2.0], names)
                part = stacked.isel(task=place, seed=seed, lam=lam)
                for name in names:
                    assert np.allclose(part[name], alone[name], rtol=0, atol=1e-10), name
