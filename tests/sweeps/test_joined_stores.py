"""Datasets of several stores that are joined by xarray: analysis is right, or refused in one line."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import fastlin as fl
from fastlin.plot import phase_diagram, sweep, trajectories
from tests import sweeping

SHAPES = ["6-1-4", "6-2-4", "6-3-4"]
INF = float("inf")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a function that opens a store of a small sweep with given axes and dynamics."""
    folder = tmp_path_factory.mktemp("joined")

    def opened(*, samples=8, times=(0.0, 3.0, INF), solver="exact", learning_rate=None, **axes):
        axes = {"architecture": SHAPES, "seed": [0, 1, 2], "lam": [-3.0, 3.0], "init_scale": [1.0]} | axes
        dynamics = {"solver": solver, "times": list(times)}
        if learning_rate is not None:
            dynamics["learning_rate"] = learning_rate
        content = sweeping.spec(axes=axes, task={"n_samples": samples}, dynamics=dynamics)
        path = folder / fl.Spec.from_dict(content).hash
        fl.run_sweep(content, path)
        return fl.open_sweep(path)

    return opened


PARTS = {
    "architecture": ({"architecture": SHAPES[:1]}, {"architecture": SHAPES[1:]}),
    "seed": ({"seed": [0]}, {"seed": [1, 2]}),
    "lam": ({"lam": -3.0}, {"lam": 3.0}),
    "init_scale": ({"init_scale": 0.5}, {"init_scale": 1.0}),
}


@pytest.fixture(params=PARTS)
def joined(request, store):
    """Return the axis, the parts, the parts joined in the other order, and the whole as one store."""
    first, second = PARTS[request.param]
    values = [*np.ravel(first[request.param]), *np.ravel(second[request.param])]
    whole = store(**{request.param: [value.item() for value in np.asarray(values)]})
    parts = [store(**second), store(**first)]
    return request.param, parts, xr.concat(parts, request.param), whole


def test_stores_joined_over_an_axis_are_the_store_of_all(joined):
    axis, _, together, whole = joined
    assert together.sizes == whole.sizes
    for value in whole[axis].values.tolist():
        actual, expected = (ds.fastlin.select(**{axis: value}).load() for ds in (together, whole))
        assert actual.kernel_distance.identical(expected.kernel_distance)
        assert together.sel({axis: value}).loss.identical(expected.loss)
    means = [ds.fastlin.mean_over_seeds() for ds in (together, whole)]
    if axis != "seed":
        means[0] = means[0].sel({axis: whole[axis]})
    for name in means[1]:
        assert np.allclose(means[0][name], means[1][name], rtol=1e-14), name
    assert means[0].fastlin.regime().equals(means[1].fastlin.regime())


def test_a_point_of_joined_stores_is_rebuilt_from_the_first_or_refused(joined):
    axis, parts, together, _ = joined
    point = {"architecture": "6-3-4", "seed": 1, "lam": 3.0, "init_scale": 1.0}
    for index, part in enumerate(parts):
        at = point | {axis: part[axis].values[0].item() if axis != "architecture" else part[axis].values[0]}
        right = fl.rebuild(part, **at)[1]
        if index == 0:
            assert np.array_equal(fl.rebuild(together, **at)[1].w1, right.w1)
            continue
        with pytest.raises(fl.InputError, match=f"{axis} = .* is not in the spec .* rebuild from the store"):
            fl.rebuild(together, **at)
        with pytest.raises(fl.InputError, match="is not in the spec"):
            fl.rebuild(together.fastlin.select(**at))


def test_joined_stores_of_different_tasks_are_distinguished(store):
    """The spec of the first part has fewer samples than that of the second part."""
    small, large = store(architecture=SHAPES[:2]), store(architecture=SHAPES[2:], samples=20)
    point = {"seed": 1, "lam": 3.0, "init_scale": 1.0}
    for how in ({"coords": "minimal", "compat": "override"}, {"coords": "different", "compat": "equals"}):
        together = xr.concat([small, large], "architecture", **how)
        assert fl.rebuild(together, "6-2-4", **point)[0].n_samples == 8
        with pytest.raises(fl.InputError, match="architecture = '6-3-4' is not in the spec"):
            fl.rebuild(together, "6-3-4", **point)
    stores = [small, store(architecture=SHAPES[:2], samples=20)]
    doubled = xr.concat(stores, "n_samples", coords="different", compat="equals")
    assert doubled.n_samples.values.tolist() == [8, 20]
    for samples in (8, 20):
        part = doubled.sel(n_samples=samples)
        if samples == 8:
            assert fl.rebuild(part, architecture="6-1-4", **point)[0].n_samples == 8
            continue
        with pytest.raises(fl.InputError, match="n_samples = 20 is not in the spec"):
            fl.rebuild(part, architecture="6-1-4", **point)
    unnamed = xr.concat(stores, "run", coords="different", compat="equals").isel(run=1)
    with pytest.raises(fl.InputError, match="n_samples = 20 is not in the spec"):
        fl.rebuild(unnamed, architecture="6-1-4", **point)


