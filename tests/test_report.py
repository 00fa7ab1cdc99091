"""A store as one web page: its numbers are the store's, it loads nothing, and it works in a browser."""

import getpass
import json
import re
import socket
import tomllib
from base64 import b64decode
from hashlib import sha256
from html import unescape
from math import prod
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from fastlin.sweeps import presets
from fastlin.sweeps.choices import Choices
from fastlin.sweeps.progress import Silent
from fastlin.sweeps.report import check_file, numbers, tables, toml, write
from fastlin.sweeps.report.page import command
from fastlin.sweeps.running import run
from fastlin.sweeps.spec import Spec
from fastlin.sweeps.standing import standing
from tests import browser, sweeping

AXES = sweeping.spec()["axes"]
INF = float("inf")
MARKUP = '</script><script>alert(1)</script> <b>"x"</b> & co'
FLOAT32 = 1.2e-7  # relative, of rounding to it
# As a page spells numbers and weight scales.
SIGMA, MINUS, TIMES = "\u03c3", "\u2212", "\u00d7"
RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
VALUE = rf"([\d.]+(?: {TIMES} 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?)"


def page_of(store, folder):
    """Return the text of a store's page, which is left in `folder`."""
    write(str(store), folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def part_of(page, pattern):
    return re.search(pattern, page, re.DOTALL)[1]


def embedded(page):
    """Return what a page carries, its numbers as DataArrays along their own axes."""
    content = json.loads(part_of(page, r'<script id="data" type="application/json">(.*?)</script>'))
    for quantity in content["quantities"] if content else ():
        for key in ("mean", "std", "count"):
            if (part := quantity[key]) is not None:
                values = np.frombuffer(b64decode(part["data"]), "<f4").reshape(part["shape"])
                quantity[key] = xr.DataArray(values, dims=part["dims"])
    return content


def assert_holds(quantity, wanted):
    """Assert that a page has these numbers, rounded to float32."""
    for key, value in wanted.items():
        plain = value.drop_vars(list(value.coords))
        assert set(quantity[key].dims) <= set(plain.dims)
        here = quantity[key].broadcast_like(plain).transpose(*plain.dims)
        np.testing.assert_allclose(here, plain, rtol=FLOAT32, err_msg=f"{quantity['label']}, {key}")


def statistics(points):
    """Return by xarray what a page has of points (eager)."""
    known = points.where(points.status == "ok")
    return {"mean": known.mean("seed"), "std": known.std("seed", ddof=1), "count": known.count("seed")}


@pytest.fixture(scope="module")
def partial(tmp_path_factory, client):
    """A sweep with a wild name, of which 2 of 6 blocks are done."""
    path = tmp_path_factory.mktemp("partial") / "s.zarr"
    spec = Spec.from_dict(sweeping.spec(name=MARKUP))
    run(spec, path, client, Choices(only=frozenset({0, 3})), Silent())
    return path


@pytest.fixture(scope="module")
def diverging(tmp_path_factory, client):
    """Both methods at several rates, where some points of gradient descent diverge, with one weight scale."""
    axes = AXES | {"lam": {"start": -200.0, "stop": 200.0, "num": 9}, "init_scale": 1.0}
    dynamics = {
        "method": ["exact", "gradient_descent"],
        "learning_rate": [0.005, 0.02],
        "times": [0.0, 0.4, 4.0],
    }
    path = tmp_path_factory.mktemp("diverging") / "s.zarr"
    report = fl.run_sweep(sweeping.spec(axes=axes, dynamics=dynamics), path, client)
    assert report.diverged > 10
    return path


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
    assert "mean over 6 seeds, those that are ok" in page
    assert content["y"] == "time"


def test_numbers_of_a_reduced_store_are_those_of_the_points(tmp_path, client):
    reduce = {"observables": sweeping.spec()["output"]["observables"], "reduce": {"over": "seed"}}
    fl.run_sweep(sweeping.spec(), tmp_path / "plain.zarr", client)
    fl.run_sweep(sweeping.spec(output=reduce), tmp_path / "reduced.zarr", client)
    plain, reduced = (embedded(page_of(tmp_path / f"{name}.zarr", tmp_path)) for name in ("plain", "reduced"))
    for here, there in zip(plain["quantities"], reduced["quantities"], strict=True):
        for key in ("mean", "std", "count"):
            xr.testing.assert_allclose(here[key], there[key], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("statistics", "words"),
    [
        (["mean"], "this store holds no standard deviation"),
        (["min", "std"], "This store holds no mean over seeds, so nothing is drawn; it has min, std."),
    ],
)
def test_what_a_reduced_store_lacks_is_said(tmp_path, client, statistics, words):
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


def test_a_running_sweep_says_how_much_is_done_and_counts_that_alone(partial, tmp_path):
    page, dataset = page_of(partial, tmp_path), fl.open_sweep(partial).load()
    assert "33 % of the points are done." in page
    assert "60 of 180" in page
    content = embedded(page)
    for quantity, name in ((0, "loss"), (1, "kernel_distance")):
        assert_holds(content["quantities"][quantity], statistics(dataset[name]))
    assert np.isnan(content["quantities"][0]["mean"]).any()
    assert set(np.unique(content["quantities"][0]["count"])) == {0, 6}


def test_a_store_without_points_has_a_page(tmp_path, client):
    run(Spec.from_dict(sweeping.spec()), tmp_path / "s.zarr", client, Choices(only=frozenset()), Silent())
    page = page_of(tmp_path / "s.zarr", tmp_path)
    assert embedded(page) is None
    assert "0 % of the points are done." in page
    assert "No mean over seeds is there yet" in page


def table(page, heading):
    """Return the rows of the table below a heading."""
    rows = re.findall(r"<tr>(.*?)</tr>", part_of(page, rf"<h2>{heading}</h2>.*?<table>(.*?)</table>"))
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


@pytest.mark.parametrize("reduce", [None, {"over": "seed"}])
def test_points_are_counted_by_architecture(tmp_path, client, reduce):
    axes = AXES | {"architecture": [[4, 2, 4], [2, 2, 2]], "lam": [0.0, 400.0], "init_scale": 1.0}
    dynamics = {"method": ["exact", "gradient_descent"], "learning_rate": 0.01, "times": [0.0, 5.0]}
    output = {"observables": ["loss"], **({"reduce": reduce} if reduce else {})}
    fl.run_sweep(sweeping.spec(axes=axes, dynamics=dynamics, output=output), tmp_path / "s.zarr", client)
    counts = standing(tmp_path / "s.zarr")
    head, *rows, last = table(page_of(tmp_path / "s.zarr", tmp_path), "Points")
    assert head == ["architecture", "ok", "diverged", "failed", "pending", "points"]
    assert last == ["all", *(str(counts[key]) for key in head[1:])]
    assert rows == [
        ["bottleneck 4-2-4", "18", "6", "0", "0", "24"],
        ["square 2-2-2", "18", "6", "0", "0", "24"],
    ]


def test_a_table_of_very_many_architectures_is_cut_and_sums_up():
    shapes = [fl.Architecture(n, 2, 3) for n in range(1, 151)]
    points = np.arange(4 * 150).reshape(150, 4)
    rows = table(f"<h2>Points</h2>{tables.status(tables.Counts(shapes, points))}", "Points")[1:]
    assert [row[0] for row in rows[-3:]] == ["bottleneck 100-2-3", "50 more", "all"]
    values = np.array([[int(cell.replace(",", "")) for cell in row[1:]] for row in rows])
    assert (values[:-1].sum(axis=0) == values[-1]).all()
    assert (values[:, -1] == values[:, :-1].sum(axis=1)).all()
    assert values[-1].tolist() == [*points.sum(axis=0)[[1, 2, 3, 0]], points.sum()]


def test_a_store_that_grew_is_in_order(tmp_path, client):
    small = AXES | {"architecture": [[4, 2, 2], [3, 4, 3]], "lam": [-1.0, 2.0]}
    large = AXES | {
        "architecture": [[2, 3, 4], [3, 4, 3], [4, 2, 2]],
        "lam": [-1.0, 0.5, 2.0],
        "init_scale": [1.0, 0.5],
    }
    run(Spec.from_dict(sweeping.spec(axes=small)), tmp_path / "s.zarr", client, Choices(), Silent())
    spec = Spec.from_dict(sweeping.spec(axes=large))
    run(spec, tmp_path / "s.zarr", client, Choices(only=frozenset()), Silent())
    page, dataset = page_of(tmp_path / "s.zarr", tmp_path), fl.open_sweep(tmp_path / "s.zarr").load()
    content = embedded(page)
    assert content["axes"]["architecture"]["values"] == ["between 2-3-4", "wide 3-4-3", "funnel 4-2-2"]
    assert_holds(content["quantities"][0], statistics(dataset.loss))
    pending = [row[4] for row in table(page, "Points")[1:]]
    here = (dataset.status == "pending").sum(("init_scale", "seed", "lam")).values.tolist()
    assert pending == [str(number) for number in (*here, sum(here))]


def blank(sizes, times=None):
    """Return a dataset of a sweep's form and these sizes, of no values."""
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
def test_what_is_left_out_is_spread_evenly(shapes, scales, lams, times, limit):
    sizes = {"architecture": shapes, "init_scale": scales, "lam": lams, "time": len(times) + limit}
    dataset = blank(sizes, np.array([*times, INF] if limit else times))
    thin, said = numbers.thin(dataset)
    assert prod(thin.sizes.values()) * 3 * numbers.BYTES_PER_VALUE <= numbers.MOST_BYTES
    assert said == {name: (thin.sizes[name], size) for name, size in sizes.items() if thin.sizes[name] < size}
    for name in sizes:
        kept, there = thin[name].values, dataset[name].values
        assert (kept[0], kept[-1]) == (there[0], there[-1])
        if name == "time" and limit:
            kept, there = kept[:-1], there[:-1]
        if kept.size:
            assert kept[-1] == there[-1] or kept.size == 1
            steps = np.diff(np.searchsorted(there, kept))
            assert np.ptp(steps) <= 1 if steps.size else True
    if "lam" in said and "init_scale" in said:  # neither is short for the other's sake
        assert abs(thin.sizes["lam"] - thin.sizes["init_scale"]) <= 1


def test_a_page_that_was_thinned_says_so_and_has_the_rest_right(swept, tmp_path, monkeypatch):
    monkeypatch.setattr(numbers, "MOST_BYTES", 3 * 5 * numbers.BYTES_PER_VALUE * (3 * 2 * 3 * 3))
    page, dataset = page_of(swept, tmp_path), fl.open_sweep(swept).load()
    assert "To stay small this page shows 3 of 5 values of lam, 3 of 4 times; the store has all." in page
    content = embedded(page)
    assert content["axes"]["lam"]["values"] == [-4.0, 0.0, 4.0]
    assert content["axes"]["time"]["values"] == [0.0, 9.0, "Infinity"]
    assert_holds(content["quantities"][0], statistics(dataset.loss.isel(lam=[0, 2, 4], time=[0, 2, 3])))


SPECS = [
    *presets.names(),
    sweeping.spec(),
    sweeping.spec(dynamics=sweeping.BOTH | {"learning_rate": [0.009, 0.01]}),
    sweeping.spec(output={"observables": ["loss"], "durable": True, "reduce": {"quantiles": [0.1, 0.5]}}),
    sweeping.spec(
        output={"observables": ["loss"], "reduce": {"histogram": {"start": 0.0, "stop": 1.0, "num": 11}}}
    ),
    sweeping.spec(output={"observables": ["convergence_time"], "fraction": 0.9, "dtype": "float32"}),
    sweeping.spec(axes=AXES | {"lam": [1e-300, 1e-5, 1e22], "seed": [0, 2**40]}, dynamics={"times": [INF]}),
    sweeping.spec(axes=AXES | {"lam": np.geomspace(1, 7, 100).tolist()}),
]


@pytest.mark.parametrize("source", SPECS)
def test_the_spec_as_toml_is_the_same_spec(source, tmp_path):
    spec = Spec.load(source) if isinstance(source, str) else Spec.from_dict(source)
    text = toml.dumps(spec.to_dict())
    assert max(map(len, text.splitlines())) <= 110
    (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
    again = Spec.load(tmp_path / "spec.toml")
    assert again.hash == spec.hash
    assert again.to_dict() == spec.to_dict()


@given(st.text(min_size=1))
def test_any_name_goes_into_toml(name):
    assert tomllib.loads(toml.dumps({"name": name}))["name"] == name


@given(st.text(min_size=1))
def test_any_name_makes_a_command_that_a_shell_takes(name):
    line = command(Spec.from_dict(sweeping.spec(name=name)))
    assert re.fullmatch(r"fastlin run [\w.-]+\.toml --store [\w.-]+\.zarr", line, re.ASCII)
    assert not re.search(r" [.-](?!-store)", line)


def test_the_command_names_a_preset_only_where_it_is_that(tmp_path, client):
    content = Spec.load("bottleneck-width").to_dict()
    for seeds, spec in ((100, "bottleneck-width "), (2, "bottleneck-width.toml ")):
        content["axes"]["seed"] = {"start": 0, "num": seeds}
        path = tmp_path / f"{seeds}.zarr"
        run(Spec.from_dict(content), path, client, Choices(only=frozenset()), Silent())
        page = page_of(path, tmp_path)
        assert f"fastlin run {spec}--store bottleneck-width.zarr" in page


def test_the_spec_is_there_to_read_and_to_download(partial, tmp_path):
    page = page_of(partial, tmp_path)
    text = unescape(part_of(page, r'<pre id="spec"><code>(.*?)</code>'))
    spec = Spec.from_dict(tomllib.loads(text))
    assert spec.to_dict() == fl.open_sweep(partial).attrs["spec"]
    assert spec.hash in page
    assert b64decode(part_of(page, r'href="data:application/toml;base64,([^"]*)"')).decode() == text
    assert 'download="script-script-alert-1-script-b-x-b-co.toml"' in page


def test_the_page_says_what_the_store_was_made_with(swept, tmp_path):
    rows = table(page_of(swept, tmp_path), "Made with")
    assert dict(rows[1:]) == fl.open_sweep(swept).attrs["versions"]


def test_the_same_store_gives_the_same_bytes_and_no_name_of_anything_else(swept, tmp_path):
    first, second = page_of(swept, tmp_path), page_of(swept, tmp_path)
    assert first == second
    words = set(re.findall(r"[\w.-]+", re.sub(r"base64,[^\"]*", "", first)))
    assert not {str(swept), str(swept.parent), swept.parent.name} & words
    assert str(swept.parent) not in first
    assert socket.gethostname() not in words
    assert getpass.getuser() not in words - {"root"}


def test_nothing_of_a_page_is_elsewhere_and_only_its_own_script_may_run(partial, tmp_path):
    page = page_of(partial, tmp_path)
    assert not re.findall(
        r"https?:|//[\w.-]+\.\w+/|@import|url\(|<link rel=\"stylesheet|<(?:img|iframe|object)",
        page.replace("http://www.w3.org/2000/svg", ""),
    )
    policy = part_of(page, r'http-equiv="Content-Security-Policy" content="([^"]*)"')
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        (own,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashed = re.search(rf"{tag}-src 'sha256-([^']*)'", policy)[1]
        assert b64decode(hashed) == sha256(own.encode()).digest()
    assert "<script>alert" not in page
    assert "<" not in part_of(page, r'<script id="data" type="application/json">(.*?)</script>')
    assert "<b>" not in page
    assert f"<title>{MARKUP}" not in page


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


def test_no_store_and_a_damaged_one_are_one_line(tmp_path, client):
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


# ---- in a browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if absent := browser.missing():
        pytest.skip(f"no browser to drive: {absent} is not installed")
    with browser.running(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="module")
def pages(tmp_path_factory, swept, partial, diverging):
    folder = tmp_path_factory.mktemp("pages")
    for name, store in {"scales": swept, "partial": partial, "times": diverging}.items():
        write(str(store), folder / f"{name}.html")
    return folder


@pytest.fixture
def view(driver, pages):
    """Open a page by its name, in a window that is as wide as is asked for, in a scheme of colours."""

    def open_page(name, width=1100, scheme="light"):
        browser.resize(driver, width)
        browser.prefer(driver, scheme)
        page = browser.Page(driver)
        page.open((pages / f"{name}.html").as_uri())
        return page

    return open_page


@pytest.mark.processes
@pytest.mark.parametrize("name", ["scales", "partial", "times"])
def test_a_page_loads_without_a_fault_and_without_a_network(view, pages, name):
    page = view(name)
    assert page.faults() == []
    assert page.requests() == [(pages / f"{name}.html").as_uri()]
    assert page.count("#planes canvas") == 3


@pytest.mark.processes
def test_markup_in_a_name_is_text(view):
    page = view("partial")
    assert page.text("h1") == MARKUP
    assert page.driver.title == MARKUP
    assert page.count("h1 *") == 0
    assert page.count("script") == 2


@pytest.mark.processes
def test_the_slider_changes_the_picture_and_says_the_time(view):
    page = view("scales")
    before = page.pictures()
    assert page.text(".range:last-child output") == "t/τ = ∞"
    page.press("input[name=time]", "left", "left")
    page.wait(lambda: page.text(".range:last-child output") == "t/τ = 0.9")
    assert all(old != new for old, new in zip(before, page.pictures(), strict=True))
    assert page.text("#profile-title").endswith(f"{SIGMA} = 1, t/τ = 0.9")
    page.press("input[name=time]", "right", "right")
    page.wait(lambda: page.text(".range:last-child output") == "t/τ = ∞")
    assert page.pictures() == before


def number(text):
    """Return a number as a page spells it."""
    factor, _, power = text.replace(MINUS, "-").replace("∞", "inf").partition(f" {TIMES} 10")
    return float(factor) * 10.0 ** int(power.translate(RAISED) or 0)


def places(words):
    """Return where a place is, by the symbols of axes."""
    return {symbol: number(value) for symbol, value in re.findall(r"(\S+) = (\S+?)(?:,|$)", words)}


@pytest.mark.processes
@pytest.mark.parametrize("width", [1100, 380])
@pytest.mark.parametrize("touch", [False, True])
def test_a_cell_that_is_pointed_at_shows_the_numbers_of_the_store(view, swept, width, touch):
    page, dataset = view("scales", width), fl.open_sweep(swept).load()
    seen = set()
    for index, across, up in [(0, 0.02, 0.02), (1, 0.5, 0.9), (2, 0.98, 0.98), (2, 0.3, 0.1)]:
        name, value, where = page.point("#planes canvas", index, across, up, touch)
        assert name == ["funnel 4-2-2", "wide 3-4-3", "between 2-3-4"][index]
        at = places(where)
        assert set(at) == {"λ", SIGMA, "t/τ"}
        assert at["λ"] == dataset.lam.values[min(4, int(5 * across))]
        assert at[SIGMA] == dataset.init_scale.values[min(1, int(2 * up))]
        assert at["t/τ"] == INF
        points = dataset.kernel_distance.isel(architecture=index).sel(
            lam=at["λ"], init_scale=at[SIGMA], time=INF
        )
        mean, deviation, seeds = re.fullmatch(
            rf"kernel distance = {VALUE} ± {VALUE} \((\d+) seeds\)", value
        ).groups()
        assert number(mean) == pytest.approx(float(points.mean()), rel=1e-4)
        assert number(deviation) == pytest.approx(float(points.std(ddof=1)), rel=1e-2)
        assert int(seeds) == 6
        seen.add(value)
    assert len(seen) == 4


@pytest.mark.processes
def test_a_profile_that_is_pointed_at_shows_all_architectures(view, diverging):
    page, dataset = view("times"), fl.open_sweep(diverging).load()
    page.choose("method", "gradient descent")
    page.press("input[name=learning_rate]", "right")
    page.wait(lambda: "η = 0.02" in page.text("#profile-title"))
    head, *rows = page.point("#lines", 0, 0.02, 0.5)
    assert places(head.partition(" at ")[2].replace("gradient descent, ", "")) == {
        "λ": -200,
        "η": 0.02,
        SIGMA: 1,
        "t/τ": 4,
    }
    points = dataset.kernel_distance.sel(
        {"method": "gradient_descent", "learning_rate": 0.02, "lam": -200.0, "time": 4.0}
    )
    for row, shape in zip(rows, range(3), strict=True):
        one = points.isel(architecture=shape, init_scale=0)
        one = one.where(one.status == "ok")
        value = re.search(rf": (no value|{VALUE})", row)[1]
        assert f"({int(one.count())} of 6 seeds)" in row or int(one.count()) == 6
        if int(one.count()):
            assert number(value) == pytest.approx(float(one.mean()), rel=1e-4)
        else:
            assert value == "no value"


@pytest.mark.processes
def test_a_click_moves_the_mark_to_its_row(view):
    page = view("times")
    assert page.text(".range:last-child output") == "t/τ = 4"
    page.point("#planes canvas", 0, 0.5, 0.03, click=True)
    page.wait(lambda: page.text(".range:last-child output") == "t/τ = 0")
    assert page.text("#profile-title").endswith("t/τ = 0")


@pytest.mark.processes
def test_the_observable_is_a_choice(view, swept):
    page, dataset = view("scales"), fl.open_sweep(swept).load()
    before = page.pictures()
    page.choose("observable", "weight norms (W2)")
    page.wait(lambda: page.text("#profile-title").startswith("weight norms (W2) over"))
    assert all(old != new for old, new in zip(before, page.pictures(), strict=True))
    _, value, _ = page.point("#planes canvas", 1, 0.5, 0.9)
    points = dataset.weight_norms.sel(layer="w2", lam=0.0, init_scale=1.0, time=INF).isel(architecture=1)
    assert number(re.search(rf"= {VALUE} ±", value)[1]) == pytest.approx(float(points.mean()), rel=1e-4)


@pytest.mark.processes
def test_scales_are_a_choice(view):
    page = view("scales")
    page.press("input[name=time]", "left", "left")
    page.wait(lambda: "t/τ = 0.9" in page.text("#profile-title"))
    of_all, before = page.colours(), page.pictures()
    page.tick("same scale at all times")
    page.wait(lambda: page.colours() != of_all)
    (least, most), (low, high) = ([*map(number, re.findall(VALUE, it))] for it in (of_all, page.colours()))
    assert least <= low < high < most
    pictures = page.pictures()
    assert all(old != new for old, new in zip(before, pictures, strict=True))
    page.tick("logarithmic")
    page.wait(lambda: page.pictures()[-1] != pictures[-1])
    assert all(old != new for old, new in zip(pictures, page.pictures(), strict=True))


@pytest.mark.processes
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_light_and_dark(view, scheme):
    page = view("partial", scheme=scheme)
    texts = [
        "h1",
        ".lead",
        ".notice",
        ".note",
        "label",
        "output",
        "th",
        "td",
        "pre",
        "button",
        "footer",
        "#legend li",
    ]
    contrasts = {selector: page.contrast(selector) for selector in texts}
    assert min(contrasts.values()) > 4.5, contrasts
    assert page.contrast_of_canvas("#lines") > 4.5
    assert (page.luminance("body") < 0.1) == (scheme == "dark")


@pytest.mark.processes
def test_pictures_follow_the_scheme_at_once(view):
    page = view("scales")
    before = page.pictures()
    browser.prefer(page.driver, "dark")
    page.wait(lambda: page.pictures() != before)
    assert page.contrast_of_canvas("#lines") > 4.5


@pytest.mark.processes
@pytest.mark.parametrize("name", ["scales", "partial", "times"])
def test_a_telephone_scrolls_down_only(view, name):
    page = view(name, width=380)
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 380
    assert page.driver.execute_script(
        "return [...document.querySelectorAll('canvas')].every((c) => c.clientWidth > 300)"
    )


@pytest.mark.processes
def test_a_page_draws_as_sharply_as_the_screen(view):
    page = view("scales")
    browser.resize(page.driver, 1100, ratio=2)
    page.driver.get_screenshot_as_png()  # without a window there is no frame unless somebody looks
    page.wait(
        lambda: page.driver.execute_script(
            "const c = document.getElementById('lines'); return c.width === 2 * c.clientWidth"
        )
    )


@pytest.mark.processes
def test_the_download_runs(view, swept, tmp_path):
    page = view("scales")
    browser.download_to(page.driver, tmp_path)
    page.click("#download")
    page.wait(lambda: (tmp_path / "small.toml").exists())
    assert Spec.load(tmp_path / "small.toml").hash == fl.open_sweep(swept).attrs["spec_hash"]
    page.click("[data-copy=command]")
    page.wait(lambda: page.text("[data-copy=command]") in ("Copied", "Selected"))
