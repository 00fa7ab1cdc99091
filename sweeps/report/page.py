"""The page of a report: a template that is filled from a store."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from fastlin.plot import screen
from fastlin.plot.style import DEFAULT_STYLE, Style
from fastlin.sweeps import presets
from fastlin.sweeps.read.open import open_sweep, reading
from fastlin.sweeps.read.picture import check_target
from fastlin.sweeps.read.selection_text import select_by_text
from fastlin.sweeps.report import controls, look, numbers, tables
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.spec.table import KIND_SECTIONS
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store

ENDINGS = (".html", ".htm")
PIXELS_PER_INCH = 96  # of CSS
ALL_POINTS = '<p class="note">These are all points of the store, also those that are not shown.</p>'
SCRIPTS = ("numbers", "contours", "drawing", "page")
PLANE = (
    '<figure id="figure-{index}"><h3>{name}</h3>'
    '<div class="diagram" id="plane-{index}" role="img"></div></figure>'
)
KEY = (
    '<li id="key-{index}"><svg aria-hidden="true"><path d="M0 5H28" stroke="{stroke}" stroke-width="3" '
    'stroke-dasharray="{dash}"/></svg>{name}</li>'
)
DASHES = {"solid": "", "dashed": "7 4", "dotted": "2 3"}  # of SVG


def check_file(out: str | Path) -> Path:
    """Return the path of a page, before any work.

    Raises
    ------
    InputError
        If the file's ending is not that of a web page, or there is no such folder.
    """
    return check_target(out, ENDINGS, "web page", "page")


def write(path: str, out: str | Path, select: Sequence[str] = (), style: Style = DEFAULT_STYLE) -> Path:
    """Write the store of a sweep, complete or still running, as one web page that loads nothing else.

    Parameters
    ----------
    path : str
        The store.
    out : str or Path
        The page. The same store gives the same bytes.
    select : sequence of str
        Texts such as "lam=-1:1", which select the part of the store in the diagrams.
    style : fastlin.plot.Style
        Scale of values that the page opens with, width and height of a phase diagram in inches of 96
        pixels, and colour map. A diagram is as wide as the window at most.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If there is no store, it is damaged, it has no such part, the page could not be written there, or
        Bokeh is not installed.
    """
    target = check_file(out)
    with screen.needing_bokeh("a report"):
        import bokeh  # noqa: F401 (before any work)
    store = Store.open(locate(path))
    spec, counts = store.layout.spec, tables.count(store)
    selected = select_by_text(open_sweep(path), select)
    seeds = selected.sizes.get("seed", spec.seeds.size)
    dataset, thinned = (selected, {}) if spec.table else numbers.thin(selected, counts.ok < counts.total)
    with reading(path):
        drawn = numbers.content(dataset, seeds, style) if counts.done and not spec.table else None
    fields = {
        "title": escape(spec.name),
        "lead": tables.lead(spec, selected),
        "pending": tables.pending(counts),
        "data": _embedded(drawn),
        **_diagrams(drawn, style),
        "empty": "" if drawn else f'<p class="notice">{escape(_why_empty(spec, counts))}</p>',
        "hidden": "" if drawn else "hidden",
        "seeds": escape(_note_on_seeds(seeds, counts, drawn)),
        "selected": escape(f"Shown is the part with {', '.join(select)}." if select else ""),
        "thinned": escape(_note_on_thinning(thinned)),
        "counted": ALL_POINTS if select else "",
        "status": tables.status(counts),
        "command": escape(command(spec, str(path))),
        "toml": escape(text := spec.to_toml()),
        "own": _note_on_spec(spec),
        "store": escape(f"{_file_name(spec.name)}.zarr"),
        "file": escape(f"{_file_name(spec.name)}.toml"),
        "href": f"data:application/toml;base64,{b64encode(text.encode()).decode()}",
        "hash": spec.hash,
        "versions": tables.versions(store.made_with),
    }
    target.write_bytes(_page(fields, _plane_size(style)).encode(errors="replace"))
    return target


def _plane_size(style: Style) -> str:
    """Return the rule of CSS that sets the size of a phase diagram."""
    if style.size is None:
        return ""
    width, height = (f"{PIXELS_PER_INCH * side:.0f}px" for side in style.size)
    return f":root {{ --plane-width: {width}; --plane-height: {height}; }} #drawn {{ display: block; }}\n"


def _diagrams(content: dict[str, Any] | None, style: Style) -> dict[str, str]:
    """Return the parts of a page with diagrams: Bokeh, its models, and the elements that it draws in."""
    from fastlin.sweeps.report import diagrams

    if content is None:
        parts = ("choices", "sliders", "planes", "legend", "library", "models")
        return dict.fromkeys(parts, "") | {"library_hash": _digest("")}
    library = diagrams.library()
    names = [escape(name) for name in content["axes"]["architecture"]["values"]]
    models = json.dumps(diagrams.document(len(names), style.cmap), separators=(",", ":"))
    return {
        "choices": controls.choices(content),
        "sliders": controls.sliders(content),
        "planes": "\n".join(PLANE.format(index=index, name=name) for index, name in enumerate(names)),
        "legend": "\n".join(
            KEY.format(index=index, name=name, stroke=stroke, dash=DASHES[dash])
            for index, (name, (stroke, dash)) in enumerate(zip(names, look.lines(), strict=False))
        ),
        "library": _compressed(library),
        "models": _compressed(models),
        "library_hash": _digest(library),
    }


def _compressed(text: str) -> str:
    """Return a text as base64 of its gzip. BokehJS shrinks from 1.27 to 0.47 MB by it."""
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _page(fields: dict[str, str], rule: str) -> str:
    """Return the filled template. A browser may run only the scripts of the page and of Bokeh."""
    script = "\n".join(_part(f"{name}.js") for name in SCRIPTS)
    style = screen.css() + _part("page.css") + rule
    own = {"style": style, "script": script, "script_hash": _digest(script)}
    return Template(_part("page.html")).substitute(fields | own)


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


def _embedded(content: dict[str, Any] | None) -> str:
    """Return JSON that is safe inside a script element."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _why_empty(spec: Spec, counts: tables.Counts) -> str:
    if spec.table:
        return "Nothing is drawn, because the points of this sweep are rows of a table, which have no axes."
    if not spec.gives("mean"):
        names = ", ".join(spec.reduction.names)
        return f"Nothing is drawn, because this store holds no mean over seeds; it has {names}."
    if counts.pending:
        return "Nothing is drawn, because no mean over seeds is known yet."
    return "Nothing is drawn, because no point of this sweep has a finite value."


