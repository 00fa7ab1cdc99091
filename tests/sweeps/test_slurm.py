"""The command line on a real SLURM: workers as jobs, and slices as a job array."""

import json
import shlex
import signal

import pytest

import fastlin as fl
from tests import fault_injection, slurm
from tests.fault_injection import PATIENCE, until
from tests.planting import Gate
from tests.sweeping import content, marks

pytestmark = pytest.mark.slow

COMMAND = shlex.join(fault_injection.COMMAND)


def sweep(folder):
    """Return a spec as a file, and the files of its store."""
    source = folder / "s.toml"
    source.write_text(fault_injection.SHORT.replace("num = 40", "num = 8"))
    fl.run_sweep(source, folder / "whole.zarr")
    return source, content(folder / "whole.zarr")


def on_slurm(source, path, gate):
    where = ["--slurm", "--workers", 2, "--interface", "lo", "--memory", "500MB"]
    return fault_injection.started("run", source, "--store", path, "--json", *where, **gate.environment)


def test_jobs_are_workers_and_are_gone_in_the_end(conf, tmp_path):
    source, expected = sweep(tmp_path)
    path, gate = tmp_path / "s.zarr", Gate(tmp_path / "gate", 1)
    with on_slurm(source, path, gate) as process:
        until(lambda: marks(path) or process.poll() is not None)
        assert len(slurm.jobs(conf)) == 2
        gate.open()
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert json.loads(out)["computed_blocks"] == 16
    assert content(path) == expected
    until(lambda: not slurm.jobs(conf))


def test_sigterm_cancels_the_jobs_and_the_store_can_be_resumed(conf, tmp_path):
    source, expected = sweep(tmp_path)
    path = tmp_path / "s.zarr"
    with on_slurm(source, path, Gate(tmp_path / "gate", 5)) as process:
        until(lambda: len(marks(path)) == 5)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert "run the same command again to go on" in err
    until(lambda: not slurm.jobs(conf))
    assert len(marks(path)) == 5
    assert fl.run_sweep(source, path).computed_blocks == 11
    assert content(path) == expected


def test_a_job_array_fills_one_store(conf, tmp_path):
    source, expected = sweep(tmp_path)
    path = tmp_path / "s.zarr"
    line = f"{COMMAND} run {source} --store {path} --json --slice $SLURM_ARRAY_TASK_ID/3"
    submitted = slurm.ask(
        conf,
        "sbatch",
        "--array=1-3",
        "--mem=300",
        f"--output={tmp_path}/%a.out",
        f"--error={tmp_path}/%a.err",
        "--wrap",
        line,
    )
    assert submitted.startswith("Submitted batch job")
    until(lambda: not slurm.jobs(conf))
    reports = [json.loads((tmp_path / f"{task}.out").read_text()) for task in (1, 2, 3)]
    assert sorted(report["computed_blocks"] for report in reports) == [5, 5, 6]
    assert content(path) == expected
