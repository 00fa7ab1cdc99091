"""The page of the explorer in a browser, its server, and the command that starts it."""

import asyncio
import json
import signal
import sys
import threading
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.explore import state
from tests import browser, commands
from tests.fault_injection import until

pytest.importorskip("bokeh", reason="no Bokeh: it is in fastlin's extra explore")
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

pytestmark = pytest.mark.processes

# JavaScript: the model of a name, and its view. BokehJS forgets the models of the diagram before later.
MODEL = """
const models = [...Bokeh.documents[0]._all_models.values()].filter(({ name }) => name === arguments[0]);
const model = models.at(-1);
"""
VIEW = f"{MODEL} const view = Bokeh.index.find_one(model);"
KEYS = {"left": "\ue012", "right": "\ue014", "home": "\ue011", "end": "\ue010"}


class ExplorerPage(browser.Page):
    """The page of the explorer."""

    def script(self, text, name):
        return self.driver.execute_script(text, name)

    def value(self, name):
        return self.script(f"{MODEL} return model.value", name)

    def text(self, name):
        return self.script(
            f"{VIEW} return view.shadow_el.querySelector('.bk-clearfix').textContent.trim()", name
        )

    def column(self, source, name):
        """Return a column of the data that a figure draws."""
        text = f"{MODEL} return [...model.get_column(arguments[1])].map((x) => x.length >= 0 ? [...x] : x)"
        return self.driver.execute_script(text, source, name)

    def slide(self, name, key, times=1):
        handle = self.script(f"{VIEW} return view.shadow_el.querySelector('.noUi-handle')", name)
        for _ in range(times):
            handle.send_keys(KEYS[key])

    def select(self, name, option):
        from selenium.webdriver.support.select import Select

        Select(self.script(f"{VIEW} return view.input_el", name)).select_by_visible_text(option)

    def tap(self, x, y):
        """Click at a place of the diagram."""
        from selenium.webdriver.common.action_chains import ActionBuilder

        at = self.driver.execute_script(
            f"""{VIEW}
            view.el.scrollIntoView({{ block: "center" }});
            const box = view.el.getBoundingClientRect();
            return [view.frame.x_scale.compute(arguments[1]) + box.left,
                    view.frame.y_scale.compute(arguments[2]) + box.top];""",
            "diagram",
            x,
            y,
        )
        actions = ActionBuilder(self.driver, duration=0)
        actions.pointer_action.move_to_location(*map(round, at)).pointer_down().pointer_up()
        actions.perform()

    def code(self):
        return self.script(f"{MODEL} return model.tags[0]", "code")

    def events(self):
        """Return the messages of the browser and the addresses of all requests since the last call."""
        log = self.driver.get_log("browser")
        faults = [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]
        sent = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [
            event["params"].get("request", event["params"])["url"]
            for event in sent
            if event["method"] in SENT
        ]
        return faults, urls


SENT = ("Network.requestWillBeSent", "Network.webSocketCreated")


@pytest.fixture(scope="module")
def explorers(swept):
    both = {"plain": fl.explore(), "store": fl.explore(swept)}
    yield both
    for explorer in both.values():
        explorer.close()


@pytest.fixture
def view(driver, explorers):
    """Open a page in a window of the given width and colour scheme."""

    def open_page(name="plain", width=1100, scheme="light"):
        browser.resize(driver, width)
        browser.prefer(driver, scheme)
        page = ExplorerPage(driver)
        page.open(explorers[name].address)
        idle = "return window.Bokeh?.documents[0]?.is_idle ?? false"
        page.wait(lambda: driver.execute_script(idle) and page.value("scheme") == scheme)
        return page

    return open_page


def drawn_by(code):
    names = {}
    exec(code, names)
    return names


