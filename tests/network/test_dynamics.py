"""One network over time: schema, and observables of the closed form by their literal definitions."""

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.observables.registry import REGISTRY
from tests import reference
from tests.networks import CLASSES, OVER_TIME, literal, networks, point, relative


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
def test_every_observable_of_the_closed_form(shape):
    task, net = point(shape, lam=0.8)
    dataset = fl.exact(task, net, [1.5, 0.0], observables=OVER_TIME)
    path = reference.flow_ode(task.sigma_yx, net.w1, net.w2, [1.5])
    for index, weights in enumerate([path[0], (net.w1, net.w2)]):
        for name, expected in literal(task, (net.w1, net.w2), *weights).items():
            got = dataset[name].values[index]
            assert np.abs(got - expected).max() <= 2e-8 * max(1.0, np.abs(expected).max()), name


def test_both_solvers_have_the_same_schema():
    task, net = point()
    gd = fl.gradient_descent(task, net, 0.005, 400, every=40)
    exact = fl.exact(task, net, gd.time)
    assert {name: exact[name].dims for name in exact} == {name: gd[name].dims for name in gd}
    difference = gd - exact
    assert difference.sizes == gd.sizes
    assert set(difference) == {name for name in OVER_TIME if REGISTRY[name].default}
    assert float(abs(difference.loss).max()) < 0.3
    assert float(abs(difference.w2w1).max()) < 0.05
    for name in exact:
        assert exact[name].attrs["units"] == REGISTRY[name].unit
        assert exact[name].attrs["equation"]


def test_ntk_is_lazy():
    task, net = point()
    kernel = fl.exact(task, net, np.arange(50.0), observables=["ntk"]).ntk
    assert kernel.chunks is not None
    assert kernel.chunks[0] == (1,) * 50
    assert kernel.isel(time=3).values.shape == (3, 9, 3, 9)
    assert "ntk" not in fl.exact(task, net, [0.0])


@given(networks(max_size=4), st.floats(0, 5))
def test_loss_never_rises_along_the_flow(network, t):
    sigma_yx, w1, w2, lam = network
    data = np.linalg.qr(np.random.default_rng(0).standard_normal((12, sigma_yx.shape[1])))[0].T * 12**0.5
    task = fl.Task(data, sigma_yx @ data)
    loss = fl.exact(task, fl.Network(w1, w2, lam), [t, t + 0.3, 1e7], ["loss"]).loss.values
    # The error of W2 W1 is a few units in the last place of |Q|^2. The loss is half its squared error.
    rounding = 1e-13 * (np.sum(w1**2) + np.sum(w2**2) + np.linalg.norm(sigma_yx))
    assert (np.diff(loss) <= rounding * np.sqrt(2 * loss[:-1]) + rounding**2).all()
    assert (loss >= 0).all()


def test_rank_aware_rsm_output():
    """W2 W2^T of a bottleneck is singular, so that an ordinary inverse would return noise."""
    task, net = point((5, 2, 4), samples=8)
    rsm = fl.exact(task, net, [0.7, 1e4], ["rsm_output"]).rsm_output.values
    assert (np.linalg.matrix_rank(rsm, tol=1e-8) == 2).all()
    assert np.abs(rsm).max() < 1e3


def test_whitening():
    rng = np.random.default_rng(0)
    task = fl.Task(rng.standard_normal((3, 3)) @ rng.standard_normal((3, 20)), rng.standard_normal((2, 20)))
    net = fl.balanced_init(fl.Architecture(3, 2, 2), 0.0)
    with pytest.raises(fl.InputError, match=r"use fastlin\.flow, .*task\.whiten\(\)"):
        fl.exact(task, net, [1.0])
    white = task.whiten()
    assert white.whitened
    assert relative(white.X @ white.X.T / 20, np.eye(3)) < 1e-13
    assert np.array_equal(white.Y, task.Y)
    assert white.loss_floor == pytest.approx(float(fl.exact(white, net, [1e3]).loss[-1]), rel=1e-6)
    # Without whitening the floor is that of linear regression, and gradient descent reaches it.
    loss = fl.gradient_descent(
        task, fl.balanced_init(fl.Architecture(3, 3, 2), 0.0), 0.02, 60_000, 60_000
    ).loss
    assert task.loss_floor <= float(loss[-1]) <= task.loss_floor * (1 + 1e-3)


def test_saddles_give_a_warning():
    task = fl.Task(np.eye(2) * 2**0.5, np.diag([2.0, 1.0]) * 2**0.5)
    net = fl.Network([[0.0, 0.1]], [[0.0], [0.1]])
    with pytest.warns(fl.SaddleWarning, match="saddle"):
        limit = fl.exact(task, net, [np.inf], ["w2w1"])
    assert relative(limit.w2w1.values[0], np.diag([0.0, 1.0])) < 1e-14


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t, n: fl.exact(t, n, [-1]), "times hold -1"),
        (lambda t, n: fl.exact(t, n, None), "times is not an array of real numbers; allowed are t >= 0"),
        (
            lambda t, n: fl.exact(t, n, [1], None, 2),
            "fraction is 2; it must be above 0 and below 1; the loss",
        ),
        (
            lambda t, n: fl.exact(t, n, [1], None, 0),
            "fraction is 0; it must be above 0 and below 1; the loss",
        ),
        (lambda t, n: fl.exact(t, n, [1], ["los"]), "did you mean 'loss'"),
        (lambda t, n: fl.exact(t, fl.balanced_init(fl.Architecture(2, 2, 2), 0.0), [1]), "the task maps 4"),
        (lambda t, n: fl.exact(t, fl.Network(n.w1 + 1, n.w2), [1]), "fastlin.flow takes any weights"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(fl.InputError, match=message) as caught:
        call(*point())
    assert "\n" not in str(caught.value)


def test_the_largest_data_cause_no_warning():
    task, net = point()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        large = fl.Task(1e63 * (task.X + 0.1), 1e63 * task.Y)
        assert not large.whitened
        assert large.whiten().whitened
        assert np.isfinite(fl.exact(fl.Task(task.X, 1e63 * task.Y), net, [0.0, 1.0, np.inf]).to_array()).all()
        with pytest.raises(fl.InputError, match="diverged before"):
            fl.gradient_descent(large, net, 0.01, 10)


def test_memory_is_projected_before_work():
    arch = fl.Architecture(2, 1, 2)
    task = fl.random_regression(arch, n_samples=10**6)
    net = fl.balanced_init(arch, 0.0)
    with pytest.raises(fl.InputError, match=r"need 3\.2e\+04 GB.*\(rsm_input the most\)"):
        fl.exact(task, net, [0.0, 1.0])
    assert fl.exact(task, net, [0.0, 1.0], ["loss", "w2w1"]).loss.shape == (2,)


def test_reprs_show_sizes_and_parameters():
    task, net = point()
    assert repr(task).startswith(
        "<random regression task of 4 inputs, 3 outputs, 9 samples, target_scale 1.73"
    )
    assert (
        repr(fl.Task(np.eye(2), np.eye(2)))
        == "<Task of 2 inputs (isotropic, variance 0.5), 2 outputs, 2 samples>"
    )
    assert repr(net) == "<bottleneck Network 4-2-3 (N_i-N_h-N_o), lam -1, balance 'strict'>"


def test_datasets_stay_plain():
    task, net = point()
    dataset = fl.exact(task, net, xr.DataArray([0.0, 1.0], dims="time"))
    assert dataset.attrs["lam"] == -1.0
    assert isinstance(dataset.to_dict(), dict)
