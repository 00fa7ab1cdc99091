"""The how-to pages: the blocks that a build of the documentation cannot execute run as they are written.

A build executes the cells of a page. The other blocks need SLURM, a Dask cluster, a bucket or R.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from distributed import Security

import fastlin as fl
from tests import cutting, slurm
from tests.fault_injection import PATIENCE, until
from tests.sweeping import content

README = Path(__file__).parents[2] / "README.md"
FOLDER = README.parent / "fastlin" / "docs" / "how-to"
if not FOLDER.exists():
    pytest.skip("the pages are not beside an installed wheel's tests", allow_module_level=True)

FENCE = re.compile(r"^```(?P<kind>[^\n]+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
CELL, WRITE, FILE = r"\{code-cell\}", "%%writefile ", re.compile(r"\w+\.\w+")
CAPTION = re.compile(r":caption: (.+)\n\n")
# Julia is in no package index that the gate can reach. The page says that its lines are not run.
NOT_RUN = {"using NCDatasets"}
# A free port, because others may test on the same machine.
LOCAL = {"scheduler": ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"], "worker": ["--no-dashboard"]}


def fences(page, kind):
    """Return the texts of all blocks of a page whose kind matches a pattern."""
    text = (FOLDER / page).read_text(encoding="utf-8")
    return [block["text"] for block in FENCE.finditer(text) if re.fullmatch(kind, block["kind"])]


def plain_blocks(page):
    """Return the blocks that a build shows without running them, by their caption or first line."""
    blocks = {}
    for text in fences(page, r"\w+|\{code-block\} \w+"):
        caption = CAPTION.match(text)
        name, body = (caption[1], text[caption.end() :]) if caption else (text.partition("\n")[0], text)
        assert name not in blocks, f"two blocks of {page} begin with {name}"
        blocks[name] = body
    return blocks


BLOCKS = {page.name: plain_blocks(page.name) for page in FOLDER.glob("*.md")}
RUN = []  # of blocks, as (page, name)


def runs(page, *names):
    """Give a test the blocks of these names as its argument `blocks`."""
    RUN.extend((page, name) for name in names)
    return pytest.mark.parametrize("blocks", [[BLOCKS[page][name] for name in names]], ids=[names[-1]])


def joined(block):
    """Return a block without the breaks of its long lines."""
    return re.sub(r" \\\n +", " ", block)


def files(page):
    """Return the files that the cells and the captions of a page show, by name."""
    written = [_file(cell) for cell in fences(page, CELL) if cell.startswith(WRITE)]
    return dict(written) | {name: text for name, text in BLOCKS[page].items() if FILE.fullmatch(name)}


def _file(cell):
    name, _, text = cell.removeprefix(WRITE).partition("\n")
    return name, text


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The content of the store of mine.toml, from one process."""
    folder = tmp_path_factory.mktemp("how-to")
    (folder / "mine.toml").write_text(files("cluster.md")["mine.toml"])
    with cutting.by_the_rule():
        fl.run_sweep(folder / "mine.toml", folder / "mine.zarr")
    return content(folder / "mine.zarr")


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Return a function that runs a block in a shell, in a folder with the files of the page on clusters."""
    for name, text in files("cluster.md").items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)

    def run(block):
        script = "\n".join(line.removeprefix("$ ") for line in block.splitlines())
        done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_every_block_is_run():
    """The test fails for a new block that no test runs."""
    written = [(page, name) for page, blocks in BLOCKS.items() for name in blocks if name not in NOT_RUN]
    assert len(written) >= 10
    assert sorted(RUN) == sorted(written)


def test_commands_of_the_readme_are_those_of_the_page():
    """The README has a table of all places. The page has its commands, in blocks and cells that are run."""
    text = README.read_text(encoding="utf-8")
    table = text[text.index("\n## Where it runs\n") :].split("\n## ")[1]
    commands = re.findall(r"`([^`]*)` \|$", table, re.MULTILINE)
    page = [*BLOCKS["cluster.md"].values(), *fences("cluster.md", CELL)]
    shown = [line.lstrip("$!").strip() for block in page for line in joined(block).splitlines()]
    assert len(commands) == 6
    assert not set(commands) - set(shown)


@pytest.mark.slow
@runs("cluster.md", "$ fastlin run mine.toml --store mine.zarr --workers 2")
def test_a_large_node(blocks, shell, whole):
    shell(blocks[0])
    assert content("mine.zarr") == whole


@pytest.mark.slow
@runs("cluster.md", "$ sbatch --array=1-4 \\")
def test_a_job_array_in_a_line(blocks, shell, whole, conf):
    shell(blocks[0])
    until(lambda: not slurm.jobs(conf))
    assert content("mine.zarr") == whole


@pytest.mark.slow
@runs("cluster.md", "array.sh", "$ sbatch array.sh")
def test_a_job_array(blocks, shell, whole, conf):
    assert Path("array.sh").read_text() == blocks[0]
    shell(blocks[1])
    until(lambda: not slurm.jobs(conf))
    assert content("mine.zarr") == whole


@pytest.mark.slow
@runs("cluster.md", "$ job=$(sbatch --parsable array.sh)")
def test_an_array_that_continues_another_one(blocks, shell, whole, conf):
    """The first array is cancelled, whatever it has done until then."""
    shell(f"{blocks[0]}scancel $job")
    until(lambda: not slurm.jobs(conf))
    assert content("mine.zarr") == whole


@pytest.mark.slow
@runs("cluster.md", "sizes.sh", "$ first=$(sbatch --parsable sizes.sh first)")
def test_two_job_arrays_merged(blocks, shell, conf):
    """The merged store has the numbers of one run over the 200 architectures."""
    assert Path("sizes.sh").read_text() == blocks[0]
    (change,) = [cell[1:] for cell in fences("cluster.md", CELL) if cell.startswith("!sed")]
    shell(change)
    shell(blocks[1])
    until(lambda: not slurm.jobs(conf))
    spec = Path("first.toml").read_text().replace("n_o = 4", "n_o = [4, 8]")
    Path("both.toml").write_text(spec)
    fl.run_sweep("both.toml", "at-once.zarr")
    merged, at_once = (fl.open_sweep(path).load() for path in ("both.zarr", "at-once.zarr"))
    assert merged.architecture.size == at_once.architecture.size == 200
    assert (merged.status == "ok").all()
    for name in ("loss", "kernel_distance"):
        expected = at_once[name].sel(architecture=merged.architecture)
        np.testing.assert_array_equal(merged[name].values, expected.values)


@pytest.mark.slow
@runs("cluster.md", "$ fastlin run mine.toml --store mine.zarr --slurm --workers 2 --partition main \\")
def test_jobs_that_fastlin_submits(blocks, shell, whole, conf):
    shell(blocks[0])
    assert content("mine.zarr") == whole
    until(lambda: not slurm.jobs(conf))


@pytest.mark.slow
@runs("cluster.md", "$ dask scheduler --scheduler-file scheduler.json &")
def test_a_dask_cluster_by_its_file(blocks, shell, whole):
    run_on_dask(blocks[0], shell)
    assert content("mine.zarr") == whole


@pytest.mark.slow
@runs("cluster.md", "$ dask scheduler --scheduler-file scheduler.json --protocol tls \\")
def test_a_dask_cluster_with_certificates(blocks, shell, whole):
    pytest.importorskip("cryptography", reason="Dask makes certificates with it")
    made = Security.temporary()
    for name, text in [
        ("ca.pem", made.tls_ca_file),
        ("node.pem", made.tls_client_cert),
        ("node.key", made.tls_client_key),
    ]:
        Path(name).write_text(text)
    assert run_on_dask(blocks[0], shell).startswith("tls://")
    assert content("mine.zarr") == whole


def run_on_dask(block, shell):
    """Run a block that starts a scheduler and a worker in the background. Return the scheduler's address."""
    *started, last = joined(block).splitlines()
    with ExitStack() as stack:
        for line in started:
            _, command, *options = shlex.split(line.removeprefix("$ ").removesuffix(" &"))
            stack.enter_context(_dask(command, *options, *LOCAL[command]))
            until(lambda: os.path.exists("scheduler.json") and os.path.getsize("scheduler.json"))
        address = json.loads(Path("scheduler.json").read_text())["address"]
        shell(last)
    return address