def _note_on_seeds(seeds: int, counts: tables.Counts, drawn: dict[str, Any] | None) -> str:
    if seeds == 1:
        return "Values are of one seed."
    restriction = "" if counts.ok == counts.total else " that are ok"
    mean = f"Values are means over {seeds:,} seeds{restriction}"
    if drawn and drawn["quantities"][0]["std"] is None:
        return f"{mean}; this store holds no standard deviation."
    deviation = "one standard deviation (with n - 1 degrees of freedom) to both sides"
    return f"{mean}; {'bands are' if drawn and drawn['bands'] else '± is'} {deviation}."


def _note_on_spec(spec: Spec) -> str:
    if spec.table and spec.table.by_reference:
        return f", without the {spec.table.num:,} rows of the table, which are in the store"
    own = any("data" in part for name, part in spec.to_dict().items() if name in KIND_SECTIONS)
    return ", with the data of the user, as the store has them" if own else ""


def _note_on_thinning(thinned: numbers.Thinned) -> str:
    if not thinned:
        return ""
    names = {"architecture": "architectures", "time": "times"}
    parts = [
        f"{kept:,} of {size:,} {names.get(name, f'values of {name}')}"
        for name, (kept, size) in thinned.items()
    ]
    return f"This page shows {', '.join(parts)}, so that it stays small; the store has all."


def command(spec: Spec, path: str) -> str:
    """Return the command that computes the sweep, from a preset or from a file of the spec.

    A spec that names a long table by its hash is read from the store, which has the rows.
    """
    if spec.table and spec.table.by_reference:
        return f"fastlin run {shlex.quote(path)} --store {shlex.quote(path)}"
    shipped = next((name for name in presets.names() if Spec.load(name).hash == spec.hash), None)
    name = shipped or _file_name(spec.name)
    return f"fastlin run {shipped or f'{name}.toml'} --store {name}.zarr"


def _file_name(title: str) -> str:
    """Return a title as the name of a file that is valid on any system and in any shell."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", title)[:80].strip("-.") or "sweep"
