"""The command line: its output and its exit codes. It never prints a traceback."""

import errno
import json
import os
import re
import subprocess
import sys
from time import process_time

import matplotlib as mpl
import pytest
from matplotlib.colors import LogNorm, to_hex
from matplotlib.image import imread
from matplotlib.texmanager import TexManager

import fastlin as fl
from fastlin import cli
from fastlin.cli import exit_codes
from fastlin.plot.themes import PALETTES
from fastlin.sweeps.read import picture
from fastlin.sweeps.run import cluster, projection, worker

SMALL = """
name = "small"
[axes]
architecture = [[4, 2, 4], [4, 4, 4]]
seed = { start = 0, num = 3 }
lam = { start = -2.0, stop = 2.0, num = 5 }
[task]
n_samples = 8
[dynamics]
times = [0.1, 1.0, 10.0, inf]
"""


@pytest.fixture
def run(command_line, monkeypatch, tmp_path):
    """Return a function that runs a command line in a folder with specs and returns (code, out, err)."""
    (tmp_path / "small.toml").write_text(SMALL)
    one_lam = SMALL.replace("{ start = -2.0, stop = 2.0, num = 5 }", "1.0")
    (tmp_path / "one_lam.toml").write_text(one_lam)
    one = one_lam.replace("[0.1, 1.0, 10.0, inf]", "1.0").replace(", [4, 4, 4]", "")
    (tmp_path / "one.toml").write_text(one)
    monkeypatch.chdir(tmp_path)
    return command_line


def test_bench_checks_its_options_before_it_measures(run, tmp_path):
    code, _, err = run("bench", "--against", "jax,nunpy")
    assert (code, err.count("\n")) == (2, 1)
    assert "--against is 'nunpy'; did you mean 'numpy'? allowed: numpy, jax" in err
    (tmp_path / "page.md").write_text("nothing")
    code, _, err = run("bench", "--update", "page.md")
    assert (code, err.count("\n")) == (2, 1)
    assert "page.md has no place for the table" in err
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    code, _, err = run("bench", "--update", "picture.png")
    assert (code, err) == (2, "fastlin: picture.png is not a text file in UTF-8\n")
    code, _, err = run("bench", "--update", "none.md")
    assert (code, err) == (1, "fastlin: none.md: No such file or directory\n")


def test_run_status_plot_and_resume(run, tmp_path):
    code, out, err = run("run", "small.toml", "--store", "s.zarr", "--plot", "s.png")
    assert code == 0
    assert "30 of 30 points ok" in out
    assert "30 of 30 points" in err
    assert "points/s" in err
    assert "0 s left" in err
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert run("status", "s.zarr")[0] == 0
    code, out, _ = run("status", "s.zarr", "--json")
    assert json.loads(out)["complete_blocks"] == json.loads(out)["blocks"] == 2
    code, out, _ = run("run", "small.toml", "--store", "s.zarr", "--json")
    assert json.loads(out)["computed_blocks"] == 0
    for ending in ("svg", "pdf"):
        (tmp_path / f"p.{ending}").write_text("an existing file, which is replaced")
        assert run("plot", "s.zarr", "--observable", "loss", "--out", f"p.{ending}")[0] == 0
        assert (tmp_path / f"p.{ending}").stat().st_size > 1000
    assert run("plot", "s.zarr")[0] == 0
    assert run("plot", "s.zarr", "--observable", "loss")[0] == 0
    assert (tmp_path / "s-loss.png").exists()
    assert run("plot", "s.zarr", "--x", "time", "--y", "lam", "--json")[0] == 0


@pytest.fixture
def store(run):
    run("run", "small.toml", "--store", "s.zarr")
    return "s.zarr"


def test_plot_draws_on_a_dark_ground(run, store, tmp_path):
    for options, ground in (((), "white"), (("--dark",), PALETTES["dark"][1])):
        assert run("plot", store, "--out", "p.png", *options)[0] == 0
        assert to_hex(imread(tmp_path / "p.png")[0, 0]) == to_hex(ground)


