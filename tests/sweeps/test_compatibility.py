"""Compatibility of a store with other versions: they are refused, or their numbers are compared first."""

import json
import shutil
from functools import partial

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.run import compatibility
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.store import codec, metadata, versions
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import verify
from tests import cutting, sweeping
from tests.commands import SMALL, run_to_end, smaller_blocks
from tests.sweeping import content

DECISIVE = sorted({*versions.installed()} - {*compatibility.HARMLESS})
REDUCED = {"observables": ["loss"], "reduce": {"statistics": ["mean"]}}


def pretend(path, **changes):
    """Change the versions that a store records. None removes a name."""
    place = locate(path)
    root = json.loads(place.read(metadata.ROOT))
    made_with = json.loads(root["attributes"]["versions"]) | changes
    recorded = {name: text for name, text in made_with.items() if text is not None}
    root["attributes"]["versions"] = json.dumps(recorded)
    sealed = metadata._sealed(root)
    metadata.write_metadata(place, {metadata.ROOT_COPY: sealed, metadata.ROOT: sealed})


def alter(path, name, index, group=(0, 0)):
    """Change the last bit of the first number of a group of a block, and the checksum with it."""
    store = Store.open(locate(path))
    form = {**store.layout.values, **store.layout.statistics}[name]
    key = form.key(name, index)
    values = codec.decode(form, index, store.location.read(key)).copy()
    flat = values[group].reshape(-1)
    flat[0] = np.nextafter(flat[0], np.inf) if values.dtype.kind == "f" else flat[0] + 1
    store.location.write(key, *codec.encode(form, values))


@pytest.mark.parametrize("number", [1, 3, 5])
def test_stores_of_other_formats_are_refused_by_name(swept, tmp_path, number):
    path = tmp_path / "old.zarr"
    shutil.copytree(swept, path)
    root = json.loads((path / metadata.ROOT).read_bytes())
    root["attributes"]["format"] = number
    sealed = metadata._sealed(root)
    metadata.write_metadata(locate(path), {metadata.ROOT_COPY: sealed, metadata.ROOT: sealed})
    before = content(path)
    for action in (verify, repair, fl.open_sweep, lambda path: fl.run_sweep(sweeping.spec(), path)):
        with pytest.raises(fl.InputError, match=f"is a store of format {number}, this fastlin reads 4; run"):
            action(path)
    assert content(path) == before


@pytest.mark.parametrize("place", [(0, 0), (2, 1)])
@pytest.mark.parametrize("output", [sweeping.spec()["output"], REDUCED], ids=["points", "reduced"])
def test_groups_of_a_joined_block_are_tried_each(tmp_path, place, output):
    spec, path = sweeping.spec(output=output), tmp_path / "joined.zarr"
    with cutting.into(architectures=3, init_scales=2, seeds=6):
        assert fl.run_sweep(spec, path).blocks == 1
    pretend(path, numpy="0.0.1")
    assert fl.run_sweep(spec, path, allow_version=True).computed_blocks == 0
    pretend(path, numpy="0.0.1")
    alter(path, "loss", (0,) * len(fl.open_sweep(path).loss.dims), place)
    refused(path, "which computed other numbers in block 0", spec, allow_version=True)


@pytest.fixture
def part(swept, tmp_path):
    """A store with one incomplete block."""
    path = tmp_path / "part.zarr"
    shutil.copytree(swept, path)
    (path / "status" / "c.1.0.0.0").unlink()
    return path


def refused(path, match, spec=None, **options):
    """Check that a run is refused and writes nothing. Return the lines of differences."""
    before = content(path)
    with pytest.raises(fl.InputError, match=match) as caught:
        fl.run_sweep(spec or sweeping.spec(), path, **options)
    assert content(path) == before
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize("name", DECISIVE)
@pytest.mark.parametrize("other", ["0.0.1", None])
def test_other_versions_are_refused_with_the_difference(part, name, other):
    pretend(part, **{name: other})
    installed = versions.installed()[name]
    how = "with another processor or BLAS" if name in compatibility.HARDWARE else "by other versions"
    (line,) = refused(part, f"was written {how}; --allow-version goes on if its numbers")
    assert line == f"{name}: the store has {other or 'none'}, this installation {installed}"
    assert verify(part) == []


def test_all_differences_are_reported_at_once(part):
    pretend(part, **dict.fromkeys(DECISIVE, "0.0.1"), unheard="1")
    assert len(refused(part, "was written by other versions")) == len(DECISIVE) + 1


@pytest.mark.parametrize("name", compatibility.HARMLESS)
def test_versions_that_change_no_number_do_not_matter(part, name):
    pretend(part, **{name: "0.0.1"})
    assert fl.run_sweep(sweeping.spec(), part).computed_blocks == 1
    assert json.loads(fl.open_sweep(part).attrs["versions"])[name] == "0.0.1"


@pytest.mark.parametrize("name", [name for name in DECISIVE if name != "seed_rule"])
def test_a_store_with_equal_numbers_is_resumed_with_allow_version(part, swept, name):
    pretend(part, **{name: "0.0.1"})
    report = fl.run_sweep(sweeping.spec(), part, allow_version=True)
    assert (report.computed_blocks, report.pending) == (1, 0)
    installed = versions.installed()
    assert Store.open(locate(part)).made_with == [installed | {name: "0.0.1"}, installed]
    assert fl.open_sweep(part).load().identical(fl.open_sweep(swept).load())
    # After this run the versions of this installation are recorded as well.
    assert fl.run_sweep(sweeping.spec(), part).computed_blocks == 0
    assert verify(part) == []


