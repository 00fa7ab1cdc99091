"""The document of the page: controls, figures, and the flow from a move of a control to what is drawn."""

from __future__ import annotations

import asyncio
import html
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.resources import files
from typing import Any

from bokeh.document import Document, without_document_lock
from bokeh.events import DocumentReady
from bokeh.layouts import column
from bokeh.models import (
    Button,
    Column,
    CustomJS,
    CustomJSTickFormatter,
    Div,
    Select,
    Slider,
    TextInput,
)
from jinja2 import Template

from fastlin.errors import InputError
from fastlin.plot import captions, screen
from fastlin.plot.screen import words
from fastlin.sweeps.explore import state, views
from fastlin.sweeps.explore.diagram import Cells, StorePoint, Sweep, View, central
from fastlin.sweeps.explore.look import LOOKS, theme
from fastlin.sweeps.explore.state import BALANCED, FIRST, LAST, Choice, Picture, Source

PATIENCE = 0.3  # seconds, after which the page says that it computes
BUSY = "Computing. The first network of a hidden width compiles its kernels, which takes a few seconds."
# Range and step of each slider. Those in POWERS move the decimal logarithm.
SLIDERS = {
    "lam": (-10.0, 10.0, 0.1),
    "kappa": (0.0, 5.0, 0.1),
    "init_scale": (-3.0, 1.0, 0.05),
    "n_i": (1, 16, 1),
    "n_h": (1, 32, 1),
    "n_o": (1, 16, 1),
    "seed": (0, 99, 1),
    "rate_ratio": (-2.0, 2.0, 0.05),
}
POWERS = ("init_scale", "rate_ratio")
WHOLE = ("n_i", "n_h", "n_o", "seed")
ONLY_BALANCED = ("lam", "kappa")
POWER_FORMAT = "return Number((10 ** tick).toPrecision(3)).toString()"
STEP_OF_TIME = 1 / 16  # of a power of ten, as the times of curves
START_PLACE, LIMIT_PLACE = FIRST - STEP_OF_TIME, LAST + STEP_OF_TIME  # of t = 0 and t = inf on the slider
TIME_FORMAT = f"""
if (tick < {FIRST} - 0.01) return "0";
if (tick > {LAST} + 0.01) return "∞";
return Number((10 ** tick).toPrecision(3)).toString();
"""
# CSS of controls. The colours are those of page.html.
WIDGETS = """
:host { color: var(--ink); font-size: 14px; }
.bk-input { background-color: var(--raised); color: var(--ink); border-color: var(--line); font-size: 14px; }
select.bk-input { appearance: auto; background-image: none; color-scheme: light dark; }
.bk-btn { background-color: var(--raised); color: var(--ink); border-color: var(--line); font-size: 14px; }
.bk-btn:hover { background-color: var(--line); color: var(--ink); }
.noUi-target { background-color: var(--line); border-color: var(--line); box-shadow: none; }
.noUi-connect { background-color: var(--accent) !important; }
.noUi-handle { background-color: var(--paper); border-color: var(--muted); box-shadow: none; }
.noUi-handle:focus-visible { outline: 2px solid var(--accent); }
"""
WIDE: dict[str, Any] = {"sizing_mode": "stretch_width", "stylesheets": [WIDGETS]}
TEXT = """
:host { font: inherit; color: inherit; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
"""
PAIRS = ":host { display: grid !important; grid-template-columns: repeat(2, minmax(0, 1fr)); }"
PAGE = files("fastlin.sweeps.explore").joinpath("page.html")


def to_time(place: float) -> float:
    """Return the time at a place of the slider."""
    if place < FIRST - 0.5 * STEP_OF_TIME:
        return 0.0
    return math.inf if place > LAST + 0.5 * STEP_OF_TIME else float(f"{10.0**place:.3g}")


def to_place(time: float) -> float:
    """Return the place on the slider that is nearest to a time."""
    if time == 0.0:
        return START_PLACE
    return LIMIT_PLACE if math.isinf(time) else min(max(math.log10(time), FIRST), LAST)