def test_plot_takes_a_selection_a_scale_a_size_and_colours(run, store, monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(picture, "save", lambda figure, target, **_: drawn.append(figure))
    options = ["--select", "lam=-1:1", "--select", "architecture=4-2-4", "--log", "--size", "7,3"]
    code, out, _ = run("plot", store, *options, "--cmap", "magma", "--json")
    assert code == 0
    assert json.loads(out)["pictures"] == [str(tmp_path / "s.png")]
    (figure,) = drawn
    assert tuple(figure.get_size_inches()) == (7, 3)
    diagram, profile, *_ = figure.axes
    mesh = diagram.collections[0]
    assert mesh.get_array().shape == (3, 3)  # times, lam
    assert isinstance(mesh.norm, LogNorm)
    assert mesh.cmap.name == "magma"
    assert (profile.get_yscale(), len(profile.lines)) == ("log", 1)
    assert "log scale" in profile.get_ylabel()
    assert run("plot", store, "--linear", "--select", "time=inf", "--select", "n_h=4")[0] == 0
    (flat,) = drawn[1].axes
    assert flat.get_yscale() == "linear"
    assert len(flat.lines) == 1
    assert r"\infty" in drawn[1].get_suptitle()


def test_a_sweep_of_one_lam_is_drawn_over_time(run):
    assert run("run", "one_lam.toml", "--store", "s.zarr", "--plot", "s.png")[1].endswith("picture: s.png\n")


def test_many_architectures_are_pages(run, tmp_path):
    shapes = ", ".join(f"[{n_i}, {n_h}, 3]" for n_i in range(1, 6) for n_h in range(1, 6))
    text = SMALL.replace("[[4, 2, 4], [4, 4, 4]]", f"[{shapes}]").replace(
        "[0.1, 1.0, 10.0, inf]", "[1.0, 9.0]"
    )
    (tmp_path / "many.toml").write_text(text)
    code, out, _ = run("run", "many.toml", "--store", "m.zarr", "--plot", "m.png")
    assert code == 0
    names = [f"m-{number}.png" for number in (1, 2, 3)]
    assert [line for line in out.splitlines() if "picture" in line] == [f"picture: {name}" for name in names]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert not (tmp_path / "m.png").exists()
    assert run("plot", "m.zarr", "--out", "m.pdf")[1] == "picture: m.pdf\n"
    assert len(re.findall(rb"/Type /Page\b", (tmp_path / "m.pdf").read_bytes())) == 3
    for axes in (["--x", "n_i", "--y", "n_h"], ["--x", "bottleneck_ratio"], ["--y", "n_o", "--x", "n_h"]):
        code, out, err = run("plot", "m.zarr", *axes, "--out", "one.png")
        assert (code, err) == ((0, "") if "n_o" not in axes else (2, err))
    assert "n_o has fewer than two values" in err


def test_latex_that_is_missing_is_one_line(run, store, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(TexManager, "_cache_dir", tmp_path)
    with mpl.rc_context({"text.usetex": True}):
        code, out, err = run("plot", store)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "text.usetex is true in the settings of Matplotlib (matplotlibrc), but LaTeX failed" in err


def test_a_sweep_of_one_time_is_drawn_as_lines(run, tmp_path):
    (tmp_path / "late.toml").write_text(SMALL.replace("[0.1, 1.0, 10.0, inf]", "inf"))
    assert run("run", "late.toml", "--store", "l.zarr", "--plot", "l.png")[0] == 0
    assert (tmp_path / "l.png").stat().st_size > 1000


def test_damage_is_one_line(run, tmp_path):
    run("run", "small.toml", "--store", "s.zarr")
    chunk = next((tmp_path / "s.zarr" / "kernel_distance").glob("c.*"))
    chunk.write_bytes(b"\1" + chunk.read_bytes()[1:])
    code, _, err = run("plot", "s.zarr")
    assert code == 2
    assert "s.zarr has a damaged chunk" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(run, option):
    code, out, _ = run(option)
    assert (code, out.split()) == (0, ["fastlin", fl.__version__])


@pytest.mark.parametrize("command", [[], *([verb.__name__] for verb in cli.VERBS)], ids=" ".join)
def test_every_command_has_a_short_option_for_help(run, command):
    code, out, err = run(*command, "-h")
    assert (code, err) == (0, "")
    assert "Usage: fastlin" in out


QUIET = ("run", "status", "verify", "repair", "plot", "report", "figure", "bench")


@pytest.mark.parametrize("command", QUIET)
def test_commands_can_be_quiet(run, command):
    assert "--quiet" in run(command, "--help")[1]


@pytest.mark.parametrize("command", ["plot", "figure", "report"])
def test_the_help_says_that_files_are_replaced(run, command):
    words = run(command, "--help")[1].replace("│", " ").split()
    assert "An existing file is replaced." in " ".join(words)


def test_quiet_commands_print_errors_only(run, tmp_path):
    for line in (
        "run small.toml --store s.zarr --plot s.png",
        "status s.zarr",
        "verify s.zarr",
        "plot s.zarr --out p.png",
        "report s.zarr --out p.html",
    ):
        assert run(*line.split(), "-q") == (0, "", ""), line
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert json.loads(run("status", "s.zarr", "-q", "--json")[1])["pending"] == 0
    code, out, err = run("status", "nowhere.zarr", "-q")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_json_has_one_key_on_a_line(run):
    """A grid of 181 lam is on one line."""
    lines = run("plan", "rich-lazy", "--json")[1].splitlines()
    assert len(lines) < 65
    (times,) = [line for line in lines if line.startswith('      "times": ')]
    assert times.count(",") > 20


WORDS = {
    "bash": {"COMP_WORDS": "fastlin sta", "COMP_CWORD": "1"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "fastlin sta"},
    "fish": {"_TYPER_COMPLETE_ARGS": "fastlin sta", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


@pytest.mark.parametrize("shell", WORDS)
def test_shells_complete_commands(run, shell, monkeypatch):
    """The script that a shell loads asks for completions by an environment variable."""
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))
    code, out, err = run("--show-completion")
    assert (code, err) == (0, "")
    assert f"_FASTLIN_COMPLETE=complete_{shell}" in out
    for name, value in (WORDS[shell] | {"_FASTLIN_COMPLETE": f"complete_{shell}"}).items():
        monkeypatch.setenv(name, value)
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "status" in out
    assert "plot" not in out


def test_no_command_shows_the_help(run):
    code, _, err = run()
    assert code == 2
    assert "Traceback" not in err


def test_plan_writes_no_file(run, tmp_path):
    before = sorted(tmp_path.iterdir())
    code, out, _ = run("plan", "small.toml")
    assert code == 0
    assert "30 points (2 architecture x 1 init_scale x 3 seed x 5 lam), each at 4 times" in out
    code, out, _ = run("plan", "rich-lazy", "--workers", "8", "--json")
    content = json.loads(out)
    assert (content["points"], content["workers"]) == (72400, 8)
    assert sorted(tmp_path.iterdir()) == before


def test_a_plan_adds_the_start_up_time_of_its_process(run, monkeypatch):
    """The start of a process is known in whole seconds only, so that it may seem to lie in the future."""
    begun, added = process_time(), []

    def project(_spec, _workers, _store, start_up):
        added.append(start_up)
        raise fl.InputError("nothing more is needed")

    monkeypatch.setattr(projection, "project", project)
    assert run("plan", "small.toml")[0] == 2
    assert begun <= added[0] <= process_time()


def test_presets(run):
    _, out, _ = run("presets", "--json")
    assert {"rich-lazy", "bottleneck-width", "scale-balance", "gradient-descent-check"} <= set(
        json.loads(out)
    )
    code, out, _ = run("presets", "rich-lazy")
    assert code == 0
    assert 'name = "rich-lazy"' in out


def test_diverged_points_give_exit_code_1(run, tmp_path):
    diverging = SMALL.replace("times = [0.1, 1.0, 10.0, inf]", "times = [9.0]\nlearning_rate = 0.9")
    diverging = diverging.replace("[dynamics]", '[dynamics]\nsolver = "gradient_descent"')
    (tmp_path / "wild.toml").write_text(diverging)
    code, out, _ = run("run", "wild.toml", "--store", "w.zarr")
    assert code == 1
    assert "diverged" in out
    assert run("status", "w.zarr")[0] == 1


BAD = [
    (["run", "nowhere.toml", "--store", "s.zarr"], "no file 'nowhere.toml'"),
    (["run", "small.toml"], "Missing option '--store'"),
    (["run", "small.toml", "--store", "s.zarr", "--wrokers", "2"], "--wrokers"),
    (["run", "small.toml", "--store", "s.zarr", "--workers", "0"], "workers is 0; allowed is 1 to"),
    (["run", "small.toml", "--store", "s.zarr", "--plot", "s.gif"], "its ending must be one of"),
    (["run", "small.toml", "--store", "s.zarr", "--plot", "no/s.png"], "there is no folder"),
    (["run", "small.toml", "--store", "/proc/none/s.zarr"], "/proc/none/s.zarr"),
    (["run", "small.toml", "--store", "small.toml"], "small.toml is not a Zarr store"),
    (["status", "nowhere.zarr"], "there is no store at nowhere.zarr"),
    (["plot", "nowhere.zarr"], "there is no store at nowhere.zarr"),
    (["presets", "nope"], "preset is 'nope'; allowed: "),
    (["run", "small.toml", "--store", ""], "needed is the path of a folder"),
    (["run", "small.toml", "--store", "s3://bucket"], "needed is the path of a folder"),
    (["run", "one.toml", "--store", "s.zarr", "--plot", "s.png"], "the spec has no axis with two values"),
    (["presets", "small.toml"], "preset is 'small.toml'; allowed: "),
    (["frobnicate"], "No such command 'frobnicate'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_usage_gives_one_line_and_exit_code_2(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("fastlin: ")
    assert len(err.splitlines()) == 1


def test_bad_plots_give_one_line(run):
    run("run", "small.toml", "--store", "s.zarr")
    for arguments, message in [
        (["--observable", "los"], "did you mean 'loss'"),
        (["--x", "lambda"], "no axis to draw over; did you mean 'lam'"),
        (["--x", "lam", "--y", "lam"], "two dimensions are needed"),
        (["--select", "lambda=0"], "'lambda' is no axis of the sweep; did you mean 'lam'"),
        (["--select", "lam=0.4"], "lam = 0.4 is not on the axis of the sweep; nearest: -1.0, 0.0, 1.0"),
        (["--select", "lam"], "--select is 'lam'; needed is NAME=VALUE"),
        (["--select", "lam=zero"], "lam is 'zero'; a number is needed"),
        (["--select", "lam=1", "--select", "lam=2"], "--select names 'lam' twice"),
        (["--select", "lam=5:9"], "lam has no value from 5 to 9; it has -2.0 to 2.0"),
        (["--select", "architecture=4-2-5"], "architecture is '4-2-5'; did you mean '4-2-4'"),
        (["--select", "n_h=3"], "n_h = 3 is not on the axis of the sweep; nearest: 2, 4"),
        (["--select", "lam=0", "--x", "lam"], "lam has fewer than two values"),
        (["--cmap", "viridi"], "cmap is 'viridi', no colour map of Matplotlib; try viridis"),
        (["--size", "3"], "--size is '3'; needed are width and height in inches"),
        (["--size", "3,-1"], "size is -1; it must be above 0"),
        (["--size", "1,1"], "size is 1 x 1 inches, too small for the axes"),
    ]:
        code, _, err = run("plot", "s.zarr", *arguments)
        assert code == 2
        assert message in err
        assert len(err.splitlines()) == 1


def test_a_full_disk_is_one_line_and_exit_code_1(run, monkeypatch):
    def full(order, index):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "run_block", full)
    code, _, err = run("run", "small.toml", "--store", "s.zarr")
    assert code == 1
    assert "fastlin: writing to s.zarr failed: No space left on device" in err.splitlines()[-1]
    monkeypatch.undo()


def test_an_unexpected_error_is_one_line(run, monkeypatch):
    def broken(order, index):
        raise ZeroDivisionError("impossible")

    monkeypatch.setattr(worker, "run_block", broken)
    code, _, err = run("run", "small.toml", "--store", "s.zarr")
    assert code == 1
    assert "please report it: ZeroDivisionError: impossible" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.EACCES])
def test_errors_of_the_system_are_no_internal_errors(run, monkeypatch, number):
    """The message is the system's, also where Dask wraps the error."""

    def fails(**_options):
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise RuntimeError("Cluster failed to start") from error

    monkeypatch.setattr(cluster, "LocalCluster", fails)
    code, _, err = run("run", "small.toml", "--store", "s.zarr")
    assert (code, err.splitlines()[-1]) == (1, f"fastlin: {os.strerror(number)}")


def test_every_exit_code_has_a_meaning():
    assert set(exit_codes.MEANINGS) == set(exit_codes.ExitCode)


@pytest.mark.processes
def test_help_loads_nothing_heavy():
    """Imports of large packages are what makes `fastlin --help` slow."""
    code = (
        "import sys; sys.argv = ['fastlin', '--help']\n"
        "from fastlin.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'numba', 'scipy', 'zarr', 'dask', 'distributed', 'xarray', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


@pytest.mark.processes
def test_a_run_loads_no_package_of_datasets(tmp_path):
    """xarray and pandas take 0.3 s to import, and a run writes its store without them."""
    code = (
        "import sys\n"
        "from fastlin.sweeps.run.run import run_sweep\n"
        "axes = {'architecture': '2-1-2', 'seed': 0, 'lam': 0.0}\n"
        "run_sweep({'axes': axes, 'task': {'n_samples': 4}, 'dynamics': {'times': 1.0}}, sys.argv[1])\n"
        "print({'xarray', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "s.zarr"], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
