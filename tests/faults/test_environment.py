"""Errors of the environment, such as a broken library: a run stops, and no point is marked as failed."""

import selectors
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest

import fastlin as fl
from fastlin.kernels import Status
from fastlin.sweeps.run import block, isolation
from fastlin.sweeps.run.isolation import FailedError, HungError, IsolatedProcess, evaluate
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.spec.spec import Spec
from tests import sweeping
from tests.executors import one_line
from tests.sweeping import content, marks

SAYS = "networks cannot be computed in this environment, so no point was marked as failed: "
ERRORS = [
    ImportError("no module named 'scipy.linalg'"),
    OSError("libopenblas.so.0: cannot open shared object file"),
    NotImplementedError("<intrinsic> is not usable in pure-python\nand a second line"),
]
REDUCED = {"observables": ["loss"], "reduce": {"statistics": ["mean"]}}


def raising(error, calls=None, where=lambda _group: True):
    """Return a `compute` that raises an error for some groups."""
    real = block.compute

    def compute(group):
        if calls is not None:
            calls.append(group)
        if where(group):
            raise error
        return real(group)

    return compute


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("output", [sweeping.spec()["output"], REDUCED], ids=["points", "reduced"])
def test_an_error_of_every_network_stops_the_run(tmp_path, client, monkeypatch, error, output):
    spec, path, calls = sweeping.spec(output=output), tmp_path / "s.zarr", []
    with monkeypatch.context() as patch:
        patch.setattr(block, "compute", raising(error, calls))
        with pytest.raises(fl.StoppedError) as stopped:
            fl.run_sweep(spec, path, client)
    text = str(error).splitlines()[0]
    assert one_line(stopped) == f"{SAYS}{type(error).__name__}: {text}"
    assert not marks(path)
    assert len(calls) <= 2 * 6  # one part of each block, and the network that cannot fail
    assert fl.run_sweep(spec, path, client).ok == fl.run_sweep(spec, tmp_path / "whole.zarr", client).ok
    assert content(path) == content(tmp_path / "whole.zarr")


def test_complete_points_stay_after_an_error_of_the_environment(tmp_path, client, monkeypatch):
    """The failing block holds complete points and one point that had failed before."""
    path = tmp_path / "s.zarr"

    def one(group):
        return 3 in group.seeds and 2.0 in group.lams and str(group.architecture) == "3-4-3"

    with monkeypatch.context() as patch:
        patch.setattr(block, "compute", raising(ValueError("no"), where=one))
        assert fl.run_sweep(sweeping.spec(), path, client).failed == 2
        before = content(path)
        patch.setattr(block, "compute", raising(ERRORS[0]))
        with pytest.raises(fl.StoppedError):
            fl.run_sweep(sweeping.spec(), path, client, retry_failed=True)
    assert content(path) == before


@pytest.mark.parametrize("first", [[4, 2, 2], [2, 3, 4]])
@pytest.mark.parametrize("size", [1, 5])
def test_an_architecture_that_always_fails_does_not_stop_the_others(
    tmp_path, client, monkeypatch, first, size
):
    """The failing architecture is the first or a later block, with blocks of one or more points."""
    axes = {"architecture": [first, [3, 2, 3]], "seed": {"start": 0, "num": size}, "lam": 1.0}
    error = ValueError("no")
    patched = raising(error, where=lambda group: group.architecture == fl.Architecture(*first))
    monkeypatch.setattr(block, "compute", patched)
    report = fl.run_sweep(sweeping.spec(axes=axes), tmp_path / "s.zarr", client)
    assert (report.ok, report.failed, report.pending) == (size, size, 0)


@pytest.fixture
def group():
    """A group of six points."""
    layout = Plan.of(Spec.from_dict(sweeping.spec())).layout
    (placed, *_) = layout.block(layout.index(0))
    return replace(placed.group, seeds=np.arange(3), lams=np.array([0.0, 1.0]))


def test_points_that_hang_are_no_error_of_the_environment(group):
    """The network that cannot fail may hang, too, if the machine is busy."""

    def hang(_group):
        raise HungError("took longer than 2 s")

    outcome = evaluate(group, np.full((3, 2), True), hang)
    assert (outcome.result.status == Status.FAILED).all()
    assert outcome.reasons[0] == (0, 0, "took longer than 2 s")


def test_a_process_that_cannot_start_is_an_error_of_the_environment(group, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    apart = IsolatedProcess(60.0)
    with pytest.raises(fl.StoppedError) as error:
        evaluate(group, np.full((3, 2), True), apart.of(group, 1.0))
    assert one_line(error) == f"{SAYS}its process died (exit code 1)"
    apart.close()


@pytest.mark.processes
def test_a_process_computes_hangs_and_dies(group, monkeypatch):
    """The test passes without `selectors`, because Windows cannot wait for a pipe."""
    monkeypatch.setattr(selectors, "DefaultSelector", None)
    apart = IsolatedProcess(60.0)
    compute = apart.of(group, 1.0)
    expected = block.compute(group)
    result = compute(group)
    assert (result.status == expected.status).all()
    assert all(result.values[name].tobytes() == expected.values[name].tobytes() for name in result.values)
    process = apart._process._process
    process.kill()
    process.wait()
    with pytest.raises(FailedError, match=r"^its process died \("):
        compute(group)
    compute(group)
    psutil.Process(apart._process._process.pid).suspend()  # it hangs, however fast the machine is
    monkeypatch.setattr(isolation, "LEAST_SECONDS", 0.05)
    monkeypatch.setattr(isolation, "SLACK", 1e-9)
    with pytest.raises(HungError, match=r"took longer than 0\.05 s"):
        compute(group)
    assert apart.close() is None
