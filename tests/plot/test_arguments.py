"""Errors of drawing functions name the argument."""

import numpy as np
import pytest

import fastlin as fl


def one_loss(dataset):
    return dataset.loss.isel(architecture=0, init_scale=0, seed=0).squeeze()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: fl.plot.phase_diagram(d.loss), "dimension 'architecture' has 3 values; select one"),
        (lambda d: fl.plot.phase_diagram(d.loss, "lam", "lam"), "two dimensions are needed"),
        (lambda d: fl.plot.phase_diagram(d.loss, "lambda"), "'lambda' is no dimension here"),
        (lambda d: fl.plot.profile(d.loss, "lam"), "select one first"),
        (lambda d: fl.plot.sweep(d, "los", "lam", None), "did you mean 'loss'"),
        (
            lambda d: fl.plot.sweep(d, "loss", "lam", "tim"),
            "'tim' is no axis to draw over; did you mean 'time'",
        ),
        (
            lambda d: fl.plot.sweep(d, "loss", "architecture"),
            "no axis to draw over; .*allowed: init_scale, lam",
        ),
        (lambda d: fl.plot.sweep(d, "loss", y="seed"), "'seed' is no axis to draw over"),
        (
            lambda d: fl.plot.sweep(d, "loss", "lam", "lam"),
            "x and y are both 'lam'; two dimensions are needed",
        ),
        (lambda d: fl.plot.pages(d, x="lam", y="lam"), "x and y are both 'lam'; two dimensions are needed"),
        (lambda d: fl.plot.sweep(d, 3), "observable 3 is not in the dataset"),
        (lambda d: fl.plot.sweep(d.loss), "dataset is <DataArray .* needed is one of class Dataset"),
        (lambda d: fl.plot.pages(3), "dataset is 3; needed is one of class Dataset"),
        (lambda d: fl.plot.sweep(d.drop_vars("status")), "this is no whole sweep"),
        (
            lambda d: fl.plot.sweep(d, style={"log": True}),
            "style is {'log': True}; needed is one of class Style",
        ),
        (lambda d: fl.plot.pages(d, style=None), "style is None; needed is one of class Style"),
        (lambda d: fl.plot.matrices(d.loss), "loss has the dimensions .*as w2w1"),
        (
            lambda d: fl.plot.matrices(d.loss.isel(seed=0, architecture=0)),
            "loss has the dimensions .*as w2w1",
        ),
        (lambda d: fl.plot.matrices(one_loss(d)), "loss has the dimensions lam, time; .*as w2w1"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), ax=3), "ax is 3; needed is one of class Axes"),
        (lambda d: fl.plot.profile(one_loss(d).isel(time=2), ax=3), "ax is 3; needed is one of class Axes"),
        (lambda d: fl.plot.trajectories(one_loss(d), ax=3), "ax is 3; needed is one of class Axes"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), cmap="nope"), "Matplotlib refuses cmap='nope'"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), colr=3), "Matplotlib refuses colr=3"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), norm=3), "Matplotlib refuses norm=3"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), vmin="a"), "vmin is 'a'; a number is needed"),
        (lambda d: fl.plot.phase_diagram(one_loss(d), vmin=9.0, vmax=1), "vmin must not be above vmax"),
        (
            lambda d: fl.plot.phase_diagram(one_loss(d), norm="log", vmin=-1),
            "vmin is -1; a logarithmic scale",
        ),
        (lambda d: fl.plot.trajectories(one_loss(d), colr=3), "Matplotlib refuses colr=3"),
        (lambda d: fl.plot.profile(one_loss(d).isel(time=2), color="nope"), "refuses color='nope'"),
        (lambda d: fl.plot.profile(one_loss(d).isel(time=2), linewidth="a"), "refuses .*linewidth='a'"),
        (lambda d: fl.plot.phase_diagram(d), "needed is one of class DataArray, from an observable"),
        (lambda d: fl.plot.profile(d), "needed is one of class DataArray"),
        (lambda d: fl.plot.trajectories(d.loss, "time"), "no dimension that tells lines apart"),
        (lambda d: fl.plot.trajectories(d.loss.isel(lam=0)), "has 3 values; select one"),
        (
            lambda d: fl.plot.trajectories(d.loss.isel(lam=[0] * 13).assign_coords(lam=np.arange(13.0))),
            "13 values, and 12 lines can be told apart",
        ),
        (lambda d: fl.plot.phase_diagram(d.loss.isel(architecture=0), "lam", "n_h"), "here is one"),
        (lambda d: fl.plot.sweep(d, "weight_norms", "lam", None), "value per layer"),
        (
            lambda d: fl.plot.phase_diagram(d.loss.isel(architecture=0, init_scale=0, lam=[2])),
            "lam has fewer than two values",
        ),
    ],
)
def test_bad_input_is_named(dataset, call, message):
    with pytest.raises(fl.InputError, match=message) as caught:
        call(dataset)
    assert "\n" not in str(caught.value)
