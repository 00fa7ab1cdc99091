"""Pictures of a store in files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.backends.backend_pdf import PdfPages

from fastlin.errors import InputError
from fastlin.observables.registry import sweepable
from fastlin.paths import user_path
from fastlin.plot import Pages, Style, pages, theme
from fastlin.plot.saving import rendering, save
from fastlin.plot.scales import drawable
from fastlin.plot.style import COLOUR_MAP, DEFAULT_STYLE
from fastlin.sweeps.read.open import open_sweep, reading
from fastlin.sweeps.read.selection_text import select_by_text
from fastlin.sweeps.spec.spec import Spec

DPI = 150


@dataclass(frozen=True)
class View:
    """Which part of a store a picture shows, and over which axes.

    Parameters
    ----------
    select : sequence of str
        Texts such as "lam=0" and "time=inf", see `select_by_text`.
    observable, x, y : str, optional
        As of `fastlin.plot.pages`.
    """

    select: Sequence[str] = ()
    observable: str | None = None
    x: str | None = None
    y: str | None = None


def read_style(log: bool | None, size: str | None, cmap: str | None) -> Style:
    """Return the style of options of the command line. The size is a text such as "6,4"."""
    sides = None
    if size is not None:
        try:
            width, height = map(float, size.split(","))
        except ValueError:
            raise InputError(f"--size is {size!r}; needed are width and height in inches, as 6,4") from None
        sides = (width, height)
    return Style(log, sides, COLOUR_MAP if cmap is None else cmap)


def check_file(out: str | Path) -> Path:
    """Return the path of a picture. Raises `InputError` if it could not be written there, before any work."""
    return check_target(out, (".png", ".svg", ".pdf"), "picture", "picture")


def check_target(out: str | Path, endings: Sequence[str], kind: str, noun: str) -> Path:
    """Return the path of a file to write.

    Raises
    ------
    InputError
        If it has another ending than `endings`, or no folder to be in.
    """
    target = user_path(out)
    if target.suffix.lower() not in endings or target.is_dir():
        raise InputError(f"{target} is no {kind}; its ending must be one of {', '.join(endings)}")
    if not target.absolute().parent.is_dir():
        raise InputError(f"there is no folder {target.absolute().parent} for the {noun}")
    return target


def beside(store: str, ending: str) -> Path:
    """Return a file named after a store: next to it, or in this folder if no file can be written there."""
    path = Path(os.path.abspath(user_path(store)))
    in_this_folder = "://" in store or not os.access(path.parent, os.W_OK)
    return (Path.cwd() if in_this_folder else path.parent) / f"{path.stem}{ending}"


def check_spec(spec: Spec) -> None:
    """Raise `InputError` if the default picture of a sweep could not be drawn, before it is run."""
    if spec.table:
        raise InputError("--plot draws over axes, and the points of the spec are rows of a table")
    axes = (spec.lams, spec.init_scales, spec.times, spec.learning_rates, spec.kappas, spec.rate_ratios)
    if len(spec.architectures) < 2 and not any(drawable(values).sum() > 1 for values in axes):
        raise InputError("--plot draws over an axis, and the spec has no axis with two values to draw")
    if all(spec.entry(name).dims for name in spec.observables):
        raise InputError("--plot draws one number per point, and the spec's observables have one per layer")
    if not spec.gives("mean"):
        raise InputError("--plot draws means over seeds, and output.reduce.statistics of the spec has none")


def draw(
    path: str,
    out: str | Path,
    view: View = View(),
    style: Style = DEFAULT_STYLE,
    *,
    dark: bool = False,
) -> list[Path]:
    """Draw a store into a file, in the light or the dark theme.

    Without an observable in the view it is the kernel distance, if it is stored.

    Returns
    -------
    list of Path
        The files: `out`, or NAME-1.png, NAME-2.png and so on where there are several pages. A PDF holds
        all pages.

    Raises
    ------
    InputError
        If there is no store, it is damaged, it cannot be drawn so, or the file could not be written.
    """
    target = check_file(out)
    dataset = select_by_text(open_sweep(path), view.select)
    observable = _default_observable(dataset) if view.observable is None else view.observable
    with reading(path):
        drawn = pages(dataset, observable, view.x, view.y, style)
    with theme("dark" if dark else "light"):
        return _write(drawn, target)


def _default_observable(dataset: xr.Dataset) -> str:
    stored = [name for name in ("kernel_distance", *sweepable()) if name in dataset]
    return next((name for name in stored if "layer" not in dataset[name].dims), stored[0])


def _write(drawn: Pages, target: Path) -> list[Path]:
    """Write pages into a file or several, and return these."""
    if target.suffix.lower() == ".pdf":
        with PdfPages(target) as book, rendering():
            for figure in drawn:
                book.savefig(figure, dpi=DPI)
                plt.close(figure)
        return [target]
    width = len(str(len(drawn)))
    files = [target.with_stem(f"{target.stem}-{n:0{width}}") for n in range(1, len(drawn) + 1)]
    files = files if len(files) > 1 else [target]
    for figure, file in zip(drawn, files, strict=True):
        save(figure, file, dpi=DPI)
        plt.close(figure)
    return files
