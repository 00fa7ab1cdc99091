"""The command line on a real SLURM: workers that are jobs, and slices that are a job array."""

import json
import shlex
import signal

import fastlin as fl
from tests import faults, slurm
from tests.faults import until
from tests.sweeping import content, marks

COMMAND = shlex.join(faults.COMMAND)


def sweep(folder):
    """Return a spec as a file, and the files of its store."""
    source = folder / "s.toml"
    source.write_text(faults.LONG.replace("num = 40", "num = 8"))
    fl.run_sweep(source, folder / "whole.zarr")
    return source, content(folder / "whole.zarr")


def on_slurm(source, path):
    where = ["--slurm", "--workers", 2, "--interface", "lo", "--memory", "500MB"]
    return faults.started("run", source, "--store", path, "--json", *where)


def test_jobs_are_workers_and_are_gone_in_the_end(conf, tmp_path):
    source, expected = sweep(tmp_path)
    path = tmp_path / "s.zarr"
    with on_slurm(source, path) as process:
        until(lambda: marks(path) or process.poll() is not None)
        assert len(slurm.jobs(conf)) == 2
        out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert json.loads(out)["computed_blocks"] == 16
    assert content(path) == expected
    until(lambda: not slurm.jobs(conf))


def test_sigterm_takes_the_jobs_along_and_the_store_is_gone_on_with(conf, tmp_path):
    source, expected = sweep(tmp_path)
    path = tmp_path / "s.zarr"
    with on_slurm(source, path) as process:
        until(lambda: marks(path))
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "run the same command again to go on" in err
    until(lambda: not slurm.jobs(conf))
    begun = marks(path)
    assert len(begun) < 16
    assert fl.run_sweep(source, path).computed_blocks == 16 - len(begun)
    assert content(path) == expected


def test_a_job_array_fills_one_store(conf, tmp_path):
    source, expected = sweep(tmp_path)
    path = tmp_path / "s.zarr"
    line = f"{COMMAND} run {source} --store {path} --json --slice $SLURM_ARRAY_TASK_ID/3"
    said = slurm.ask(
        conf,
        "sbatch",
        "--array=1-3",
        "--mem=300",
        f"--output={tmp_path}/%a.out",
        f"--error={tmp_path}/%a.err",
        "--wrap",
        line,
    )
    assert said.startswith("Submitted batch job")
    until(lambda: not slurm.jobs(conf), 100)
    reports = [json.loads((tmp_path / f"{task}.out").read_text()) for task in (1, 2, 3)]
    assert sorted(report["computed_blocks"] for report in reports) == [5, 5, 6]
    assert content(path) == expected
