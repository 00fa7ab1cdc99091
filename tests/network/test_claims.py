"""Claims of the figures, on ensembles of at least 200 seeds: plateaus, limits, regimes, convergence."""

import numpy as np
import pytest
from hypothesis import given

import fastlin as fl
from fastlin.sweeps.figures import fig1
from fastlin.sweeps.figures.fig2 import limits
from tests.networks import networks

INF = float("inf")
PAPER = {"funnel": [4, 2, 2], "square": [4, 4, 4], "inverted funnel": [2, 2, 4], "bottleneck": [4, 2, 4]}
ERRORS = 4.0  # standard errors by which a mean may deviate: 1 of 16 000 means does
LAZY, RICH = 1e-3, 0.15  # of the kernel distance: no value lies between them where a regime is claimed


@pytest.fixture(scope="module")
def run(tmp_path_factory, client):
    """Return a function that runs a preset with other axes or dynamics."""

    def run(preset, dynamics=(), **axes):
        content = fl.Spec.load(preset).to_dict()
        content["axes"] |= axes
        content["dynamics"] |= dict(dynamics)
        path = tmp_path_factory.mktemp("claims") / "sweep.zarr"
        assert fl.run_sweep(content, path, client).pending == 0
        return fl.open_sweep(path).squeeze("init_scale", drop=True).load()

    return run


def shapes(dataset):
    sizes = zip(*(dataset[name].values.tolist() for name in ("n_i", "n_h", "n_o")), strict=True)
    return [fl.Architecture(*size) for size in sizes]


def means(da):
    """Return the mean over seeds and its standard error."""
    return da.mean("seed"), da.std("seed", ddof=1) / da.sizes["seed"] ** 0.5


def gap(dataset):
    """Return the absolute difference between gradient descent and the closed form."""
    return abs(dataset.sel(solver="gradient_descent") - dataset.sel(solver="exact"))


def test_the_loss_of_a_bottleneck_ends_at_the_best_map_of_its_rank(run):
    """The loss ends at 1/2 sum_{a > N_h} s_a^2 + 1/2 (tr Sigma_yy - |Sigma_yx|^2) for each seed and lam.

    The difference at time t is at most of the order of |lam| / t, whatever the gap of the singular values.
    """
    ends = run(
        "figure-2d",
        {"times": [1e10, INF]},
        architecture=[[4, 2, 4], [5, 2, 3], [6, 3, 6]],
        lam=[-9.0, -1.0, 0.0, 1.0, 9.0],
    ).loss
    assert ends.sizes["seed"] == 200
    for shape, loss in zip(shapes(ends), ends, strict=True):
        for seed, of_seed in zip(ends.seed.values.tolist(), loss, strict=True):
            task = fl.random_regression(shape, 10, 3**0.5, seed)
            s = np.linalg.svd(task.Y @ task.X.T / 10, compute_uv=False)
            best = 0.5 * np.sum(s[shape.n_h :] ** 2) + 0.5 * (np.sum(task.Y**2) / 10 - np.sum(s**2))
            assert np.abs(of_seed.values - best).max() < 1e-9
            assert best > task.loss_floor


def test_the_kernel_distance_has_its_limits_in_lam(run):
    """It tends to 1 - N_h / N_i at lam -> -inf and 1 - N_h / N_o at lam -> +inf if these layers are wider."""
    lams = [sign * 10.0**power for sign in (-1, 1) for power in (2, 3, 4)]
    architectures = [*PAPER.values(), [6, 2, 6], [5, 2, 3], [3, 4, 3], [5, 3, 2], [2, 3, 4]]
    seeds = {"start": 0, "num": 400}
    end = run("figure-2d", {"times": [INF]}, architecture=architectures, lam=lams, seed=seeds)
    for shape, s in zip(shapes(end), end.kernel_distance.isel(time=0), strict=True):
        for sign, expected in zip((-1, 1), limits(shape), strict=True):
            near, far, farthest = (s.sel(lam=sign * size) for size in (1e2, 1e3, 1e4))
            mean, error = means(farthest)
            assert abs(mean - expected) <= ERRORS * error + 1e-12
            # The difference from the limit falls as lam^-2 where the limit of S is not 0, and as lam^-4 where
            # it is.
            assert abs(farthest - far).max() <= 0.011 * abs(far - near).max() + 1e-15


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 2, 2), (1 - 2 / 4, 0)),
        ((4, 4, 4), (0, 0)),
        ((2, 2, 4), (0, 1 - 2 / 4)),
        ((4, 2, 4), (1 - 2 / 4, 1 - 2 / 4)),
        ((5, 2, 3), (1 - 2 / 5, 1 - 2 / 3)),
        ((3, 8, 3), (0, 0)),
    ],
    ids=str,
)
def test_limits_of_the_families(shape, expected):
    assert limits(fl.Architecture(*shape)) == pytest.approx(expected, abs=1e-15)


