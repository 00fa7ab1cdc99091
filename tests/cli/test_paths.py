"""Paths that users give: each may begin with ~, in Python and on the command line."""

import json
import shutil
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

import fastlin as fl
from fastlin import cli
from fastlin.paths import user_path
from fastlin.sweeps import figures, report
from fastlin.sweeps.read import picture
from fastlin.sweeps.run.compact import compact
from fastlin.sweeps.run.executors import Scheduler
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.store.status import sweep_status
from fastlin.sweeps.store.verify import inspect, verify

TOML = """
name = "mine"
[axes]
architecture = "4-2-4"
seed = { start = 0, num = 2 }
lam = { start = -1.0, stop = 1.0, num = 3 }
[task]
n_samples = 8
[dynamics]
times = [0.1, 1.0]
"""
TLS = {"tls_ca": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"}


@pytest.fixture
def home(tmp_path, monkeypatch, swept):
    """A home folder with a spec, a store and some files. The present folder is an empty one beside it."""
    folder, here = tmp_path / "home", tmp_path / "here"
    shutil.copytree(swept, folder / "s.zarr")
    here.mkdir()
    (folder / "mine.toml").write_text(TOML)
    (folder / "page.md").write_text("no table")
    (folder / "scheduler.json").write_text(json.dumps({"address": "tcp://127.0.0.1:1"}))
    (folder / "broken.json").write_text("no scheduler")
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.chdir(here)
    yield folder
    assert list(here.iterdir()) == []


def refused(call):
    """Return the message of an `InputError`."""
    with pytest.raises(fl.InputError) as caught:
        call()
    return str(caught.value)


def scheduler_with(home, missing, of):
    """Return a scheduler whose files are all there but one."""
    for name, file in TLS.items():
        if name != missing:
            (home / file).touch()
    return Scheduler("tls://127.0.0.1:1", **{name: of(f"~/{file}") for name, file in TLS.items()})


# Each call takes a function that makes a path of a text, as text or as `Path`, and uses the home folder.
PYTHON = {
    "Spec.load": lambda home, of: fl.Spec.load(of("~/mine.toml")).name == "mine",
    "Spec.read": lambda home, of: fl.Spec.read(of("~/mine.toml")).name == "mine",
    "plan": lambda home, of: fl.plan(of("~/mine.toml")).points == 6,
    "run_sweep": lambda home, of: (
        fl.run_sweep(of("~/mine.toml"), of("~/new.zarr")).ok == 6 and (home / "new.zarr/zarr.json").exists()
    ),
    "open_sweep": lambda home, of: fl.open_sweep(of("~/s.zarr")).sizes["seed"] == 6,
    "sweep_status": lambda home, of: sweep_status(of("~/s.zarr"))["ok"] == 180,
    "verify": lambda home, of: verify(of("~/s.zarr")) == [],
    "inspect": lambda home, of: inspect(of("~/s.zarr")).points == 180,
    "repair": lambda home, of: repair(of("~/s.zarr"))[1].ok == 180,
    "compact": lambda home, of: "holds every point" in refused(lambda: compact(of("~/s.zarr"))),
    "merge_sweeps": lambda home, of: fl.merge_sweeps([of("~/s.zarr")], of("~/new.zarr")).ok == 180,
    "picture.beside": lambda home, of: picture.beside("~/s.zarr", ".png") == home / "s.png",
    "picture.draw": lambda home, of: (
        picture.draw("~/s.zarr", of("~/p.png"))[0] == home / "p.png" and (home / "p.png").exists()
    ),
    "report.write": lambda home, of: (
        report.write("~/s.zarr", of("~/p.html")) == home / "p.html" and (home / "p.html").exists()
    ),
    "figures.draw": lambda home, of: (
        f"no folder {home / 'none'} " in refused(lambda: figures.draw("fig1", of("~/none/p.png")))
    ),
    "Scheduler": lambda home, of: Scheduler(of("~/scheduler.json")).contact() == "tcp://127.0.0.1:1",
} | {
    name: lambda home, of, name=name, file=file: (
        refused(lambda: scheduler_with(home, name, of)) == f"{name}: there is no file {home / file}"
    )
    for name, file in TLS.items()
}


@pytest.mark.parametrize("of", [str, Path])
@pytest.mark.parametrize("name", PYTHON)
def test_paths_in_python(name, of, home):
    assert PYTHON[name](home, of)


TLS_RUN = "run ~/mine.toml --store=~/new.zarr --scheduler=tls://127.0.0.1:1"
# Parameters of commands that are paths: a command line, its exit code, and a part of what it prints.
COMMAND_LINE = {
    ("run", "spec"): ("run ~/mine.toml --store=~/new.zarr", 0, "6 of 6 points ok"),
    ("run", "store"): ("run ~/s.zarr/none.toml --store=~/new.zarr", 2, "no file '~/s.zarr/none.toml'"),
    ("run", "plot"): ("run ~/mine.toml --store=~/new.zarr --plot=~/r.png", 0, "picture: HOME/r.png"),
    ("run", "scheduler"): (
        "run ~/mine.toml --store=~/new.zarr --scheduler=~/broken.json",
        2,
        "~/broken.json is not the file of a Dask scheduler",
    ),
    ("run", "tls_ca"): (
        f"{TLS_RUN} --tls-ca=~/none.pem --tls-cert=~/page.md --tls-key=~/page.md",
        2,
        "tls_ca: there is no file HOME/none.pem",
    ),
    ("run", "tls_cert"): (
        f"{TLS_RUN} --tls-ca=~/page.md --tls-cert=~/none.pem --tls-key=~/page.md",
        2,
        "tls_cert: there is no file HOME/none.pem",
    ),
    ("run", "tls_key"): (
        f"{TLS_RUN} --tls-ca=~/page.md --tls-cert=~/page.md --tls-key=~/none.pem",
        2,
        "tls_key: there is no file HOME/none.pem",
    ),
    ("plan", "spec"): ("plan ~/mine.toml", 0, "mine: 6 points"),
    ("plan", "store"): ("plan ~/s.zarr --store=~/s.zarr", 0, "0 points in 0 blocks of ~/s.zarr"),
    ("status", "path"): ("status ~/s.zarr", 0, "180 of 180 points done"),
    ("verify", "path"): ("verify ~/s.zarr", 0, "all is well"),
    ("repair", "path"): ("repair ~/s.zarr", 0, "0 damaged and mended"),
    ("compact", "path"): ("compact ~/s.zarr", 2, "holds every point"),
    ("merge", "into"): ("merge ~/s.zarr --into=~/new.zarr", 0, "180 points copied, 180 of 180 points done"),
    ("refine", "path"): ("refine ~/s.zarr", 2, "holds a product of axes"),
    ("plot", "path"): ("plot ~/s.zarr", 0, "picture: HOME/s.png"),
    ("plot", "out"): ("plot ~/s.zarr --out=~/p.svg", 0, "picture: HOME/p.svg"),
    ("report", "path"): ("report ~/s.zarr", 0, "report: HOME/s.html"),
    ("report", "out"): ("report ~/s.zarr --out=~/p.html", 0, "report: HOME/p.html"),
    ("explore", "path"): ("explore ~/none.zarr", 2, "there is no store at"),
    ("figure", "out"): ("figure fig1 --out=~/none/p.png", 2, "there is no folder HOME/none"),
    ("bench", "update"): ("bench --update=~/page.md", 2, "HOME/page.md has no place for the table"),
    ("bench", "plot"): ("bench --plot=~/none/p.png", 2, "there is no folder HOME/none"),
}


@pytest.mark.parametrize("parameter", COMMAND_LINE, ids="-".join)
def test_paths_on_the_command_line(parameter, home, command_line):
    """A shell expands ~ at the start of a word, so not in --out=~/p.png."""
    line, code, text = COMMAND_LINE[parameter]
    done, out, err = command_line(*line.split())
    assert done == code, err
    assert text.replace("HOME", str(home)) in out + err


def test_every_path_of_a_command_is_in_the_table():
    """A parameter of a command is text. As `Path` it would take ./~ for ~."""
    found = set()
    for verb in cli.VERBS:
        for name, hint in get_type_hints(verb, include_extras=True).items():
            if get_origin(hint) is Annotated:
                kind, about = get_args(hint)
                assert Path not in (kind, *get_args(kind)), (verb, name)
                if about.metavar in ("SPEC", "PATH", "[PATH]", "FILE", "ADDRESS"):
                    found.add((verb.__name__, name))
    assert found == set(COMMAND_LINE)


def test_a_folder_may_be_named_like_the_sign_of_the_home_folder(tmp_path, monkeypatch, swept, command_line):
    """It is given as ./~, as in a shell."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(swept, tmp_path / "~" / "s.zarr")
    (tmp_path / "~" / "mine.toml").write_text(TOML)
    assert user_path("./~/s.zarr").absolute() == tmp_path / "~" / "s.zarr"
    assert fl.Spec.load("./~/mine.toml").name == "mine"
    assert fl.open_sweep("./~/s.zarr").sizes["seed"] == 6
    assert command_line("plot", "./~/s.zarr", "--out=./~/p.png")[0] == 0
    assert (tmp_path / "~" / "p.png").exists()
    for name in TLS.values():
        (tmp_path / "~" / name).touch()
    tls = [f"--{name.replace('_', '-')}=./~/{file}" for name, file in TLS.items()]
    error = command_line("run", "rich-lazy", "--store=x", "--scheduler=tls://127.0.0.1:1", *tls)[2]
    assert "the certificates for tls://127.0.0.1:1 are not usable" in error


@pytest.mark.parametrize("call", [fl.Spec.load, fl.plan, lambda path: fl.run_sweep(path, "s.zarr")])
def test_the_home_of_an_unknown_user(call):
    message = refused(lambda: call("~nobody-of-that-name/mine.toml"))
    assert "no file '~nobody-of-that-name/mine.toml', nor a preset of that name" in message
