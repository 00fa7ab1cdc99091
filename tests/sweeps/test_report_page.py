"""The page of a store in a browser: controls, tooltips, and legibility in light, dark and narrow windows."""

import csv
import re

import contourpy
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import fastlin as fl
from fastlin.sweeps.report import write
from fastlin.sweeps.spec.spec import Spec
from tests import browser, sweeping

pytestmark = pytest.mark.processes

INF = float("inf")
# The symbols and numbers of a page.
SIGMA, MINUS, TIMES = "\u03c3", "\u2212", "\u00d7"
RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
VALUE = rf"([\d.]+(?: {TIMES} 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?)"


@pytest.fixture(scope="module")
def pages(tmp_path_factory, swept, partial, diverging):
    folder = tmp_path_factory.mktemp("pages")
    for name, store in {"scales": swept, "partial": partial, "times": diverging}.items():
        write(str(store), folder / f"{name}.html")
    return folder


STYLES = {
    "sized": ([], fl.plot.Style(size=(4, 3))),
    "wide": ([], fl.plot.Style(size=(14, 2))),
    "lazy": (["time=0.9", "lam=-4", "init_scale=0.5", "architecture=3-4-3"], fl.plot.Style()),
    "start": (["time=0"], fl.plot.Style()),
}


@pytest.fixture(scope="module")
def parts(pages, swept):
    """Pages of other sizes and of parts of a store, beside the others."""
    for name, (select, style) in STYLES.items():
        write(str(swept), pages / f"{name}.html", select, style)


@pytest.fixture
def view(driver, pages):
    """Open a page by its name, in a window of the given width and colour scheme."""

    def open_page(name, width=1100, scheme="light", ratio=1):
        browser.resize(driver, width, ratio=ratio)
        browser.prefer(driver, scheme)
        page = browser.ReportPage(driver)
        page.open((pages / f"{name}.html").as_uri())
        return page

    return open_page


@pytest.mark.parametrize("name", ["scales", "partial", "times"])
def test_a_page_loads_without_a_fault_and_without_a_network(view, pages, name):
    page = view(name)
    assert page.faults() == []
    assert page.requests() == [(pages / f"{name}.html").as_uri()]
    assert page.count("#planes .diagram") == 3


def test_a_page_without_diagrams_loads_without_a_fault(driver, tmp_path, client):
    content = sweeping.spec(output={"observables": ["loss"], "reduce": {"statistics": ["min"]}})
    fl.run_sweep(content, tmp_path / "s.zarr", client)
    write(str(tmp_path / "s.zarr"), tmp_path / "page.html")
    page = browser.ReportPage(driver)
    page.open((tmp_path / "page.html").as_uri())
    assert page.faults() == []
    assert not page.find("#diagrams").is_displayed()


def test_markup_in_a_name_is_shown_as_text(view):
    page = view("partial")
    assert page.text("h1") == sweeping.MARKUP
    assert page.driver.title == sweeping.MARKUP
    assert page.count("h1 *") == 0
    assert page.count("body script") == 4


def test_the_slider_changes_the_picture_and_the_time(view):
    page = view("scales")
    before = page.pictures()
    assert page.text(".range:last-child output") == "t/τ = ∞"
    page.press("input[name=time]", "left", "left")
    page.wait(lambda: page.text(".range:last-child output") == "t/τ = 0.9")
    page.wait_for_pictures(before)
    assert page.text("#profile-title").endswith(f"{SIGMA} = 1, t/τ = 0.9")
    page.press("input[name=time]", "right", "right")
    page.wait(lambda: page.text(".range:last-child output") == "t/τ = ∞")
    page.wait(lambda: page.pictures() == before)


def number(text):
    """Return the number that a text of the page shows."""
    factor, _, power = text.replace(MINUS, "-").replace("∞", "inf").partition(f" {TIMES} 10")
    return float(factor) * 10.0 ** int(power.translate(RAISED) or 0)


def places(words):
    """Return the values of a place by the symbols of its axes."""
    return {symbol: number(value) for symbol, value in re.findall(r"(\S+) = (\S+?)(?:,|$)", words)}


@pytest.mark.parametrize("width", [1100, 380])
@pytest.mark.parametrize("touch", [False, True])
def test_a_cell_that_is_pointed_at_shows_the_numbers_of_the_store(view, swept, width, touch):
    page, dataset = view("scales", width), fl.open_sweep(swept).load()
    seen = set()
    for index, across, up in [(0, 0.02, 0.02), (1, 0.5, 0.9), (2, 0.98, 0.98), (2, 0.3, 0.1)]:
        name, value, where = page.point("#planes .diagram", index, across, up, touch)
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


