"""Several tasks in a row, learned by one network."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from fastlin.observables.relearning import reversal_times
from tests import beyond
from tests.networks import relative

FAST = ["loss", "w2w1"]
SHAPES = [(3, 2, 3), (3, 4, 2), (2, 6, 3), (4, 1, 2)]


def targets(n_i, n_o, count, seed=0):
    """Return tasks of white inputs."""
    rng = np.random.default_rng(seed)
    return [fl.Task.from_sigma(rng.standard_normal((n_o, n_i))) for _ in range(count)]


def general(n_i, n_o):
    rng = np.random.default_rng(5)
    return fl.Task.from_sigma(rng.standard_normal((n_o, n_i)), np.diag(np.linspace(0.5, 2.0, n_i)), 0.25)


def losses(product, tasks):
    return [
        task.loss_floor
        + 0.5
        * np.linalg.norm((product @ task.sigma_xx - task.sigma_yx) @ np.diag(np.diag(task.sigma_xx) ** -0.5))
        ** 2
        for task in tasks
    ]


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10**6), st.sampled_from(SHAPES), st.floats(-2.0, 2.0), st.sampled_from([0.0, 0.8]))
def test_a_sequence_of_four_tasks_equals_the_chained_flow(seed, shape, lam, kappa):
    n_i, n_h, n_o = shape
    kappa = kappa if n_h >= n_i + n_o else 0.0
    tasks = [*targets(n_i, n_o, 2, seed), general(n_i, n_o), targets(n_i, n_o, 1, seed + 1)[0]]
    net = fl.balanced_init(fl.Architecture(*shape), lam, kappa=kappa, seed=seed % 1000, init_scale=0.5)
    durations, times = [2.0, 1.0, 0.5, 1.5], [1.5, 0.0, 0.5]
    ds = fl.sequence(list(zip(tasks, durations, strict=True)), net, times, FAST, tolerance=1e-12)
    assert ds.attrs["solvers"] == ["exact", "exact", "flow", "exact"]
    assert ds.attrs["durations"] == durations
    start, scale = (net.w1, net.w2), 1.0 + float(np.abs(ds.loss).max())
    for k, (task, duration) in enumerate(zip(tasks, durations, strict=True)):
        for i, t in enumerate(times):
            if t > duration:
                assert np.isnan(ds.loss[k, i]).all()
                assert np.isnan(ds.w2w1[k, i]).all()
                continue
            w1, w2 = beyond.flow(task.sigma_yx, *start, [t], task.sigma_xx)[0]
            assert np.abs(ds.loss[k, i] - losses(w2 @ w1, tasks)).max() < 1e-9 * scale
        start = beyond.flow(task.sigma_yx, *start, [duration], task.sigma_xx)[0]
        assert np.abs(ds.final_loss[k] - losses(start[1] @ start[0], tasks)).max() < 1e-9 * scale


def test_a_sequence_equals_the_flow_of_each_stage():
    tasks, net = targets(3, 3, 3), fl.balanced_init(fl.Architecture(3, 3, 3), lam=-0.5)
    ds = fl.sequence([(task, 2.0) for task in tasks], net, [0.0, 1.0], ["w2w1", "kernel_distance"])
    for k, task in enumerate(tasks):
        path = fl.flow(task, net, [0.0, 1.0], 1e-12, observables=["w2w1", "kernel_distance"])
        assert relative(ds.w2w1.values[k], path.w2w1.values) < 1e-9
        np.testing.assert_allclose(ds.kernel_distance[k], path.kernel_distance, atol=1e-9)
        net = net.after(task, 2.0)


@pytest.mark.parametrize("init_scale", [0.5, 1e-7])
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_one_stage_cut_in_two_equals_one_stage(lam, init_scale):
    """Also where the first mode is learned before the cut and the second one, still tiny, after it."""
    first, second = fl.Task.from_sigma(np.diag([4.0, 2.0])), fl.Task.from_sigma([[1.0, -1.0], [0.5, 2.0]])
    net = fl.balanced_init(fl.Architecture(2, 2, 2), lam, init_scale=init_scale, seed=2)
    whole = fl.sequence([(first, 20.0), (second, 1.0)], net, [5.0, 8.0, 20.0, 1.0], FAST)
    cut = fl.sequence([(first, 5.0), (first, 15.0), (second, 1.0)], net, [3.0, 15.0, 1.0], FAST)
    np.testing.assert_allclose(cut.loss[1, :2, 0], whole.loss[0, 1:3, 0], rtol=1e-9, atol=1e-13)
    assert relative(cut.w2w1.values[2, 2], whole.w2w1.values[1, 3]) < 1e-9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lam", [-1.0, 2.0])
def test_forgetting_without_end_has_its_formula(shape, lam):
    """``|S_A - S_B|^2 / 2`` for N_h >= m, else ``(|S_A - [S_B]_H|^2 - |S_A - [S_A]_H|^2) / 2``."""
    n_i, n_h, n_o = shape
    tasks, net = targets(n_i, n_o, 3), fl.balanced_init(fl.Architecture(*shape), lam)
    ds = fl.sequence([(task, math.inf) for task in tasks], net, [0.0], ["loss"])

    def truncated(task):
        u, s, vt = np.linalg.svd(task.sigma_yx, full_matrices=False)
        return (u[:, :n_h] * s[:n_h]) @ vt[:n_h]

    for a in range(3):
        own = np.linalg.norm(tasks[a].sigma_yx - truncated(tasks[a])) ** 2
        for b in range(3):
            wanted = (np.linalg.norm(tasks[a].sigma_yx - truncated(tasks[b])) ** 2 - own) / 2
            got = float(ds.forgetting.sel(stage=b, task=a))
            assert got == pytest.approx(wanted, rel=1e-9) if b > a else math.isnan(got)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.2, 4.0), st.floats(-6.0, 1.0), st.booleans(), st.sampled_from([(1, 1, 1), (3, 4, 2)]))
def test_the_half_time_of_a_reversal_has_its_formula(s, exponent, negative, shape):
    """All modes of equal strength cross 0 at once, when three quarters of the loss are gone."""
    lam = (-1.0 if negative else 1.0) * s * 10.0**exponent
    n_i, _, n_o = shape
    u, v = (np.linalg.qr(np.random.default_rng(n).standard_normal((n, n)))[0] for n in (n_o, n_i))
    m = min(n_i, n_o)
    target = s * u[:, :m] @ v[:, :m].T
    stages = [(fl.Task.from_sigma(target), math.inf), (fl.Task.from_sigma(-target), math.inf)]
    net = fl.balanced_init(fl.Architecture(*shape), lam)
    ds = fl.sequence(stages, net, [0.0], ["loss"], fraction=0.75)
    wanted = reversal_times(s, lam)
    assert float(ds.reversal_time[1]) == pytest.approx(float(wanted), rel=1e-12)
    assert np.isnan(ds.reversal_time[0])
    assert float(ds.relearning_time[1]) == pytest.approx(float(wanted), rel=1e-7)


@pytest.mark.parametrize("n_h", [1, 3])
def test_each_mode_has_its_half_time(n_h):
    """Also in a bottleneck, which reverses the modes that it has learned, and with inputs of variance 2."""
    target, variance, lam = np.diag([3.0, 1.0]), 2.0, 0.4
    stages = [(fl.Task.from_sigma(sign * target, variance * np.eye(2)), math.inf) for sign in (1.0, -1.0)]
    net = fl.balanced_init(fl.Architecture(2, n_h, 2), lam)
    half = reversal_times(np.array([3.0, 1.0][:n_h]), variance * lam)
    ds = fl.sequence(stages, net, half, FAST)
    assert float(ds.reversal_time[1]) == pytest.approx(half[-1], rel=1e-12)
    for mode in range(min(n_h, 2)):
        assert abs(ds.w2w1[1, mode, mode, mode]) < 1e-9


def test_half_times_are_left_out_where_they_do_not_apply():
    one, other = targets(3, 3, 2)
    minus = fl.Task.from_sigma(-one.sigma_yx)
    net = fl.balanced_init(fl.Architecture(3, 6, 3), 0.5)
    wide = fl.balanced_init(fl.Architecture(3, 6, 3), 0.5, kappa=1.0)
    cases = [(net, one, math.inf, other), (net, one, 100.0, minus), (wide, one, math.inf, minus)]
    for start, first, t, second in cases:
        ds = fl.sequence([(first, t), (second, math.inf)], start, [0.0], ["loss"])
        assert np.isnan(ds.reversal_time).all()


def positive():
    """Return a rich network whose product has a positive determinant, and a target and its reversal."""
    net = fl.balanced_init(fl.Architecture(2, 4, 2), lam=0.0)
    assert np.linalg.det(net.w2 @ net.w1) > 0.0
    return net, fl.Task.from_sigma(np.eye(2)), fl.Task.from_sigma(-np.eye(2))


def test_a_rich_network_relearns_after_twice_the_time():
    """At lam = 0 the time to learn -S grows by twice the time that S was learned for."""
    net, plus, minus = positive()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runs = [fl.sequence([(plus, t), (minus, 100.0)], net, [0.0], ["loss"]) for t in (6.0, 10.0)]
    times = [float(run.relearning_time[1]) for run in runs]
    assert times[1] - times[0] == pytest.approx(8.0, abs=1e-3)
    assert np.isnan([run.reversal_time for run in runs]).all()


@pytest.mark.parametrize("t", [18.5, 40.0, math.inf])
def test_a_rich_network_never_relearns(t):
    net, plus, minus = positive()
    with pytest.warns(fl.SaddleWarning, match=r"stages\[1\]: an earlier stage lasted"):
        ds = fl.sequence([(plus, t), (minus, 200.0)], net, [0.0], ["loss"])
    assert np.isinf(ds.relearning_time[1])
    assert float(ds.reversal_time[1]) == math.inf if math.isinf(t) else math.isnan(ds.reversal_time[1])


def test_a_stage_that_ends_at_a_saddle_is_named():
    net, plus, _ = positive()
    flipped = fl.Task.from_sigma(np.diag([1.0, -1.0]))
    with pytest.warns(fl.SaddleWarning, match=r"stages\[1\]: at t = inf the flow ends at a saddle"):
        fl.sequence([(plus, 1.0), (flipped, math.inf)], net, [0.0], ["loss"])


def test_relearning_is_faster_than_learning_and_inf_where_the_stage_ends_before():
    (one, other), net = targets(3, 3, 2), fl.balanced_init(fl.Architecture(3, 5, 3), 0.1, init_scale=0.1)
    ds = fl.sequence([(one, 50.0), (other, 0.1), (one, math.inf)], net, [0.0], ["loss"])
    scratch = float(fl.exact(one, net, [0.0], ["convergence_time"]).convergence_time)
    assert float(ds.relearning_time[0]) == scratch
    assert np.isinf(ds.relearning_time[1])
    assert ds.relearning_time[2] < scratch
    assert ds.relearning_time.attrs["fraction"] == 0.99


@pytest.mark.parametrize("duration", [40.0, 0.1])
def test_relearning_time_of_integrated_stages_is_a_passage_of_the_loss(duration):
    task, net = general(3, 2), fl.random_init(fl.Architecture(3, 4, 2), "xavier")
    ds = fl.sequence([(task, duration)], net, [0.0], ["loss"], fraction=0.9, tolerance=1e-11)
    time = float(ds.relearning_time[0])
    start, end = fl.flow(task, net, [0.0, min(time, duration)], 1e-11, observables=["loss"]).loss.values
    goal = start - 0.9 * (start - task.loss_floor)
    assert end == pytest.approx(goal, rel=1e-8) if duration > 1.0 else time == math.inf and end > goal


def test_times_and_observables_have_defaults():
    tasks, net = targets(3, 2, 2), fl.balanced_init(fl.Architecture(3, 2, 2), 1.0)
    ds = fl.sequence([(tasks[0], 5.0), (tasks[1], math.inf)], net)
    assert ds.time.values[[0, 100, 101]].tolist() == [0.0, 5.0, math.inf]
    assert {"loss", "kernel_distance", "w2w1", "weight_norms"} < set(ds.data_vars)
    assert ds.kernel_distance.dims == ("stage", "time")
    assert ds.weight_norms.dims == ("stage", "time", "layer")
    assert np.isnan(ds.loss[0, 101]).all()
    np.testing.assert_allclose(ds.loss[1, 101], ds.final_loss[1], rtol=1e-12)


def test_observables_of_samples_and_of_the_start_are_kept_by_stage():
    arch = fl.Architecture(3, 2, 2)
    tasks = [fl.random_regression(arch, n_samples=10, seed=seed) for seed in (0, 1)]
    net = fl.balanced_init(arch, 1.0)
    ds = fl.sequence([(task, 1.0) for task in tasks], net, [0.5], ["network_function", "fit_lam"])
    assert ds.network_function.dims == ("stage", "time", "output", "sample")
    assert ds.fit_lam.dims == ("stage",)
    np.testing.assert_allclose(ds.fit_lam, 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "stages is .*needed is a list of pairs"),
        ([fl.Task.from_sigma(np.eye(2))], r"stages\[0\] is .*needed is a pair"),
        ([(fl.Task.from_sigma(np.eye(2)), 0.0)], r"stages\[0\] has the duration 0"),
        ([(fl.Task.from_sigma(np.eye(2)), math.nan)], r"stages\[0\] has the duration nan"),
        ([(fl.Task.from_sigma(np.eye(2)), "1")], r"stages\[0\] has the duration '1'"),
        ([(fl.Task.from_sigma(np.eye(3)), 1.0)], r"stages\[0\]: the task maps 3 inputs"),
        ([(fl.Task.from_sigma(np.eye(2), np.diag([1.0, 2.0])), math.inf)], r"stages\[0\]: times hold inf"),
    ],
)
def test_what_is_refused_is_named(stages, message):
    net = fl.balanced_init(fl.Architecture(2, 3, 2), 1.0)
    with pytest.raises(fl.InputError, match=message):
        fl.sequence(stages, net, [0.0])


def test_time_scales_and_unequal_samples_are_refused():
    arch = fl.Architecture(2, 3, 2)
    net = fl.balanced_init(arch, 1.0)
    tasks = [fl.random_regression(arch, n_samples=n) for n in (5, 6)]
    with pytest.raises(fl.InputError, match="convergence_time is a time scale"):
        fl.sequence([(tasks[0], 1.0)], net, [0.0], ["convergence_time"])
    with pytest.raises(fl.InputError, match="network_function needs tasks of equal numbers of samples"):
        fl.sequence([(task, 1.0) for task in tasks], net, [0.0], ["network_function"])
