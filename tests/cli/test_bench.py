"""The benchmark: rival implementations compute the same, flops are counted, and tables are written."""

import json
import time
import tomllib

import numpy as np
import pytest

import fastlin as fl
from fastlin.bench import architectures, measure, pages, plans, report, rivals, timing, widths
from fastlin.bench.case import Case
from fastlin.bench.flops import flops_per_step
from fastlin.bench.timing import Run, alternate
from fastlin.kernels import Sizes
from fastlin.kernels.compiler.peak import multiply_add
from tests.networks import CLASSES

RATE, STEPS, DT, TIMES = 0.002, 40, 0.05, 21
LAMS = np.array([-3.0, 0.5, 2.0])


# Each architecture compiles three special kernels, as in the benchmark.
QUICK = ("square", "narrow unequal bottleneck", "wide, unequal", "between, more inputs")
MARKS = {name: () if name in QUICK else pytest.mark.slow for name in CLASSES}
MARKED = [pytest.param(shape, id=name, marks=MARKS[name]) for name, shape in CLASSES.items()]


@pytest.fixture(params=MARKED)
def case(request):
    return Case(request.param, seeds=2, lams=LAMS)


def agree(actual, expected):
    assert np.asarray(actual).shape == expected.shape
    assert np.allclose(actual, expected, rtol=1e-9, atol=1e-9)


def test_numpy_computes_the_same(case):
    descended = case.gradient_descent(RATE, STEPS)()
    solved = case.closed_form(DT * np.arange(TIMES))()
    stack = case.networks(case.points)
    agree(rivals.numpy_descent(stack, RATE, STEPS), descended)
    agree(rivals.numpy_closed_form(stack, DT, TIMES), solved)
    for point in range(case.points):
        alone = stack.part(point)
        agree(rivals.numpy_descent(alone, RATE, STEPS), descended[point])
        agree(rivals.numpy_closed_form(alone, DT, TIMES), solved[point])


@pytest.mark.slow
def test_jax_computes_the_same():
    pytest.importorskip("jax")
    with rivals.Jax(2) as jax:
        for shape in ((4, 2, 4), (5, 3, 2)):
            case = Case(shape, seeds=3, lams=LAMS)
            stack = case.networks(case.points)
            agree(jax.descent(stack, RATE, STEPS), case.gradient_descent(RATE, STEPS)())
            agree(jax.closed_form(stack, DT, TIMES), case.closed_form(DT * np.arange(TIMES))())


@pytest.mark.parametrize("shape", CLASSES.values(), ids=CLASSES)
def test_flops_are_those_of_the_gram_form(shape):
    """A step takes two Gram matrices, the target, and for each row a product with a Gram matrix."""
    sizes = Sizes(*shape)
    entries = sizes.width * (sizes.width + 1) // 2
    grams = sum(entries * (2 * rows - 1) for rows in (sizes.rows_i, sizes.rows_o))
    targets = 2 * (2 * sizes.m) * sizes.width
    products = 2 * sizes.n * sizes.width**2
    assert flops_per_step(sizes) == grams + targets + products


def test_the_peak_is_that_of_real_work():
    assert (multiply_add(30) == 1 - 0.5**31).all()


def test_runs_take_turns():
    order = []
    runs = {name: Run(lambda name=name: order.append(name), 2.0) for name in "ab"}
    seconds = alternate(runs, rounds=3)
    assert "".join(order) == "ab" * 4
    assert all(0 < value < 1 for value in seconds.values())


@pytest.fixture(scope="module")
def figures():
    tiny = measure.Extent(seeds=2, lams=4, steps=3, problems=3, stack=4, alone=2, rival_steps=2, rounds=5)
    program = measure.Program(
        sections=("kernels", "widths", "forms", "sweep"),
        small=((4, 2, 4),),
        large=((44, 42, 44),),
        each_small=tiny,
        each_large=tiny,
        families=("w-w-w", "6-w-4"),
        widths=(2, 3),
        width_lams=2,
        width_rounds=1,
        form_shapes=((4, 2, 4), (9, 9, 9)),
        form_lams=1,
        form_rounds=1,
        preset_seeds=(1, 2),
        preset_rounds=1,
    )
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        # Process time, so that the load of the machine is in no number.
        patch.setattr(timing, "perf_counter", time.process_time)
        result = measure.measure(program, ("numpy",), lines.append)
    assert lines[0] == "gradient_descent 4-2-4"
    return result