def test_a_profile_that_is_pointed_at_shows_all_architectures(view, diverging):
    page, dataset = view("times"), fl.open_sweep(diverging).load()
    page.choose("solver", "gradient descent")
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
        {"solver": "gradient_descent", "learning_rate": 0.02, "lam": -200.0, "time": 4.0}
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


def test_a_click_moves_the_mark_to_its_row(view):
    page = view("times")
    assert page.text(".range:last-child output") == "t/τ = 4"
    page.point("#planes .diagram", 0, 0.5, 0.01, click=True)
    page.wait(lambda: page.text(".range:last-child output") == "t/τ = 0")
    assert page.text("#profile-title").endswith("t/τ = 0")


def test_the_observable_is_a_choice(view, swept):
    page, dataset = view("scales"), fl.open_sweep(swept).load()
    before = page.pictures()
    page.choose("observable", "weight norms (W2)")
    page.wait(lambda: page.text("#profile-title").startswith("weight norms (W2) over"))
    page.wait_for_pictures(before)
    _, value, _ = page.point("#planes .diagram", 1, 0.5, 0.9)
    points = dataset.weight_norms.sel(layer="w2", lam=0.0, init_scale=1.0, time=INF).isel(architecture=1)
    assert number(re.search(rf"= {VALUE} ±", value)[1]) == pytest.approx(float(points.mean()), rel=1e-4)


def test_scales_are_a_choice(view):
    page = view("scales")
    page.press("input[name=time]", "left", "left")
    page.wait(lambda: "t/τ = 0.9" in page.text("#profile-title"))
    of_all, before = page.colours(), page.pictures()
    page.tick("same scale at all times")
    page.wait(lambda: page.colours() != of_all)
    (least, most), (low, high) = (
        [*map(number, re.findall(VALUE, label))] for label in (of_all, page.colours())
    )
    assert least <= low < high < most
    pictures = page.wait_for_pictures(before)
    page.tick("logarithmic")
    page.wait_for_pictures(pictures)
    low, high = (page.value("mapper", end) for end in ("low", "high"))
    assert (10**low, 10**high) == pytest.approx([*map(number, re.findall(VALUE, page.colours()))], rel=1e-4)
    script = "return named.cells.map(({ data }) => data.image[0].reduce((a, b) => Math.max(a, b)))"
    assert low < max(page.driver.execute_script(script)) <= high  # a larger number would be transparent


def contrast_of_axes(page):
    """Return the least contrast of the texts at axes to the page behind them."""
    kinds = ("axis_label_text_color", "major_label_text_color")
    axes = [axis for name in ("x", "y", "height", "colours") for axis in page.models(f"{name}-axis", *kinds)]
    return min(page.contrast_with_page(axis[kind]) for axis in axes for kind in kinds)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark(view, scheme):
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
    assert contrast_of_axes(page) > 4.5
    assert (page.luminance("body") < 0.1) == (scheme == "dark")


def test_pictures_follow_the_scheme_at_once(view):
    page = view("scales")
    before = page.pictures()
    light = contrast_of_axes(page)
    browser.prefer(page.driver, "dark")
    page.wait_for_pictures(before)
    assert min(light, contrast_of_axes(page)) > 4.5


@pytest.mark.parametrize("name", ["scales", "partial", "times"])
def test_a_narrow_page_scrolls_vertically_only(view, name):
    page = view(name, width=380)
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 380
    assert page.driver.execute_script(
        "return [...document.querySelectorAll('.diagram')].every((node) => node.clientWidth > 300)"
    )


def test_a_page_draws_as_sharply_as_the_screen(view):
    page = view("scales", ratio=2)
    script = "return views.get(named.lines[0]).export('png').canvas.width / byId('lines').clientWidth"
    assert page.driver.execute_script(script) == 2


def test_the_download_runs(view, swept, tmp_path):
    page = view("scales")
    page.download("#download", tmp_path / "small.toml")
    assert Spec.load(tmp_path / "small.toml").hash == fl.open_sweep(swept).attrs["spec_hash"]
    page.click("[data-copy=command]")
    page.wait(lambda: page.text("[data-copy=command]") in ("Copied", "Selected"))


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize(
    ("name", "window", "size"),
    [("sized", 1100, (384, 288)), ("wide", 1500, (1344, 192)), ("sized", 380, (348, 288))],
)
def test_diagrams_are_as_wide_and_as_high_as_is_asked_for(view, name, window, size):
    page = view(name, width=window)
    for index in range(page.count("#planes .diagram")):
        canvas = page.find("#planes .diagram", index)
        assert (canvas.size["width"], canvas.size["height"]) == size


