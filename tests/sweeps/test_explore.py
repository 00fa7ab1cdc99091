"""The numbers of the explorer: one move of a slider, and the diagram of a store, without a browser."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from fastlin.errors import InputError
from fastlin.sweeps.explore import state
from fastlin.sweeps.explore.diagram import Table, central, open_diagram
from fastlin.sweeps.explore.problem import Problem
from fastlin.sweeps.explore.state import Choice, picture
from fastlin.sweeps.spec.points import INLINE
from tests import sweeping

INF = float("inf")
RAW = sweeping.spec(
    axes={"architecture": [[3, 4, 3], [4, 2, 2]], "seed": {"start": 0, "num": 3}, "init_scale": [0.5, 1.0]},
    init={"kind": "lecun", "balance": False},
    dynamics={"solver": "flow", "times": [0.0, 0.9, 9.0]},
)
POINTS = {
    "name": "rows",
    "points": {"lam": [-2.0, 0.5, 3.0], "n_i": [3, 4, 2], "n_h": 3, "n_o": 2, "init_scale": [0.3, 1.0, 2.0]},
    "axes": {"seed": {"start": 0, "num": 2}},
    "task": {"n_samples": 8},
    "dynamics": {"times": [0.0, 2.0, INF]},
}
SEQUENCE = {
    "name": "stages",
    "axes": {"architecture": [[4, 4, 3]], "seed": {"start": 0, "num": 2}, "lam": [-1.0, 0.0, 1.0]},
    "task": {"sequence": [{"n_samples": 8, "duration": 20.0}, {"kind": "reversed", "duration": INF}]},
    "dynamics": {"times": [1.0, 10.0, 30.0]},
    "output": {"observables": ["loss"]},
}
ADAPTERS = {
    "name": "adapters",
    "axes": {"architecture": [[4, 4, 4]], "seed": {"start": 0, "num": 2}},
    "task": {"n_samples": 8},
    "init": {"kind": "lora", "rank": [1, 2, 3], "alpha": [1.0, 2.0]},
    "dynamics": {"times": [1.0, 10.0]},
}


def refused(call):
    """Return the one line that a call is refused with."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def ran(code):
    """Return the names that some lines of Python define."""
    names = {}
    exec(code, names)
    return names


def assert_same(drawn, dataset):
    np.testing.assert_array_equal(dataset.time, drawn.times)
    for name in state.CURVES:
        np.testing.assert_array_equal(dataset[name], getattr(drawn, name))


CHOICES = st.builds(
    Choice,
    task=st.sampled_from(state.TASKS),
    start=st.sampled_from(state.STARTS),
    n_i=st.integers(1, 16),
    n_h=st.integers(1, 32),
    n_o=st.integers(1, 16),
    lam=st.integers(-100, 100).map(lambda n: n / 10),
    kappa=st.sampled_from([0.0, 0.0, 0.1, 5.0]),
    init_scale=st.sampled_from([1e-3, 0.112, 1.0, 10.0]),
    seed=st.integers(0, 99),
    rate_ratio=st.sampled_from([0.01, 1.0, 1.12, 100.0]),
)
TIMES = st.sampled_from([0.0, 0.01, 0.75, 100.0, 1e4, INF])


@settings(max_examples=25)
@given(CHOICES, TIMES)
def test_every_choice_gives_finite_numbers_or_one_line(choice, time):
    try:
        drawn = picture(choice, time)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert drawn.times[drawn.at] == drawn.time <= time
    for values in (drawn.loss, drawn.kernel_distance, drawn.mode_strengths, *drawn.matrices.values()):
        assert np.isfinite(values).all()
    assert drawn.loss.shape == drawn.kernel_distance.shape == drawn.times.shape
    assert drawn.mode_strengths.shape == (*drawn.times.shape, *drawn.targets.shape)
    assert drawn.matrices["w1"].shape == (choice.n_h, choice.n_i)
    assert drawn.matrices["w2"].shape == (choice.n_o, choice.n_h)


MADE = [
    (Choice(), 1.0),
    (Choice(lam=0.3, seed=5, init_scale=0.112), INF),
    (Choice(n_h=8, kappa=0.7, rate_ratio=4.0), 0.123),
    (Choice(n_h=1, rate_ratio=0.01), 0.0),
    (Choice(task="hierarchy", n_i=8, n_h=3, n_o=8), 20.0),
    (Choice(start="lecun", n_h=6), 2.0),
    (Choice(start="torch", n_i=16, n_h=32, n_o=16, rate_ratio=3.0), INF),
]