@pytest.mark.campaign
def test_figures(figures):
    assert json.loads(json.dumps(figures)) == figures
    descent, solution = figures["gradient_descent"], figures["closed_form"]
    assert list(descent) == list(solution) == list(figures["setup"]) == ["4-2-4", "44-42-44"]
    assert figures["fma_gflops"] > 0.5
    for row in descent.values():
        assert row["ns_per_step"] > 0
        assert row["vs_numpy"] > 0
        assert row["vs_jax"] is None
    assert 0 < descent["4-2-4"]["peak_fraction"] < 1.2
    assert descent["44-42-44"]["peak_fraction"] is None  # BLAS does other operations than were counted
    for row in solution.values():
        assert min(row[key] for key in ("ns_per_point", "ns_late", "ns_inf", "vs_numpy_single")) > 0
    assert all(row["us"] > 0 for row in figures["setup"].values())
    assert list(figures["widths"]) == ["w-w-w", "6-w-4"]
    for methods in figures["widths"].values():
        assert list(methods) == ["gradient_descent", "grid", "late"]
        for rows in methods.values():
            first, second = rows["2"], rows["3"]
            assert first["step"] is None
            grown = (second["us"] / first["us"]) / (second["flops"] / first["flops"])
            assert second["step"] == pytest.approx(grown)
    for steps in figures["forms"].values():
        assert list(steps) == ["gradient_descent", "march", "jump", "set_up"]
        for row in steps.values():
            assert row["ratio"] == pytest.approx(row["run_time"] / row["specialised"])
    sweep = figures["sweep"]
    assert sweep["configurations"] == 4 * 2 * 180
    assert sweep["configurations_per_second"] == sweep["configurations"] / sweep["seconds"]
    assert 0 < sweep["kernel_fraction"] < 1
    assert sweep["peak_rss_mb"] > 50
    assert sweep["start_up_seconds"] < sweep["seconds"]
    assert list(sweep["scaling"]) == ["1", "2"]


@pytest.mark.campaign
def test_the_table_is_written_between_its_marks(figures, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    pages.update(page, figures)
    pages.update(page, figures)
    text = page.read_text()
    assert text.startswith("before\n<!-- bench -->\n")
    assert text.endswith("<!-- /bench -->\nafter\n")
    assert "old" not in text
    assert text.count("| 44-42-44") == 3
    assert text.count("| 9-9-9") == 1
    assert text.count("| 6-w-4") == 3
    assert "1,440 configurations" in text


@pytest.fixture(scope="module")
def commands():
    """Figures of all sections that run commands, with sweeps of three architectures."""
    text = architectures.spec([2, 3, 4], [2], [3], seeds=2, lams=3)
    program = measure.Program(
        sections=("compilation", "architectures", "plan"),
        kernels=(("set_up", (4, 2, 4)), ("gradient_descent", (4, 1, 4))),
        sweeps={"three": text},
        first_rounds=1,
        planned={"three": text},
    )
    return measure.measure(program, (), lambda text: None)


@pytest.mark.processes
@pytest.mark.campaign
def test_commands_are_measured(commands):
    assert json.loads(json.dumps(commands)) == commands
    assert list(commands) == ["machine", "compilation", "architectures", "first_calls", "plan"]
    assert list(commands["compilation"]) == ["set_up all", "gradient_descent 1"]
    for row in commands["compilation"].values():
        assert row["ratio"] == pytest.approx(row["seconds"] / row["estimate"])
        assert row["seconds"] > 0.1
    cold, warm = (commands["architectures"]["three"][state] for state in ("cold", "warm"))
    assert cold["points"] == warm["points"] == 3 * 2 * 3
    assert cold["files"] == warm["files"] > 5
    assert cold["sweep_seconds"] < cold["run_seconds"] < cold["seconds"]
    assert min(commands["first_calls"].values()) > 0
    labels = [(row["sweep"], row["state"]) for row in commands["plan"]]
    assert labels == [(name, state) for name in ("three", "three --workers 2") for state in ("cold", "warm")]
    table = report.table(commands)
    assert "| gradient descent 1 " in table
    assert "| three: 18 points " in table
    assert "| three --workers 2, cold " in table


@pytest.mark.parametrize("text", [*architectures.SWEEPS.values(), *plans.PLANNED.values()])
def test_sweeps_of_the_benchmark_are_valid(text):
    assert fl.Spec.from_dict(tomllib.loads(text)).points > 1000


def test_a_table_says_how_many_plans_are_right():
    seconds = {"a": (6.9, 10.0), "b": (13.0, 10.0), "c": (7.0, 10.0), "d": (13.1, 10.0)}
    rows = [
        {"sweep": name, "state": "cold", "planned_seconds": planned, "seconds": took, "ratio": planned / took}
        for name, (planned, took) in seconds.items()
    ]
    text = report.table(
        {"machine": {"processor": "x", "cores": 2, "system": "y", "versions": {}}, "plan": rows}
    )
    assert "| a, cold | 6.90            | 10.0    | 0.69x              |" in text
    assert text.endswith(
        "2 of 4 plans are right within 30 %; all are between 0.69x and 1.31x of what runs take."
    )


def test_eleven_sweeps_are_planned():
    assert len(plans.PLANNED) == 11
    assert fl.Spec.from_dict(tomllib.loads(architectures.LARGE["27,000 architectures"])).points == 2_700_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "form"], "did you mean 'forms'"),
        (["--only", "forms", "--plot", "widths.png"], "--plot draws the section widths"),
    ],
)
def test_sections_that_do_not_fit_are_refused(command_line, arguments, message):
    code, _, err = command_line("bench", *arguments)
    assert code == 2
    assert message in err


def test_operations_are_those_of_a_step():
    sizes = Sizes(60, 30, 60)
    assert widths.operations(sizes)["gradient_descent"] == pytest.approx(flops_per_step(sizes), rel=0.02)
    assert widths.shape_of("100-w-7", 9) == (100, 9, 7)


@pytest.mark.campaign
def test_widths_are_drawn(figures, tmp_path):
    widths.draw(figures["widths"], tmp_path / "widths.png")
    assert (tmp_path / "widths.png").stat().st_size > 10_000