def assert_drawn(page):
    """Check that the curves on the page are those of the lines of Python below them."""
    dataset = drawn_by(page.code())["ds"]
    inner = np.isfinite(dataset.time.values) & (dataset.time.values > 0)
    for source, name in [("loss", "loss"), ("distance", "kernel_distance"), ("modes", "mode_strengths")]:
        lines = np.array(page.column(f"{source}_lines", "ys"))
        np.testing.assert_array_equal(lines, np.atleast_2d(dataset[name].values[inner].T))


@pytest.mark.parametrize("name", ["plain", "store"])
@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (800, "light"), (1400, "dark")])
def test_a_page_loads_without_a_fault_and_from_loopback_alone(view, explorers, name, width, scheme):
    page = view(name, width, scheme)
    assert_drawn(page)
    faults, urls = page.events()
    assert faults == []
    address = explorers[name].address
    own = (address, address.replace("http", "ws"), "data:")
    assert [url for url in urls if not url.startswith(own)] == []
    assert any(url.startswith("ws:") for url in urls)
    size = "return [document.documentElement.scrollWidth, innerWidth]"
    scroll, inner = page.driver.execute_script(size)
    assert scroll <= inner == width
    dark = scheme == "dark"
    assert (page.luminance("main") < 0.1) is dark
    page.wait(lambda: (page.script(f"{MODEL} return model.title.text_color", "loss") > "#8") is dark)


def test_a_moved_slider_changes_the_network(view):
    page = view()
    before = page.column("loss_lines", "ys")
    page.slide("lam", "right", 5)
    page.wait(lambda: "lam=-0.5," in page.code())
    assert page.column("loss_lines", "ys") != before
    page.slide("n_h", "right", 2)
    page.slide("init_scale", "left", 2)
    page.slide("rate_ratio", "right", 4)
    page.wait(lambda: "init_scale=0.794" in page.code() and "learning_rates=(0.7955" in page.code())
    assert page.text("title") == "square network 4-4-4, closed form, at t/\u03c4 = 1"
    assert_drawn(page)
    image = np.array(page.script(f"{MODEL} return [...model.get_column('image')[0]]", "rsm_input"))
    names = drawn_by(page.code())
    rates = names["ds"].attrs["learning_rates"]
    there = fl.exact(names["task"], names["net"], [1.0], ["rsm_input"], learning_rates=rates)
    np.testing.assert_allclose(image, there.rsm_input.values.ravel(), rtol=1e-12)
    assert page.events()[0] == []


def test_the_time_moves_the_marks_and_the_matrices(view):
    page = view()
    image = "return [...Bokeh.documents[0].get_model_by_name('w1').get_column('image')[0]]"
    for key, at, words in [("end", 4.8, "\u221e"), ("home", -2.8, "0")]:
        before = page.driver.execute_script(image)
        page.slide("time", key)
        page.wait(lambda words=words: page.text("title").endswith(f"t/\u03c4 = {words}"))
        assert page.column("loss_marks", "x") == [at]
        assert page.driver.execute_script(image) != before
    dataset = drawn_by(page.code())["ds"]
    assert page.column("loss_marks", "y") == [dataset.loss.values[0]]
    singular = np.linalg.svd(drawn_by(page.code())["task"].sigma_yx)[1]
    singular[2:] = 0.0  # of a network with two hidden units
    np.testing.assert_allclose(page.column("modes_targets", "y"), singular, rtol=1e-12, atol=1e-12)


def test_raw_starts_and_other_tasks_are_chosen(view):
    page = view()
    page.select("start", "lecun")
    page.wait(lambda: "fl.flow" in page.code())
    assert_drawn(page)
    assert "gradient flow" in page.text("title")
    assert "not balanced" in page.text("notes")
    assert page.script(f"{MODEL} return model.disabled", "lam")
    page.select("task", "hierarchy")
    page.wait(lambda: "fl.hierarchy(levels=2)" in page.code())
    assert_drawn(page)


