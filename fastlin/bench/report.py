"""The figures as tables in Markdown, and their place in a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastlin.bench.flow import LIMIT as FILLING_LIMIT
from fastlin.bench.two_sided import LIMIT as TWO_SIDED_LIMIT
from fastlin.errors import InputError

START, END = "<!-- bench -->", "<!-- /bench -->"


def table(figures: dict[str, Any]) -> str:
    """Return the figures of `measure` as Markdown."""
    machine = figures["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {packages}."]
    if "fma_gflops" in figures:
        lines[0] += f" One core does {figures['fma_gflops']:.0f} GFLOPS of fused multiply-adds in float64."
    for section, write in _SECTIONS.items():
        if section in figures:
            lines += ["", *write(figures[section])]
    return "\n".join(lines)


def _gradient_descent(figures: dict[str, Any]) -> list[str]:
    rows = {
        name: [_number(row["ns_per_step"]), _percent(row["peak_fraction"]), *_ratios(row)]
        for name, row in figures.items()
    }
    return _rows(["gradient descent", "ns per step", "of the peak", *_RATIOS], rows)


def _closed_form(figures: dict[str, Any]) -> list[str]:
    rows = {
        name: [*(_number(row[key]) for key in ("ns_per_point", "ns_late", "ns_inf")), *_ratios(row)]
        for name, row in figures.items()
    }
    return _rows(["closed form", "ns per time of a grid", "one late time", "t = inf", *_RATIOS], rows)


def _setup(figures: dict[str, Any]) -> list[str]:
    return _rows(["set-up", "us per seed"], {name: [_number(row["us"])] for name, row in figures.items()})


# Columns of ratios and their keys.
_RATIOS = {
    "NumPy, stacked": "vs_numpy",
    "NumPy, one by one": "vs_numpy_single",
    "JAX": "vs_jax",
    "all cores": "cores_over_one",
}


def _two_sided(figures: dict[str, Any]) -> list[str]:
    names = {"march": "a time of a grid", "jump": "only t = 90", "far_jump": "only t = 1e6"}
    rows = {
        f"{name}, {names[step]}": [
            *(_number(row[form]) for form in ("one_sided", "two_sided")),
            f"{row['ratio']:.2f}x",
        ]
        for name, steps in figures.items()
        for step, row in steps.items()
    }
    head = ["two-sided balance", "ns for kappa = 0", "ns for kappa > 0"]
    return _rows([*head, f"ratio (aim: at most {TWO_SIDED_LIMIT:g})"], rows)


def _stacks(figures: dict[str, Any]) -> list[str]:
    rows = {
        f"{name}, {row['networks']:,} networks, {function}": [
            *(f"{seconds[form]:.2g}" for form in ("stack", "loop")),
            _ratio(seconds["ratio"]),
        ]
        for name, row in figures.items()
        for function, seconds in row["functions"].items()
    }
    return _rows(["stacks in Python", "seconds", "in a loop", "ratio"], rows)


def _flow(figures: dict[str, Any]) -> list[str]:
    """Return the rows of the flow, and a line about the agreement of its results with those of rivals."""
    missing = "" if figures["diffrax_installed"] else "not installed"
    rows = {
        name: [
            _number(row["us"]),
            f"{row['mean_steps']:.0f}",
            _ratio(row["vs_scipy"]),
            _ratio(row["vs_diffrax"]) or missing,
        ]
        for name, row in figures["rows"].items()
    }
    head = f"flow to t = {figures['time']:g} at tolerance {figures['tolerance']:g}"
    lines = _rows([head, "us a network", "mean steps", "SciPy, one by one", "diffrax, vmap"], rows)
    known = [row["difference"] for row in figures["rows"].values() if row["difference"] is not None]
    if known:
        verb = "agree" if max(known) <= figures["agreement"] else "do not agree"
        lines += [
            "",
            f"Loss and kernel distance of fastlin and of its rivals {verb} within {figures['agreement']:g}; "
            f"their largest difference is {max(known):.1g}.",
        ]
    return lines


def _filling(figures: dict[str, Any]) -> list[str]:
    rows = {
        name: [
            *(f"{row[key]:.0f}" for key in ("mean_steps", "most_steps")),
            *(f"{row[key]:.2f}x" for key in ("unfilled", "rounds", "time")),
        ]
        for name, row in figures.items()
    }
    head = ["flow of many networks, over their mean steps", "mean steps", "most steps", "if lanes waited"]
    head += [f"steps of vectors (aim: at most {FILLING_LIMIT:g})", "time, over equal networks"]
    return _rows(head, rows)


def _widths(figures: dict[str, Any]) -> list[str]:
    """Return the us of each width, with its growth beyond the operations since the width before."""

    def cell(row: dict[str, Any]) -> str:
        step = "" if row["step"] is None else f" ({row['step']:.2f}x)"
        return f"{_number(row['us'])}{step}"

    lines = {
        f"{family} {method.replace('_', ' ')}": {width: cell(row) for width, row in rows.items()}
        for family, methods in figures.items()
        for method, rows in methods.items()
    }
    widths = list(next(iter(lines.values())))
    rows = {name: list(cells.values()) for name, cells in lines.items()}
    return _rows(["us at hidden width w (step beyond its operations)", *widths], rows)


def _forms(figures: dict[str, Any]) -> list[str]:
    def cell(step: dict[str, float]) -> str:
        return f"{_number(step['run_time'])} ({step['ratio']:.2f}x)"

    rows = {name: [cell(step) for step in steps.values()] for name, steps in figures.items()}
    head = ["ns for all sizes of a width (over one architecture's own)", "step of gradient descent"]
    return _rows([*head, "time of a grid", "one late time", "set-up of a seed"], rows)


def _compilation(figures: dict[str, Any]) -> list[str]:
    rows = {
        name.replace("_", " "): [_number(row["seconds"]), _number(row["estimate"])]
        for name, row in figures.items()
    }
    return _rows(["compilation, by hidden width", "processor seconds", "estimate"], rows)


def _architectures(figures: dict[str, Any]) -> list[str]:
    rows = {}
    for name, states in figures.items():
        cold, warm = states["cold"], states["warm"]
        seconds = [f"{cold[key]:.1f}, {warm[key]:.1f}" for key in ("seconds", "run_seconds")]
        peak = max(cold["peak_rss_mb"], warm["peak_rss_mb"])
        rows[f"{name}: {cold['points']:,} points"] = [*seconds, f"{peak:.0f}", f"{cold['files']:,}"]
    head = ["`fastlin run`, seconds with an empty and a filled cache", "command", "without start-up"]
    return _rows([*head, "MB of memory", "files"], rows)


def _first_calls(figures: dict[str, float]) -> list[str]:
    return [
        f"A first `fl.exact` is done {figures['start_seconds']:.2f} s after all imports, with its task and "
        "network drawn, if its kernels are in the cache. A new architecture of a hidden width that was used "
        f"before takes {figures['new_shape_ms']:.1f} ms."
    ]


def _sweep(sweep: dict[str, Any]) -> list[str]:
    return [
        f"`fastlin run {sweep['preset']}`: {sweep['configurations']:,} configurations in "
        f"{sweep['seconds']:.1f} s, {sweep['start_up_seconds']:.1f} s of it start-up, with "
        f"{sweep['peak_rss_mb']:.0f} MB of memory; from the first block to the last, cores spend "
        f"{sweep['kernel_fraction']:.0%} of their time in kernels."
    ]


def _plan(rows: list[dict[str, Any]]) -> list[str]:
    cells = {
        f"{row['sweep']}, {row['state']}": [
            *(_number(row[key]) for key in ("planned_seconds", "seconds")),
            f"{row['ratio']:.2f}x",
        ]
        for row in rows
    }
    ratios = [row["ratio"] for row in rows]
    right = sum(0.7 <= ratio <= 1.3 for ratio in ratios)
    return [
        *_rows(["sweep", "planned seconds", "seconds", "planned over taken"], cells),
        "",
        f"{right} of {len(rows)} plans are right within 30 %; all are between {min(ratios):.2f}x and "
        f"{max(ratios):.2f}x of what runs take.",
    ]


# Keys of figures, and the function that writes the lines of each.
_SECTIONS: dict[str, Callable[[Any], list[str]]] = {
    "gradient_descent": _gradient_descent,
    "closed_form": _closed_form,
    "setup": _setup,
    "two_sided": _two_sided,
    "flow": _flow,
    "filling": _filling,
    "stacks": _stacks,
    "widths": _widths,
    "forms": _forms,
    "compilation": _compilation,
    "architectures": _architectures,
    "first_calls": _first_calls,
    "sweep": _sweep,
    "plan": _plan,
}


def _rows(head: list[str], rows: dict[str, list[str]]) -> list[str]:
    widths = [
        max(map(len, column))
        for column in zip(head, *([name, *row] for name, row in rows.items()), strict=True)
    ]

    def line(cells: list[str]) -> str:
        padded = (f"{cell:<{size}}" for cell, size in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return [
        line(head),
        f"|{'|'.join('-' * (size + 2) for size in widths)}|",
        *(line([name, *row]) for name, row in rows.items()),
    ]


def _ratios(row: dict[str, Any]) -> list[str]:
    return [_ratio(row[key]) for key in _RATIOS.values()]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{_number(value)}x"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def around_table(path: Path) -> tuple[str, str]:
    """Return the text before and after the table in a file.

    Raises
    ------
    InputError
        If the file is no text, cannot be written, or has no marks for the table.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file in UTF-8") from None
    if not os.access(path, os.W_OK):
        raise InputError(f"{path} cannot be written")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise InputError(f"{path} has no place for the table; needed are the lines {START} and {END}")
    return before + START, END + after


def update(path: Path, figures: dict[str, Any]) -> None:
    """Write the table to its place in a file."""
    before, after = around_table(path)
    path.write_text(f"{before}\n{table(figures)}\n{after}", encoding="utf-8")