def test_families_are_lazy_at_their_ends(run):
    """The funnel is lazy at lam -> +inf, the inverted funnel at lam -> -inf, and the square at both."""
    end = run("figure-2d", {"times": [INF]}, lam=[-9.0, 0.0, 9.0]).kernel_distance.isel(time=0)
    mean, most = end.mean("seed"), end.max("seed")
    lazy = {
        family: (most[index].sel(lam=[-9.0, 9.0]) < LAZY).values.tolist()
        for index, family in enumerate(PAPER)
    }
    assert lazy == {
        "funnel": [False, True],
        "square": [True, True],
        "inverted funnel": [True, False],
        "bottleneck": [False, False],
    }
    others = np.array([[not entry for entry in ends] for ends in lazy.values()])
    assert (mean.sel(lam=[-9.0, 9.0]).values[others] > RICH).all()
    assert (mean.sel(lam=0.0) > RICH).all()  # all architectures are rich as lam -> 0


def test_a_bottleneck_is_rich_at_every_lam_at_late_times(run):
    """It turns at a rate of (s_a^2 - s_b^2) / |lam|, so it is lazy at short times if |lam| is large."""
    times = [9.0, 900.0, INF]
    s = run("figure-2d", {"times": times}, architecture=[[4, 2, 4]], lam=[-1e3, -9.0, 0.0, 9.0, 1e3])
    mean = s.kernel_distance.isel(architecture=0).mean("seed")
    ends = mean.sel(time=INF)
    assert (ends > 0.3).all()
    assert (mean.sel(time=9.0, lam=[-9.0, 9.0]) < 0.1 * ends).all()
    assert (mean.sel(time=900.0, lam=[-9.0, 9.0]) > 0.95 * ends).all()
    assert (mean.sel(time=900.0, lam=[-1e3, 1e3]) < 0.1 * ends).all()
    # At lam = 0 the scale of both layers is that of the product, and the kernel moves less than at large
    # |lam|.
    assert ends.sel(lam=0.0) < ends.sel(lam=[-9.0, 9.0]).min() - 0.05


def test_equal_ends_give_the_same_law_for_lam_and_minus_lam(run):
    lams = [-9.0, -3.0, -1.0, 1.0, 3.0, 9.0]
    s = run("figure-2d", architecture=[[4, 4, 4], [4, 2, 4], [3, 5, 3]], lam=lams).kernel_distance
    mean, error = means(s - s.isel(lam=slice(None, None, -1)).assign_coords(lam=s.lam))
    assert (abs(mean) <= ERRORS * error).all()
    assert (abs(mean) > 0).all()  # in the mean only: a task is not its transpose


@given(networks(max_size=3))
def test_a_transposed_network_at_minus_lam_moves_its_kernel_as_far(network):
    """Transposing and exchanging both layers and the task is a symmetry of flow, descent and kernel."""
    sigma_yx, w1, w2, lam = network
    times = [0.1, 1.0, 10.0]

    def distances(sigma, first, second, balance):
        n_o, n_i = sigma.shape
        x = np.eye(n_i, max(n_i, n_o)) * max(n_i, n_o) ** 0.5
        task, net = fl.Task(x, sigma @ x), fl.Network(first, second, balance)
        gd = fl.gradient_descent(task, net, 1e-3, 100, 50, ["kernel_distance"])
        return fl.exact(task, net, times, ["kernel_distance"]).kernel_distance, gd.kernel_distance

    straight, turned = distances(sigma_yx, w1, w2, lam), distances(sigma_yx.T, w2.T, w1.T, -lam)
    for one, other in zip(straight, turned, strict=True):
        assert abs(one - other).max() < 1e-9