def test_a_network_that_does_not_exist_is_a_line_on_the_page(view):
    page = view()
    before = page.column("loss_lines", "ys")
    page.slide("kappa", "right")
    page.wait(lambda: page.text("message").startswith("Not drawn: "))
    assert "N_h" in page.text("message")
    assert page.column("loss_lines", "ys") == before
    page.slide("n_h", "right", 6)
    page.wait(lambda: page.text("message") == "" and "8, 4)" in page.code())
    assert "kappa=0.1" in page.code()
    assert_drawn(page)


def test_the_page_goes_on_after_an_internal_error(view, monkeypatch):
    page, real = view(), state.picture

    def broken(source, moment):
        raise RuntimeError("broken")

    monkeypatch.setattr(state, "picture", broken)
    page.slide("seed", "right")
    page.wait(lambda: page.text("message").endswith("please report it: RuntimeError: broken."))
    monkeypatch.setattr(state, "picture", real)
    page.slide("seed", "right")
    page.wait(lambda: "seed=2" in page.code())
    assert page.text("message") == ""


def test_moves_that_are_superseded_are_dropped(view, monkeypatch):
    page, calls, real = view(), [], state.picture

    def slow(source, moment):
        calls.append(source)
        time.sleep(0.6)
        return real(source, moment)

    monkeypatch.setattr(state, "picture", slow)
    page.slide("seed", "right", 8)
    page.wait(lambda: page.text("message").startswith("Computing."))
    page.wait(lambda: "seed=8" in page.code())
    assert page.text("message") == ""
    assert len(calls) < 8
    assert_drawn(page)


def test_a_page_of_a_store_opens_with_a_point_of_it(view):
    page = view("store")
    call = 'task, net = fl.rebuild(ds, architecture="4-2-2", init_scale=1.0, lam=0.0, seed=0)'
    assert page.text("call") == call
    assert page.text("title").endswith("of the store, closed form, at t/\u03c4 = 0.9")
    assert page.value("task") == "store: small"
    (marked,) = page.script(f"{MODEL} return model.selected.indices", "cells")
    assert (page.column("cells", "x")[marked], page.column("cells", "y")[marked]) == (0.0, 0.9)
    assert_drawn(page)
    page.slide("lam", "right")
    page.wait(lambda: "balanced_init(arch, lam=0.1" in page.code())
    assert page.value("task") == "random regression"
    assert page.script(f"{MODEL} return model.selected.indices", "cells") == []
    page.tap(2.0, 9.0)
    page.wait(lambda: page.value("task") == "store: small")
    page.select("task", "hierarchy")
    page.wait(lambda: page.text("message").startswith("Not drawn: a hierarchy"))
    assert page.script(f"{MODEL} return model.options", "task") == ["random regression", "hierarchy"]


def test_axes_fit_what_is_drawn(view):
    page = view()
    end = f"{MODEL} return model.x_range.end"
    assert page.script(end, "loss") == pytest.approx(4.95)
    page.select("start", "torch")
    page.slide("init_scale", "right", 20)
    page.wait(lambda: "fl.flow" in page.code() and "init_scale=10.0" in page.code())
    times, loss = (drawn_by(page.code())["ds"][name].values for name in ("time", "loss"))
    page.wait(lambda: page.script(end, "loss") == pytest.approx(np.log10(times[-1]) + 0.15))
    scale = f"{MODEL} return [model.y_scale.type, model.y_range.start, model.y_range.end]"
    kind, low, high = page.script(scale, "loss")
    assert loss.min() * 10.0 < loss.max()
    assert (kind, high) == ("LogScale", pytest.approx(1.3 * loss.max()))
    assert 0.0 < low < loss.min()
    assert page.events()[0] == []


def test_words_of_levels_do_not_meet_the_mark_of_time(view):
    page = view()
    side = f"{MODEL} return model.center.filter(({{ type }}) => type === 'Label').map((l) => l.text_align)"
    for key, wanted in [("end", "left"), ("home", "right")]:
        page.slide("time", key)
        page.wait(lambda wanted=wanted: page.script(side, "distance") == [wanted] * 2)


