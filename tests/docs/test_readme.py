"""The README: its commands run as they are written, and its tables are those of the code."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from contextlib import ExitStack, contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.spec.table import ENTRIES, KIND_SECTIONS
from tests import cutting, slurm
from tests.fault_injection import PATIENCE, until
from tests.readme import README, TABLES, blocks, present, section
from tests.sweeping import content

pytestmark = pytest.mark.skipif(
    not README.exists(), reason="the README is not beside an installed wheel's tests"
)


def spec():
    """Return the spec that the README shows."""
    (text,) = blocks("toml")
    return text


def command(row_start):
    """Return the command of the row that begins with these words, in the table of where a sweep runs."""
    (row,) = [line for line in section("Where it runs").splitlines() if line.startswith(f"| {row_start}")]
    return re.search(r"`([^`]*)` \|$", row)[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The content of the store of the README's spec."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "mine.toml").write_text(spec())
    with cutting.by_the_rule():
        fl.run_sweep(folder / "mine.toml", folder / "mine.zarr")
    return content(folder / "mine.zarr")


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Return a function that runs a line in a shell, in a folder with mine.toml."""
    (tmp_path / "mine.toml").write_text(spec())
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def run(line):
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def stored(tmp_path):
    return content(tmp_path / "mine.zarr")


def test_every_block_is_run():
    """.ci/run runs the two blocks of installation. The tests below run all others."""
    kinds = re.findall(r"^```(\w+)$", README.read_text(), re.MULTILINE)
    assert {name: kinds.count(name) for name in kinds} == {"sh": 2, "python": 3, "toml": 1, "console": 3}
    assert len(re.findall(r"^```$", README.read_text(), re.MULTILINE)) == len(kinds)


@pytest.mark.slow
def test_the_python_of_the_readme(tmp_path, monkeypatch):
    """The store is that of the first command with a fifth of its seeds. .ci/run makes the whole store."""
    monkeypatch.chdir(tmp_path)
    content = fl.Spec.load("rich-lazy").to_dict()
    content["axes"]["seed"] = {"start": 0, "num": 20}
    fl.run_sweep(content, "rich-lazy.zarr")
    names = {}
    first, second, _ = blocks("python")
    exec(first, names)
    assert len(first.splitlines()) <= 12
    exec(second, names)
    plt.close("all")
    for name in ("phase-diagram.png", "qqt.gif"):
        assert Path(name).stat().st_size > 10_000
    point = names["ds"].fastlin.select(architecture="4-2-4", seed=17, lam=-9.0, time=90.0)
    network = fl.exact(names["task"], names["net"], [90.0])
    assert point.loss.values.item() == pytest.approx(network.loss.item(), rel=1e-9)


@pytest.mark.slow
def test_the_picture_of_many_architectures(shell, tmp_path, monkeypatch):
    for line in blocks("console")[1].splitlines():
        shell(line.removeprefix("$ "))
    drawn = tmp_path / "architectures.png"
    by_command = drawn.read_bytes()
    monkeypatch.chdir(tmp_path)
    exec(blocks("python")[2], {"fl": fl, "np": np})
    plt.close("all")
    assert min(len(by_command), len(drawn.read_bytes())) > 10_000
    assert drawn.read_bytes() != by_command


def test_the_tables_are_those_of_the_code():
    assert {name: present(name) for name in TABLES} == {name: table() for name, table in TABLES.items()}


def test_rows_of_the_reference_are_lines():
    """A text of several lines would end the table."""
    entries = [kind for section in KIND_SECTIONS.values() for kind in section.kinds.values()]
    texts = [entry.doc for entry in (*ENTRIES, *entries)]
    texts += [parameter.doc for kind in entries for parameter in kind.parameters.values()]
    assert not [text for text in texts if "\n" in text]


@pytest.mark.slow
def test_the_commands_for_figures(shell, tmp_path):
    for line in blocks("console")[2].splitlines():
        shell(line.removeprefix("$ ").partition("#")[0])
    for name in ("fig1.png", "fig2.png", "sizes.png", "wide.png", "lora.png"):
        assert (tmp_path / name).stat().st_size > 50_000
    assert fl.open_sweep(tmp_path / "fig2b.zarr").attrs["spec"] == fl.Spec.load("figure-2b").to_json()


@pytest.mark.processes
def test_the_spec_and_the_commands_of_a_sweep(shell, tmp_path, whole):
    for line in blocks("console")[0].splitlines():
        shell(line.removeprefix("$ ").partition("#")[0])
    assert stored(tmp_path) == whole
    assert (tmp_path / "mine.png").stat().st_size > 1000
    commented = [line for line in spec().splitlines() if line.startswith("# ")]
    assert len(commented) >= 4
    reduced = re.sub(r"^# (?!learning_rate|fraction)", "", spec(), flags=re.MULTILINE)
    assert fl.Spec.from_dict(tomllib.loads(reduced)).reduce.quantiles == (0.1, 0.5, 0.9)


@pytest.mark.slow
def test_a_laptop_and_a_large_node(shell, tmp_path, whole):
    for line in (command("a laptop"), f"rm -r mine.zarr && {command('one big node')}"):
        shell(line)
        assert stored(tmp_path) == whole


@pytest.mark.slow
def test_a_dask_cluster_by_its_file(shell, tmp_path, whole):
    text = section("Where it runs")
    scheduler, worker = (re.search(rf"`(dask {name} [^`]*)`", text)[1] for name in ("scheduler", "worker"))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    file = tmp_path / "scheduler.json"
    with ExitStack() as stack:
        # The scheduler takes a free port, because others may test on the same machine.
        local = "--host 127.0.0.1 --port 0 --no-dashboard"
        for line, options in ((scheduler, local), (worker, "--no-dashboard")):
            stack.enter_context(_in_background([*shlex.split(line), *options.split()], quiet))
            until(lambda: file.exists() and file.stat().st_size > 0)
        shell(command("a Dask cluster"))
    assert stored(tmp_path) == whole


@contextmanager
def _in_background(line, options):
    program = shutil.which(line[0])
    assert program is not None
    process = subprocess.Popen([program, *line[1:]], **options)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.slow
def test_slurm(shell, tmp_path, whole, conf):
    shell(command("SLURM"))
    assert stored(tmp_path) == whole
    until(lambda: not slurm.jobs(conf))


@pytest.mark.slow
def test_a_job_array(shell, tmp_path, whole, conf):
    shell(command("a SLURM job array"))
    until(lambda: not slurm.jobs(conf))
    assert stored(tmp_path) == whole
