"""A run: how it ends after a failure, and the time limit of its blocks."""

import errno
import threading
import time
from unittest import mock

import numpy as np
import pytest
from distributed import Client

import fastlin as fl
from fastlin.kernels import Sizes
from fastlin.kernels.compilation import Kernel
from fastlin.sweeps.run import block, dispatch, run, worker
from fastlin.sweeps.run.executors import Processes, Threads
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.progress import NoProgress
from fastlin.sweeps.run.run import hang_seconds
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import lease_holders
from fastlin.sweeps.store.costs import kernels_needed
from fastlin.sweeps.store.folder import LocalFolder
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.slice import Slice
from fastlin.sweeps.store.store import Store
from tests import cutting, gate, sweeping
from tests.fault_injection import until
from tests.planting import Gate

GRID = {"n_i": {"start": 1, "num": 10}, "n_h": {"start": 1, "num": 10}, "n_o": {"start": 1, "num": 10}}


@pytest.fixture(scope="module")
def many():
    """A plan of 1,000 architectures with dozens in a block, and the kernels that they need."""
    axes = {
        "architecture": GRID,
        "seed": {"start": 0, "num": 5},
        "lam": {"start": -9.0, "stop": 9.0, "num": 20},
    }
    spec = Spec.from_dict(sweeping.spec(axes=axes, task={"n_samples": 30}))
    with cutting.by_the_rule():
        plan = Plan.of(spec)
    assert plan.layout.block_shape.architectures > 20
    return plan, kernels_needed(plan.layout, np.arange(plan.layout.block_count))


def test_a_block_of_many_architectures_waits_for_the_few_kernels_that_serve_them(many, monkeypatch):
    plan, kernels = many
    assert hang_seconds(plan, kernels) >= run.LEAST_PATIENCE
    monkeypatch.setattr(run, "LEAST_PATIENCE", 0.0)
    compilation = sum(kernel.seconds for kernel in kernels)
    blocks = 20 * plan.block_seconds
    assert len(kernels) < 14
    assert hang_seconds(plan, kernels) == pytest.approx(blocks + 5 * compilation)
    assert hang_seconds(plan, []) == pytest.approx(blocks)


def test_a_block_of_one_architecture_waits_for_no_kernel_of_another(monkeypatch):
    monkeypatch.setattr(run, "LEAST_PATIENCE", 0.0)
    spec = Spec.from_dict(sweeping.spec())
    plan, kernels = Plan.of(spec), [Kernel("set_up", Sizes(n, 2, 3), "gaussian", True) for n in range(1, 100)]
    assert hang_seconds(plan, kernels) == hang_seconds(plan, kernels[:3]) > hang_seconds(plan, kernels[:2])


@pytest.mark.parametrize(
    ("where", "local"), [(Threads(), True), (Processes(2), True), (mock.Mock(Client), False)]
)
def test_time_limits_count_kernels_that_workers_may_lack(many, monkeypatch, where, local):
    """In threads and local processes a block waits for the missing kernels, and elsewhere for all kernels."""
    plan, kernels = many
    monkeypatch.setattr(run, "missing", lambda needed: needed[:1])
    monkeypatch.setattr(run, "compile_all", lambda *_: None)
    waited_for = run._compile(plan.layout, np.arange(plan.layout.block_count), where, NoProgress())
    assert [kernel.key for kernel in waited_for] == [
        kernel.key for kernel in (kernels[:1] if local else kernels)
    ]


def failing_once(monkeypatch, others, ready=lambda: True):
    """Make the first write of a block fail as soon as `ready` holds. Call `others` for later writes.

    Return an event that is set after the failure.
    """
    failed, real = threading.Event(), Store.write_block

    def write(store, *arguments):
        if not failed.is_set():
            failed.set()
            until(ready)
            raise OSError(errno.ENOSPC, "no space left on device")
        others(store, lambda: real(store, *arguments))

    monkeypatch.setattr(Store, "write_block", write)
    return failed


def test_blocks_that_a_failed_run_still_computes_are_not_written(tmp_path, client, monkeypatch):
    """One block cannot be written while others wait at a gate. The gate opens when the run has ended."""
    path, block_gate, at_work, run_block = (
        tmp_path / "s.zarr",
        Gate(tmp_path / "gate", 1),
        [],
        worker.run_block,
    )

    def recorded(order, index):
        at_work.append(index)
        try:
            return run_block(order, index)
        finally:
            at_work.remove(index)

    with monkeypatch.context() as patch:
        patch.setattr(block, "compute", block.compute)
        gate.hold(block, tmp_path / "gate")
        patch.setattr(worker, "run_block", recorded)
        failing_once(patch, lambda _store, write: write(), ready=lambda: len(at_work) > 1)
        with pytest.raises(fl.StoppedError, match="no space left"):
            fl.run_sweep(sweeping.spec(), path, client)
        assert at_work
        assert lease_holders.holders(locate(path)) == []
        before = sweeping.content(path)
        block_gate.open()
        until(lambda: not at_work)
        assert sweeping.content(path) == before
    assert fl.run_sweep(sweeping.spec(), path, client).computed_blocks == 6


def test_a_failed_run_holds_its_lease_while_a_thread_writes(tmp_path, client, monkeypatch):
    path, writing, holders = tmp_path / "s.zarr", threading.Event(), []

    def slowly(store, write):
        writing.set()
        time.sleep(0.5)  # a run that does not wait would release its lease now
        write()
        holders.append(len(lease_holders.holders(store.location)))

    failed = failing_once(monkeypatch, slowly)
    real = dispatch.stopped

    def stopped(location, error):
        assert failed.is_set()
        writing.wait()
        return real(location, error)

    monkeypatch.setattr(dispatch, "stopped", stopped)
    with pytest.raises(fl.StoppedError, match="no space left"):
        fl.run_sweep(sweeping.spec(), path, client)
    assert holders
    assert set(holders) == {1}
    assert lease_holders.holders(locate(path)) == []


@pytest.mark.parametrize("options", [{}, {"slice": "1/2"}, {"retry_failed": True}])
def test_a_run_reads_the_markers_of_a_complete_store_once(swept, monkeypatch, options):
    keys, read = [], LocalFolder.read
    monkeypatch.setattr(LocalFolder, "read", lambda self, key: keys.append(key) or read(self, key))
    report = fl.run_sweep(sweeping.spec(), swept, **options)
    assert (report.ok, report.computed_blocks, report.blocks) == (180, 0, 6)
    assert len([key for key in keys if key.startswith("status/c.")]) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1/0", "slice is 1/0: N is 0; allowed is 1 to 100000"),
        ("4/3", "slice is 4/3: I is 4; allowed is 1 to 3"),
    ],
)
def test_a_number_of_a_slice_that_is_out_of_range_is_named(text, message):
    with pytest.raises(fl.InputError, match=message):
        Slice.read(text)
