"""How a run that fails ends, and how long the blocks of a run may take."""

import errno
import threading
import time

import pytest

import fastlin as fl
from fastlin.sweeps import block, lease, places, work
from fastlin.sweeps.store import Store
from tests import gate, sweeping
from tests.faults import until
from tests.planting import Gate


def failing_once(monkeypatch, others):
    """Make the first write of a block fail; `others` is called instead of each later one. Return an event."""
    failed, real = threading.Event(), Store.write_block

    def write(store, *given):
        if not failed.is_set():
            failed.set()
            raise OSError(errno.ENOSPC, "no space left on device")
        others(store, lambda: real(store, *given))

    monkeypatch.setattr(Store, "write_block", write)
    return failed


def test_blocks_that_a_failed_run_still_computes_are_not_written(tmp_path, client, monkeypatch):
    """One block cannot be written while others are held at a gate, which opens when the run has ended."""
    path, held, at_work, run_block = tmp_path / "s.zarr", Gate(tmp_path / "gate", 1), [], work.run_block

    def noted(order, index):
        at_work.append(index)
        try:
            return run_block(order, index)
        finally:
            at_work.remove(index)

    with monkeypatch.context() as patch:
        patch.setattr(block, "compute", block.compute)
        gate.hold(block, tmp_path / "gate")
        patch.setattr(work, "run_block", noted)
        failing_once(patch, lambda _store, write: write())
        with pytest.raises(fl.StoppedError, match="no space left"):
            fl.run_sweep(sweeping.spec(), path, client)
        assert at_work
        assert lease.holders(places.of(path)) == []
        before = sweeping.content(path)
        held.open()
        until(lambda: not at_work)
        assert sweeping.content(path) == before
    assert fl.run_sweep(sweeping.spec(), path, client).computed_blocks == 6


def test_a_failed_run_holds_its_lease_while_a_thread_writes(tmp_path, client, monkeypatch):
    path, writing, holders = tmp_path / "s.zarr", threading.Event(), []

    def slowly(store, write):
        writing.set()
        time.sleep(0.5)  # in which a run that does not wait gives its lease back
        write()
        holders.append(len(lease.holders(store.place)))

    failed = failing_once(monkeypatch, slowly)
    real = places.stopped

    def stopped(place, error):
        assert failed.is_set()
        writing.wait()
        return real(place, error)

    monkeypatch.setattr(places, "stopped", stopped)
    with pytest.raises(fl.StoppedError, match="no space left"):
        fl.run_sweep(sweeping.spec(), path, client)
    assert holders
    assert set(holders) == {1}
    assert lease.holders(places.of(path)) == []
