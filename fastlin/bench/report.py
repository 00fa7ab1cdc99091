"""The figures as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastlin.bench.compare import tables
from fastlin.bench.flow import LIMIT as FILLING_LIMIT
from fastlin.bench.markdown import number, percent, ratio, tabulated
from fastlin.bench.two_sided import LIMIT as TWO_SIDED_LIMIT

SUMMARY_SHAPE, SUMMARY_SWEEP = "4-2-4", "1,000 architectures"


def everything(figures: dict[str, Any]) -> str:
    """Return all figures of `measure` as Markdown."""
    compared = tables.comparison(figures["compare"]) if "compare" in figures else []
    return "\n".join([table(figures), *(["", *compared] if compared else [])])


def table(figures: dict[str, Any]) -> str:
    """Return the figures of `measure` as Markdown, all but the comparison with other tools."""
    machine = figures["machine"]
    packages = ", ".join(f"{name} {known}" for name, known in machine["versions"].items())
    lines = [f"{_machine(figures)}; {packages}."]
    if "fma_gflops" in figures:
        lines[0] += f" One core does {figures['fma_gflops']:.0f} GFLOPS of fused multiply-adds in float64."
    for section, write in _SECTIONS.items():
        if section in figures:
            lines += ["", *write(figures[section])]
    return "\n".join(lines)


def summary(figures: dict[str, Any]) -> str:
    """Return five rows: the time of each kind of work, and how many times longer rivals take."""
    shape = SUMMARY_SHAPE
    closed, descent = figures["closed_form"][shape], figures["gradient_descent"][shape]
    flow, sweep = figures["flow"]["rows"][shape], figures["sweep"]
    several = figures["architectures"][SUMMARY_SWEEP]

    def against(row: dict[str, Any], names: dict[str, str]) -> str:
        known = ((name, row[key]) for name, key in names.items() if row[key] is not None)
        return ", ".join(f"{name} {ratio(value)}" for name, value in known)

    rows = {
        f"closed form, a time of a grid, {shape}": [
            f"{number(closed['ns_per_point'])} ns",
            against(closed, {"NumPy": "vs_numpy", "JAX": "vs_jax"}),
        ],
        f"gradient descent, a step, {shape}": [
            f"{number(descent['ns_per_step'])} ns",
            against(descent, {"NumPy": "vs_numpy", "JAX": "vs_jax"}),
        ],
        f"gradient flow to t = {figures['flow']['time']:g}, {shape}": [
            f"{number(flow['us'])} us",
            against(flow, {"SciPy": "vs_scipy", "diffrax": "vs_diffrax"}),
        ],
        f"a sweep of {SUMMARY_SWEEP}, {several['warm']['points']:,} points": [
            f"{several['warm']['seconds']:.1f} s",
            "",
        ],
        f"`fastlin run {sweep['preset']}`, {sweep['configurations']:,} points": [
            f"{sweep['seconds']:.1f} s",
            "",
        ],
    }
    return "\n".join([*tabulated(["work", "time", "time of rivals"], rows), "", f"{_machine(figures)}."])


def comparison(figures: dict[str, Any]) -> str:
    """Return the tables of fastlin beside other tools."""
    return "\n".join([f"{_machine(figures)}.", "", *tables.comparison(figures["compare"])])


def _machine(figures: dict[str, Any]) -> str:
    machine = figures["machine"]
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"


def _gradient_descent(figures: dict[str, Any]) -> list[str]:
    rows = {
        name: [number(row["ns_per_step"]), percent(row["peak_fraction"]), *_ratios(row)]
        for name, row in figures.items()
    }
    return tabulated(["gradient descent", "ns per step", "of the peak", *_RATIOS], rows)


def _closed_form(figures: dict[str, Any]) -> list[str]:
    rows = {
        name: [*(number(row[key]) for key in ("ns_per_point", "ns_late", "ns_inf")), *_ratios(row)]
        for name, row in figures.items()
    }
    return tabulated(["closed form", "ns per time of a grid", "one late time", "t = inf", *_RATIOS], rows)


def _setup(figures: dict[str, Any]) -> list[str]:
    return tabulated(["set-up", "us per seed"], {name: [number(row["us"])] for name, row in figures.items()})


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
            *(number(row[form]) for form in ("one_sided", "two_sided")),
            f"{row['ratio']:.2f}x",
        ]
        for name, steps in figures.items()
        for step, row in steps.items()
    }
    head = ["two-sided balance", "ns for kappa = 0", "ns for kappa > 0"]
    return tabulated([*head, f"ratio (aim: at most {TWO_SIDED_LIMIT:g})"], rows)


def _stacks(figures: dict[str, Any]) -> list[str]:
    rows = {
        f"{name}, {row['networks']:,} networks, {function}": [
            *(f"{seconds[form]:.2g}" for form in ("stack", "loop")),
            ratio(seconds["ratio"]),
        ]
        for name, row in figures.items()
        for function, seconds in row["functions"].items()
    }
    return tabulated(["stacks in Python", "seconds", "in a loop", "ratio"], rows)


def _flow(figures: dict[str, Any]) -> list[str]:
    """Return the rows of the flow, and a line about the agreement of its results with those of rivals."""
    missing = "" if figures["diffrax_installed"] else "not installed"
    rows = {
        name: [
            number(row["us"]),
            f"{row['mean_steps']:.0f}",
            ratio(row["vs_scipy"]),
            ratio(row["vs_diffrax"]) or missing,
        ]
        for name, row in figures["rows"].items()
    }
    head = f"flow to t = {figures['time']:g} at tolerance {figures['tolerance']:g}"
    lines = tabulated([head, "us a network", "mean steps", "SciPy, one by one", "diffrax, vmap"], rows)
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
    return tabulated(head, rows)


def _widths(figures: dict[str, Any]) -> list[str]:
    """Return the us of each width, with its growth beyond the operations since the width before."""

    def cell(row: dict[str, Any]) -> str:
        step = "" if row["step"] is None else f" ({row['step']:.2f}x)"
        return f"{number(row['us'])}{step}"

    lines = {
        f"{family} {method.replace('_', ' ')}": {width: cell(row) for width, row in rows.items()}
        for family, methods in figures.items()
        for method, rows in methods.items()
    }
    widths = list(next(iter(lines.values())))
    rows = {name: list(cells.values()) for name, cells in lines.items()}
    return tabulated(["us at hidden width w (step beyond its operations)", *widths], rows)


def _forms(figures: dict[str, Any]) -> list[str]:
    def cell(step: dict[str, float]) -> str:
        return f"{number(step['run_time'])} ({step['ratio']:.2f}x)"

    rows = {name: [cell(step) for step in steps.values()] for name, steps in figures.items()}
    head = ["ns for all sizes of a width (over one architecture's own)", "step of gradient descent"]
    return tabulated([*head, "time of a grid", "one late time", "set-up of a seed"], rows)


def _compilation(figures: dict[str, Any]) -> list[str]:
    rows = {
        name.replace("_", " "): [number(row["seconds"]), number(row["estimate"])]
        for name, row in figures.items()
    }
    return tabulated(["compilation, by hidden width", "processor seconds", "estimate"], rows)


def _architectures(figures: dict[str, Any]) -> list[str]:
    rows = {}
    for name, states in figures.items():
        cold, warm = states["cold"], states["warm"]
        seconds = [f"{cold[key]:.1f}, {warm[key]:.1f}" for key in ("seconds", "run_seconds")]
        peak = max(cold["peak_rss_mb"], warm["peak_rss_mb"])
        rows[f"{name}: {cold['points']:,} points"] = [*seconds, f"{peak:.0f}", f"{cold['files']:,}"]
    head = ["`fastlin run`, seconds with an empty and a filled cache", "command", "without start-up"]
    return tabulated([*head, "MB of memory", "files"], rows)


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
            *(number(row[key]) for key in ("planned_seconds", "seconds")),
            f"{row['ratio']:.2f}x",
        ]
        for row in rows
    }
    ratios = [row["ratio"] for row in rows]
    right = sum(0.7 <= ratio <= 1.3 for ratio in ratios)
    return [
        *tabulated(["sweep", "planned seconds", "seconds", "planned over taken"], cells),
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


def _ratios(row: dict[str, Any]) -> list[str]:
    return [ratio(row[key]) for key in _RATIOS.values()]