@contextmanager
def _dask(*arguments):
    program = shutil.which("dask")
    assert program is not None
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.slow
@runs("cluster.md", "$ export NUMBA_CACHE_DIR=$PWD/kernels")
def test_one_cache_of_kernels(blocks, shell):
    printed = shell(blocks[0])
    assert re.search(r"^kernels: \d, of which all are compiled$", printed, re.MULTILINE)
    assert list(Path("kernels").rglob("*.nbc"))


@pytest.mark.slow
@runs("cluster.md", "$ fastlin run mine.toml --store s3://bucket/mine.zarr")
def test_a_store_in_a_bucket(blocks, shell, whole, monkeypatch):
    pytest.importorskip("obstore", reason="no obstore: it is in fastlin's extra s3")
    pytest.importorskip("moto", reason="no S3 server: moto is in fastlin's extra test")
    from tests import buckets

    monkeypatch.setattr(buckets, "BUCKET", "bucket")
    with buckets.serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        assert "all is well" in shell(blocks[0])
        locks = {"status/lease/lock"}  # of a folder; a bucket needs none
        assert server.content("mine.zarr") == {key: whole[key] for key in whole.keys() - locks}


@pytest.mark.slow
@runs("without-fastlin.md", "read.R", "$ Rscript read.R")
def test_a_store_in_r(blocks, shell):
    if shutil.which("Rscript") is None:
        pytest.skip("not installed: Rscript")
    if subprocess.run(["Rscript", "-e", "library(ncdf4)"], capture_output=True).returncode:
        pytest.skip("not installed: R's package ncdf4")
    play("without-fastlin.md", shell)
    Path("read.R").write_text(blocks[0])
    printed = shell(blocks[1])
    end = fl.open_sweep("given.zarr").loss.sel(architecture="4-2-4", lam=-9.0, time=np.inf)
    (mean,) = re.findall(r"mean loss in the limit: (\S+)", printed)
    assert float(mean) == pytest.approx(float(end.mean()), rel=1e-6)
    assert "L = |Y - W2 W1 X|_F^2 / (2 P)" in printed


def play(page, shell):
    """Execute the cells of a page in this folder."""
    names = {}
    for cell in fences(page, CELL):
        if cell.startswith(WRITE):
            name, text = _file(cell)
            Path(name).write_text(text)
        elif cell.startswith("!"):
            shell("\n".join(line.removeprefix("!") for line in cell.splitlines()))
        else:
            exec(cell, names)