@pytest.mark.parametrize(("choice", "time"), MADE)
def test_the_lines_of_python_make_the_same_numbers(choice, time):
    drawn = picture(choice, time)
    names = ran(drawn.code)
    assert_same(drawn, names["ds"])
    assert str(names["net"].architecture) in drawn.title


@pytest.mark.parametrize(("choice", "time"), MADE)
def test_matrices_are_those_of_the_solvers_at_the_time(choice, time):
    drawn = picture(choice, time)
    names = ran(drawn.code)
    ratio = choice.rate_ratio
    solve, rates = getattr(fl, names["ds"].attrs["solver"]), (ratio**-0.5, ratio**0.5)
    wanted = ["rsm_input", "rsm_output", "w1tw1", "w2w1", "w2w2t"]
    there = solve(names["task"], names["net"], [drawn.time], observables=wanted, learning_rates=rates)
    for name in state.RSMS:
        np.testing.assert_allclose(drawn.matrices[name], there[name][0], rtol=1e-6, atol=1e-9)
    w1, w2 = drawn.matrices["w1"], drawn.matrices["w2"]
    tolerance = 1e-9 if there.attrs["solver"] == "exact" else 1e-6
    for name, product in {"w1tw1": w1.T @ w1, "w2w1": w2 @ w1, "w2w2t": w2 @ w2.T}.items():
        np.testing.assert_allclose(product, there[name][0], atol=tolerance)


def test_weights_of_unequal_rates_follow_their_own_flow():
    """The sum rule of the closed form is compared with gradient descent, which knows both rates."""
    choice = Choice(n_h=3, rate_ratio=4.0, lam=1.0)
    drawn, names = picture(choice, 2.0), ran(picture(choice, 2.0).code)
    flow = fl.flow(names["task"], names["net"], [2.0], learning_rates=(0.5, 2.0), observables=["w2w2t"])
    np.testing.assert_allclose(drawn.matrices["w2"] @ drawn.matrices["w2"].T, flow.w2w2t[0], atol=1e-6)


def test_networks_that_do_not_exist_are_explained():
    assert "N_h" in refused(lambda: picture(Choice(kappa=1.0), 1.0))
    assert "a power of two" in refused(lambda: picture(Choice(task="hierarchy", n_i=6, n_o=6), 1.0))
    assert "a power of two" in refused(lambda: picture(Choice(task="hierarchy", n_i=1, n_o=1), 1.0))


def test_a_flow_is_drawn_as_far_as_few_steps_reach():
    drawn = picture(Choice(start="gaussian", n_i=16, n_h=32, n_o=16), INF)
    assert drawn.time == drawn.times[-1] < 1000.0
    assert f"The flow is drawn up to t = {drawn.time:,.4g}." in drawn.notes
    late = picture(Choice(start="lecun"), 5000.0)
    assert late.time == 1000.0
    assert "The flow is drawn up to t = 1,000." in late.notes
    assert not any("drawn up to" in note for note in picture(Choice(start="lecun"), 999.0).notes)


@dataclass(frozen=True)
class Given:
    """A source of a given problem."""

    task: fl.Task
    net: fl.Network
    decay: tuple = (0.0, 0.0)

    def problem(self):
        return Problem(self.task, self.net, (), "a network", decay=self.decay)


def test_a_saddle_is_noted_and_warns_nobody():
    task = fl.Task.from_sigma(np.diag([2.0, 1.0]))
    source = Given(task, fl.Network([[0.0, 0.1]], [[0.0], [0.1]]))
    assert "At t = \u221e the flow ends at a saddle." in picture(source, 1.0).notes


def test_parts_that_a_task_does_not_have_are_noted():
    net = fl.balanced_init(fl.Architecture(2, 2, 2), lam=0.0)
    drawn = picture(Given(fl.Task.from_sigma(np.diag([2.0, 1.0])), net), 1.0)
    assert set(drawn.matrices) == {"w1", "w2"}
    assert "The task has no samples, and so no similarity matrices." in drawn.notes
    many = fl.random_regression(fl.Architecture(2, 2, 2), n_samples=500)
    assert "The similarity matrices of 500 samples are not drawn." in picture(Given(many, net), 1.0).notes
    decaying = picture(Given(many, net, (0.1, 0.1)), 1.0)
    assert "w1" not in decaying.matrices
    assert any(note.startswith("The weights are not drawn") for note in decaying.notes)