def test_the_time_stays_in_sight_on_a_phone(view):
    page = view("store", 400)
    script = """
    document.querySelector('.matrices').scrollIntoView();
    const { top, bottom } = document.querySelector('.time').getBoundingClientRect();
    return [top, bottom, innerHeight];
    """
    top, bottom, height = page.driver.execute_script(script)
    assert 0 <= top < bottom < height


def test_a_click_in_a_diagram_shows_the_network_behind_the_point(view, swept):
    page, dataset = view("store"), fl.open_sweep(swept)
    assert page.text("caption") == "mean over seeds; lines: lazy below 0.05 (dashed), rich from 0.15 (solid)"
    page.slide("seed", "right", 2)
    page.tap(2.0, 9.0)
    call = 'task, net = fl.rebuild(ds, architecture="4-2-2", init_scale=1.0, lam=2.0, seed=2)'
    page.wait(lambda: page.text("call") == call)
    assert_drawn(page)
    task, net = fl.rebuild(dataset, architecture="4-2-2", init_scale=1.0, lam=2.0, seed=2)
    exact = fl.exact(task, net, [9.0])
    assert page.column("loss_marks", "y") == pytest.approx(exact.loss.values, rel=1e-12)
    shown = {name: page.value(name) for name in ("lam", "n_i", "n_h", "n_o", "seed", "init_scale")}
    assert shown == {"lam": 2.0, "n_i": 4, "n_h": 2, "n_o": 2, "seed": 2, "init_scale": 0.0}
    page.slide("time", "end")
    page.wait(lambda: page.text("title").endswith("\u221e"))
    assert page.text("call") == call
    page.slide("seed", "right")
    page.wait(lambda: "seed=3" in page.text("call"))
    page.slide("lam", "right")
    page.wait(lambda: "balanced_init(arch, lam=2.1" in page.code())
    assert "rebuild" not in page.text("call")
    assert "n_samples=8, target_scale=1.5" in page.code()
    assert page.script(f"{MODEL} return model.selected.indices", "cells") == []
    assert page.events()[0] == []


def test_a_diagram_shows_other_observables_over_other_axes(view):
    page = view("store")
    page.select("observable", "weight norms w1")
    page.wait(lambda: page.script(f"{MODEL} return model.title.text", "diagram").endswith("weight norms w1"))
    page.select("y", "weight scale \u03c3")
    page.wait(lambda: set(page.column("cells", "y")) == {0.5, 1.0})
    page.select("at_architecture", "2-3-4")
    page.tap(-4.0, 0.5)
    page.wait(lambda: 'architecture="2-3-4", time' not in page.text("call") and "2-3-4" in page.text("call"))
    assert "init_scale=0.5" in page.text("call")
    assert_drawn(page)


def test_a_frame_of_a_notebook_shows_the_page(driver, explorers, tmp_path):
    (tmp_path / "notebook.html").write_text(explorers["plain"]._repr_html_())
    page = ExplorerPage(driver)
    page.open((tmp_path / "notebook.html").as_uri())
    driver.switch_to.frame(0)
    idle = "return window.Bokeh?.documents[0]?.is_idle ?? false"
    page.wait(lambda: driver.execute_script(idle))
    page.slide("lam", "right")
    page.wait(lambda: "lam=-0.9" in page.code())
    driver.switch_to.default_content()


# The server


def status(address):
    try:
        with urlopen(address) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def test_requests_without_the_token_are_refused(explorers):
    address = explorers["plain"].address
    port = address.split(":")[2].split("/")[0]
    assert status(address) == 200
    assert status(f"{address}static/js/bokeh.min.js") == 200
    root = f"http://127.0.0.1:{port}/"
    for path in ("", "wrong/", "ws", "wrong/ws", "static/js/bokeh.min.js", "autoload.js", "metadata"):
        assert status(root + path) == 403, path
    assert status(address[:-2] + "x/") == 403


