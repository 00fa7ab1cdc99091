"""The notebooks: they run, and the committed outputs are those of a run."""

import base64
import re

import pytest

notebooks = pytest.importorskip(
    "tests.notebooks", reason="what renders notebooks is in fastlin's extra notebook"
)
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        not notebooks.FOLDER.exists(), reason="the notebooks are not beside an installed wheel's tests"
    ),
]
NAMES = [
    "laptop-to-cluster",
    "lora",
    "one-network",
    "phase-diagram",
    "which-networks-are-exact",
    "your-own-data",
]
MOST_BYTES = 600_000
# Absolute paths, addresses of objects, terminal colours, and dates.
TRACES = re.compile(r"(?<![\w.:/])/[A-Za-z]+/\w|\b[A-Z]:\\|0x[0-9a-f]{6,}|\x1b\[|\b20\d\d-\d\d-\d\d")


@pytest.fixture(scope="module", params=NAMES)
def source(request):
    return notebooks.FOLDER / f"{request.param}.py"


@pytest.fixture(scope="module")
def committed(source):
    return notebooks.nbformat.read(notebooks.rendered(source), as_version=4)


@pytest.fixture(scope="module")
def fresh(source):
    return notebooks.execute(source)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def contents(notebook):
    """Return all outputs, as (kind, text or base64)."""
    return [
        entry
        for output in outputs(notebook)
        for entry in sorted(output.get("data", {"text/plain": output.get("text")}).items())
    ]


def without_pictures(notebook):
    """Return all outputs. Of pictures only the kind is kept."""
    return [(kind, "" if kind.startswith("image/") else text) for kind, text in contents(notebook)]


def test_every_source_is_tested_and_rendered():
    assert [source.stem for source in notebooks.sources()] == NAMES
    assert sorted(path.stem for path in notebooks.FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.slow
def test_a_notebook_prints_nothing_on_standard_error(fresh):
    assert outputs(fresh)
    assert {output.output_type for output in outputs(fresh)} <= {"stream", "display_data", "execute_result"}
    assert not [output.text for output in outputs(fresh) if output.get("name") == "stderr"]


def test_cells_are_those_of_the_source(source, committed):
    expected = notebooks.read(source)
    assert [(cell.id, cell.cell_type, cell.source) for cell in committed.cells] == [
        (cell.id, cell.cell_type, cell.source) for cell in expected.cells
    ]
    assert committed.metadata == expected.metadata
    notebooks.nbformat.validate(committed)


def comparable(notebook):
    """Return all outputs without those of Datasets, because their text changes with the version of xarray."""
    return [(kind, text) for kind, text in without_pictures(notebook) if "xarray." not in text[:20]]


@pytest.mark.slow
def test_committed_outputs_are_those_of_a_run(committed, fresh):
    """If outputs differ for a good reason, `python -m tests.notebooks` renders them again."""
    assert comparable(committed) == comparable(fresh)


def test_a_notebook_is_small_and_has_no_traces_of_a_machine(source, committed):
    assert notebooks.rendered(source).stat().st_size < MOST_BYTES
    for kind, text in without_pictures(committed):
        assert not TRACES.search(text), (kind, text)
    for kind, text in contents(committed):
        assert not kind.startswith("image/") or b"Matplotlib" not in base64.b64decode(text)
    assert not any(cell.metadata for cell in committed.cells)