def test_inputs_without_a_closed_form_are_explained():
    draw = np.random.default_rng(0)
    task = fl.Task(draw.standard_normal((3, 9)), draw.standard_normal((2, 9)))
    drawn = picture(Given(task, fl.balanced_init(fl.Architecture(3, 2, 2), lam=0.5)), 1.0)
    assert drawn.notes[0] == "The inputs are not white, so that the flow is integrated (fl.flow)."
    assert drawn.times[-1] == 1000.0


def labelled(samples):
    """Return a task of general inputs whose samples have labels in no order."""
    draw = np.random.default_rng(1)
    x, y = draw.standard_normal((3, samples)), draw.standard_normal((2, samples))
    return fl.Task(x, y, labels=[("up", "down", "left")[k % 3] for k in range(samples)])


def test_samples_with_labels_are_drawn_by_condition():
    task, net = labelled(90), fl.balanced_init(fl.Architecture(3, 4, 2), lam=0.5)
    drawn = picture(Given(task, net), 1.0)
    assert drawn.conditions == ("up", "down", "left")
    assert set(drawn.matrices) == {"rsm_input", "rdm_correlation", "w1", "w2"}
    there = fl.flow(task, net, [1.0], observables=["rsm_input", "rdm_correlation"])
    np.testing.assert_allclose(drawn.matrices["rdm_correlation"], there.rdm_correlation[0], atol=1e-6)
    order = np.concatenate([np.arange(k, 90, 3) for k in range(3)])[
        np.linspace(0, 89, 64).round().astype(int)
    ]
    by_condition = there.rsm_input[0].values[np.ix_(order, order)]
    np.testing.assert_allclose(drawn.matrices["rsm_input"], by_condition, atol=1e-6)
    assert "The samples are in the order of their conditions." in drawn.notes
    many = picture(Given(labelled(450), net), 1.0)
    assert set(many.matrices) == {"rdm_correlation", "w1", "w2"}


@pytest.mark.parametrize("n_h", [1, 4])
def test_modes_of_general_inputs_head_to_the_least_squares_map(n_h):
    task, net = labelled(90), fl.balanced_init(fl.Architecture(3, n_h, 2), lam=0.5)
    drawn = picture(Given(task, net), 1.0)
    late = fl.flow(task, net, [300.0], observables=["mode_strengths"]).mode_strengths[0]
    np.testing.assert_allclose(drawn.targets, late, atol=1e-6)
    singular = np.linalg.svd(task.sigma_yx)[1]
    assert np.abs(drawn.targets - singular).max() > 1e-3
    assert ("The dashed lines show the least-squares map of rank 1." in drawn.notes) is (n_h == 1)


def test_modes_of_an_adapter_head_to_its_least_squares_map():
    arch = fl.Architecture(4, 2, 4)
    task = fl.random_regression(arch, n_samples=10)
    task, net = fl.lora(task, fl.balanced_init(arch, lam=0.0), rank=2)
    late = fl.flow(task, net, [1000.0], observables=["mode_strengths"]).mode_strengths[0]
    np.testing.assert_allclose(picture(Given(task, net), 1.0).targets, late, atol=1e-6)


def test_lines_of_python_reach_as_far_as_the_picture():
    """The estimate of steps for a large start is above the default limit of `flow`."""
    source = Given(labelled(90), fl.balanced_init(fl.Architecture(3, 4, 2), lam=2.0, init_scale=60.0))
    drawn = picture(source, 1.0)
    options = {"max_steps": 10**12} if "max_steps=1000000000000" in drawn.code else {}
    assert options
    solved = fl.flow(source.task, source.net, drawn.times, observables=state.CURVES, **options)
    assert_same(drawn, solved)