class Page:
    """One open page.

    Parameters
    ----------
    document : bokeh.document.Document
        Filled with the page.
    sweep : Sweep, optional
        The store whose diagram is shown.
    """

    def __init__(self, document: Document, sweep: Sweep | None) -> None:
        self.document, self.sweep = document, sweep
        self.choice, self.time = Choice(), 1.0
        self.point: StorePoint | None = None
        self._wanted: tuple[Source, float] | None = None
        self._busy = self._setting = False
        self.controls = self._controls()
        self.curves, self.matrices = views.curves(), views.matrices()
        self.views: list[views.Curves | views.Matrix] = [*self.curves, *self.matrices]
        self.words = {name: _text(name) for name in ("title", "message", "notes")}
        self.code = _text("code")
        self.copy = Button(label="Copy", name="copy", width=80, stylesheets=[WIDGETS])
        self.copy.js_on_click(
            CustomJS(args={"code": self.code}, code="navigator.clipboard.writeText(code.tags[0])")
        )
        self.scheme = TextInput(name="scheme", value="light", visible=False)
        self.scheme.on_change("value", lambda _name, _old, new: self._recolour(new))
        self.diagram = _Diagram(self, sweep) if sweep else None
        if self.diagram and (first := self.diagram.first()):
            self._take(*first)
        self.drawn = state.picture(self.point or self.choice, self.time)
        self._recolour("light")
        self._fill()

    def _controls(self) -> dict[str, Any]:
        """Return the controls with their names. Each move sets the choice or the time."""
        controls: dict[str, Any] = {}
        for name, values in (("task", state.TASKS), ("start", state.STARTS)):
            controls[name] = _select(name, name, list(values), getattr(self.choice, name))
            controls[name].on_change("value", partial(self._chosen, name))
        for name, (low, high, step) in SLIDERS.items():
            value = getattr(self.choice, name)
            power = name in POWERS
            form = {"format": CustomJSTickFormatter(code=POWER_FORMAT)} if power else {}
            value = math.log10(value) if power else value
            controls[name] = _slider(name, low, high, step, value, form)
            controls[name].on_change("value", partial(self._chosen, name))
        form = {"format": CustomJSTickFormatter(code=TIME_FORMAT)}
        controls["time"] = _slider("time", START_PLACE, LIMIT_PLACE, STEP_OF_TIME, to_place(self.time), form)
        controls["time"].on_change("value", self._moved_in_time)
        return controls

    def _fill(self) -> None:
        """Lay out the document."""
        figures = [view.figure for view in self.views]
        roots = [*self.controls.values(), *self.words.values(), self.code, self.copy, self.scheme, *figures]
        if self.diagram:
            roots.append(self.diagram.root)
        for root in roots:
            self.document.add_root(root)
        self.document.title = "fastlin explore"
        self.document.template = Template(PAGE.read_text(encoding="utf-8"))
        self.document.template_variables.update(
            controls=[name for name in self.controls if name != "time"],
            curves=[view.figure.name for view in self.curves],
            matrices=views.CELLS,
            store=self.sweep is not None,
            colours=screen.css(),
        )
        self.document.js_on_event(
            DocumentReady,
            CustomJS(
                args={"scheme": self.scheme},
                code="""
const dark = matchMedia("(prefers-color-scheme: dark)");
const tell = () => { scheme.value = dark.matches ? "dark" : "light"; };
dark.addEventListener("change", tell);
tell();
""",
            ),
        )

    def _recolour(self, scheme: str) -> None:
        """Draw in the colours that the reader's screen has."""
        self.look = LOOKS["dark" if scheme == "dark" else "light"]
        self.document.theme = theme(self.look)
        for view in self.views:
            view.recolour(self.look)
        self._draw(self.drawn)

    def _chosen(self, name: str, _attribute: str, _old: Any, new: Any) -> None:
        """Take a value from a control. It leaves the store, unless that has the seed."""
        if self._setting:
            return
        changes: dict[str, Any] = {name: _value(name, new)}
        self.choice = replace(self.choice, **changes)
        kept = None
        if self.point is not None and self.sweep is not None and name == "seed":
            kept = self.sweep.with_seed(self.point, int(new))
        if kept is None and self.diagram:
            self.diagram.clear()
        self.point = kept
        self._show_choice()
        self._request()

    def _moved_in_time(self, _attribute: str, _old: float, new: float) -> None:
        if not self._setting:
            self.time = to_time(new)
            self._request()

    def show_point(self, point: StorePoint, time: float | None) -> None:
        """Show the network behind a point of the store, and set the controls to it."""
        self._take(point, time)
        self._request()

    def _take(self, point: StorePoint, time: float | None) -> None:
        """Choose a point of the store, and set the controls to it."""
        self.point, self.choice = point, point.choice(self.choice)
        self.time = self.time if time is None else time
        self._setting = True
        try:
            for name in (*SLIDERS, "start"):
                value = getattr(self.choice, name)
                _set(self.controls[name], math.log10(value) if name in POWERS else value)
            _set(self.controls["time"], to_place(self.time))
        finally:
            self._setting = False
        self._show_choice()

    def _show_choice(self) -> None:
        """Show the task of the sliders, or the name of the store while a point of it is shown.

        Sliders of the balance are of use for balanced starts alone.
        """
        for name in ONLY_BALANCED:
            self.controls[name].disabled = self.choice.start != BALANCED
        control, own = self.controls["task"], list(state.TASKS)
        self._setting = True
        try:
            if self.point is None or self.sweep is None:
                control.update(options=own, value=self.choice.task)
            else:
                store = f"store: {self.sweep.name}"
                control.update(options=[store, *own], value=store)
        finally:
            self._setting = False

    def _request(self) -> None:
        """Have the network drawn that is chosen now. A request that is not begun yet is superseded."""
        self._wanted = (self.choice if self.point is None else self.point), self.time
        if not self._busy:
            self._busy = True
            self.document.add_next_tick_callback(self._work)

    @without_document_lock  # type: ignore[untyped-decorator]
    async def _work(self) -> None:
        """Compute in a thread what is wanted, until nothing is. The page stays responsive meanwhile."""
        while self._wanted is not None:
            (source, time), self._wanted = self._wanted, None
            computing = asyncio.ensure_future(asyncio.to_thread(state.picture, source, time))
            done, _ = await asyncio.wait([computing], timeout=PATIENCE)
            if not done:
                self._soon(partial(self._say, "message", BUSY))
            try:
                self._soon(partial(self._draw, await computing))
            except InputError as error:
                self._soon(partial(self._refuse, str(error)))
            except Exception as error:  # the page goes on with the next move
                what = f"internal error, please report it: {type(error).__name__}: {error}"
                self._soon(partial(self._refuse, what))
        self._busy = False

    def _soon(self, change: Callable[[], None]) -> None:
        """Change the document when it is not locked."""
        self.document.add_next_tick_callback(change)

    def _draw(self, drawn: Picture) -> None:
        """Draw a network."""
        self.drawn = drawn
        for view in self.views:
            view.update(drawn, self.look)
        self._say("message", "")
        self._say("title", f"{drawn.title}, at t/τ = {_number(drawn.time)}")
        self._say("notes", " ".join(drawn.notes))
        self.code.text = f"<pre>{html.escape(drawn.code)}</pre>"
        self.code.tags = [drawn.code]
        if self.diagram:
            # The line is that of the picture, because a later point may be chosen while this one is drawn.
            calls = (line for line in drawn.code.splitlines() if "fl.rebuild(" in line)
            self.diagram.say(next(calls, "A click shows the network behind a point."))

    def _refuse(self, message: str) -> None:
        """Say why there is no such network. The last one stays on the page."""
        self._say("message", f"Not drawn: {message}.")

    def _say(self, name: str, text: str) -> None:
        self.words[name].text = html.escape(text)