@pytest.mark.usefixtures("parts")
def test_only_borders_that_are_drawn_are_named(view, swept):
    lines = "Lines: lazy below 0.05 (dashed), rich from 0.15 (solid)."
    page, distance = view("scales"), fl.open_sweep(swept).kernel_distance.load()
    assert page.text("#about").endswith(lines)
    page.choose("observable", "loss")
    page.wait(lambda: page.text("#about").startswith("Loss"))
    assert "Lines" not in page.text("#about")
    lazy = distance.sel(time=0.9, lam=-4.0, init_scale=0.5).isel(architecture=1)
    assert lazy.mean() + lazy.std() < 0.05
    assert "Lines" not in view("lazy").text("#about")


@pytest.mark.usefixtures("parts")
def test_rounding_errors_have_one_colour(view):
    page = view("start")
    assert page.colours() == "colours: kernel distance from 0 to 0"
    script = "const f = ({ lam }) => 5 * (1 + lam * arguments[0]); return range(['lam'], f, f)"
    least, most = page.driver.execute_script(script, 2.0**-24)  # a step of a float32 for each two lam
    assert least == most
    least, most = page.driver.execute_script(script, 2.0**-20)
    assert least < most


def extent(page, name):
    """Return the ends of a range that all diagrams share."""
    return np.array([page.value(name, "start"), page.value(name, "end")])


def test_a_drag_zooms_all_diagrams_and_tools_pan_and_reset(view):
    page = view("scales")
    whole, before = (extent(page, "x"), extent(page, "y")), page.pictures()
    page.drag("#planes .diagram", 1, (0.2, 0.2), (0.7, 0.8))
    page.wait(lambda: (extent(page, "x") != whole[0]).all())
    zoomed = page.wait_for_pictures(before)  # also the lines
    for name, (low, high), fractions in zip("xy", whole, [(0.2, 0.7), (0.2, 0.8)], strict=True):
        assert extent(page, name) == pytest.approx(
            [low + part * (high - low) for part in fractions], rel=0.03
        )
    left, right = extent(page, "x")
    page.use_tool("PanTool")
    page.drag("#planes .diagram", 0, (0.2, 0.5), (0.5, 0.5))
    page.wait_for_pictures(zoomed)
    moved = extent(page, "x") - (left, right)
    assert moved == pytest.approx(np.full(2, 0.3 * (left - right)), rel=0.1)
    page.use_tool("ResetTool")
    page.wait(lambda: (extent(page, "x") == whole[0]).all() and (extent(page, "y") == whole[1]).all())
    page.use_tool("WheelZoomTool")
    page.wheel("#planes .diagram", 0)
    page.wait(lambda: np.ptp(extent(page, "x")) < np.ptp(whole[0]))


def test_a_zoom_stays_when_another_time_is_chosen(view):
    page = view("scales")
    page.drag("#planes .diagram", 1, (0.2, 0.2), (0.7, 0.8))
    page.wait(lambda: extent(page, "x")[0] > -4.5)
    zoomed, before = extent(page, "x"), page.pictures()
    page.press("input[name=time]", "left")
    page.wait_for_pictures(before)
    assert (extent(page, "x") == zoomed).all()


def test_the_crosshair_is_in_all_diagrams(view):
    page = view("scales")
    before = page.pictures()
    page.point("#planes .diagram", 0, 0.3, 0.7)
    page.wait_for_pictures(before)  # of three architectures, and the lines


def test_contours_are_those_of_another_library(view):
    page, random = view("scales"), np.random.default_rng(0)
    for shape in ((5, 7), (12, 9), (2, 2)):
        values = random.normal(size=shape).astype(np.float32)
        y, x = (np.sort(random.uniform(size=size)) for size in shape)
        lines = page.driver.execute_script(
            "return contour(...arguments)", x.tolist(), y.tolist(), values.tolist(), 0.1
        )
        expected = contourpy.contour_generator(x, y, values.astype(float), quad_as_tri=False).lines(0.1)
        corners, known = (np.unique(np.concatenate(group).round(9), axis=0) for group in (lines, expected))
        np.testing.assert_allclose(corners, known, rtol=1e-6)
        assert sorted(map(len, lines)) == sorted(map(len, expected))