def test_large_matrices_are_thinned_evenly():
    arch = fl.Architecture(3, 100, 2)
    task, net = fl.random_regression(arch, n_samples=100), fl.balanced_init(arch, lam=0.0)
    drawn, rows = picture(Given(task, net), 1.0), np.linspace(0, 99, 64).round().astype(int)
    whole = fl.exact(task, net, [1.0], ["rsm_input"]).rsm_input[0].values
    np.testing.assert_array_equal(drawn.matrices["rsm_input"], whole[np.ix_(rows, rows)])
    assert drawn.matrices["w1"].shape == (64, 3)
    assert "Of larger matrices, 64 rows and columns are drawn, evenly chosen." in drawn.notes


# Diagrams


@pytest.fixture(scope="module")
def stores(tmp_path_factory, swept, client):
    folder = tmp_path_factory.mktemp("stores")
    statistics = {"observables": ["loss", "kernel_distance"], "reduce": {"statistics": ["mean", "std"]}}
    descent = {"solver": "gradient_descent", "learning_rate": 0.009, "times": [0.0, 0.9, 9.0]}
    specs = {
        "raw": RAW,
        "rows": POINTS,
        "stages": SEQUENCE,
        "adapters": ADAPTERS,
        "reduced": sweeping.spec(output=statistics),
        "descent": sweeping.spec(dynamics=descent),
    }
    for name, spec in specs.items():
        fl.run_sweep(spec, folder / name, client)
    return {"small": str(swept)} | {name: str(folder / name) for name in specs}


NAMES = ("small", "raw", "rows", "stages", "adapters", "reduced", "descent")


@pytest.mark.parametrize("name", NAMES)
def test_every_observable_of_a_store_can_be_drawn(stores, name):
    sweep = open_diagram(stores[name])
    assert sweep.observables
    for observable in sweep.observables:
        view = sweep.completed(replace(sweep.first_view(), observable=observable))
        cells = sweep.cells(view)
        assert np.isfinite(cells.value).all()
        assert cells.x.shape == cells.y.shape == cells.value.shape == cells.at.shape
        for axis, values in sweep.choices(view).items():
            assert dict(view.others)[axis] in values