def test_values_that_two_joined_stores_share_are_refused(store):
    part = store()
    for axis, value in {"architecture": "6-2-4", "lam": 3.0, "seed": 2, "init_scale": 1.0}.items():
        doubled = xr.concat([part, part], axis)
        with pytest.raises(fl.InputError, match=f"{axis} = .* is on the axis 2 times"):
            doubled.fastlin.select(**{axis: value})
        single = doubled.drop_duplicates(axis).fastlin.select(**{axis: value})
        assert single.loss.load().identical(part.loss.sel({axis: value}).load())


def test_means_and_pictures_refuse_values_that_are_there_twice(store):
    part = store()
    for axis in ("architecture", "lam", "seed", "init_scale", "time"):
        doubled = xr.concat([part, part], axis)
        plane = {name: 0 for name in ("architecture", "init_scale") if name != axis}
        for use in (
            lambda: doubled.fastlin.mean_over_seeds(),  # noqa: B023
            lambda: trajectories(doubled.loss.isel(plane)),  # noqa: B023
            lambda: trajectories(doubled.loss.isel(plane), ax=plt.figure().subplots()),  # noqa: B023
            lambda: phase_diagram(doubled.loss.isel(plane), "lam", "time"),  # noqa: B023
            lambda: sweep(doubled),  # noqa: B023
        ):
            with pytest.raises(fl.InputError, match=f"{axis} = .* is on the axis several times"):
                use()
    plt.close("all")


def test_points_that_only_one_part_has_are_missing(store):
    """A join of unlike axes fills up with NaN, which is not counted and hides no architecture."""
    one = store(architecture=SHAPES[:2], seed=[0, 1], times=[0.0, INF])
    other = store(architecture=SHAPES[1:], seed=[2, 3, 4], times=[0.0, 3.0])
    together = xr.concat([one, other], "seed", join="outer", coords="different", compat="equals")
    means = together.fastlin.mean_over_seeds().load()
    assert means["count"].sel(lam=3.0, init_scale=1.0).values.tolist() == [2, 5, 3]
    for part, time in ((one, INF), (other, 3.0)):
        expected = part.fastlin.mean_over_seeds().sel(time=time)
        actual = means.sel(time=time, architecture=expected.architecture)
        for name in ("loss", "loss_standard_error"):
            assert np.allclose(actual[name], expected[name], rtol=1e-12), (name, time)
    for index, shape in enumerate(SHAPES):
        assert together.fastlin.select(n_h=index + 1).architecture.values.tolist() == [shape]
    late = together.fastlin.select(time=0.0, init_scale=1.0).load()
    ax = late.fastlin.phase_diagram("lam", "n_h", "loss")
    expected = means.loss.sel(time=0.0, init_scale=1.0).transpose("architecture", "lam")
    assert np.allclose(ax.collections[0].get_array(), expected)


def test_pictures_of_joined_stores_name_the_architectures(store):
    together = xr.concat([store(architecture=SHAPES[2:]), store(architecture=SHAPES[:2])], "architecture")
    figure = sweep(together)
    assert [ax.get_title() for ax in figure.axes[:3]] == [
        f"bottleneck {name}" for name in ("6-3-4", *SHAPES[:2])
    ]
    ax = trajectories(together.loss.isel(lam=0, init_scale=0), hue="architecture")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["6-3-4", *SHAPES[:2]]
    late = together.kernel_distance.isel(time=-1, init_scale=0)
    drawn = phase_diagram(late, "lam", "n_h").collections[0].get_array()
    assert np.allclose(drawn, late.sel(architecture=SHAPES).mean("seed"))


def test_solvers_and_learning_rates_are_joined(store):
    times = (0.0, 3.0)
    parts = [store(times=times, solver=["gradient_descent"], learning_rate=[rate]) for rate in (0.01, 0.02)]
    rates = xr.concat(parts, "learning_rate").fastlin.select(learning_rate=0.02, architecture="6-2-4")
    assert rates.loss.load().identical(
        parts[1].fastlin.select(learning_rate=0.02, architecture="6-2-4").loss.load()
    )
    point = {"architecture": "6-2-4", "seed": 1, "lam": 3.0}
    assert fl.rebuild(rates, **point)[1].lam == 3.0
    solvers = xr.concat(
        [store(times=times, solver=["exact"]), parts[0].isel(learning_rate=0, drop=True)], "solver"
    )
    gap = abs(solvers.sel(solver="exact") - solvers.fastlin.select(solver="gradient_descent")).loss.max()
    assert 0 < float(gap) < 0.1
