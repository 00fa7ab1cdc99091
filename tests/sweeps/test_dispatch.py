"""Dispatch: workers, order and block shape change no number, and readers see pending or final values."""

import random
import signal
import time
from functools import partial

import numpy as np
import pytest
from distributed import Client, LocalCluster

import fastlin as fl
from fastlin.sweeps.run import run
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.store.location import PARTIAL
from tests import commands, fault_injection, sweeping
from tests.campaign import trials
from tests.commands import SMALL
from tests.fault_injection import FREE_PORT, until
from tests.planting import Gate
from tests.sweeping import content, marks

pytestmark = pytest.mark.processes

MEDIUM = fault_injection.SHORT.replace("num = 40", "num = 8")


@trials(1, 3)
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_workers_order_and_blocks_change_no_number(swept, tmp_path, monkeypatch, trials, workers):
    expected = fl.open_sweep(swept).load()
    chance, real, of = random.Random(workers), run.wanted_blocks, Plan.of

    def shuffled(*arguments):
        numbers = real(*arguments).tolist()
        return np.array(chance.sample(numbers, len(numbers)), dtype=np.int64)

    monkeypatch.setattr(run, "wanted_blocks", shuffled)
    local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": FREE_PORT}
    processes = trials > 1  # processes take seconds to start
    with (
        LocalCluster(processes=processes, **local, worker_dashboard_address=FREE_PORT) as cluster,
        Client(cluster) as client,
    ):
        for trial in range(trials):
            stores = []
            for seeds in (1, 4, 6):
                path = tmp_path / f"{trial}-{seeds}.zarr"
                monkeypatch.setattr(Plan, "of", of)
                commands.smaller_blocks(seeds)
                assert fl.run_sweep(sweeping.spec(), path, client).blocks == 6 * -(-6 // seeds)
                stores.append(path)
                assert fl.open_sweep(path).load().identical(expected)
            assert content(stores[-1]) == content(swept)


@trials(1, 5)
def test_a_reader_sees_pending_or_final_values(tmp_path, trials):
    source = tmp_path / "s.toml"
    source.write_text(SMALL)
    fl.run_sweep(source, tmp_path / "whole.zarr")
    final = fl.open_sweep(tmp_path / "whole.zarr").load()
    for trial in range(trials):
        path, gate, through = tmp_path / f"{trial}.zarr", Gate(tmp_path / f"gate-{trial}", 2), 2
        patches = [partial(commands.smaller_blocks, 1), gate.patch]
        seen = set()
        with commands.command("run", source, "--store", path, patches=patches) as writer:
            until(lambda path=path: (path / "zarr.json").exists())
            while writer.running:
                dataset = fl.open_sweep(path)
                status = dataset.status.load()
                ok = status == "ok"
                assert (ok | (status == "pending")).all()
                for name in final.data_vars:
                    values, shape = dataset[name].values, final[name].dims
                    same = values == final[name].values
                    assert same[ok.broadcast_like(final[name]).transpose(*shape).values].all()
                    assert (same | np.isnan(values)).all()
                seen.add(int(ok.sum()))
                if len(marks(path)) == through:  # the next read comes while two more are written, or after it
                    through += 2
                    gate.let(2)
            assert writer.end().code == 0
        assert sum(0 < count < 120 for count in seen) >= 5
        assert fl.open_sweep(path).load().identical(final)


@pytest.mark.slow
@trials(1, 10)
def test_a_worker_that_resumes_after_completion_changes_nothing(tmp_path, trials):
    """The coordinator of the worker is dead, and another run has computed its block."""
    source = tmp_path / "s.toml"
    source.write_text(MEDIUM)
    fl.run_sweep(source, tmp_path / "whole.zarr")
    expected = content(tmp_path / "whole.zarr")
    chance = random.Random(7)
    for trial in range(trials):
        path, wanted = tmp_path / f"{trial}.zarr", chance.randrange(1, 6)
        gate = Gate(tmp_path / f"gate-{trial}", wanted)
        command = ["run", source, "--store", path, "--workers", 2]
        with fault_injection.started(*command, **gate.environment) as process:
            until(lambda path=path, wanted=wanted: len(marks(path)) == wanted)
            worker = chance.choice(fault_injection.worker_processes(process))
            gate.let(2)  # the worker may be at any step
            time.sleep(chance.uniform(0.0, 0.03))
            worker.send_signal(signal.SIGSTOP)
            try:
                process.kill()
                process.wait()
                assert fl.run_sweep(source, path).pending == 0
            finally:
                gate.open()
                worker.send_signal(signal.SIGCONT)
            until(lambda worker=worker: not fault_injection.still_running([worker]))
        dataset = fl.open_sweep(path).load()
        assert (dataset.status == "ok").all()
        assert fl.run_sweep(source, path).computed_blocks == 0  # the run also cleans up
        # A worker that resumes may make a temporary file just before it ends. A run that lasts longer than
        # EXPIRY_SECONDS removes it (tests/sweeps/test_lease.py).
        left = {key: data for key, data in content(path).items() if not key.endswith(PARTIAL)}
        assert left == expected