class _Diagram:
    """The diagram of the store on the page, with its controls."""

    def __init__(self, page: Page, sweep: Sweep) -> None:
        self._page, self._sweep = page, sweep
        self.view: View = sweep.first_view()
        self._cells: Cells | None = None
        self._plane = views.PhaseDiagram(self._picked)
        self._message, self._call = _text("caption"), _text("call")
        self._selects = Column(sizing_mode="stretch_width", stylesheets=[PAIRS])
        self.root = column(name="store", sizing_mode="stretch_width")
        self._show()

    def _show(self) -> None:
        """Show the controls of the view, and the view."""
        view, sweep = self.view, self._sweep
        observables = list(sweep.observables.items())
        axes = [(name, words(name)) for name in sweep.axes(view.observable)]
        selects = {"observable": _select("observable", "observable", observables, view.observable)}
        selects |= {side: _select(side, f"axis {side}", axes, getattr(view, side)) for side in ("x", "y")}
        for name, select in selects.items():
            select.on_change("value", partial(self._changed, name))
        given = dict(view.others)
        for name, values in sweep.choices(view).items():
            texts = [(str(k), _number(value)) for k, value in enumerate(values)]
            select = _select(f"at_{name}", words(name), texts, str(values.index(given[name])))
            select.on_change("value", partial(self._fixed, name, values))
            selects[name] = select
        self._selects.children = list(selects.values())
        self.draw()

    def draw(self) -> None:
        """Draw the view again."""
        view = self.view
        try:
            self._cells = self._sweep.cells(view)
        except InputError as error:
            self._message.text = html.escape(str(error))
            self.root.children = [self._selects, self._message, self._call]
            return
        caption = ["mean over seeds", *captions.regimes(self._cells.levels)]
        empty = not self._cells.value.size
        self._message.text = "No finite number is stored here." if empty else "; ".join(caption)
        names = (
            words(view.x),
            words(view.y),
            f"{self._sweep.name}: {self._sweep.observables[view.observable]}",
        )
        figure = self._plane.draw(self._cells, names)
        self.root.children = [self._selects, figure, self._message, self._call]

    def say(self, text: str) -> None:
        """Show a line below the diagram."""
        self._call.text = html.escape(text)

    def clear(self) -> None:
        """Select no point."""
        self._plane.mark()

    def _changed(self, name: str, _attribute: str, _old: str, new: str) -> None:
        changes: dict[str, Any] = {name: new}
        self.view = self._sweep.completed(replace(self.view, **changes))
        self._show()

    def _fixed(self, name: str, values: list[Any], _attribute: str, _old: str, new: str) -> None:
        others = tuple((key, values[int(new)] if key == name else value) for key, value in self.view.others)
        self.view = replace(self.view, others=others)
        self.draw()

    def first(self) -> tuple[StorePoint, float | None] | None:
        """Mark the point in the middle of the diagram, and return it and its time, or None without one."""
        if self._cells is None or not self._cells.value.size:
            return None
        index = central(self._cells)
        try:
            found = self._sweep.point(self.view, self._cells, index, self._sweep.first_seed)
        except InputError:
            return None
        self._plane.mark(index)
        return found

    def _picked(self, index: int) -> None:
        assert self._cells is not None
        try:
            point, time = self._sweep.point(self.view, self._cells, index, self._page.choice.seed)
        except InputError as error:
            self.say(str(error))
        else:
            self._page.show_point(point, time)