@pytest.mark.parametrize(
    ("path", "origin"), [("wrong/ws", "http://127.0.0.1"), ("ws", None), ("TOKEN/ws", "http://example.org")]
)
def test_websockets_need_the_token_and_a_page_of_loopback(explorers, path, origin):
    host, _, token = explorers["plain"].address.removeprefix("http://").rstrip("/").partition("/")
    headers = {} if origin is None else {"Origin": origin}
    request = HTTPRequest(f"ws://{host}/{path.replace('TOKEN', token)}", headers=headers)

    async def connect():
        await websocket_connect(request)

    with pytest.raises(HTTPClientError, match="403"):
        asyncio.run(connect())


def test_addresses_differ_and_are_of_loopback(explorers):
    tokens = {explorer.address.rstrip("/").rpartition("/")[2] for explorer in explorers.values()}
    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 40
    assert all(explorer.address.startswith("http://127.0.0.1:") for explorer in explorers.values())


def test_a_closed_explorer_leaves_no_thread():
    before = set(threading.enumerate())
    explorer = fl.explore()
    assert status(explorer.address) == 200
    explorer.close()
    explorer.close()
    assert {thread for thread in threading.enumerate() if "explore" in thread.name} <= before
    with pytest.raises(URLError):
        urlopen(explorer.address)
    assert "(closed)" in repr(explorer)
    assert "<iframe" not in explorer._repr_html_()


def test_a_server_that_cannot_start_says_why(monkeypatch):
    def start(_server):
        raise OSError("no more files can be opened")

    monkeypatch.setattr("bokeh.server.server.BaseServer.start", start)
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="no more files can be opened"):
        fl.explore()
    assert {thread for thread in threading.enumerate() if "explore" in thread.name} <= before


def test_bad_arguments_are_refused_before_anything_runs(explorers, tmp_path):
    port = int(explorers["plain"].address.split(":")[2].split("/")[0])
    threads = threading.active_count()
    with pytest.raises(fl.InputError, match=f"port {port} is taken"):
        fl.explore(port=port)
    with pytest.raises(fl.InputError, match="port is 0; allowed is 1 to 65535"):
        fl.explore(port=0)
    with pytest.raises(fl.InputError, match="there is no store"):
        fl.explore(tmp_path / "none")
    assert threading.active_count() == threads


def test_bokeh_that_is_missing_is_one_line(monkeypatch, command_line):
    monkeypatch.setitem(sys.modules, "bokeh.server.tornado", None)
    code, out, err = command_line("explore", "--no-browser")
    assert (code, out) == (2, "")
    assert (
        err
        == "fastlin: the explorer needs Bokeh: pip install 'bokeh>=3.9' (it is in fastlin's extra explore)\n"
    )


def hear_interrupts():
    """Have Ctrl-C raise, as it does in a terminal."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_the_command_prints_the_address_and_ends_by_ctrl_c(swept):
    arguments = ("explore", swept, "--no-browser", "--json")
    with commands.command(*arguments, patches=[hear_interrupts]) as running:
        out = Path(running._folder, "out")
        until(lambda: not running.running or (out.exists() and "}" in out.read_text()))
        address = json.loads(out.read_text())["address"]
        assert status(address) == 200
        running.send(signal.SIGINT)
        done = running.end()
    assert (done.code, done.err) == (130, "fastlin: stopped\n")
    with pytest.raises(URLError):
        urlopen(address)


def test_the_command_opens_a_browser(monkeypatch, command_line):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("fastlin.sweeps.explore.server.Explorer.wait", lambda explorer: None)
    code, out, err = command_line("explore")
    assert (code, err) == (0, "")
    assert out == f"page: {opened[0]}\n"


def test_the_command_explains_a_port_that_is_taken(explorers, command_line):
    port = explorers["plain"].address.split(":")[2].split("/")[0]
    code, out, err = command_line("explore", "--port", port)
    assert (code, out) == (2, "")
    assert err == f"fastlin: port {port} is taken; choose another, or none for a free one\n"
