"""A store has the same bytes for both forms of kernels, cold or warm, with any executor and with slices.

All files of a store are compared: coordinates, chunks, and metadata, which holds versions and the spec but no
time. The lease and its lock do not exist after a run has ended.
"""

import hashlib
import math
import multiprocessing
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import fastlin as fl
from fastlin.kernels import compilation
from fastlin.observables.registry import REGISTRY, sweepable
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.progress import NoProgress
from fastlin.sweeps.run.run import run
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import costs
from tests import commands, cutting, sweeping
from tests.fault_injection import until
from tests.planting import Gate

# The saving, beyond its compilation, that a special kernel must have: infinite for none, zero for all.
FORMS = {"for all sizes": math.inf, "for each architecture": 0.0}

# The first has one hidden column, the next three have unrolled widths, and the last two are wide. Some have
# fewer hidden units than modes, some have more.
SHAPES = [[3, 1, 2], [4, 2, 5], [3, 6, 4], [8, 8, 8], [9, 12, 10], [12, 30, 4]]


def lines(shapes):
    """Return a spec as TOML, with both solvers, two rates, and all observables of sweeps."""
    return f"""
name = "same"
[axes]
architecture = {shapes}
init_scale = [0.5, 1.0]
seed = {{ start = 0, num = 3 }}
lam = {{ start = -4.0, stop = 4.0, num = 4 }}
[task]
n_samples = 48
target_scale = 1.5
[dynamics]
solver = ["exact", "gradient_descent"]
learning_rate = [0.009, 0.02]
times = [0.0, 0.5, 1.0, 1.5, 2.0, 9.0]
[output]
observables = {[name for name in sweepable() if not REGISTRY[name].of_adapter]}
"""


def digests(path):
    """Return the SHA-256 of every file of a store."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in sweeping.content(path).items()}


def compiled(form):
    """Choose one form of kernels, in this process and in its workers."""
    compilation.MARGIN = FORMS[form]
    costs.specialised.cache_clear()


@contextmanager
def within(form):
    """Choose one form of kernels, within the context."""
    with mock.patch.object(compilation, "MARGIN"):
        compiled(form)
        yield
    costs.specialised.cache_clear()


def forms_of(spec):
    """Return the set of values of `specialise` of the kernels that a sweep needs."""
    layout = Plan.of(spec).layout
    needed = costs.kernels_needed(layout, np.arange(layout.block_count))
    return {kernel.specialise for kernel in needed if kernel.tier == "vector"}


@pytest.mark.parametrize(
    "sizes", [pytest.param(cutting.APART, marks=pytest.mark.slow), cutting.JOINED], ids=["apart", "joined"]
)
def test_forms_slices_and_resumes_leave_the_same_files(tmp_path, client, sizes):
    """The runs use threads of one process, kernels that other tests use, and a wide kernel."""
    axes = sweeping.spec()["axes"] | {"architecture": [[4, 2, 2], [9, 9, 10]], "seed": {"start": 3, "num": 7}}
    spec = Spec.from_dict(
        sweeping.spec(axes=axes, task={"n_samples": 12}, dynamics=sweeping.BOTH | {"learning_rate": [0.009]})
    )
    whole, special, sliced, resumed = (tmp_path / name for name in ("whole", "special", "sliced", "resumed"))
    with cutting.into(**sizes):
        with within("for all sizes"):
            assert forms_of(spec) == {False}
            blocks = fl.run_sweep(spec, whole, client).blocks
            for number in (2, 3, 1):
                fl.run_sweep(spec, sliced, client, slice=f"{number}/3")
            run(spec, resumed, client, RunOptions(only=frozenset(range(1, blocks, 2))), NoProgress())
        with within("for each architecture"):
            assert forms_of(spec) == {True}
            fl.run_sweep(spec, special, client)
            assert fl.run_sweep(spec, resumed, client).computed_blocks == len(range(0, blocks, 2))
    expected = digests(whole)
    assert len([name for name in expected if name.startswith("status/c")]) == blocks > 3
    assert digests(special) == expected
    assert digests(sliced) == expected
    assert digests(resumed) == expected


CUTS = {
    name: partial(commands.smaller_blocks, **sizes)
    for name, sizes in (("apart", cutting.APART), ("joined", cutting.JOINED))
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A spec of architectures that the vector kernels compute, eight networks at a time."""
    return write(tmp_path_factory.mktemp("source"), SHAPES)


def write(folder, shapes):
    """Write a spec to a file."""
    file = folder / "same.toml"
    file.write_text(lines(shapes))
    return file


