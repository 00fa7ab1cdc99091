"""Captions name what is drawn."""

import numpy as np
import pytest
import xarray as xr

import fastlin as fl
from fastlin.plot.captions import wrapped


def caption_of(figure):
    return figure._suptitle.get_text().replace("\n", " ").replace("\u00a0", " ")


def test_values_without_a_place_on_an_axis_are_named(dataset):
    one = dataset.kernel_distance.isel(architecture=0, init_scale=1)
    neither, no_limit = r"(without $0$ and $\infty$)", r"(without $\infty$)"
    assert fl.plot.phase_diagram(one).get_ylabel().endswith(neither)
    assert fl.plot.trajectories(one, hue="lam").get_xlabel().endswith(neither)
    assert fl.plot.profile(one.isel(lam=0), "time").get_xlabel().endswith(neither)
    even = one.isel(time=[0, 3, 4, 6]).assign_coords(time=[0.0, 1.0, 2.0, np.inf])
    assert fl.plot.phase_diagram(even).get_ylabel().endswith(no_limit)
    assert "without" not in fl.plot.phase_diagram(one.isel(time=slice(1, 6))).get_ylabel()
    assert r"time $t/\tau$ without $0$ and $\infty$" in caption_of(fl.plot.sweep(dataset, y="time"))
    assert "without" not in caption_of(fl.plot.sweep(dataset, y="init_scale"))
    arch = fl.Architecture(3, 2, 3)
    task, net = fl.random_regression(arch, 20, 0.1**0.5), fl.balanced_init(arch, -1.0)
    for times, words in (([0.0, 1.0, np.inf], True), ([0.0, 1.0, 2.0], False)):
        for ax in fl.plot.dynamics(fl.exact(task, net, times)):
            assert ax.get_xlabel().endswith(no_limit) == words


def test_captions_name_all_values_that_are_not_drawn_over(dataset, shapes):
    for part in (dataset.isel(time=[-1]), dataset):
        assert r"; time $t/\tau$ = $\infty$;" in caption_of(fl.plot.sweep(part))
    line = caption_of(fl.plot.sweep(dataset.isel(time=[2], init_scale=[0])))
    assert r"time $t/\tau$ = $0.3$" in line
    assert r"weight scale $\sigma$ = $0.5$" in line
    wide = caption_of(fl.plot.sweep(shapes.isel(architecture=[0, 2, 13]), "loss", "n_h", "lam"))
    assert "outputs $N_o$" not in wide
    assert "inputs $N_i$" not in wide
    assert "outputs $N_o$ = $2$" in caption_of(fl.plot.sweep(shapes.isel(architecture=[0, 2]), "loss", "n_h"))
    one = dataset.kernel_distance.isel(architecture=0, time=3)
    mine = one.assign_coords(solver="my own", learning_rate=0.1)
    assert "my own" in fl.plot.phase_diagram(mine, "lam", "init_scale").get_title()
    mine = one.assign_coords(solver="exact", learning_rate=0.1)
    assert r"\eta" not in fl.plot.phase_diagram(mine, "lam", "init_scale").get_title()
    assert fl.plot.phase_diagram(one, "lam", "init_scale").get_title() == (
        "architecture 4-2-2, $t/\\tau$\u00a0=\u00a0$1$; mean over 6 seeds"
    )


def test_a_caption_names_only_borders_that_are_drawn(dataset):
    distance = dataset.kernel_distance
    both = caption_of(fl.plot.sweep(dataset, y="time"))
    assert "lines: lazy below 0.05 (dashed), rich from 0.15 (solid)" in both
    largest = distance.mean("seed").isel(init_scale=1, time=slice(1, -1)).max()
    for top, words in ((0.1, "lines: lazy below 0.05 (dashed);"), (0.04, None)):
        caption = caption_of(
            fl.plot.sweep(dataset.assign(kernel_distance=top / largest * distance), y="time")
        )
        assert words in caption if words else "lines" not in caption
        assert "rich" not in caption
    # Between cells without neighbours there is no line.
    here = (dataset.time == 1.0) & (dataset.lam == 0.0) | (dataset.time == 100.0) & (dataset.lam == 4.0)
    lone = xr.where(here, 0.2 - 0.04 * dataset.lam, np.nan) + 0 * distance
    assert "lines" not in caption_of(fl.plot.sweep(dataset.assign(kernel_distance=lone), y="time"))


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (60, ["small: loss;", "lines: lazy below 0.3 (dashed), rich from 0.15 (solid);", "lam 0"]),
        (50, ["small: loss; lines: lazy below 0.3 (dashed),", "rich from 0.15 (solid); lam 0"]),
        (26, ["small: loss; lines: lazy", "below 0.3 (dashed),", "rich from 0.15 (solid);", "lam 0"]),
        (
            10,
            ["small:", "loss;", "lines:", "lazy below", "0.3", "(dashed),", "rich from", "0.15", "(solid);"],
        ),
    ],
)
def test_a_caption_is_broken_between_parts_then_clauses_then_words(width, lines):
    parts = ["small: loss", "lines: lazy below 0.3 (dashed), rich from 0.15 (solid)", "lam 0"]
    broken = wrapped(parts, width).splitlines()
    assert broken[: len(lines)] == lines
    assert max(map(len, broken)) <= width
