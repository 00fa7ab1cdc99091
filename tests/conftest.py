"""Settings and fixtures that all tests share."""

import sys
from pathlib import Path

import distributed
import matplotlib
import pytest
from hypothesis import settings

import fastlin as fl
from fastlin import cli
from fastlin.kernels.compilation import compile_all
from fastlin.sweeps.run import calibration, pace, progress, run
from fastlin.sweeps.run.cluster import connect
from fastlin.sweeps.run.executors import Threads
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.progress import NoProgress
from fastlin.sweeps.spec.spec import Spec
from tests import browser, cutting, slurm, sweeping

matplotlib.use("Agg")
LONG = ("slow", "campaign")  # before the markers are evaluated

# Hypothesis draws the same examples on every machine. A first call may have to compile.
settings.register_profile("fastlin", deadline=None, derandomize=True, max_examples=30, print_blob=True)
# For a second Python: `pytest --hypothesis-profile=few`.
settings.register_profile("few", settings.get_profile("fastlin"), max_examples=3)
settings.load_profile("fastlin")
cutting.groups_apart()
# The processes of pytest-xdist keep all cores busy, so that a helper process costs its imports and saves
# nothing.
run.compile_all = lambda kernels, _, show: compile_all(kernels, 1, show)
# A plan measures for less long, because no test asserts its seconds.
calibration.SAMPLE_SECONDS = 0.02


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(config, items):
    """Mark tests that use SLURM as tests of processes. Deselect long tests unless -m names their marker."""
    for item in items:
        if "daemons" in item.fixturenames:
            item.add_marker("processes")
    if not any(name in config.option.markexpr for name in LONG):
        long = {item for item in items if any(item.get_closest_marker(name) for name in LONG)}
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=list(long))


@pytest.fixture(autouse=True)
def no_client_is_left():
    """Check that a test leaves no default client, because Dask would use it in all later tests."""
    yield
    with pytest.raises(ValueError, match="No client"):
        distributed.default_client()


@pytest.fixture
def clock(monkeypatch):
    """Return a function that advances the clock of progress."""
    now = [0.0]
    for module in (pace, progress):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "small.zarr"
    report = fl.run_sweep(sweeping.spec(), path)
    assert (report.ok, report.pending, report.computed_blocks) == (180, 0, 6)
    return path


@pytest.fixture
def command_line(monkeypatch, capsys):
    """Return a function that runs a command line in this process and returns (code, out, err)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fastlin", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        return caught.value.code, printed.out, printed.err

    return call


@pytest.fixture(scope="session")
def client():
    """A Dask client with threads, for tests that run many sweeps."""
    with connect(Threads()) as connected:
        yield connected


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A browser, for the tests of one file."""
    if absent := browser.missing():
        pytest.skip(f"no browser to drive: {absent} is not installed")
    with browser.running(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="session")
def daemons(tmp_path_factory):
    if reason := slurm.missing():
        pytest.skip(f"no SLURM: {reason}")
    with slurm.running(tmp_path_factory.mktemp("slurm")) as path:
        yield path


@pytest.fixture
def conf(daemons, monkeypatch):
    """The configuration file of a running SLURM, for this process and its children."""
    pytest.importorskip("dask_jobqueue", reason="no dask-jobqueue: it is in fastlin's extra hpc")
    monkeypatch.setenv("SLURM_CONF", str(daemons))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # jobs find the modules of the tests
    return daemons


@pytest.fixture(scope="session")
def partial(tmp_path_factory, client):
    """A sweep whose name has unusual characters. Of its 6 blocks 2 are complete."""
    path = tmp_path_factory.mktemp("partial") / "s.zarr"
    spec = Spec.from_dict(sweeping.spec(name=sweeping.MARKUP))
    run.run(spec, path, client, RunOptions(only=frozenset({0, 3})), NoProgress())
    return path


@pytest.fixture(scope="session")
def diverging(tmp_path_factory, client):
    """A sweep of both solvers at several rates. Some points of gradient descent diverge."""
    axes = sweeping.spec()["axes"] | {"lam": {"start": -200.0, "stop": 200.0, "num": 9}, "init_scale": 1.0}
    dynamics = {
        "solver": ["exact", "gradient_descent"],
        "learning_rate": [0.005, 0.02],
        "times": [0.0, 0.4, 4.0],
    }
    path = tmp_path_factory.mktemp("diverging") / "s.zarr"
    report = fl.run_sweep(sweeping.spec(axes=axes, dynamics=dynamics), path, client)
    assert report.diverged > 10
    return path