@pytest.fixture(scope="module")
def expected(source, tmp_path_factory):
    """The digests for each block shape, from a run in threads with kernels for all sizes."""
    folder = tmp_path_factory.mktemp("expected")
    for name, cut in CUTS.items():
        done = commands.run_to_end(
            "run", source, "--store", folder / name, patches=[cut, partial(compiled, "for all sizes")]
        )
        assert done.code == 0, done.err
    return {name: digests(folder / name) for name in CUTS}


cuts = pytest.mark.parametrize("cut", CUTS)
forms = pytest.mark.parametrize("form", FORMS)
workers = pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["threads", "processes"])


@pytest.mark.slow
@pytest.mark.processes
class TestCommands:
    """Whole commands in their own processes."""

    @cuts
    @forms
    @workers
    def test_warm_kernels_give_the_same_bytes(self, source, expected, tmp_path, cut, form, options):
        check_run(source, tmp_path, [CUTS[cut], partial(compiled, form)], options)
        assert digests(tmp_path / "s.zarr") == expected[cut]

    @pytest.mark.parametrize(
        ("form", "options"),
        [("for all sizes", []), ("for each architecture", ["--workers", "2"])],
        ids=["threads", "processes"],
    )
    def test_cold_kernels_give_the_same_bytes(self, source, expected, tmp_path, monkeypatch, form, options):
        """The kernels are compiled by the run and its helper processes."""
        cold(monkeypatch, tmp_path / "cache")
        check_run(source, tmp_path, [CUTS["joined"], partial(compiled, form)], options)
        assert digests(tmp_path / "s.zarr") == expected["joined"]
        widths = {min(max(shape[0], shape[2]), shape[1]) for shape in SHAPES}
        kernels = {
            "for all sizes": len({min(width, 9) for width in widths}),
            "for each architecture": len(SHAPES),
        }
        cached = Path(tmp_path, "cache").rglob("closed_form._closed_form-*.nbc")
        assert len([*cached]) == kernels[form]

    @cuts
    def test_slices_side_by_side_of_both_forms(self, source, expected, tmp_path, cut):
        """One of three jobs has compiled kernels for each architecture."""
        path, choices = tmp_path / "s.zarr", [*FORMS, "for all sizes"]
        arguments = [["run", source, "--store", path, "--slice", f"{number}/3"] for number in (1, 2, 3)]
        with (
            commands.commands(*arguments[:1], patches=[CUTS[cut], partial(compiled, choices[0])]) as first,
            commands.commands(*arguments[1:2], patches=[CUTS[cut], partial(compiled, choices[1])]) as second,
            commands.commands(*arguments[2:], patches=[CUTS[cut], partial(compiled, choices[2])]) as third,
        ):
            ends = [command.end() for command in (*first, *second, *third)]
        assert [end.code for end in ends] == [0, 0, 0], [end.err for end in ends]
        assert digests(path) == expected[cut]

    @cuts
    def test_a_resume_with_the_other_form_gives_the_same_bytes(self, source, expected, tmp_path, cut):
        path, gate = tmp_path / "s.zarr", Gate(tmp_path / "gate", 61)
        patches = [CUTS[cut], partial(compiled, "for each architecture"), gate.patch]
        with commands.command("run", source, "--store", path, patches=patches) as killed:
            until(lambda: sweeping.marks(path))
            killed.kill()
        done = sweeping.marks(path)
        assert 0 < len(done) < len([name for name in expected[cut] if name.startswith("status/c")])
        check_run(source, tmp_path, [CUTS[cut], partial(compiled, "for all sizes")], [])
        assert done.items() <= sweeping.marks(path).items()
        assert digests(path) == expected[cut]

    def test_large_networks_cold_and_warm(self, tmp_path, monkeypatch):
        """BLAS computes two of the networks, with one kernel."""
        file, stores = write(tmp_path, [[44, 42, 43], [48, 41, 45], [4, 2, 5]]), []
        file.write_text(file.read_text().replace("[0.009, 0.02]", "[0.002, 0.004]"))  # some diverge at 0.02
        cold(monkeypatch, tmp_path / "cache")
        for options in ([], ["--workers", "2"], []):
            folder = tmp_path / str(len(stores))
            check_run(file, folder, [CUTS["joined"], partial(compiled, "for all sizes")], options)
            stores.append(digests(folder / "s.zarr"))
        assert stores[0] == stores[1] == stores[2]


def cold(monkeypatch, cache):
    """Start commands without the imports of this process, and cache their kernels in a folder."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    monkeypatch.setattr(commands, "_context", lambda: multiprocessing.get_context("spawn"))


def check_run(source, folder, patches, options):
    """Run a sweep into the store of a folder."""
    done = commands.run_to_end("run", source, "--store", folder / "s.zarr", *options, patches=patches)
    assert done.code == 0, done.err
