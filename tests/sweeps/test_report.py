"""A store as one web page: its numbers are those of the store, and it loads no other file."""

import getpass
import gzip
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape
from math import prod
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps

import fastlin as fl
from fastlin.sweeps.report import check_file, numbers, tables, write
from fastlin.sweeps.report.page import command
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.progress import NoProgress
from fastlin.sweeps.run.run import run
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store.status import sweep_status
from tests import sweeping

AXES = sweeping.spec()["axes"]
INF = float("inf")
FLOAT32 = 1.2e-7  # relative error of rounding to float32
MAGMA = colormaps["magma"](np.arange(256), bytes=True)[:, :3].tolist()


def page_of(store, folder):
    """Return the text of a store's page, and leave the page in `folder`."""
    write(str(store), folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def part_of(page, pattern):
    return re.search(pattern, page, re.DOTALL)[1]


def embedded(page):
    """Return the data in a page, with numbers as DataArrays along their axes."""
    content = json.loads(part_of(page, r'<script id="data" type="application/json">(.*?)</script>'))
    for quantity in content["quantities"] if content else ():
        for key in ("mean", "std", "count"):
            if (part := quantity[key]) is not None:
                values = np.frombuffer(b64decode(part["data"]), "<f4").reshape(part["shape"])
                quantity[key] = xr.DataArray(values, dims=part["dims"])
    return content


def inflated(page, name):
    """Return a compressed text in a page."""
    return gzip.decompress(
        b64decode(part_of(page, rf'<script id="{name}" type="text/plain">(.*?)</script>'))
    ).decode()


def assert_holds(quantity, wanted):
    """Check that a page has these numbers, rounded to float32."""
    for key, value in wanted.items():
        plain = value.drop_vars(list(value.coords))
        assert set(quantity[key].dims) <= set(plain.dims)
        actual = quantity[key].broadcast_like(plain).transpose(*plain.dims)
        np.testing.assert_allclose(actual, plain, rtol=FLOAT32, err_msg=f"{quantity['label']}, {key}")


def statistics(points):
    """Return the statistics of a page, computed by xarray from loaded points."""
    complete = points.where(points.status == "ok")
    return {
        "mean": complete.mean("seed"),
        "std": complete.std("seed", ddof=1),
        "count": complete.count("seed"),
    }


def test_numbers_are_those_of_the_points(swept, tmp_path):
    content, dataset = embedded(page_of(swept, tmp_path)), fl.open_sweep(swept).load()
    expected = {
        "loss": dataset.loss,
        "kernel distance": dataset.kernel_distance,
        "weight norms (W1)": dataset.weight_norms.sel(layer="w1"),
        "weight norms (W2)": dataset.weight_norms.sel(layer="w2"),
        "effective rank": dataset.effective_rank,
    }
    assert [quantity["label"] for quantity in content["quantities"]] == list(expected)
    for quantity in content["quantities"]:
        assert_holds(quantity, statistics(expected[quantity["label"]]))
    axes = content["axes"]
    assert axes["architecture"]["values"] == ["funnel 4-2-2", "wide 3-4-3", "between 2-3-4"]
    assert axes["lam"]["values"] == dataset.lam.values.tolist()
    assert axes["time"]["values"] == [0.0, 0.9, 9.0, "Infinity"]
    assert (content["x"], content["y"], content["seeds"]) == ("lam", "init_scale", 6)
    assert content["start"]["init_scale"] == 1
    assert content["start"]["time"] == 3


def test_a_page_shows_the_part_that_is_selected_in_its_style(swept, tmp_path):
    plain = page_of(swept, tmp_path)
    style = fl.plot.Style(log=True, size=(4, 3), cmap="magma")
    write(str(swept), tmp_path / "part.html", ["lam=0:", "architecture=3-4-3,4-2-2", "seed=1:3"], style)
    page = (tmp_path / "part.html").read_text(encoding="utf-8")
    content = embedded(page)
    assert content["axes"]["architecture"]["values"] == ["wide 3-4-3", "funnel 4-2-2"]
    assert content["axes"]["lam"]["values"] == [0.0, 2.0, 4.0]
    assert content["seeds"] == 3
    part = fl.open_sweep(swept).load().sel(lam=slice(0, None), seed=[1, 2, 3]).isel(architecture=[1, 0])
    assert_holds(content["quantities"][0], statistics(part.loss))
    assert "means over 3 seeds" in page
    assert "Shown is the part with lam=0:, architecture=3-4-3,4-2-2, seed=1:3." in page
    parts = "2 architectures &times; 2 weight scales &times; 3 seeds &times; 3 λ"
    assert f"36 of 180 configurations ({parts}), each at 4 times, by the closed form." in page
    assert "180 configurations (3 architectures" in plain
    about_all = "These are all points of the store, also those that are not shown."
    assert (about_all in page, about_all in plain) == (True, False)
    assert (content["log"], embedded(plain)["log"]) == (True, False)
    colours = ["#" + "".join(f"{level:02x}" for level in colour) for colour in MAGMA]
    assert json.dumps(colours, separators=(",", ":")) in inflated(page, "models")
    assert "--plane-width: 384px; --plane-height: 288px;" in page
    assert "--plane-width: " not in plain
    with pytest.raises(fl.InputError, match="lam = 3 is not on the axis of the sweep; nearest"):
        write(str(swept), tmp_path / "none.html", ["lam=3"])
    assert not (tmp_path / "none.html").exists()


def test_the_headline_counts_the_selected_times_and_solvers(diverging, tmp_path):
    write(str(diverging), tmp_path / "p.html", ["solver=exact", "time=4"])
    text = part_of((tmp_path / "p.html").read_text(encoding="utf-8"), '<p class="lead">(.*?)</p>')
    dataset = fl.open_sweep(diverging)
    half, total = (dataset.status.size // 2, dataset.status.size)
    assert f"{half:,} of {total:,} configurations" in text
    assert text.endswith(f"each at 1 of {dataset.time.size} times, by the closed form.")


def test_numbers_leave_out_points_that_diverged(diverging, tmp_path):
    page, dataset = page_of(diverging, tmp_path), fl.open_sweep(diverging).load()
    content = embedded(page)
    for quantity in content["quantities"]:
        if quantity["name"] != "weight_norms":
            assert_holds(quantity, statistics(dataset[quantity["name"]]))
    distance = content["quantities"][content["shown"]]
    assert distance["name"] == "kernel_distance"
    assert_holds(distance, {"mean": dataset.fastlin.mean_over_seeds().kernel_distance})
    assert sorted(np.unique(distance["count"])) != [6]
    assert "means over 6 seeds that are ok" in page
    assert content["y"] == "time"


def test_numbers_of_a_reduced_store_are_those_of_the_points(tmp_path, client):
    reduce = {"observables": sweeping.spec()["output"]["observables"], "reduce": {"over": "seed"}}
    fl.run_sweep(sweeping.spec(), tmp_path / "plain.zarr", client)
    fl.run_sweep(sweeping.spec(output=reduce), tmp_path / "reduced.zarr", client)
    plain, reduced = (embedded(page_of(tmp_path / f"{name}.zarr", tmp_path)) for name in ("plain", "reduced"))
    for of_points, of_seeds in zip(plain["quantities"], reduced["quantities"], strict=True):
        for key in ("mean", "std", "count"):
            xr.testing.assert_allclose(of_points[key], of_seeds[key], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("statistics", "words"),
    [
        (["mean"], "this store holds no standard deviation"),
        (["min", "std"], "Nothing is drawn, because this store holds no mean over seeds; it has min, std."),
    ],
)
def test_a_page_names_the_statistics_that_a_store_lacks(tmp_path, client, statistics, words):
    reduce = {"observables": ["loss"], "reduce": {"statistics": statistics}}
    fl.run_sweep(sweeping.spec(output=reduce), tmp_path / "s.zarr", client)
    page = page_of(tmp_path / "s.zarr", tmp_path)
    assert words in page
    content = embedded(page)
    assert content is None if "mean" not in statistics else content["quantities"][0]["std"] is None


def test_observables_without_time_have_no_axis_of_it(tmp_path, client):
    output = {"observables": ["loss", "rotation_time"]}
    fl.run_sweep(sweeping.spec(output=output), tmp_path / "s.zarr", client)
    content = embedded(page_of(tmp_path / "s.zarr", tmp_path))
    scale = content["quantities"][1]
    assert (scale["label"], "time" in scale["dims"]) == ("rotation time", False)
    assert_holds(scale, statistics(fl.open_sweep(tmp_path / "s.zarr").load().rotation_time))


def test_the_page_of_a_running_sweep_shows_progress_and_counts_complete_points(partial, tmp_path):
    page, dataset = page_of(partial, tmp_path), fl.open_sweep(partial).load()
    assert "33 % of the points are done." in page
    assert "60 of 180" in page
    content = embedded(page)
    for quantity, name in ((0, "loss"), (1, "kernel_distance")):
        assert_holds(content["quantities"][quantity], statistics(dataset[name]))
    assert np.isnan(content["quantities"][0]["mean"]).any()
    assert set(np.unique(content["quantities"][0]["count"])) == {0, 6}


def test_a_store_without_points_has_a_page(tmp_path, client):
    run(
        Spec.from_dict(sweeping.spec()),
        tmp_path / "s.zarr",
        client,
        RunOptions(only=frozenset()),
        NoProgress(),
    )
    page = page_of(tmp_path / "s.zarr", tmp_path)
    assert embedded(page) is None
    assert "0 % of the points are done." in page
    assert "no mean over seeds is known yet" in page


def table(page, heading):
    """Return the rows of the table below a heading."""
    rows = re.findall(r"<tr>(.*?)</tr>", part_of(page, rf"<h2>{heading}</h2>.*?<table>(.*?)</table>"))
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


@pytest.mark.parametrize("reduce", [None, {"over": "seed"}])
def test_points_are_counted_by_architecture(tmp_path, client, reduce):
    axes = AXES | {"architecture": [[4, 2, 4], [2, 2, 2]], "lam": [0.0, 400.0], "init_scale": 1.0}
    dynamics = {"solver": ["exact", "gradient_descent"], "learning_rate": 0.01, "times": [0.0, 5.0]}
    output = {"observables": ["loss"], **({"reduce": reduce} if reduce else {})}
    fl.run_sweep(sweeping.spec(axes=axes, dynamics=dynamics, output=output), tmp_path / "s.zarr", client)
    counts = sweep_status(tmp_path / "s.zarr")
    head, *rows, last = table(page_of(tmp_path / "s.zarr", tmp_path), "Points")
    assert head == ["architecture", "ok", "diverged", "failed", "pending", "points"]
    assert last == ["all", *(str(counts[key]) for key in head[1:])]
    assert rows == [
        ["bottleneck 4-2-4", "18", "6", "0", "0", "24"],
        ["square 2-2-2", "18", "6", "0", "0", "24"],
    ]


def test_a_table_of_very_many_architectures_is_cut_and_sums_up():
    shapes = [fl.Architecture(n, 2, 3) for n in range(1, 151)]
    points = np.arange(6 * 150).reshape(150, 6)  # of each status
    rows = table(f"<h2>Points</h2>{tables.status(tables.Counts(shapes, points))}", "Points")[1:]
    assert [row[0] for row in rows[-3:]] == ["bottleneck 100-2-3", "50 more", "all"]
    values = np.array([[int(cell.replace(",", "")) for cell in row[1:]] for row in rows])
    assert (values[:-1].sum(axis=0) == values[-1]).all()
    assert (values[:, -1] == values[:, :-1].sum(axis=1)).all()
    assert values[-1].tolist() == [*points.sum(axis=0)[[1, 2, 3, 0, 4, 5]], points.sum()]


def test_a_store_that_grew_is_in_order(tmp_path, client):
    small = AXES | {"architecture": [[4, 2, 2], [3, 4, 3]], "lam": [-1.0, 2.0]}
    large = AXES | {
        "architecture": [[2, 3, 4], [3, 4, 3], [4, 2, 2]],
        "lam": [-1.0, 0.5, 2.0],
        "init_scale": [1.0, 0.5],
    }
    run(Spec.from_dict(sweeping.spec(axes=small)), tmp_path / "s.zarr", client, RunOptions(), NoProgress())
    spec = Spec.from_dict(sweeping.spec(axes=large))
    run(spec, tmp_path / "s.zarr", client, RunOptions(only=frozenset()), NoProgress())
    page, dataset = page_of(tmp_path / "s.zarr", tmp_path), fl.open_sweep(tmp_path / "s.zarr").load()
    content = embedded(page)
    assert content["axes"]["architecture"]["values"] == ["between 2-3-4", "wide 3-4-3", "funnel 4-2-2"]
    assert_holds(content["quantities"][0], statistics(dataset.loss))
    pending = [row[4] for row in table(page, "Points")[1:]]
    counts = (dataset.status == "pending").sum(("init_scale", "seed", "lam")).values.tolist()
    assert pending == [str(number) for number in (*counts, sum(counts))]


def blank(sizes, times=None):
    """Return a dataset with the schema of a sweep and these sizes. All values are zero."""
    values = {name: np.arange(size, dtype=float) for name, size in sizes.items()}
    if times is not None:
        values["time"] = times
    shape = tuple(value.size for value in values.values())
    return xr.Dataset({"loss": (tuple(sizes), np.broadcast_to(np.float32(0), shape))}, values)


@given(
    st.integers(1, 60),
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=400, unique=True).map(sorted),
    st.booleans(),
)
@settings(max_examples=40)
def test_values_that_are_left_out_are_spread_evenly(shapes, scales, lams, times, limit):
    sizes = {"architecture": shapes, "init_scale": scales, "lam": lams, "time": len(times) + limit}
    dataset = blank(sizes, np.array([*times, INF] if limit else times))
    thin, thinned = numbers.thin(dataset)
    assert prod(thin.sizes.values()) * 3 * numbers.BYTES_PER_VALUE <= numbers.MOST_BYTES
    assert thinned == {
        name: (thin.sizes[name], size) for name, size in sizes.items() if thin.sizes[name] < size
    }
    for name in sizes:
        kept, values = thin[name].values, dataset[name].values
        assert (kept[0], kept[-1]) == (values[0], values[-1])
        if name == "time" and limit:
            kept, values = kept[:-1], values[:-1]
        if kept.size:
            assert kept[-1] == values[-1] or kept.size == 1
            steps = np.diff(np.searchsorted(values, kept))
            assert np.ptp(steps) <= 1 if steps.size else True
    if "lam" in thinned and "init_scale" in thinned:  # both are thinned equally
        assert abs(thin.sizes["lam"] - thin.sizes["init_scale"]) <= 1


def test_a_thinned_page_says_so_and_its_other_numbers_are_right(swept, tmp_path, monkeypatch):
    monkeypatch.setattr(numbers, "MOST_BYTES", 3 * 5 * numbers.BYTES_PER_VALUE * (3 * 2 * 3 * 3))
    page, dataset = page_of(swept, tmp_path), fl.open_sweep(swept).load()
    assert (
        "This page shows 3 of 5 values of lam, 3 of 4 times, so that it stays small; the store has all."
        in page
    )
    content = embedded(page)
    assert content["axes"]["lam"]["values"] == [-4.0, 0.0, 4.0]
    assert content["axes"]["time"]["values"] == [0.0, 9.0, "Infinity"]
    assert_holds(content["quantities"][0], statistics(dataset.loss.isel(lam=[0, 2, 4], time=[0, 2, 3])))


@given(st.text(min_size=1))
def test_any_name_makes_a_command_that_a_shell_takes(name):
    line = command(Spec.from_dict(sweeping.spec(name=name)), "s.zarr")
    assert re.fullmatch(r"fastlin run [\w.-]+\.toml --store [\w.-]+\.zarr", line, re.ASCII)
    assert not re.search(r" [.-](?!-store)", line)


def test_the_command_names_a_preset_only_for_its_spec(tmp_path, client):
    content = Spec.load("bottleneck-width").to_dict()
    for seeds, spec in ((100, "bottleneck-width "), (2, "bottleneck-width.toml ")):
        content["axes"]["seed"] = {"start": 0, "num": seeds}
        path = tmp_path / f"{seeds}.zarr"
        run(Spec.from_dict(content), path, client, RunOptions(only=frozenset()), NoProgress())
        page = page_of(path, tmp_path)
        assert f"fastlin run {spec}--store bottleneck-width.zarr" in page


def test_the_page_shows_the_spec_and_offers_it_for_download(partial, tmp_path):
    page = page_of(partial, tmp_path)
    text = unescape(part_of(page, r'<pre id="spec"><code>(.*?)</code>'))
    spec = Spec.from_dict(tomllib.loads(text))
    assert spec.to_json() == fl.open_sweep(partial).attrs["spec"]
    assert spec.hash in page
    assert b64decode(part_of(page, r'href="data:application/toml;base64,([^"]*)"')).decode() == text
    assert 'download="script-script-alert-1-script-b-x-b-co.toml"' in page


def test_a_page_says_that_its_spec_holds_data_of_the_user(swept, tmp_path):
    sentence = "with the data of the user"
    spec = {
        "axes": {"architecture": "3-2-2", "seed": 0, "lam": [0.0, 1.0]},
        "dynamics": {"solver": "flow", "times": [0.0, 1.0]},
    }
    rng = np.random.default_rng(0)
    task = fl.Task(rng.standard_normal((3, 5)), rng.standard_normal((2, 5)), center=True)
    fl.run_sweep(spec, tmp_path / "own.zarr", task=task)
    assert sentence in page_of(tmp_path / "own.zarr", tmp_path)
    assert sentence not in page_of(swept, tmp_path)


def test_the_page_lists_the_versions_of_the_store(swept, tmp_path):
    rows = table(page_of(swept, tmp_path), "Made with")
    assert dict(rows[1:]) == json.loads(fl.open_sweep(swept).attrs["versions"])


def test_the_same_store_gives_the_same_bytes_and_no_name_of_anything_else(swept, tmp_path):
    first, second = page_of(swept, tmp_path), page_of(swept, tmp_path)
    assert first == second
    words = set(re.findall(r"[\w.-]+", re.sub(r"base64,[^\"]*|(?<=>)[A-Za-z0-9+/=]{9999,}", "", first)))
    assert not {str(swept), str(swept.parent), swept.parent.name} & words
    assert str(swept.parent) not in first
    assert socket.gethostname() not in words
    assert getpass.getuser() not in words - {"root"}
    models = inflated(first, "models")
    assert str(swept.parent) not in models


@pytest.mark.processes
def test_another_process_gives_the_same_bytes(swept, tmp_path):
    """Sets of texts have another order there."""
    line = f"import fastlin.sweeps.report as r; r.write({str(swept)!r}, {str(tmp_path / 'other.html')!r})"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", line], check=True, env=environment)
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == page_of(swept, tmp_path)


def test_a_page_loads_no_other_file_and_runs_the_scripts_of_fastlin_and_bokeh_only(partial, tmp_path):
    page = page_of(partial, tmp_path)
    assert not re.findall(
        r"https?:|//[\w.-]+\.\w+/|@import|url\(|<link rel=\"stylesheet|<(?:img|iframe|object)", page
    )
    policy = part_of(page, r'http-equiv="Content-Security-Policy" content="([^"]*)"')
    assert policy.startswith("default-src 'none'; img-src data:; ")
    (own,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [b64encode(sha256(text.encode()).digest()).decode() for text in (own, inflated(page, "bokeh"))]
    assert part_of(policy, "script-src (.*)$") == " ".join(f"'sha256-{digest}'" for digest in hashes)
    assert sweeping.MARKUP not in inflated(page, "models")
    assert "<script>alert" not in page
    assert "<" not in part_of(page, r'<script id="data" type="application/json">(.*?)</script>')
    assert "<b>" not in page
    assert f"<title>{sweeping.MARKUP}" not in page


def test_a_report_without_bokeh_names_the_command_that_installs_it(swept, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(fl.InputError) as error:
        write(str(swept), tmp_path / "page.html")
    assert str(error.value) == (
        "a report needs Bokeh: pip install 'bokeh>=3.9' (it is in fastlin's extra explore)"
    )
    assert not (tmp_path / "page.html").exists()


def test_a_page_about_36_architectures_is_below_2_megabytes(tmp_path, client):
    architectures = {"n_i": [2, 3, 4, 5], "n_h": [1, 2, 3], "n_o": [2, 3, 4]}
    spec = Spec.load("rich-lazy").to_dict()
    spec["axes"] |= {"architecture": architectures, "seed": [0, 1]}
    fl.run_sweep(spec, tmp_path / "s.zarr", client)
    page = page_of(tmp_path / "s.zarr", tmp_path)
    assert len(page.encode()) < 2_000_000
    shape = embedded(page)["quantities"][1]["mean"].sizes
    assert (shape["architecture"], shape["time"]) == (36, 22)
    assert 75 < shape["lam"] < 181


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("page.txt", "its ending must be one of .html, .htm"),
        ("folder.html", "is no web page"),
        ("no/p.html", "there is no folder"),
    ],
)
def test_a_file_that_cannot_be_is_refused(swept, tmp_path, name, message):
    (tmp_path / "folder.html").mkdir()
    for attempt in (check_file, lambda out: write(str(swept), out)):
        with pytest.raises(fl.InputError, match=message):
            attempt(tmp_path / name)


def test_missing_and_damaged_stores_are_one_line(tmp_path, client):
    with pytest.raises(fl.InputError, match="none"):
        write(str(tmp_path / "none.zarr"), tmp_path / "page.html")
    fl.run_sweep(sweeping.spec(), tmp_path / "s.zarr", client)
    chunk = next(Path(tmp_path, "s.zarr", "loss").glob("c.*"))
    content = bytearray(chunk.read_bytes())
    content[5] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(fl.InputError, match="damaged chunk"):
        write(str(tmp_path / "s.zarr"), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