def _value(name: str, shown: Any) -> Any:
    """Return the value that a control shows. Steps of 0.1 add up with rounding errors."""
    if name in POWERS:
        return float(f"{10.0**shown:.3g}")
    return int(shown) if name in WHOLE else round(shown, 10) if name in ONLY_BALANCED else shown


def _number(value: Any) -> str:
    """Return a value for people."""
    if isinstance(value, str):
        return value
    return "∞" if math.isinf(value) else f"{value:.6g}"


def _text(name: str) -> Div:
    return Div(name=name, sizing_mode="stretch_width", stylesheets=[TEXT])


def _select(name: str, title: str, options: list[Any], value: str) -> Select:
    return Select(
        name=name,
        title=title,
        options=options,
        value=value,
        sizing_mode="stretch_width",
        stylesheets=[WIDGETS],
    )


def _slider(name: str, low: float, high: float, step: float, value: float, form: dict[str, Any]) -> Slider:
    return Slider(
        name=name,
        title=words(name),
        start=low,
        end=high,
        step=step,
        value=value,
        **WIDE,
        **form,
    )


def _set(control: Select | Slider, value: Any) -> None:
    """Set a control. A slider becomes as long as it must be."""
    if isinstance(control, Slider):
        control.update(start=min(control.start, value), end=max(control.end, value))
    control.value = value
