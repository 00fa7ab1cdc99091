"""Parameters of tasks and starts in reports and pictures."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fastlin as fl
from fastlin import plot
from fastlin.kinds.initialisation import INIT_KINDS
from fastlin.kinds.task_kinds import TASK_KINDS
from fastlin.plot.style import PARAMETERS, parameter_axes, words
from fastlin.sweeps.report import numbers, page, tables
from tests import legible, sweeping

AXES = {"architecture": [[4, 2, 3], [2, 3, 4]], "init_scale": [0.5, 1.0], "seed": [0, 3], "lam": 0.5}
TASK = {"kind": "student_teacher", "rank": [1, 2], "noise": {"start": 0.0, "stop": 0.4, "num": 5}}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "s.zarr"
    fl.run_sweep(sweeping.spec(axes=AXES, task=TASK, dynamics={"times": [1.0]}), path)
    return path


def test_a_report_has_parameters_as_axes(swept, tmp_path):
    dataset = fl.open_sweep(swept)
    content = numbers.content(dataset, 2)
    assert list(content["axes"]) == ["architecture", "init_scale", "rank", "noise", "lam", "time"]
    assert content["axes"]["noise"]["words"] == content["axes"]["noise"]["symbol"] == "noise"
    assert content["axes"]["rank"]["edges"] == [0.5, 1.5, 2.5]
    assert (content["x"], content["y"]) == ("init_scale", "rank")
    loss = next(quantity for quantity in content["quantities"] if quantity["name"] == "loss")
    assert loss["dims"] == ["architecture", "init_scale", "rank", "noise", "lam", "time"]
    assert set(loss["mean"]["dims"]) == {"architecture", "init_scale", "rank", "noise"}
    assert "2 rank &times; 5 noise" in tables.lead(fl.Spec.from_json(dataset.attrs["spec"]), dataset)
    assert page.write(str(swept), tmp_path / "page.html").stat().st_size > 10_000


def test_long_parameters_are_thinned(swept, monkeypatch):
    monkeypatch.setattr(numbers, "MOST_BYTES", 900)
    thinned, sizes = numbers.thin(fl.open_sweep(swept))
    assert sizes["noise"][0] < 5 and thinned.sizes["noise"] == sizes["noise"][0]


@pytest.mark.slow
def test_a_picture_is_drawn_over_parameters(swept):
    dataset = fl.open_sweep(swept)
    assert parameter_axes(dataset.loss) == ["rank", "noise"]
    for x, y in ((None, None), ("noise", "rank"), ("rank", "noise")):
        (figure,) = plot.pages(dataset, "loss", x, y)
        assert figure.axes
        plt.close(figure)
    (figure,) = plot.pages(dataset, "loss", "noise", "time")
    assert any("rank" in text.get_text() for text in figure.texts)
    plt.close(figure)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "lora.zarr"
    axes = {"architecture": "4-4-4", "seed": [0, 1]}
    init = {
        "kind": "lora",
        "rank": [1, 2, 4],
        "alpha": [0.25, 1.0, 4.0],
        "scaling": ["alpha/r", "alpha/sqrt(r)"],
        "similarity": [0.0, 0.5],
    }
    dynamics = {"times": [0.0, 1.0, 10.0]}
    task = {"kind": "random_regression", "n_samples": 8}
    raw = {"axes": axes, "init": init, "dynamics": dynamics, "task": task}
    fl.run_sweep(fl.Spec.from_dict(raw | {"output": {"observables": ["loss"]}}), path)
    return fl.open_sweep(path)


def test_titles_name_all_parameters_that_are_not_drawn(adapters):
    def title(ax):
        return ax.get_title().replace("\n", " ").replace("\u00a0", " ")

    figure = plot.sweep(adapters, "loss", "init_rank", "init_alpha")
    legible.check(figure)
    (line,) = [title(ax) for ax in figure.axes if r"\alpha$ =" in title(ax)]
    chosen = ("factor of LoRA = alpha/r", r"$\alpha$ = $1$", "similarity of the targets = $0$", "= $10$")
    assert all(words in line for words in chosen)
    assert "samples" not in line  # It is no axis of the sweep.
    part = adapters.fastlin.select(init_alpha=4.0, init_scaling="alpha/r", time=10.0, init_similarity=0.5)
    line = title(plot.profile(part.loss, "init_rank"))
    chosen = ("factor of LoRA = alpha/r", r"$\alpha$ = $4$", "similarity of the targets = $0.5$", "= $10$")
    assert all(words in line for words in chosen)
    plt.close("all")


def test_parameters_have_readable_labels(adapters):
    figure = plot.sweep(adapters, "loss", "init_rank", "init_similarity")
    legible.check(figure)
    assert figure.axes[0].get_xlabel() == "rank of the adapter $r$"
    assert figure.axes[0].get_ylabel().split() == ["similarity", "of", "the", "targets"]
    plt.close("all")
    starts = [
        f"init_{key}" for kind in INIT_KINDS.values() for key, part in kind.parameters.items() if part.axis
    ]
    assert {name for name in starts if words(name) == name.replace("_", " ")} == set()
    known = {*starts, "init_network", *(key for kind in TASK_KINDS.values() for key in kind.parameters)}
    assert set(PARAMETERS) <= known | {"similarity", "duration"}  # The last are of tasks in a sequence.


def test_a_slice_of_parameters_is_no_matrix_of_a_network(swept):
    part = fl.open_sweep(swept).loss.isel(architecture=0, init_scale=0, seed=0, lam=0)
    with pytest.raises(fl.InputError, match="needed is a matrix of one network over time"):
        plot.matrices(part.load())


def test_a_number_of_samples_is_an_axis_of_numbers(tmp_path):
    fl.run_sweep(sweeping.spec(axes=AXES, task={"n_samples": [8, 20, 40]}), tmp_path / "s.zarr")
    axes = numbers.content(fl.open_sweep(tmp_path / "s.zarr"), 2)["axes"]
    assert np.allclose(axes["n_samples"]["values"], [8, 20, 40])
    assert (axes["n_samples"]["label"], axes["n_samples"]["symbol"]) == ("samples P", "n samples")