def assert_first_order(errors):
    """Check that halving the learning rate halves the largest difference, more exactly at smaller rates."""
    rates = errors.learning_rate.values
    assert np.allclose(rates[1:], 2 * rates[:-1], rtol=1e-12)
    small, middle, large = errors.values
    assert small > 1e-7  # an error of the learning rate, not of rounding
    assert abs(middle / small - 2) < 0.15
    assert abs(large / middle - 2) < 0.35


@pytest.mark.parametrize("preset", ["figure-2b", pytest.param("figure-2c", marks=pytest.mark.slow)])
def test_gradient_descent_is_off_by_the_order_of_the_learning_rate_in_figure_2(run, preset):
    rates = {"learning_rate": [0.009, 0.0045, 0.00225], "times": [9.0, 90.0]}
    difference = gap(run(preset, rates, lam={"start": -9.0, "stop": 9.0, "num": 7}))
    saddles = (difference.n_i == difference.n_o) & (difference.n_o <= difference.n_h) & (difference.lam == 0)
    for name in ("loss", "kernel_distance"):
        assert_first_order(difference[name].where(~saddles).max(("architecture", "seed", "lam", "time")))


def test_gradient_descent_is_off_by_the_order_of_the_learning_rate_in_figure_1(run):
    shape, at = fig1.ARCHITECTURE, {"times": [10.0, 100.0, 1000.0], "learning_rate": [0.01, 0.005, 0.0025]}
    axes = {"architecture": [[shape.n_i, shape.n_h, shape.n_o]], "lam": [-1.0, 1.0]}
    difference = gap(run("figure-2b", at, **axes))
    for name in ("loss", "kernel_distance"):
        assert_first_order(difference[name].max(("architecture", "seed", "lam", "time")))


@pytest.mark.parametrize("lam", fig1.LAMS)
def test_each_panel_of_figure_1_is_off_by_the_order_of_the_learning_rate(lam):
    task, net = fig1.setting(lam)
    names = ["loss", "network_function", "w1tw1", "w2w2t"]
    errors = []
    for halvings in (2, 1, 0):
        rate, steps = fig1.LEARNING_RATE / 2**halvings, 10_000 * 2**halvings
        gd = fl.gradient_descent(task, net, rate, steps, steps // 100, names)
        errors.append(abs(gd - fl.exact(task, net, gd.time, names)).max().assign_coords(learning_rate=rate))
    for name in names:
        small, middle, large = (float(error[name]) for error in errors)
        assert small > 1e-7
        assert abs(middle / small - 2) < 0.05
        assert abs(large / middle - 2) < 0.1


def test_closed_form_and_gradient_descent_differ_only_at_saddles(run):
    """At lam = 0 half of the networks with N_i = N_o <= N_h end at a saddle. Descent leaves it."""
    late = run("figure-2b", lam=[-9.0, -1.8, 0.0, 1.8, 9.0]).isel(time=-1)
    difference = gap(late).kernel_distance
    square = list(PAPER).index("square")
    at_zero = late.isel(architecture=square).sel(lam=0.0)
    floor = [fl.random_regression(fl.Architecture(4, 4, 4), 10, 3**0.5, s).loss_floor for s in range(200)]
    excess = at_zero.loss - np.array(floor)
    saddle = excess.sel(solver="exact").values > 1e-9
    assert abs(saddle.mean() - 0.5) < ERRORS * 0.5 / 200**0.5
    at_zero_lam = difference[square].sel(lam=0.0).values
    assert at_zero_lam[~saddle].max() < 0.001
    difference[square].loc[{"lam": 0.0}] = 0.0
    assert difference.max() < 0.001
    departed = excess.sel(solver="gradient_descent") < 0.5 * excess.sel(solver="exact")
    assert departed.values[saddle].mean() > 0.9
    s = at_zero.kernel_distance.mean("seed")
    assert s.sel(solver="exact") - s.sel(solver="gradient_descent") > 0.005
