"""The figures of the page. Each updates its data and its colours, and computes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    ColorBar,
    ColumnDataSource,
    HoverTool,
    Label,
    LinearColorMapper,
    LinearScale,
    LogColorMapper,
    LogScale,
    LogTicker,
    LogTickFormatter,
    Range1d,
    Span,
    TapTool,
)
from bokeh.plotting import figure
from contourpy import contour_generator

from fastlin.kernels.compiler.jit import Array
from fastlin.observables.regimes import THRESHOLD
from fastlin.plot.borders import dash
from fastlin.plot.matrices import DISSIMILARITY
from fastlin.plot.scales import WIDE
from fastlin.plot.screen import words
from fastlin.sweeps.explore import state
from fastlin.sweeps.explore.diagram import Cells
from fastlin.sweeps.explore.look import CHOSEN, SEQUENTIAL, Look
from fastlin.sweeps.explore.state import FIRST, LAST, Picture

HEIGHT = 250
# t = 0 and t = inf have places of their own beside the decades.
START, LIMIT = FIRST - 0.8, LAST + 0.8
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
POWERS = {
    power: f"{10.0**power:g}" if abs(power) < 3 else f"10{str(power).translate(RAISED)}"
    for power in range(FIRST, LAST + 1)
}
TICKS: dict[Any, str] = {START: "0", **POWERS, LIMIT: "∞"}
FEW = (START, *range(FIRST, LAST + 1, 2), LIMIT)  # of these, on an axis that goes to t = inf
MARGIN = 0.15  # beside both ends of the axis
LEAST_LOSS = 1e-6  # of the largest one, at the end of a logarithmic axis
MOST_NAMES, LONGEST_NAME = 12, 12  # of conditions, and letters of a name, that fit the axes of a matrix
# Figures of matrices that share a cell of the page. Only one of them is visible.
CELLS = [["rsm_input_figure"], ["rsm_output_figure", "rdm_correlation_figure"], ["w1_figure"], ["w2_figure"]]
LEAST_DISTANCE = 0.2  # at the end of the axis, so that the borders of the regimes show
PAPER = ":host { background-color: transparent; }"
SIDES = ("left", "right", "bottom", "top")
LEVELS = dict(zip(THRESHOLD, ("lazy below", "rich from"), strict=True))


def positions(times: Array) -> Array:
    """Return where times lie on the axis, which is logarithmic between t = 0 and t = inf."""
    finite = np.clip(times, 10.0**START, 10.0**LIMIT)
    return np.asarray(np.log10(finite))


def _figure(title: str, **options: Any) -> figure:
    options = {"height": HEIGHT, "tools": "", "toolbar_location": None} | options
    return figure(title=title, sizing_mode="stretch_width", stylesheets=[PAPER], **options)


class Curves:
    """Curves over time with a mark at the chosen one."""

    def __init__(
        self, name: str, title: str, values: Callable[[Picture], Array], bounded: bool = False
    ) -> None:
        self._values, self._bounded = values, bounded
        self.lines = ColumnDataSource({"xs": [], "ys": [], "colour": []}, name=f"{name}_lines")
        self.ends = ColumnDataSource({"x": [], "y": [], "colour": []})
        self.marks = ColumnDataSource({"x": [], "y": []}, name=f"{name}_marks")
        self.targets = ColumnDataSource({"y": [], "colour": []}, name=f"{name}_targets")
        self.figure = _figure(title, name=name, x_range=Range1d(START - MARGIN, LIMIT + MARGIN))
        if bounded:
            self.figure.y_range = Range1d(0.0, 1.0)
        self.figure.xaxis.major_label_overrides = TICKS
        self.figure.xaxis.axis_label = words("time")
        self.figure.ygrid.grid_line_alpha = self.figure.xgrid.grid_line_alpha = 0.6
        self.figure.segment(
            START, "y", LIMIT, "y", source=self.targets, color="colour", line_dash="dashed", line_width=1.5
        )
        self.figure.multi_line("xs", "ys", source=self.lines, line_color="colour", line_width=2)
        self.figure.scatter("x", "y", source=self.ends, color="colour", size=5)
        self._time = Span(location=0.0, dimension="height", line_width=1.5)
        self.figure.add_layout(self._time)
        self._mark = self.figure.scatter("x", "y", source=self.marks, size=9, line_width=2, fill_alpha=0.0)
        self._levels: list[tuple[Span, Label]] = []

    def recolour(self, look: Look) -> None:
        """Take the colours of a look. The lines take theirs when they are drawn."""
        self._mark.glyph.line_color = self._time.line_color = look.mark
        for span, _ in self._levels:
            span.line_color = look.faint

    def add_levels(self, levels: dict[float, str]) -> None:
        """Draw levels with words."""
        for level, meaning in levels.items():
            span = Span(location=level, dimension="width", line_dash="dotted", line_width=1.5)
            text = Label(x=START, y=level, text=f"{meaning} {level:g}", y_offset=2)
            self.figure.add_layout(span)
            self.figure.add_layout(text)
            self._levels.append((span, text))

    def update(self, drawn: Picture, look: Look) -> None:
        """Draw the curves of a network."""
        values = self._values(drawn)
        columns = values.reshape(values.shape[0], -1).T
        colours = look.modes(len(columns)) if values.ndim > 1 else [look.lines[0]]
        x = positions(drawn.times)
        inner = np.isfinite(drawn.times) & (drawn.times > 0.0)
        self.lines.data = {
            "xs": [x[inner]] * len(columns),
            "ys": [column[inner] for column in columns],
            "colour": colours,
        }
        ends = np.flatnonzero(~inner)
        self.ends.data = {
            "x": np.tile(x[ends], len(columns)),
            "y": columns[:, ends].ravel(),
            "colour": np.repeat(colours, ends.size).tolist(),
        }
        at = drawn.at
        self.marks.data = {"x": [x[at]] * len(columns), "y": columns[:, at]}
        self._time.location = float(x[at])
        self._fit_time(float(x[-1]), float(x[at]))
        if self._bounded:
            self.figure.y_range.end = max(LEAST_DISTANCE, 1.05 * float(np.nanmax(values, initial=0.0)))
        if values.ndim > 1:
            self.targets.data = {"y": drawn.targets, "colour": colours}

    def _fit_time(self, last: float, chosen: float) -> None:
        """End the axis at the last place that is drawn, and have words away from the chosen one."""
        low, high = self.figure.x_range.start, last + MARGIN
        self.figure.x_range.end = high
        self.figure.xaxis.ticker = [tick for tick in (FEW if last == LIMIT else TICKS) if tick < high]
        left = chosen > 0.5 * (low + high)
        for _, text in self._levels:
            text.update(x=START if left else last, text_align="left" if left else "right")


class Loss(Curves):
    """The loss over time. Its axis is logarithmic where the loss is positive and spans a decade."""

    def __init__(self) -> None:
        super().__init__("loss", "Loss", lambda drawn: drawn.loss)
        self.figure.y_range = Range1d(0.0, 1.0)

    def update(self, drawn: Picture, look: Look) -> None:
        """Draw the loss of a network on the scale that fits it."""
        low, high = float(drawn.loss.min()), float(drawn.loss.max())
        log = 0.0 < WIDE * low <= high
        if log != isinstance(self.figure.y_scale, LogScale):
            self.figure.y_scale = LogScale() if log else LinearScale()
            ticker = LogTicker() if log else BasicTicker()
            formatter = LogTickFormatter(ticker=ticker) if log else BasicTickFormatter()
            self.figure.yaxis.update(ticker=ticker, formatter=formatter)
            self.figure.ygrid.ticker = ticker
        if log:
            low, beyond = max(low, LEAST_LOSS * high), 1.3
            self.figure.y_range.update(start=low / beyond, end=high * beyond)
        else:
            beyond = 0.05 * (high - low) or 1.0
            self.figure.y_range.update(start=low - beyond, end=high + beyond)
        super().update(drawn, look)


def curves() -> list[Curves]:
    """Return the figures of the loss, the mode strengths and the kernel distance."""
    modes = Curves("modes", "Modes (- - best map)", lambda drawn: drawn.mode_strengths)
    distance = Curves("distance", "Kernel distance", lambda drawn: drawn.kernel_distance, bounded=True)
    distance.add_levels({level: LEVELS[level] for level in THRESHOLD})
    return [Loss(), modes, distance]


class Matrix:
    """A matrix in signed colours, on a scale of its own that is symmetric around 0."""

    def __init__(self, name: str, title: str, rows: str, columns: str) -> None:
        self.name = name
        self.source = ColumnDataSource({"image": [], "dw": [], "dh": []}, name=name)
        self.figure = _figure(title, name=f"{name}_figure", x_range=Range1d(0, 1), y_range=Range1d(1, 0))
        self.figure.grid.visible = False
        self.figure.axis.major_tick_line_color = self.figure.axis.major_label_text_color = None
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = columns, rows
        self.figure.axis.major_label_text_font_size = "0px"
        self._mapper = LinearColorMapper(palette=["#000000"], low=-1.0, high=1.0)
        image = self.figure.image(
            "image", x=0, y=0, dw="dw", dh="dh", source=self.source, color_mapper=self._mapper
        )
        bar = ColorBar(color_mapper=self._mapper, width=10, ticker=BasicTicker(desired_num_ticks=4))
        self.figure.add_layout(bar, "right")
        self.figure.add_tools(HoverTool(renderers=[image], tooltips=[("value", "@image{0.0000}")]))

    def recolour(self, look: Look) -> None:
        """Take the colours of a look."""
        self._mapper.palette = look.signed

    def update(self, drawn: Picture, _look: Look) -> None:
        """Draw a matrix of a network, or nothing where it has none."""
        matrix = drawn.matrices.get(self.name)
        self.figure.visible = matrix is not None
        if matrix is None:
            self.source.data = {"image": [], "dw": [], "dh": []}
            return
        rows, columns = matrix.shape
        self._scale(matrix)
        self.figure.x_range.end, self.figure.y_range.start = columns, rows
        self.source.data = {"image": [matrix], "dw": [columns], "dh": [rows]}

    def _scale(self, matrix: Array) -> None:
        """Set the ends of the scale of colours, which is symmetric around 0."""
        largest = float(np.nanmax(np.abs(matrix), initial=0.0)) or 1.0
        self._mapper.update(low=-largest, high=largest)


class Dissimilarity(Matrix):
    """A matrix over conditions, whose names are at the axes if they fit."""

    def __init__(self) -> None:
        super().__init__(state.RDM, "Dissimilarity of conditions", "condition", "condition")
        self.figure.axis.major_label_text_font_size = "12px"
        self.figure.xaxis.major_label_orientation = 0.7  # radians
        self._mapper.update(palette=SEQUENTIAL, low=0.0, high=DISSIMILARITY)

    def recolour(self, look: Look) -> None:
        """Take the colours of a look."""
        self.figure.axis.major_label_text_color = look.faint

    def _scale(self, matrix: Array) -> None:
        """Keep the scale of colours, which is that of all dissimilarities."""

    def update(self, drawn: Picture, look: Look) -> None:
        """Draw the matrix of a network with the names of its conditions."""
        super().update(drawn, look)
        names = drawn.conditions
        fit = len(names) <= MOST_NAMES and max(map(len, names), default=0) <= LONGEST_NAME
        self.figure.axis.axis_label = None if fit else "condition"
        self.figure.axis.ticker = [place + 0.5 for place in range(len(names))] if fit else []
        for axis in self.figure.axis:
            axis.major_label_overrides = (
                {place + 0.5: name for place, name in enumerate(names)} if fit else {}
            )


def matrices() -> list[Matrix]:
    """Return the figures of the similarity matrices and the weights."""
    return [
        Matrix("rsm_input", "RSM of inputs, XᵀW₁ᵀW₁X", "sample", "sample"),
        Matrix("rsm_output", "RSM of outputs, Yᵀ(W₂W₂ᵀ)⁺Y", "sample", "sample"),
        Dissimilarity(),
        Matrix("w1", "Weights W₁", "hidden unit", "input"),
        Matrix("w2", "Weights W₂", "output", "hidden unit"),
    ]


class PhaseDiagram:
    """The phase diagram of a store. A tap selects a cell or a dot."""

    def __init__(self, on_pick: Callable[[int], None]) -> None:
        self._on_pick, self._marking = on_pick, False
        self.source = ColumnDataSource(name="cells")
        self.source.selected.on_change("indices", self._picked)

    def draw(self, cells: Cells, names: tuple[str, str, str]) -> figure:
        """Return a new figure of some cells, because a figure keeps the scales of its axes."""
        x, y, title = names
        drawn = _figure(
            title,
            name="diagram",
            height=420,
            x_axis_type="log" if cells.log_x else "linear",
            y_axis_type="log" if cells.log_y else "linear",
            x_axis_label=x,
            y_axis_label=y,
            tools="pan,wheel_zoom,box_zoom,reset",
            toolbar_location="below",
        )
        drawn.toolbar.logo = None
        self.mark()
        self.source.data = {"x": cells.x, "y": cells.y, "value": cells.value} | _edges(cells)
        mapper = _mapper(cells)
        colour = {"field": "value", "transform": mapper}
        if cells.edges is None:
            glyphs = drawn.scatter("x", "y", source=self.source, size=9, fill_color=colour, line_color=None)
        else:
            sides = {name: name for name in SIDES}
            glyphs = drawn.quad(**sides, source=self.source, fill_color=colour, line_color=colour)
            drawn.grid.visible = False
            drawn.x_range.range_padding = drawn.y_range.range_padding = 0
            _draw_borders(drawn, cells)
        glyphs.selection_glyph = glyphs.glyph.clone(line_color=CHOSEN, line_width=3)
        glyphs.nonselection_glyph = None
        tips = [(x, "@x"), (y, "@y"), ("value", "@value")]
        drawn.add_tools(
            TapTool(renderers=[glyphs], mode="replace"), HoverTool(renderers=[glyphs], tooltips=tips)
        )
        drawn.add_layout(ColorBar(color_mapper=mapper, width=10), "right")
        return drawn

    def mark(self, *indices: int) -> None:
        """Select cells or dots, none if none is named, as if nobody had tapped them."""
        self._marking = True
        try:
            self.source.selected.indices = list(indices)
        finally:
            self._marking = False

    def _picked(self, _name: str, _old: Any, new: list[int]) -> None:
        if new and not self._marking:
            self._on_pick(new[0])


def _edges(cells: Cells) -> dict[str, Array]:
    return {} if cells.edges is None else dict(zip(SIDES, cells.edges, strict=True))


def _mapper(cells: Cells) -> LinearColorMapper | LogColorMapper:
    """Return the scale of colours."""
    kind = LogColorMapper if cells.log_values else LinearColorMapper
    return kind(palette=SEQUENTIAL, low=cells.limits[0], high=cells.limits[1])


def _draw_borders(drawn: figure, cells: Cells) -> None:
    """Draw the borders of the regimes."""
    assert cells.grid is not None
    x, y, values = cells.grid
    generator = contour_generator(x, y, np.ma.masked_invalid(values))
    for level in cells.levels:
        lines = [np.asarray(line) for line in generator.lines(level)]
        xs, ys = [line[:, 0] for line in lines], [line[:, 1] for line in lines]
        form = {"line_dash": dash(level, THRESHOLD), "line_alpha": 0.9}
        for colour, width in (("#000000", 3.5), ("#ffffff", 1.5)):
            drawn.multi_line(xs, ys, line_color=colour, line_width=width, **form)
