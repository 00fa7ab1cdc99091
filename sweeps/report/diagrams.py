"""The diagrams of a report as a document of Bokeh. The script of the page fills in the numbers."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    BoxZoomTool,
    ColumnDataSource,
    CrosshairTool,
    Glyph,
    Image,
    Label,
    LinearColorMapper,
    MultiLine,
    NoOverlap,
    PanTool,
    Patches,
    Range1d,
    ResetTool,
    Scatter,
    Span,
    Text,
    Toolbar,
    ToolProxy,
    WheelZoomTool,
)
from bokeh.plotting import figure
from bokeh.resources import Resources

from fastlin.plot.screen import FONT
from fastlin.sweeps.report import look

GESTURES = (BoxZoomTool, PanTool, WheelZoomTool, ResetTool)


def library() -> str:
    """Return the script of BokehJS, without its widgets, tables and mathematics."""
    return str(Resources(mode="inline", components=["bokeh"]).js_raw[0])


def document(count: int, cmap: str) -> dict[str, Any]:
    """Return the document of a page, JSON-ready. The same arguments give the same document.

    The name of each root is the id of the element that it is drawn in: "plane-0" and so on, "lines", "bar"
    and "tools".

    Parameters
    ----------
    count : int
        Number of architectures. Each has a diagram.
    cmap : str
        A colour map of Matplotlib.
    """
    made = Document()
    shared = _Shared(cmap)
    planes = [shared.plane(f"plane-{index}") for index in range(count)]
    figures = [*planes, shared.profile()]
    tools = zip(*(plot.tools for plot in figures), strict=True)
    proxies = [ToolProxy(tools=list(group), name=type(group[0]).__name__) for group in tools]
    gestures = [proxy for proxy in proxies if proxy.name != CrosshairTool.__name__]
    with made.models.freeze():  # so that Bokeh lists all models once, instead of once for each root
        for root in (
            *figures,
            shared.bar(),
            Toolbar(tools=gestures, logo=None, active_drag=None, name="tools"),
        ):
            made.add_root(root)
    return _numbered(made.to_json(deferred=False))


class _Shared:
    """Models that are the same in several diagrams, and the diagrams."""

    def __init__(self, cmap: str) -> None:
        self.palette = look.palette(cmap)
        self.mapper = LinearColorMapper(palette=self.palette, high_color="rgba(0, 0, 0, 0)", name="mapper")
        self.ranges = {name: Range1d(0, 1, name=name) for name in ("x", "y", "height", "colours")}
        self.tickers = {name: BasicTicker(name=f"{name}-ticker") for name in self.ranges}
        self.formatters = {name: BasicTickFormatter(name=f"{name}-formatter") for name in self.ranges}
        style = {"line_color": "#808080", "line_dash": "dotted", "level": "overlay", "line_width": 1.5}
        self.cross = (Span(dimension="height", **style), Span(dimension="width", **style))
        self.mark = [
            Span(dimension="width", line_color=colour, line_width=width, line_alpha=alpha, name="mark")
            for colour, width, alpha in ((look.RIM, 3, 0.5), (look.MARK, 1.2, 1.0))
        ]

    def _figure(self, name: str, x: str, y: str, cross: Span | tuple[Span, Span] | None = None) -> figure:
        plot = figure(
            name=name,
            x_range=self.ranges[x],
            y_range=self.ranges[y],
            sizing_mode="stretch_both",
            min_border=6,
            border_line_color=None,
            border_fill_color=None,
            background_fill_color=None,
            outline_line_color=None,
            tools=[],
            toolbar_location=None,
        )
        for axis, of in ((plot.xaxis[0], x), (plot.yaxis[0], y)):
            axis.update(name=f"{of}-axis", ticker=self.tickers[of], formatter=self.formatters[of])
            axis.major_label_policy = NoOverlap(min_distance=8)
        # No gesture is active at first, so that a finger scrolls the page. The script activates one for mice.
        plot.toolbar.update(active_drag=None, active_scroll=None)
        if cross:
            plot.add_tools(*(kind() for kind in GESTURES), CrosshairTool(overlay=cross))
        return plot

    def plane(self, name: str) -> figure:
        """Return the diagram of an architecture: cells, borders of regimes and their names."""
        plot = self._figure(name, "x", "y", self.cross)
        plot.grid.visible = False
        plot.min_border_left = 62
        cells = {"image": [np.zeros((1, 1), np.float32)], "x": [0], "y": [0], "dw": [1], "dh": [1]}
        _add(plot, _source("cells", **cells), Image(color_mapper=self.mapper), level="underlay")
        borders = _source("borders", xs=[], ys=[], line_dash=[])
        for colour, width, alpha in ((look.RIM, 3.4, 0.5), (look.MARK, 1.6, 1.0)):
            line = {"line_color": colour, "line_width": width, "line_alpha": alpha}
            _add(plot, borders, MultiLine(line_dash="line_dash", **line))
        words = Text(
            text_color=look.MARK,
            text_font={"value": FONT},
            text_font_size="13px",
            text_align="center",
            text_baseline="middle",
            background_fill_color=look.RIM,
            background_fill_alpha=0.55,
            border_radius=4,
            padding=3,
        )
        _add(plot, _source("words", x=[], y=[], text=[]), words)
        for span in self.mark:
            plot.add_layout(span)
        return plot

    def profile(self) -> figure:
        """Return the diagram of lines over the horizontal axis, one for each architecture."""
        plot = self._figure("lines", "x", "height", self.cross[0])
        plot.xgrid.visible = False
        plot.min_border_left = 68
        for name, dash in (("lazy", "dashed"), ("rich", "solid")):
            plot.add_layout(Span(dimension="width", line_color="#808080", line_dash=dash, name=name))
            plot.add_layout(Label(x=6, x_units="screen", y=0, y_offset=2, text=name, name=f"{name}-word"))
        bands = Patches(fill_color="color", fill_alpha=0.18, line_color=None)
        _add(plot, _source("bands", xs=[], ys=[], color=[]), bands)
        strokes = MultiLine(line_color="color", line_dash="line_dash", line_width=2)
        _add(plot, _source("strokes", xs=[], ys=[], color=[], line_dash=[]), strokes)
        dots = Scatter(fill_color="color", line_color="color", size=6)
        _add(plot, _source("dots", x=[], y=[], color=[]), dots)
        return plot

    def bar(self) -> figure:
        """Return the scale of colours, which has a range of its own and no gestures."""
        plot = self._figure("bar", "colours", "y")
        plot.yaxis.visible = plot.grid.visible = False
        plot.min_border_left = plot.min_border_right = 24
        plot.y_range = Range1d(0, 1)
        gradient = [np.arange(256, dtype=np.float32)[None, :]]
        source = _source("gradient", image=gradient, x=[0], y=[0], dw=[1], dh=[1])
        _add(plot, source, Image(color_mapper=LinearColorMapper(palette=self.palette, low=0, high=255)))
        return plot


def _add(plot: figure, source: ColumnDataSource, glyph: Glyph, **attributes: Any) -> None:
    """Add a glyph to a diagram, without the looks of selections, of which there are none."""
    plot.add_glyph(source, glyph, nonselection_glyph=None, muted_glyph=None, **attributes)


def _source(name: str, **columns: Any) -> ColumnDataSource:
    return ColumnDataSource(columns, name=name)


def _numbered(content: Any) -> dict[str, Any]:
    """Return a document whose ids count from 1. Bokeh counts the models of the whole process."""
    text = json.dumps(content, separators=(",", ":"))
    numbers: dict[str, int] = {}
    named = re.sub(r'"p(\d+)"', lambda found: f'"p{numbers.setdefault(found[1], len(numbers) + 1)}"', text)
    renumbered: dict[str, Any] = json.loads(named)
    return renumbered
