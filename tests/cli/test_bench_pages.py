"""The places in files that the benchmark fills: all tables, five rows, and the comparison."""

from pathlib import Path

import pytest

import fastlin as fl
from fastlin.bench import measure, pages, report

MACHINE = {"processor": "x", "cores": 2, "system": "y", "versions": {"fastlin": "1"}}
ROW = {"vs_numpy": 100.0, "vs_numpy_single": 900.0, "vs_jax": None, "cores_over_one": 2.0}
FLOW = {"us": 10.7, "mean_steps": 120.0, "vs_scipy": 1292.0, "vs_diffrax": 175.0, "difference": 1e-10}
STATE = {"seconds": 4.8, "run_seconds": 3.5, "peak_rss_mb": 300.0, "files": 167, "points": 1_000_000}
FIGURES = {
    "machine": MACHINE,
    "closed_form": {"4-2-4": ROW | {"ns_per_point": 12.4, "ns_late": 109.0, "ns_inf": 97.0}},
    "gradient_descent": {
        "4-2-4": ROW | {"ns_per_step": 1.9, "flops_per_step": 9, "peak_fraction": 0.8, "vs_jax": 209.0}
    },
    "flow": {
        "time": 90.0,
        "tolerance": 1e-9,
        "agreement": 1e-7,
        "diffrax_installed": True,
        "rows": {"4-2-4": FLOW},
    },
    "architectures": {"1,000 architectures": {"cold": STATE | {"seconds": 8.7}, "warm": STATE}},
    "sweep": {
        "preset": "phase-10m",
        "configurations": 10_000_080,
        "seconds": 2.9,
        "start_up_seconds": 1.7,
        "peak_rss_mb": 350.0,
        "kernel_fraction": 0.64,
    },
}


def place(name, content="old"):
    return f"<!-- {name} -->\n{content}\n<!-- /{name} -->\n"


def test_the_summary_has_five_rows_with_the_figures_of_the_tables():
    text = report.summary(FIGURES)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:7]]
    assert rows == [
        ["closed form, a time of a grid, 4-2-4", "12.4 ns", "NumPy 100x"],
        ["gradient descent, a step, 4-2-4", "1.90 ns", "NumPy 100x, JAX 209x"],
        ["gradient flow to t = 90, 4-2-4", "10.7 us", "SciPy 1,292x, diffrax 175x"],
        ["a sweep of 1,000 architectures, 1,000,000 points", "4.8 s", ""],
        ["`fastlin run phase-10m`, 10,000,080 points", "2.9 s", ""],
    ]
    assert text.endswith("\n\nx, 2 cores, y.")


def test_the_default_program_measures_all_that_the_summary_shows():
    program = measure.Program()
    shape = tuple(map(int, report.SUMMARY_SHAPE.split("-")))
    assert shape in program.small
    assert shape in program.flow_shapes
    assert report.SUMMARY_SWEEP in program.sweeps


def test_a_file_may_have_several_places(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"a\n{place('bench summary')}b\n{place('bench')}c\n")
    pages.check(page, measure.DEFAULT_SECTIONS)
    for _ in range(2):
        pages.update(page, FIGURES)
        expected = [place("bench summary", report.summary(FIGURES)), place("bench", report.table(FIGURES))]
        assert page.read_text() == f"a\n{expected[0]}b\n{expected[1]}c\n"


def test_a_place_needs_its_sections(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(place("bench"))
    with pytest.raises(
        fl.InputError, match="place <!-- bench -->, which needs the sections kernels, two-sid"
    ):
        pages.check(page, ["forms"])
    page.write_text(place("bench summary"))
    pages.check(page, ["kernels", "flow", "architectures", "sweep"])
    with pytest.raises(fl.InputError, match="needs the sections architectures, sweep; choose them by --only"):
        pages.check(page, ["kernels", "flow"])
    page.write_text(place("bench compare"))
    pages.check(page, ["compare"])
    with pytest.raises(fl.InputError, match=r"needs the sections compare; choose them by --only$"):
        pages.check(page, measure.DEFAULT_SECTIONS)


@pytest.mark.parametrize("text", ["", "<!-- bench -->", "<!-- /bench -->\n<!-- bench -->", place("table")])
def test_a_file_without_a_place_is_refused(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(fl.InputError, match="has no place for the table; needed are the lines"):
        pages.check(page, measure.DEFAULT_SECTIONS)
    assert page.read_text() == text


def test_files_are_checked_before_anything_is_measured(command_line, tmp_path):
    good, other = tmp_path / "good.md", tmp_path / "other.md"
    good.write_text(place("bench compare"))
    other.write_text(place("bench"))
    files = ["--update", str(good), "--update", str(other)]
    code, out, err = command_line("bench", "--only", "compare", *files)
    assert (code, out) == (2, "")
    assert "other.md has a place <!-- bench -->" in err
    assert good.read_text() == place("bench compare")


DOCS = Path(fl.__file__).parent / "docs"


@pytest.mark.skipif(not DOCS.exists(), reason="a checkout is needed")
def test_pages_of_the_documentation_have_their_places():
    pages.check(DOCS / "reference" / "benchmarks.md", measure.DEFAULT_SECTIONS)
    pages.check(DOCS / "project" / "comparison.md", ["compare"])
