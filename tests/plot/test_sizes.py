"""Sweeps over the sizes of their architectures."""

import numpy as np
import pytest

import fastlin as fl


def means_by(dataset, *names):
    """Return means of the loss over seeds, then over architectures, by a slow loop."""
    groups = {}
    for index in range(dataset.sizes["architecture"]):
        one = dataset.isel(architecture=index, init_scale=1, time=-1)
        groups.setdefault(tuple(one[name].item() for name in names), []).append(one.loss.mean("seed").values)
    return {key: np.mean(values, axis=0) for key, values in groups.items()}


def test_architectures_of_the_same_two_sizes_are_averaged(shapes):
    wanted = means_by(shapes, "n_i", "n_h")
    late = shapes.loss.isel(init_scale=1, time=-1, lam=1)
    ax = fl.plot.phase_diagram(late, "n_i", "n_h")
    grid = ax.collections[0].get_array()
    assert grid.shape == (4, 4)  # N_i = 2, 3, 4, 5 and N_h = 1, 2, 3, 4: cells do not overlap
    assert np.ma.count(grid) == len(wanted) == 9
    for (n_i, n_h), values in wanted.items():
        assert grid[n_h - 1, n_i - 2] == pytest.approx(values[1])
    assert ax.patch.get_hatch()
    assert "mean of up to 2 architectures" in ax.figure.axes[1].get_ylabel()


def test_architectures_of_the_same_ratio_are_averaged(shapes):
    wanted = means_by(shapes, "bottleneck_ratio")
    assert len(wanted) < shapes.sizes["architecture"]
    late = shapes.loss.isel(init_scale=1, time=-1)
    ax = fl.plot.phase_diagram(late, "lam", "bottleneck_ratio")
    grid = ax.collections[0].get_array()
    assert np.allclose(grid, [wanted[key] for key in sorted(wanted)])
    most = max(np.unique(shapes.bottleneck_ratio, return_counts=True)[1])
    assert f"mean of up to {most} architectures" in ax.figure.axes[1].get_ylabel()
    line = fl.plot.profile(late.isel(lam=0), "bottleneck_ratio")
    assert np.allclose(line.lines[0].get_ydata(), [wanted[key][0] for key in sorted(wanted)])
    assert not line.collections  # no band: a deviation over seeds is not one over architectures
    assert "mean of up to" in line.get_ylabel()


def test_points_that_failed_do_not_spoil_a_mean_over_architectures(shapes):
    late = shapes.loss.isel(init_scale=1, time=-1, lam=1).copy(deep=True)
    late[0] = np.nan  # 2-1-2, which shares its cell with 2-1-3
    grid = fl.plot.phase_diagram(late, "n_i", "n_h").collections[0].get_array()
    assert grid[0, 0] == pytest.approx(float(late[1].mean()))


def test_a_sweep_is_drawn_over_the_sizes_of_its_architectures(dataset):
    figure = fl.plot.sweep(dataset, "loss", "lam", "n_h")
    mesh = figure.axes[0].collections[0].get_array().reshape(3, 5)
    late = dataset.loss.mean("seed").isel(init_scale=1, time=-1)
    assert np.allclose(mesh, late.isel(architecture=[0, 2, 1]))  # n_h is 2, 4, 3
    assert r"N_h" in figure.axes[0].get_ylabel()
    turned = fl.plot.sweep(dataset, x="n_h", y="time").axes[0]
    assert "N_h" in turned.get_xlabel()
    assert all(tick == int(tick) for tick in turned.get_xticks())


def test_a_sweep_is_drawn_over_two_sizes(dataset):
    figure = fl.plot.sweep(dataset, "loss", "n_i", "n_h")
    late = dataset.loss.mean("seed").isel(init_scale=1, lam=2, time=-1)
    grid = figure.axes[0].collections[0].get_array()
    columns, rows = (sorted(set(dataset[name].values.tolist())) for name in ("n_i", "n_h"))
    assert figure.axes[0].patch.get_hatch()  # empty cells are hatched
    assert grid.shape == (len(rows), len(columns))
    assert np.ma.count(grid) == late.sizes["architecture"]  # no colour where no architecture has both sizes
    for value, n_i, n_h in zip(late.values, late.n_i.values, late.n_h.values, strict=True):
        assert grid[rows.index(n_h), columns.index(n_i)] == pytest.approx(value)
    assert "architectures" not in figure.axes[1].get_ylabel()


def test_hundreds_of_architectures_are_drawn_over_their_sizes_by_default(shapes):
    sizes = [name.split("-") for name in shapes.architecture.values]
    names = [f"{n_i}-{int(n_h) + more}-{n_o}" for more in (0, 10, 20, 30) for n_i, n_h, n_o in sizes]
    many = shapes.isel(architecture=list(range(15)) * 4).assign_coords(architecture=names)
    (figure,) = fl.plot.pages(many)
    assert r"N_i" in figure.axes[0].get_xlabel()
    assert r"N_h" in figure.axes[0].get_ylabel()
    assert "mean of up to 2 architectures" in figure.axes[1].get_ylabel()