def test_borders_run_where_the_mean_is_at_the_threshold(view, diverging):
    page, points = view("times"), fl.open_sweep(diverging).load()
    chosen = points.sel(solver="exact").isel(learning_rate=0, init_scale=0)
    mean = chosen.kernel_distance.where(chosen.status == "ok").mean("seed")
    seen = 0
    for architecture in range(3):
        columns = page.columns("borders", architecture)
        for xs, ys, dash in zip(columns["xs"], columns["ys"], columns["line_dash"], strict=True):
            at = mean.isel(architecture=architecture).interp(
                lam=xr.DataArray(xs, dims="n"), time=xr.DataArray(ys, dims="n")
            )
            level = {"dashed": 0.05, "solid": 0.15}[dash]
            np.testing.assert_allclose(at, level, rtol=1e-4)
            seen += len(xs)
    assert seen > 10


def test_regimes_are_named_where_they_are(view, swept):
    page, dataset = view("scales"), fl.open_sweep(swept).load()
    mean = dataset.kernel_distance.sel(time=INF).mean("seed")
    names = set()
    for architecture in range(3):
        words = page.columns("words", architecture)
        for lam, scale, name in zip(words["x"], words["y"], words["text"], strict=True):
            value = float(
                mean.isel(architecture=architecture).sel(lam=lam, init_scale=scale, method="nearest")
            )
            assert value < 0.05 if name == "lazy" else value >= 0.15
            names.add(name)
    assert names == {"lazy", "rich"}


def test_axes_are_a_choice(view, swept):
    page, dataset = view("scales"), fl.open_sweep(swept).load()
    page.choose("y axis", "time t/τ")
    page.wait(lambda: page.models("y-axis", "axis_label")[0] == {"axis_label": "time t/τ"})
    _, value, where = page.point("#planes .diagram", 1, 0.5, 0.99)  # in the strip of t = inf
    at = places(where)
    assert (at["λ"], at["t/τ"]) == (0, INF)
    points = dataset.kernel_distance.sel(lam=0, time=INF, init_scale=at[SIGMA]).isel(architecture=1)
    assert number(re.search(rf"= {VALUE} ±", value)[1]) == pytest.approx(float(points.mean()), rel=1e-4)
    page.choose("x axis", "time t/τ")  # the axes change places
    page.wait(lambda: "over time t/τ" in page.text("#profile-title"))
    assert page.driver.execute_script("return [data.x, data.y]") == ["time", "lam"]
    assert not page.find("input[name=time]").is_displayed()


def test_architectures_are_found_by_parts_of_their_names(view):
    page = view("scales")
    page.write("architectures", "3-4-3, funnel")
    page.wait(lambda: not page.find("#figure-2").is_displayed())
    shown = [node.text for node in page.driver.find_elements("css selector", "#planes h3") if node.text]
    assert shown == ["funnel 4-2-2", "wide 3-4-3", "between 2-3-4"][:2]
    assert len(page.columns("strokes", 0)["xs"]) == 2


def test_numbers_are_saved_as_csv(view, swept, tmp_path):
    page, dataset = view("scales"), fl.open_sweep(swept).load()
    page.press("input[name=time]", "left")
    page.wait(lambda: "t/τ = 9" in page.text("#profile-title"))
    path = tmp_path / "small-kernel-distance.csv"
    page.download("#numbers", path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 5
    for row in rows:
        at = {name: float(row[name]) for name in ("init_scale", "lam", "time")}
        points = dataset.kernel_distance.sel(architecture=row["architecture"].split()[-1], **at)
        assert float(row["mean"]) == pytest.approx(float(points.mean()), rel=1e-6)
        assert float(row["std"]) == pytest.approx(float(points.std(ddof=1)), rel=1e-6)
        assert (row["time"], row["seeds"]) == ("9", "6")


def test_diagrams_are_saved_as_a_picture(view, tmp_path):
    page = view("scales", ratio=2)
    path = tmp_path / "small-kernel-distance.png"
    page.download("#picture", path)
    picture = plt.imread(path)
    drawn, scale = page.find("#drawn"), page.find("#scale")
    height = drawn.location["y"] + drawn.size["height"] - scale.location["y"]
    assert picture.shape[:2] == (
        pytest.approx(2 * height, abs=4),
        pytest.approx(2 * drawn.size["width"], abs=4),
    )
    colours = np.unique(picture[::4, ::4, :3].reshape(-1, 3), axis=0)
    assert len(colours) > 20