@pytest.mark.parametrize("name", NAMES)
def test_a_point_of_a_store_is_drawn_with_the_call_that_rebuilds_it(stores, name):
    sweep = open_diagram(stores[name])
    view = sweep.first_view()
    cells = sweep.cells(view)
    for index in {0, cells.value.size // 2, cells.value.size - 1}:
        point, time = sweep.point(view, cells, index, seed=1)
        drawn = picture(point, 1.0 if time is None else time)
        names = ran(drawn.code)
        assert_same(drawn, names["ds"])
        choice = point.choice(Choice())
        assert str(names["net"].architecture) == f"{choice.n_i}-{choice.n_h}-{choice.n_o}"


def test_the_network_of_a_point_has_the_numbers_of_the_store(stores):
    sweep = open_diagram(stores["small"])
    view = replace(sweep.first_view(), observable="loss")
    view = sweep.completed(replace(view, others=(("architecture", "2-3-4"), ("init_scale", 0.5))))
    cells = sweep.cells(view)
    point, time = sweep.point(view, cells, 7, seed=3)
    stored = sweep.dataset.fastlin.select(time=time, **dict(point.call)).loss.load().item()
    assert picture(point, time).loss[picture(point, time).at] == pytest.approx(stored, rel=1e-9)
    mean = sweep.dataset.fastlin.mean_over_seeds().fastlin.select(
        architecture="2-3-4", init_scale=0.5, lam=cells.x[7], time=time
    )
    assert cells.value[7] == pytest.approx(mean.loss.load().item())
    # The sliders choose the same network, because the task and the start are theirs.
    assert picture(point.choice(Choice()), time).loss == pytest.approx(picture(point, time).loss, rel=1e-12)


def test_cells_have_the_scales_and_borders_of_the_pictures(stores):
    sweep = open_diagram(stores["small"])
    view = sweep.first_view()
    assert (view.observable, view.x, view.y) == ("kernel_distance", "lam", "time")
    cells = sweep.cells(view)
    left, right, bottom, top = cells.edges
    assert ((left < cells.x) & (cells.x < right) & (bottom <= cells.y) & (cells.y < top)).all()
    assert set(cells.y) == {0.0, 0.9, 9.0}  # t = inf has no place on the axis
    assert cells.levels == (0.05, 0.15)
    assert sweep.cells(sweep.completed(replace(view, observable="loss"))).levels == ()


def test_other_seeds_of_a_point_stay_in_the_store(stores):
    sweep = open_diagram(stores["reduced"])
    point, _ = sweep.point(sweep.first_view(), sweep.cells(sweep.first_view()), 0, seed=99)
    assert dict(point.call)["seed"] == 0
    other = sweep.with_seed(point, 4)
    assert dict(other.call) == dict(point.call) | {"seed": 4}
    assert other.choice(Choice()).seed == 4
    assert sweep.with_seed(point, 6) is None
    rows = open_diagram(stores["rows"])
    row, _ = rows.point(rows.first_view(), rows.cells(rows.first_view()), 0, seed=0)
    assert rows.with_seed(row, 5) is None


def test_the_first_point_is_in_the_middle_of_the_axes(stores):
    for name, middle in [("small", (0.0, 0.9)), ("rows", None)]:
        sweep = open_diagram(stores[name])
        view = sweep.first_view()
        cells = sweep.cells(view)
        index = central(cells)
        if middle:
            assert (cells.x[index], cells.y[index]) == middle
        point, _ = sweep.point(view, cells, index, sweep.first_seed)
        assert point.problem().net.architecture.n_h > 0
        assert point.settings["seed"] == 0


def test_a_flow_of_a_store_is_drawn_to_its_last_finite_time(stores):
    sweep = open_diagram(stores["raw"])
    point, _ = sweep.point(sweep.first_view(), sweep.cells(sweep.first_view()), 0, seed=0)
    drawn = picture(point, 1.0)
    assert drawn.times[-1] == 9.0
    assert picture(point, INF).time == 9.0
    assert_same(drawn, ran(drawn.code)["ds"])


def test_sizes_of_architectures_are_axes(stores):
    sweep = open_diagram(stores["small"])
    view = sweep.completed(replace(sweep.first_view(), x="n_i", y="lam"))
    assert dict(view.others).keys() == {"init_scale", "time"}
    cells = sweep.cells(view)
    point, _ = sweep.point(view, cells, int(np.argmax(cells.x)), seed=0)
    assert dict(point.call)["architecture"] == "4-2-2"


def test_a_view_is_completed_where_its_observable_has_other_axes(stores):
    sweep = open_diagram(stores["small"])
    view = sweep.completed(replace(sweep.first_view(), x="lam", y="lam"))
    assert view.x == "lam" != view.y
    view = sweep.completed(replace(view, observable="weight_norms:w2", y="none"))
    assert view.y == "time"


def test_a_sequence_and_raw_starts_say_what_is_drawn(stores):
    for name, words in [("stages", "The point is a sequence of 2 tasks."), ("raw", "are not balanced")]:
        sweep = open_diagram(stores[name])
        point, _ = sweep.point(sweep.first_view(), sweep.cells(sweep.first_view()), 0, seed=0)
        assert words in " ".join(picture(point, 1.0).notes)
    assert point.choice(Choice()).start == "lecun"


def test_tables_have_dots(stores):
    sweep = open_diagram(stores["rows"])
    assert isinstance(sweep, Table)
    view = sweep.first_view()
    cells = sweep.cells(view)
    assert cells.edges is None
    assert sorted(cells.x) == [-2.0, 0.5, 3.0]
    point, time = sweep.point(view, cells, int(np.argmax(cells.x)), seed=0)
    assert (point.problem().net.lam, time) == (3.0, INF)


def test_a_reduced_store_of_a_long_table_is_drawn(tmp_path):
    """Its spec lacks the rows, and the store has no coordinate of seeds."""
    output = {"observables": ["kernel_distance"], "reduce": {"statistics": ["mean"]}}
    content = {name: part for name, part in POINTS.items() if name != "points"} | {"output": output}
    lam, init_scale = np.linspace(-3.0, 3.0, INLINE + 1), np.linspace(0.5, 1.0, INLINE + 1)
    rows = {"lam": lam, "init_scale": init_scale, "architecture": ["3-3-2"] * lam.size}
    fl.run_sweep(content, tmp_path / "long", points=rows)
    sweep = open_diagram(str(tmp_path / "long"))
    cells = sweep.cells(sweep.first_view())
    point, _ = sweep.point(sweep.first_view(), cells, int(np.argmax(cells.x)), seed=1)
    assert (point.problem().net.lam, point.settings["seed"]) == (3.0, 1)
    assert dict(sweep.with_seed(point, 0).call) == dict(point.call) | {"seed": 0}
    assert sweep.with_seed(point, 2) is None


def test_sliders_take_the_values_of_a_row_that_are_no_columns(tmp_path):
    content = {name: part for name, part in POINTS.items() if name not in ("points", "axes")}
    content = {**content, "axes": {"kappa": 0.0}, "task": {}}
    rows = {"lam": [-1.0, 2.0], "architecture": ["3-3-2"] * 2, "seed": [4, 7], "n_samples": [16, 20]}
    fl.run_sweep(content, tmp_path / "rows", points=rows)
    sweep = open_diagram(str(tmp_path / "rows"))
    cells = sweep.cells(sweep.first_view())
    choice = Choice(kappa=1.5, n_samples=10)
    point, _ = sweep.point(sweep.first_view(), cells, 1, seed=0)
    choice = point.choice(choice)
    assert (choice.kappa, choice.n_samples) == (0.0, point.problem().task.n_samples)


def test_equal_numbers_are_drawn_in_one_colour(tmp_path):
    """At t = 0 kernel distances differ by rounding errors."""
    dynamics = {"times": [0.0, 1.0]}
    fl.run_sweep(sweeping.spec(dynamics=dynamics), tmp_path / "s")
    sweep = open_diagram(str(tmp_path / "s"))
    view = sweep.completed(replace(sweep.first_view(), x="lam", y="init_scale", others=(("time", 0.0),)))
    cells = sweep.cells(view)
    assert cells.limits[1] - cells.limits[0] > 0.05 > 1e-10 > np.ptp(cells.value)


def test_a_seed_of_a_column_stays(tmp_path):
    content = {name: part for name, part in POINTS.items() if name not in ("points", "axes")}
    rows = {"lam": [-1.0, 2.0], "architecture": ["3-3-2"] * 2, "seed": [4, 7]}
    fl.run_sweep(content, tmp_path / "rows", points=rows)
    sweep = open_diagram(str(tmp_path / "rows"))
    point, _ = sweep.point(sweep.first_view(), sweep.cells(sweep.first_view()), 0, seed=7)
    assert point.settings["seed"] == 4
    assert sweep.with_seed(point, 7) is None


def test_large_diagrams_are_thinned(stores, monkeypatch):
    monkeypatch.setattr("fastlin.sweeps.explore.diagram.MOST_CELLS", 4)
    sweep = open_diagram(stores["small"])
    cells = sweep.cells(sweep.first_view())
    assert 1 < cells.value.size <= 4
    assert set(cells.x) <= set(sweep.dataset.lam.values)


def test_a_store_of_one_point_has_no_diagram(tmp_path):
    axes = {"architecture": [[4, 2, 2]], "seed": 0, "lam": 0.0}
    fl.run_sweep(sweeping.spec(axes=axes, dynamics={"times": [1.0]}), tmp_path / "one")
    assert "over two axes" in refused(lambda: open_diagram(str(tmp_path / "one")))
    assert "there is no store" in refused(lambda: open_diagram(str(tmp_path / "none")))


def test_a_mean_that_is_not_stored_is_explained(tmp_path):
    output = {"observables": ["loss"], "reduce": {"statistics": ["std"]}}
    fl.run_sweep(sweeping.spec(output=output), tmp_path / "std")
    sweep = open_diagram(str(tmp_path / "std"))
    assert "holds no mean over seeds" in refused(lambda: sweep.cells(sweep.first_view()))


def test_places_of_the_slider_are_times():
    pytest.importorskip("bokeh", reason="no Bokeh: it is in fastlin's extra explore")
    from fastlin.sweeps.explore import page

    for time in (0.0, 0.01, 0.75, 90.0, 1e4, INF):
        assert page.to_time(page.to_place(time)) == time
    places = np.arange(page.START_PLACE, page.LIMIT_PLACE + 0.01, page.STEP_OF_TIME)
    times = [page.to_time(place) for place in places]
    assert times == sorted(set(times))
    assert (times[0], times[-1], len(times)) == (0.0, math.inf, state.TIMES.size)
    assert page.to_time(page.to_place(1e9)) == 1e4