@pytest.mark.parametrize("index", [(0, 0, 0, 0, 0), (2, 1, 0, 0, 0)])
def test_a_store_of_other_numbers_is_refused(part, index):
    pretend(part, kernels="0.0.1")
    alter(part, "loss", index)
    (line,) = refused(part, r"which computed other numbers in block \d; choose another", allow_version=True)
    assert line.startswith("kernels: the store has 0.0.1, this installation ")


def test_blocks_with_points_that_diverged_are_tried_too(tmp_path):
    axes = {"architecture": [4, 2, 4], "seed": {"start": 0, "num": 5}, "lam": [0.0, 400.0]}
    dynamics = {"solver": "gradient_descent", "learning_rate": 0.01, "times": [0.0, 5.0]}
    spec, path = sweeping.spec(axes=axes, dynamics=dynamics), tmp_path / "wild.zarr"
    assert fl.run_sweep(spec, path).diverged == 5
    pretend(path, numpy="0.0.1")
    assert fl.run_sweep(spec, path, allow_version=True).computed_blocks == 0
    pretend(path, numpy="0.0.1")
    alter(path, "loss", (0, 0, 0, 0, 0))
    refused(path, "computed other numbers", spec, allow_version=True)


def test_another_seed_rule_is_always_refused(part):
    pretend(part, seed_rule="old")
    refused(part, "was written by other versions; --allow-version")
    refused(part, "the same seed would draw another network", allow_version=True)


@pytest.mark.parametrize(
    ("seeds", "name", "index"), [(6, "loss", (1, 0, 0, 0, 0)), (40, "partials", (1, 0, 0, 0, 0, 0, 0))]
)
@pytest.mark.parametrize("cut", [1, 2], ids="blocks of {}".format)
def test_a_store_of_statistics_is_tried_by_its_cells(tmp_path, seeds, name, index, cut):
    """Its statistics are compared if it has no partial sums, or has merged them."""
    axes = sweeping.spec()["axes"] | {"seed": {"start": 0, "num": seeds}}
    spec, path = sweeping.spec(axes=axes, output=REDUCED), tmp_path / "r.zarr"
    name, index = (name, index) if cut == 1 else ("loss", (1, 0, 0, 0, 0))
    with cutting.into(seeds=seeds // cut):
        fl.run_sweep(spec, path)
    spec = Store.open(locate(path)).layout.spec
    fl.run_sweep(spec, path)
    pretend(path, numpy="0.0.1")
    refused(path, "was written by other versions", spec)
    assert fl.run_sweep(spec, path, allow_version=True).computed_blocks == 0
    pretend(path, numpy="0.0.1")
    alter(path, name, index)
    refused(path, "computed other numbers", spec, allow_version=True)


def test_the_samples_of_a_complete_store_are_compared_once(swept, tmp_path, monkeypatch):
    path, compared = tmp_path / "s.zarr", []
    compare = compatibility._compare
    monkeypatch.setattr(compatibility, "_compare", lambda *given: compared.append(path) or compare(*given))
    shutil.copytree(swept, path)
    pretend(path, numpy="0.0.1")
    assert fl.run_sweep(sweeping.spec(), path, allow_version=True).computed_blocks == 0
    assert compared == [path]
    assert fl.run_sweep(sweeping.spec(), path, allow_version=True).computed_blocks == 0
    assert compared == [path]


def test_repair_refuses_other_versions(part):
    pretend(part, numpy="0.0.1")
    before = content(part)
    with pytest.raises(fl.InputError, match="was written by other versions"):
        repair(part)
    after = content(part)
    assert before == after


def test_versions_change_and_axes_grow_at_once(part, tmp_path):
    axes = sweeping.spec()["axes"]
    larger = sweeping.spec(axes=axes | {"init_scale": [0.5, 0.7, 1.0]})
    pretend(part, numba="0.0.1")
    refused(part, "was written by other versions", larger)
    report = fl.run_sweep(larger, part, allow_version=True)
    assert (report.computed_points, report.pending) == (30 + 90, 0)
    assert len(Store.open(locate(part)).made_with) == 2
    fl.run_sweep(larger, tmp_path / "fresh.zarr")
    assert fl.open_sweep(part).load().identical(fl.open_sweep(tmp_path / "fresh.zarr").load())


def test_another_spec_is_refused_whatever_is_allowed(part):
    other = sweeping.spec(task={"n_samples": 9, "target_scale": 1.5})
    (line,) = refused(part, "made from another spec", other, allow_version=True)
    assert line == "task.n_samples: the store has 8, the spec 9"


@pytest.mark.processes
def test_the_command_line_reports_other_versions_and_allows_them(tmp_path):
    source, path = tmp_path / "s.toml", tmp_path / "s.zarr"
    source.write_text(SMALL)
    run = partial(run_to_end, "run", source, "--store", path, patches=[smaller_blocks])
    assert run().code == 0
    pretend(path, scipy="0.0.1")
    done = run()
    assert done.code == 2
    assert f"the store {path} was written by other versions" in done.line
    assert "\n  scipy: the store has 0.0.1, this installation " in done.err
    assert run("--allow-version").code == 0
    made_with = Store.open(locate(path)).made_with
    assert [entry["scipy"] for entry in made_with] == ["0.0.1", versions.installed()["scipy"]]
