"""The tables of the comparison."""

from __future__ import annotations

from typing import Any

from fastlin.bench.compare.tools import REFERENCE, TOOLS
from fastlin.bench.markdown import number, tabulated


def comparison(figures: dict[str, Any]) -> list[str]:
    """Return the lines of three tables: speed, a kill, and growth with a failed point."""
    tools = figures["rows"]
    versions = {row["library"]: row["version"] for row in tools.values()}
    absent = figures["missing"]
    return [
        f"The sweep has {figures['points']:,} points. Versions of the tools: "
        + ", ".join(f"{name} {known}" for name, known in versions.items())
        + (f"; not installed: {', '.join(absent)}." if absent else "."),
        "",
        *_speed(figures),
        "",
        *_kill(tools),
        "",
        *_changes(figures),
    ]


def _speed(figures: dict[str, Any]) -> list[str]:
    def cells(row: dict[str, Any]) -> list[str]:
        files, megabytes = f"{row['files']:,}", number(row["bytes"] / 1e6)
        return [number(row["seconds"]), f"{row['points_per_second']:,.0f}", files, megabytes]

    large = figures["large"]
    table = {
        name: [row["call"], row["cores"], *cells(row), f"{row['difference']:.0e}"]
        for name, row in figures["rows"].items()
    }
    fastlin = TOOLS[REFERENCE]
    table[f"fastlin, {large['points']:,} points"] = [fastlin.call, fastlin.cores, *cells(large), ""]
    head = ["tool", "a call computes", "cores", "seconds", "points a second", "files", "MB"]
    return tabulated([*head, "largest difference"], table)


def _kill(tools: dict[str, Any]) -> list[str]:
    keys = ("before", "files", "torn", "right", "wrong", "again")
    table = {name: [f"{row['kill'][key]:,}" for key in keys] for name, row in tools.items()}
    head = ["killed half-way", "points computed before", "files then", "files cut short"]
    return tabulated([*head, "points read then", "zeros read as results", "points computed twice"], table)


def _changes(figures: dict[str, Any]) -> list[str]:
    table = {}
    for name, row in figures["rows"].items():
        growth, failure = row["growth"], row["failure"]
        table[name] = [
            f"{growth['computed']:,}",
            "ends with an error" if failure["code"] else "ends well",
            f"{failure['lost']:,}",
            "yes" if failure["named"] else "no",
            f"{failure['computed']:,}",
        ]
    points = next(iter(figures["rows"].values()))["failure"]["points"]
    head = [f"growth by {figures['added']:,} points: computed", f"one failed point of {points:,}: the run"]
    head += ["other points lost", "failed point named in the store", "computed to mend it"]
    return tabulated(["tool", *head], table)
